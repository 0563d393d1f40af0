"""Two supervised tasks in one form, so that one loop trains both: images, and few points.

Checked in tests/test_hw1_optimizers.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from minidl.data import Split, steps_per_epoch
from minidl.data.points import GAPS, draw_points
from minidl.evaluation import FRACTION, NATS, nats_and_accuracy_of
from minidl.lab.network import infer


class Task(NamedTuple):
    name: str
    title: str         # for figures
    sizes: tuple       # of an MLP's layers
    train: Split       # x (N, in); y (N, out) float or (N,) classes
    val: Split
    test: Callable     # () -> Split: called once, last
    batch_size: int
    steps: int         # per round; validation is evaluated after each round
    loss: Callable     # (outputs, y) -> the mean over the batch, to minimise
    measure: Callable  # (outputs, y) -> (the loss to report, the metric)
    loss_unit: str
    metric: str
    unit: str          # of the metric
    sign: int          # 1 where a larger metric is better, else -1

    def measured(self, network, split, n=None):
        """-> (loss, metric) of the split's first n examples, in evaluation mode.

        An output that is not finite counts as 0. So a training that diverged has a bad result.
        """
        x, y = split.x[:n], split.y[:n]
        return self.measure(infer(network, x).nan_to_num(0, 0, 0), y)

    def best(self, values):
        """The index of the best value of the metric; of equal values the first."""
        return max(range(len(values)), key=lambda i: self.sign * values[i])


def classification(data, n, hidden=(128, 128, 128)):
    """At most n images, (N, 784), and 2000 for validation; a round is one pass over the n."""
    def flat(split, n=None):
        return Split(split.x[:n].flatten(1), split.y[:n])

    train = flat(data.train, n)
    return Task("classification", f"{data.title}, {len(train.y):,} images",
                (784, *hidden, len(data.classes)), train, flat(data.val, 2000),
                lambda: flat(data.test()), 100, steps_per_epoch(train, 100), F.cross_entropy,
                nats_and_accuracy_of, NATS, "accuracy", FRACTION, 1)


def regression(n, generator, device):
    """n points of hw1_regression.py, and 4 n for validation, so that choices are reliable.

    x and y are standardised for the network. The loss to report, and the metric, is the mean
    squared error in the unit of the points.
    """
    x, y = draw_points(5 * n, GAPS, generator)
    test = draw_points(4000, (), generator)
    (x_std, x_mean), (y_std, y_mean) = (torch.std_mean(part[:n]) for part in (x, y))

    def split(x, y):
        x, y = (x - x_mean) / x_std, (y - y_mean) / y_std
        return Split(x.to(device), y.to(device))

    def measure(outputs, y):
        mse = y_std.item() ** 2 * (outputs - y).cpu().double().square().mean().item()
        return mse, mse

    unit = "mean (g(x) - y)^2"
    return Task("regression", f"{n} synthetic points", (1, 64, 64, 64, 1), split(x[:n], y[:n]),
                split(x[n:], y[n:]), lambda: split(*test), 20, 100, F.mse_loss, measure, unit,
                "mse", unit, -1)
