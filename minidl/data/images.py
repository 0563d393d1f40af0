r"""A named data set -> Split(x, y) tensors on the device, once; training batches from them.

Pixels stay uint8 in memory and are scaled to [0, 1] batch by batch, x = bytes / 255. They are
not standardised, so that an error per pixel has the sheet's unit. Checked in
tests/test_data.py.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy
import torch

import data_download
from minidl.data import sources
from minidl.data.sources import DataError
from minidl.evaluation import to_unit

LEAST = 4  # images: with fewer, standard errors and neighbours are not defined


class Split(NamedTuple):
    x: torch.Tensor  # (N, 1, 28, 28) uint8
    y: torch.Tensor  # (N,) int64


@dataclass(frozen=True)
class Dataset:
    """Training and validation images on the device; the test images only by `test()`."""

    name: str
    title: str      # for figures and findings
    digest: str     # of all four files: it tells two sets of the same name apart
    classes: tuple  # names of the classes, by label
    train: Split
    val: Split
    held_back: Split

    def head(self):
        """The training file's first 100 images, in its order: the sheet's `torch.arange(100)`.
        Of fewer than 200, half. They are never held out for validation."""
        n = _head(len(self.train.x) + len(self.val.x))
        return Split(self.train.x[-n:], self.train.y[-n:])

    def test(self):
        """The test split: read it once and last, when all is chosen on validation."""
        return self.held_back


def load(sheet_data, wanted="auto", data_dir=None, *, device="cpu", seed=0, images=None,
         say=print):
    """The data set of a sheet, or the one that `wanted` names instead.

    sheet_data  "mnist" or "fashion-mnist": what the sheet asks for.
    wanted      "auto" (the sheet's, from disk or its mirrors, else glyphs), "mnist",
                "fashion-mnist", "glyphs", or a folder with four IDX files of any 28x28 set.
    images      training images used, validation included (None: all). The same share of the
                test images is used, drawn by the seed. One training image in twelve is held
                out for validation, drawn by the seed; never one of the first 100, for which
                exercise 2 has labels.
    Errors: DataError, idx.IdxError, data_download.DownloadError; each one sentence.
    """
    source = sources.find(sheet_data, wanted, data_download.data_dir(data_dir), images, say)
    (x, y), (test_x, test_y) = source.train, source.test
    n, classes = min(images or len(x), len(x)), len(source.classes)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    first = _head(n)
    order = torch.cat([order[order >= first][:n - first], torch.arange(first)])
    val, train = order[:max(1, n // 12)], order[max(1, n // 12):]
    tested = max(LEAST, round(n / len(x) * len(test_x)))
    test = torch.randperm(len(test_x), generator=generator)[:tested]
    test = test.sort().values  # the file's order, if they are all
    lacking, shown = classes - len(numpy.unique(y[train])), len(numpy.unique(test_y[test]))
    if lacking or shown < 2 or min(len(train), len(test)) < LEAST:
        raise DataError(
            f"{source.where}: found {len(train):,} training images, {lacking} of {classes} "
            f"classes without one, and {len(test)} test images of {shown} classes; expected "
            f"{LEAST} of each, of all and of two classes: try a larger --images")
    say(f"Data: {source.title}, {len(train):,} training and {len(val):,} validation images, "
        f"from {source.where}")

    def taken(x, y, index):
        x, y = x[index.numpy()], y[index.numpy()]
        return Split(torch.from_numpy(x).unsqueeze(1).to(device),
                     torch.from_numpy(y).to(device))

    return Dataset(source.name, source.title, source.digest, source.classes,
                   taken(x, y, train), taken(x, y, val), taken(test_x, test_y, test))


def _head(n):
    return min(100, n // 2)


def steps_per_epoch(split, batch_size):
    """The number of batches that `batches` yields."""
    return max(1, len(split.y) // batch_size)


def batches(split, batch_size, generator):
    """Yield (x (B, 1, 28, 28) float32 in [0, 1], y (B,)) in the generator's order.

    For training: the last, smaller batch is left out, other images in each epoch. So every
    step has the same weight, and batch normalisation never gets a batch of one. A split
    smaller than a batch is one batch. `evaluation.evaluate` uses every example.
    """
    order = torch.randperm(len(split.x), generator=generator).to(split.x.device)
    for i in range(steps_per_epoch(split, batch_size)):
        index = order[i * batch_size:(i + 1) * batch_size]
        # index_select copies whole images; x[index] goes pixel by pixel, 25 times slower
        yield to_unit(split.x.index_select(0, index)), split.y.index_select(0, index)


def steps(split, batch_size, generator, n):
    """Yield n batches: passes over the split, each time in a new order.

    For a split of a few batches it is simpler to count steps than epochs.
    """
    passes = (batches(split, batch_size, generator) for _ in itertools.count())
    yield from itertools.islice(itertools.chain.from_iterable(passes), n)


def balanced(split, C, n, seed):
    """n // C examples of each of the C classes, drawn by the seed: the classes in order."""
    order = torch.randperm(len(split.y), generator=torch.Generator().manual_seed(seed))
    order = order.to(split.y.device)
    index = torch.cat([order[split.y[order] == c][:n // C] for c in range(C)])
    return Split(split.x[index], split.y[index])


def first_of_each_class(y, n=1):
    """The indices of each class's first n examples in y (N,), for the classes that it has."""
    return torch.cat([(y == c).nonzero()[:n, 0] for c in y.unique()])
