"""Where a data set of images comes from: four files, on disk or downloaded; or drawn."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy

import data_download
from minidl import UserError, idx
from minidl.data import glyphs

FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}
EVERY = FILES["train"] + FILES["test"]
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
STANDS_IN = {"mnist": "digits", "fashion-mnist": "letters"}  # the glyphs in its place
CLASSES = {
    "mnist": tuple("0123456789"), **{k: tuple(v) for k, v in glyphs.CHARACTERS.items()},
    "fashion-mnist": ("T-shirt", "trousers", "pullover", "dress", "coat",
                      "sandal", "shirt", "sneaker", "bag", "ankle boot"),
}


class DataError(UserError):
    """A data set that is not available, or is not what it should be: one sentence."""


class Source(NamedTuple):
    name: str       # in results.json
    title: str      # in figures and findings
    classes: tuple  # their names
    where: str      # for messages
    train: tuple    # images (N, 28, 28) uint8, and (N,) their places in `classes`
    test: tuple
    digest: str     # of all that


def find(sheet_data, wanted, data_dir, images, say):
    """The Source that `wanted` names (see data.load), downloaded or drawn if necessary."""
    if wanted == "auto" or wanted in TITLES:
        name = sheet_data if wanted == "auto" else wanted
        # "auto" does not wait long for a network that may not be there
        timeout = 2 if wanted == "auto" else 20
        folder = data_dir / name
        try:
            if not all(file_of(folder, file) for file in EVERY):
                data_download.fetch(name, data_dir, timeout=timeout, progress=show_transfer)
            return _read(name, TITLES[name], CLASSES[name], folder)
        except data_download.DownloadError as error:
            if wanted != "auto":
                raise
            say(f"*** {TITLES[name]} IS NOT AVAILABLE; the embedded glyphs replace it. "
                f"No number below is a result on {TITLES[name]}. ***\n({error})")
    if wanted in ("auto", "glyphs"):
        return _drawn(sheet_data, images or 60_000)
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        raise DataError(f"--data {wanted}: found no such folder, expected auto, glyphs, "
                        f"{', '.join(TITLES)}, or a folder that holds four IDX files")
    title = name_of(folder.resolve())
    return _read(f"folder {title}", title, None, folder)


def name_of(path):
    """The name of a user's file or folder, for titles: UTF-8 in any locale. Other bytes are
    replaced, since a figure cannot show them."""
    return os.fsencode(Path(path).name).decode(errors="replace")


def show_transfer(text, **options):
    """Print a transfer's progress; the error says why mirrors failed, if all of them do."""
    if " MB" in text:
        print(text, **options)


def own_cache():
    """A folder for what can be made again, if the data folder is read-only or another's.

    Each user of a machine has a separate one, so that nobody reads what another user left in
    the common temporary folder.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0  # Windows: it is one's own already
    place = Path(tempfile.gettempdir(), f"minidl-data-{user}")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place if place.lstat().st_uid == user else Path(tempfile.mkdtemp("-minidl"))


def file_of(folder, name):
    """The path of an IDX file, plain or gzipped; None where there is neither."""
    paths = folder / name, folder / f"{name}.gz"
    return next((path for path in paths if path.is_file()), None)


def _read(name, title, classes, folder):
    """The four files, checked. A published set must have the published bytes: MNIST and
    Fashion-MNIST have the same names, shapes and sizes, and are easily confused."""
    published, arrays, sums = data_download.SETS[name].md5 if name in TITLES else {}, [], []
    for file in EVERY:
        if not (path := file_of(folder, file)):
            raise DataError(f"{folder}: found neither {file} nor {file}.gz, expected the four "
                            f"files {', '.join(EVERY)}")
        arrays.append(idx.read(path))
        sums.append(_md5(arrays[-1]))
        if sums[-1] != published.get(file, sums[-1]):
            raise DataError(f"{path}: found content with MD5 {sums[-1]}, expected "
                            f"{published[file]}, the published {title}")
    for split, x, y in (("train", *arrays[:2]), ("test", *arrays[2:])):
        if not (x.dtype == y.dtype == "uint8" and x.shape[1:] == (28, 28) and x.size
                and x.shape[:1] == y.shape):
            raise DataError(f"{folder}, {split} split: found images {x.dtype} {x.shape} and "
                            f"labels {y.dtype} {y.shape}, expected uint8 (N, 28, 28) and (N,)")
    x, y, test_x, test_y = arrays
    # a label without examples is not a class: EMNIST's letters 1 to 26 are 26 classes
    labels = numpy.unique(y)
    if unknown := numpy.setdiff1d(test_y, labels).tolist():
        raise DataError(f"{folder}, test split: found label {unknown[0]}, expected a class of "
                        f"the training images, {', '.join(map(str, labels))}")
    y, test_y = (numpy.searchsorted(labels, part) for part in (y, test_y))
    return Source(name, title, classes or tuple(map(str, labels)), str(folder), (x, y),
                  (test_x, test_y), _digest(sums))


def _drawn(sheet_data, images):
    """The glyphs; test images in the same proportion as MNIST's."""
    kind, title = STANDS_IN[sheet_data], TITLES[sheet_data]
    train = glyphs.generate(kind, "train", images)
    test = glyphs.generate(kind, "test", max(1, images // 6))
    digest = _digest(map(_md5, train + test))
    train, test = ((x, y.astype(int)) for x, y in (train, test))
    return Source(f"glyphs-{kind}", f"embedded glyphs ({kind}, not {title})", CLASSES[kind],
                  "matplotlib's fonts", train, test, digest)


def _md5(array):
    """The MD5 of the plain IDX file that holds `array`, as published for MNIST's files."""
    hashed = hashlib.md5(idx.header(array), usedforsecurity=False)
    hashed.update(array)
    return hashed.hexdigest()


def _digest(sums):
    return hashlib.md5("".join(sums).encode(), usedforsecurity=False).hexdigest()[:16]
