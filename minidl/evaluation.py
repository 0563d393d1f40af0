"""How good a network is: the mean of a metric over a split, a classifier's accuracy.

Networks are in evaluation mode. Means are over all examples, never means of batch means.
Checked in tests/test_metrics.py and tests/test_hw1_classification.py.
"""

import contextlib

import torch
import torch.nn.functional as F

NATS = "nats, mean cross-entropy"
FRACTION = "fraction"


def to_unit(x):
    """uint8 (B, ...) -> float32 in [0, 1]: bytes / 255. Floats are returned unchanged."""
    return x if x.is_floating_point() else x.float().div_(255)


@torch.no_grad()
def per_example(metric, split, *modules, batch_size=1000):
    """metric(x, y) of every example of a split, in order: -> (N,), on the split's device.

    metric gets x in [0, 1]. The modules are in evaluation mode meanwhile: batch normalisation
    uses its running statistics, dropout is off. Afterwards they have their earlier mode.
    """
    parts = zip(split.x.split(batch_size), split.y.split(batch_size), strict=True)
    with evaluating(*modules):
        return torch.cat([metric(to_unit(x), y) for x, y in parts])


def evaluate(metric, split, *modules, batch_size=1000):
    """The mean of metric(x, y) over a split: the sum over all examples divided by N.

    A mean of batch means would give the examples of a small last batch too much weight. Summed
    in float64, so that the batch size does not change the digits that are reported.
    """
    values = per_example(metric, split, *modules, batch_size=batch_size)
    return values.cpu().double().sum().item() / len(values)


@contextlib.contextmanager
def evaluating(*modules):
    """The modules in evaluation mode inside the `with`; then each in its earlier mode."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def nats_and_accuracy(classifier, split):
    """-> (mean cross-entropy in nats, accuracy as a fraction) over all of the split."""
    logits = per_example(lambda x, _: classifier(x), split, classifier)
    return nats_and_accuracy_of(logits, split.y)


def nats_and_accuracy_of(logits, y):
    """Logits (N, C), classes y (N,) -> (mean cross-entropy in nats, accuracy)."""
    logits, y = logits.cpu(), y.cpu()  # float64 is not on every device
    right = logits.argmax(dim=1) == y
    return F.cross_entropy(logits.double(), y).item(), right.double().mean().item()
