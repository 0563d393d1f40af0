"""What a classifier gets right and wrong, in figures and tables."""

import torch.nn.functional as F

from minidl.data import to_unit
from minidl.evaluation import confusion_matrix
from minidl.lab import plot


def show_confusion(run, data, test, logits, title, name="confusion"):
    """Its figure and table; -> the matrix."""
    C = len(data.classes)
    confusion = confusion_matrix(test.y, logits.argmax(dim=1), C)
    run.results.figure(name, plot.matrix(
        confusion.cpu().numpy(), data.classes, f"{title}: test images", "predicted", "true"))
    rows = [{"true": data.classes[c]} | {str(data.classes[k]): int(n)
                                         for k, n in enumerate(confusion[c])}
            for c in range(C)]
    run.results.table(name, rows, f"Test images of {title}: true class (row) against "
                      "predicted class (column)")
    return confusion


def show_hardest(run, data, test, logits, title, name="hardest"):
    """A figure of the test images with the largest cross-entropy."""
    losses = F.cross_entropy(logits, test.y, reduction="none")
    index, p, labels = losses.argsort(descending=True)[:30], logits.softmax(dim=1), []
    for i in index:
        true, taken = data.classes[test.y[i]], data.classes[logits[i].argmax()]
        labels.append(f"{true}\n{f'not {taken}' if taken != true else ''}\n"
                      f"p = {p[i, test.y[i]]:.3f}")
    run.results.figure(name, plot.image_rows(
        {"test image": to_unit(test.x[index])}, f"{title}: the {len(index)} hardest test "
        "images\nbelow: true class, what it was taken for, probability of the true class",
        labels, columns=10))
