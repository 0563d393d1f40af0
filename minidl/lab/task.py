"""What a supervised task is, so that one training loop serves regression and classification.

Checked in tests/test_hw1_optimizers.py.
"""

import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from minidl.data import Split, to_unit
from minidl.evaluation import FRACTION, NATS, evaluating, nats_and_accuracy_of
from minidl.lab.results import deviation


class Task(NamedTuple):
    name: str
    title: str        # for figures and tables
    sizes: tuple      # of an MLP's layers
    train: Split      # x (N, in) float; y (N, out) float or (N,) classes
    val: Split
    test: Callable    # () -> Split: called once, last
    batch_size: int
    steps: int        # of a round, after which validation is looked at
    loss: Callable    # (outputs, y) -> the mean over the batch, to minimise
    scores: Callable  # (outputs, y) -> one value for each of:
    measures: dict    # their names -> units: the loss first, the metric last
    sign: int         # 1 where a larger metric is better, else -1

    @property
    def loss_name(self):
        return next(iter(self.measures))

    @property
    def metric(self):
        return list(self.measures)[-1]

    @property
    def unit(self):
        return self.measures[self.metric]

    def batches(self, generator):
        """Yield (x, y) without end: over all examples, each time in a new order."""
        x, y = self.train
        while True:
            order = torch.randperm(len(y), generator=generator).to(y.device)
            for i in range(max(1, len(y) // self.batch_size)):
                index = order[i * self.batch_size:(i + 1) * self.batch_size]
                yield x[index], y[index]

    @torch.no_grad()
    def evaluate(self, network, split, prefix=""):
        """-> name -> value over the split, with the network in evaluation mode.

        An output that is not finite counts as 0: a diverged training is bad, yet a result.
        """
        with evaluating(network):
            outputs = network(split.x).nan_to_num(0, 0, 0)
        return {prefix + name: value for name, value in
                zip(self.measures, self.scores(outputs, split.y), strict=True)}

    def best_round(self, history):
        """The first round with the best metric on validation, from 1."""
        values = [self.sign * value for value in history[f"val_{self.metric}"]]
        return 1 + values.index(max(values))

    def mean_curve(self, histories, part):
        """The loss by round, of the part "train" or "val": its mean over histories."""
        curves = (history[f"{part}_{self.loss_name}"] for history in histories)
        return [statistics.mean(values) for values in zip(*curves, strict=True)]

    def paired(self, values, base):
        """Metrics of a variant and of the base, one a seed in the same order.

        -> (the differences, for how many seeds the variant is better, all in words).
        """
        gain = [b - a for a, b in zip(base, values, strict=True)]
        better = f"{sum(self.sign * g > 0 for g in gain)} of {len(gain)}"
        words = f"{statistics.mean(values):.4f} +- {deviation(values):.4f}"
        if values is not base:
            words += (f" (paired {statistics.mean(gain):+.4f} +- {deviation(gain):.4f}, "
                      f"better for {better} seeds)")
        return gain, better, words


def images_as_vectors(data, n, hidden, batch_size=100, held_out=2000):
    """Classify a data set's images, (N, 1, 28, 28) uint8 -> (N, 784) in [0, 1], by an MLP.

    n training images and held_out validation images at most; a round is a pass over the n.
    """
    def split(part, n=None):
        return Split(to_unit(part.x[:n]).flatten(1), part.y[:n])

    train = split(data.train, n)
    return Task("classification", f"{data.title}, {len(train.y):,} images",
                (784, *hidden, len(data.classes)), train, split(data.val, held_out),
                lambda: split(data.test()), batch_size, max(1, len(train.y) // batch_size),
                F.cross_entropy, nats_and_accuracy_of, {"nats": NATS, "accuracy": FRACTION}, 1)
