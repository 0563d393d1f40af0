"""What a run found: scores, claims, tables and figures, each by one call.

    run.scores("fraction", test_accuracy={"plain": [0.66, 0.68], "augmented": [0.89, 0.90]})
    run.claim("Augmentation helps.", paired(augmented, plain))

A claim is a plain sentence, the condition that makes it true, and the numbers it is about. It
has three answers: it holds, "NOT in this run", or undecided. Checked in
tests/test_findings.py.
"""

import math
import statistics
from typing import NamedTuple

import torch
from torch import nn

from minidl.evaluation import FRACTION, evaluating
from minidl.lab import plot
from minidl.lab.layers import layer_rows
from minidl.lab.progress import TERMINAL
from minidl.lab.results import cell, markdown, slug

HOLDS = {True: "", False: "NOT in this run: ", None: "Undecided in this run: "}


class Paired(NamedTuple):
    """The mean of a - b over pairs that are equal in all but what a and b compare."""

    mean: float
    error: float  # the standard error of the mean; 0 of one pair
    n: int

    @property
    def positive(self):
        """True or False; None within two standard errors of 0, or for a single pair."""
        if self.n < 2 or not abs(self.mean) > 2 * self.error:  # nan is undecided, too
            return None
        return self.mean > 0


def paired(a, b):
    """The Paired a - b of one value per seed, or per example, in the same order."""
    a, b = (torch.as_tensor(values).cpu().double() for values in (a, b))
    difference = a - b
    n = len(difference)
    error = difference.std().item() / n ** 0.5 if n > 1 else 0.0
    return Paired(difference.mean().item(), error, n)


def averaged(histories):
    """Histories of trainings that differ only in the seed -> their mean, value by value."""
    return {key: [statistics.fmean(values) for values in zip(
        *(history[key] for history in histories), strict=True)] for key in histories[0]}


class Findings:
    """The methods by which a script records what it found; Run inherits them."""

    def layers(self, net, *x, name="layers"):
        """The table of a network's layers, shapes and parameters, for an input x."""
        rows = layer_rows(net, *x)
        self.table(name, rows, "Layers, output shapes, parameters")
        return rows[-1]["parameters"]

    def table(self, name, rows, caption=""):
        """Rows, dicts with the same keys: written in Markdown and LaTeX, printed."""
        self.results.table(name, rows, caption)
        if not self.only:  # see Run.trained
            print(markdown(rows, TERMINAL))

    def scores(self, unit, *, table="scores", own="", **metrics):
        """Record, tabulate and print metric -> value, or metric -> {method -> value}.

        A value is a number, a list with one per seed (mean and deviation are shown), or a
        tensor with one per example (the mean is shown). It is recorded as <metric>, that of a
        method as <metric>_<method>; the script's `own` method is recorded as <metric>.
        """
        rows = {}
        for metric, values in metrics.items():
            values = values if isinstance(values, dict) else {"": values}
            for method, value in values.items():
                name = metric if method in ("", own) else f"{metric}_{slug(method)}"
                mean, std, n = _summary(value)
                self.results.number(name, mean, unit, std, n)
                row = rows.setdefault(method, {"method": method} if method else {})
                if unit == FRACTION:
                    words = f"{mean:.2%}" if std is None else f"{mean:.2%} ± {std:.2%}"
                else:
                    words = mean if std is None else f"{mean:.4g} ± {std:.2g}"
                row[metric.replace("_", " ")] = words
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        columns.sort(key=lambda column: column != "method")  # first, wherever it came
        self.table(table, [{column: row.get(column, "") for column in columns}
                           for row in rows.values()], unit)

    def claim(self, sentence, holds, **numbers):
        """Record a sentence and whether it holds: a bool, a Paired, or None for undecided."""
        if isinstance(holds, Paired):
            numbers |= {"mean difference": holds.mean, "standard error": holds.error,
                        "pairs": holds.n} if holds.n > 1 else {"difference": holds.mean}
            holds = holds.positive
        numbers = {name.replace("_", " "): float(value) for name, value in numbers.items()}
        if not all(map(math.isfinite, numbers.values())):  # a number of it is not defined
            holds = None
            numbers = {k: value for k, value in numbers.items() if math.isfinite(value)}
        self.results.claims.append({"claim": sentence, "numbers": numbers,
                                    "holds": None if holds is None else bool(holds)})

    def curves(self, name, title, unit, x="epoch", log_y=False, log_x=False, **lines):
        """Draw name -> one value per epoch, (x, y), or a level; without lines the history."""
        def line(values):
            if isinstance(values, tuple):
                return values
            return ((range(1, len(values) + 1), values) if isinstance(values, list)
                    else float(values))

        lines = {name.replace("_", " "): line(values)
                 for name, values in (lines or self.history).items()}
        self.results.figure(name, plot.curves(lines, f"{self.title}: {title}", x, unit,
                                              log_y=log_y, log_x=log_x))

    @torch.no_grad()
    def pictures(self, name, title, labels=(), x=None, columns=20, **rows):
        """Draw rows of images (N, 1, H, W), or of functions of the images x; labels below."""
        networks = [row for row in rows.values() if isinstance(row, nn.Module)]
        with evaluating(*networks):
            shown = {key.replace("_", " "): row if isinstance(row, torch.Tensor) else row(x)
                     for key, row in rows.items()}
        if x is not None:
            shown = {"input": x} | shown
        labels = [label if isinstance(label, str) else
                  f"{label:.4f}" if label < 1 else f"{label:.1f}" for label in labels]
        self.results.figure(name, plot.image_rows(shown, f"{self.title}: {title}", labels,
                                                  columns))

    def bars(self, name, title, unit, classes, **groups):
        """Draw bars side by side: for each of the classes a value of every group."""
        groups = {key.replace("_", " "): [float(value) for value in values]
                  for key, values in groups.items()}
        self.results.figure(name, plot.bars(groups, classes, f"{self.title}: {title}", "class",
                                            unit))


def _summary(value):
    """-> mean, deviation over seeds (None: unknown), and number of values (None: one)."""
    if isinstance(value, torch.Tensor) and value.ndim:
        return value.cpu().double().mean().item(), None, len(value)
    if isinstance(value, list):
        std = statistics.stdev(value) if len(value) > 1 else None
        return statistics.fmean(value), std, len(value)
    return (value if isinstance(value, int) else float(value)), None, None


def in_words(claim):
    """A kept claim as it is printed: whether it holds, the sentence, its numbers."""
    told = ", ".join(f"{name} {cell(value)}" for name, value in claim["numbers"].items())
    return f"{HOLDS[claim['holds']]}{claim['claim']}{f' [{told}]' if told else ''}"


def told(content):
    """The sentences of a results.json: its claims, and the findings of older scripts."""
    return [*map(in_words, content.get("claims", ())), *content.get("findings", ())]
