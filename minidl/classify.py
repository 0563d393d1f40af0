"""What a classifier gets right and wrong: its score, its confusions, its hardest images."""

import torch
import torch.nn.functional as F

from minidl import plot
from minidl.data import to_unit
from minidl.losses import per_example

NATS = "nats, mean cross-entropy"
FRACTION = "fraction"


def logits_of(classifier, split):
    """The classifier's logits (N, C) of all of a split, in evaluation mode."""
    return per_example(lambda x, _: classifier(x), split, classifier)


def score(classifier, split):
    """-> (mean cross-entropy in nats, accuracy as a fraction) over all of the split."""
    return score_of(logits_of(classifier, split), split.y)


def score_of(logits, y):
    """The same of logits (N, C) and classes y (N,)."""
    right = logits.argmax(dim=1) == y
    return F.cross_entropy(logits.double(), y).item(), right.double().mean().item()


def confusion_matrix(y, predicted, C):
    """(C, C) whole numbers: examples of the row's class that are taken for the column's."""
    return torch.bincount(y * C + predicted, minlength=C * C).view(C, C)


def most_confused(confusion):
    """-> (true class, class it is taken for, how many), the largest entry off the diagonal."""
    off = confusion - confusion.diag().diag()
    a, b = divmod(int(off.argmax()), len(off))
    return a, b, int(off[a, b])


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
