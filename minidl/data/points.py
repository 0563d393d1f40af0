r"""Noisy points of a known function, or points from your own file.

    y = f(x) + sigma e,   f(x) = sin(1.5 x) + x / 4,   sigma = 0.25,   e ~ N(0, 1)

Checked in tests/test_hw1_regression.py.
"""

import hashlib
import re
from pathlib import Path
from textwrap import shorten

import torch

from minidl.data.sources import DataError, name_of

SIGMA = 0.25
GAPS = (-3.0, -2.0), (1.5, 2.5)  # where the training points of hw1_regression.py have none
NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?[ \t]*", re.I)
LARGEST = 1e15  # coordinate of a point: float32 must hold its square


def f(x):
    """The function that is to be found."""
    return torch.sin(1.5 * x) + x / 4


def draw_points(n, gaps, generator):
    """n noisy points, x and y (n, 1), with x uniform in -5 ... 5 but for the gaps."""
    x = 10 * torch.rand(3 * n, 1, generator=generator) - 5
    for low, high in gaps:
        x = x[(x <= low) | (x >= high)].unsqueeze(1)
    x = x[:n]
    return x, f(x) + SIGMA * torch.randn(n, 1, generator=generator)


def read_points(path):
    """The points of a CSV file, x and y (N, 1); a first line of two words is a heading.

    In float64, since 10,000,000.1 and 10,000,000.2 are equal in float32. After they are
    standardised, float32 is enough. Errors: DataError with the number of a line that is not
    two numbers.
    """
    rows = []
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(f"--csv {path}: found {why}, expected a text file of lines x,y"
                        ) from error
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split(",")
        values = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
        if len(values) == len(cells) == 2 and max(map(abs, values)) <= LARGEST:
            rows.append(values)
        elif line.strip() and not (number == 1 and _is_heading(cells)):
            raise DataError(f"{path}, line {number}: found {shorten(line, 60)!r}, expected "
                            "two finite numbers x,y")
    if len(rows) < 10:
        raise DataError(f"{path}: found {len(rows)} points, expected 10 or more")
    points = torch.tensor(rows, dtype=torch.float64)
    alike = (points == points.mode(dim=0).values).sum(dim=0).max()
    if alike >= len(points) - len(points) // 5:  # all training points could be equal
        raise DataError(f"{path}: found one value of x or of y in {alike} of {len(points)} "
                        "lines, expected several values")
    return points.split(1, dim=1)


def load(path, n, generator):
    """-> (x, y) to train on, (x, y) to test on, each (N, 1); a title; a digest of the points.

    A random fifth of the file's points is the test set. Without a path, n noisy points of f
    outside GAPS are the training set, and 4,000 everywhere the test set.
    """
    if not path:
        return (draw_points(n, GAPS, generator), draw_points(4000, (), generator),
                "synthetic points, f(x) = sin(1.5 x) + x / 4", "")
    x, y = read_points(path)
    test, train = torch.randperm(len(x), generator=generator).split(
        [len(x) // 5, len(x) - len(x) // 5])
    return ((x[train], y[train]), (x[test], y[test]), f"points of {name_of(path)}",
            hashlib.sha256(torch.cat([x, y], 1).numpy()).hexdigest()[:16])


def _is_heading(cells):
    """Whether they are two words, each with a letter first; nan and inf are numbers."""
    words = [cell.strip(' "').lower() for cell in cells]
    return len(words) == 2 and all(
        word[:1].isalpha() and word not in ("nan", "inf", "infinity") for word in words)
