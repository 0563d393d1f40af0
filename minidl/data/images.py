r"""A named data set -> Split(x, y) tensors on the device, once; training batches from them.

Pixels stay uint8 in memory and are scaled to [0, 1] a batch at a time, x = bytes / 255. No
mean is taken off, no deviation divided by: an error per pixel then has the sheet's unit.
Checked in tests/test_data.py.
"""

import hashlib
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch

import data_download
from minidl import idx
from minidl.data import sources
from minidl.data.sources import DataError
from minidl.evaluation import to_unit


class Split(NamedTuple):
    x: torch.Tensor  # (N, 1, 28, 28) uint8
    y: torch.Tensor  # (N,) int64


@dataclass(frozen=True)
class Dataset:
    """Training and validation images on the device; the test images wait on disk."""

    name: str
    title: str      # for figures and findings
    classes: tuple  # names of the classes, by label
    train: Split
    val: Split
    source: sources.Source
    share: float    # of the training files that is used, and so of the test files

    def head(self):
        """The training file's first images, in its order: the sheet's `torch.arange(100)`.
        They are never held out for validation."""
        n = _head(len(self.train.x) + len(self.val.x))
        return Split(self.train.x[-n:], self.train.y[-n:])

    def test(self):
        """Read the test split: once, last, when everything has been chosen on validation."""
        x, y = _read_split(self.source, "test")
        n = max(1, round(self.share * len(x)))
        return _to_split(x[:n], y[:n], self.train.x.device)


def load(sheet_data, wanted="auto", data_dir=None, *, device="cpu", seed=0, images=None,
         say=print):
    """The data set of a sheet, or the one `wanted` in its place.

    sheet_data  "mnist" or "fashion-mnist": what the sheet asks for.
    wanted      "auto" (the sheet's, from disk or its mirrors, else glyphs), "mnist",
                "fashion-mnist", "glyphs", or a folder with four IDX files of any 28x28 set.
    images      training images used, validation included (None: all); the test split is cut
                in proportion. One in twelve is held out for validation, drawn by the seed, but
                none of the first 100, which exercise 2 labels.
    Errors: DataError, idx.IdxError, data_download.DownloadError; each one sentence.
    """
    source = sources.find(sheet_data, wanted, data_download.data_dir(data_dir), images, say)
    x, y = _read_split(source, "train")
    for file in sources.FILES["test"]:
        sources.file_of(source.folder, file)  # to miss it now, not after an hour of training
    source = source._replace(classes=source.classes or tuple(map(str, range(y.max() + 1))))
    if len(x) < 3:
        raise DataError(f"{source.folder}: found {len(x)} training images, expected 3 or more")
    n = max(3, min(images or len(x), len(x)))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    first = _head(n)
    order = torch.cat([order[order >= first][:n - first], torch.arange(first)]).numpy()
    val, train = order[:max(1, n // 12)], order[max(1, n // 12):]
    say(f"Data: {source.title}, {len(train):,} training and {len(val):,} validation images, "
        f"from {source.folder}")
    return Dataset(source.name, source.title, source.classes,
                   _to_split(x[train], y[train], device), _to_split(x[val], y[val], device),
                   source, n / len(x))


def _head(n):
    return min(100, n // 2)


def steps_per_epoch(split, batch_size):
    """The number of batches that `batches` yields."""
    return max(1, len(split.y) // batch_size)


def batches(split, batch_size, generator):
    """Yield (x (B, 1, 28, 28) float32 in [0, 1], y (B,)) in the generator's order.

    For training: the last, smaller batch is left out (another one in each order), so that
    every step weighs the same and batch normalisation never meets a batch of one; a split
    smaller than a batch is one batch. `losses.evaluate` is what goes over every example.
    """
    order = torch.randperm(len(split.x), generator=generator).to(split.x.device)
    for i in range(steps_per_epoch(split, batch_size)):
        index = order[i * batch_size:(i + 1) * batch_size]
        # index_select copies whole images; x[index] goes pixel by pixel, 25 times slower
        yield to_unit(split.x.index_select(0, index)), split.y.index_select(0, index)


def steps(split, batch_size, generator, n):
    """Yield n batches: of the split again and again, each time in a new order.

    Where a split is a few batches, an epoch says little, and steps are counted.
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
    """The places of each class's first n examples in y (N,), for the classes that it has."""
    return torch.cat([(y == c).nonzero()[:n, 0] for c in y.unique()])


def _read_split(source, split):
    """One split, checked: images (N, 28, 28) uint8, labels (N,) uint8, numpy."""
    x, y = (_read(source, file) for file in sources.FILES[split])
    where, classes = f"{source.folder}, {split} split", source.classes
    if x.dtype != "uint8" or x.ndim != 3 or x.shape[1:] != (28, 28):
        raise DataError(f"{where}: found images of type {x.dtype} and shape {x.shape}, "
                        "expected uint8 of shape (N, 28, 28)")
    if y.dtype != "uint8" or y.ndim != 1:
        raise DataError(f"{where}: found labels of type {y.dtype} and shape {y.shape}, "
                        "expected uint8 of shape (N,)")
    if len(x) != len(y) or len(x) == 0:
        raise DataError(f"{where}: found {len(x)} images and {len(y)} labels, expected as "
                        "many of one as of the other, and at least one")
    if classes and y.max() >= len(classes):
        raise DataError(f"{where}: found label {y.max()} at place {y.argmax()}, expected "
                        f"0 to {len(classes) - 1}")
    return x, y


def _read(source, file):
    """idx.read; a published data set's bytes must be the published ones, since MNIST served as
    Fashion-MNIST has the same names, shapes and sizes."""
    path = sources.file_of(source.folder, file)
    array = idx.read(path)
    if source.name in data_download.SETS:
        expected = data_download.SETS[source.name].md5[file]
        found = hashlib.md5(idx.header(array), usedforsecurity=False)
        found.update(array)
        if found.hexdigest() != expected:
            raise DataError(f"{path}: found content with MD5 {found.hexdigest()}, expected "
                            f"{expected}, the published {source.title}")
    return array


def _to_split(x, y, device):
    return Split(torch.from_numpy(x).unsqueeze(1).to(device),
                 torch.from_numpy(y).long().to(device))
