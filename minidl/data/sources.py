"""Where a data set lies: on disk, fetched from its mirrors, or drawn."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import data_download
from minidl import UserError
from minidl.data import glyphs
from minidl.data.progress import Line
from minidl.idx import IdxError

FILES = glyphs.FILES  # split -> the names of its images and of its labels
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
STANDS_IN = {"mnist": "digits", "fashion-mnist": "letters"}  # the glyphs in its place
CLASSES = {
    "mnist": tuple("0123456789"), **{k: tuple(v) for k, v in glyphs.CHARACTERS.items()},
    "fashion-mnist": ("T-shirt", "trousers", "pullover", "dress", "coat",
                      "sandal", "shirt", "sneaker", "bag", "ankle boot"),
}


class DataError(UserError):
    """A data set that cannot be had or is not what it should be: one sentence."""


class Source(NamedTuple):
    name: str              # in results.json
    title: str             # in figures and findings
    classes: tuple | None  # their names by label; None: as many as the training labels show
    folder: Path
    md5: dict              # file -> of its bytes, gzip apart; {} where nobody knows them


def find(sheet_data, wanted, data_dir, images, say):
    """The Source that `wanted` names (see data.load), fetched or drawn where need be."""
    if wanted == "auto" or wanted in TITLES:
        name = sheet_data if wanted == "auto" else wanted
        # nobody who did not ask for it waits long for a network that may not be there
        timeout = 2 if wanted == "auto" else 20
        try:
            folder = _on_disk_or_fetched(name, data_dir, timeout)
            return Source(name, TITLES[name], CLASSES[name], folder,
                          data_download.SETS[name].md5)
        except data_download.DownloadError as error:
            if wanted != "auto":
                raise
            say(f"*** {TITLES[name]} IS NOT AT HAND; the embedded glyphs stand in for it. "
                f"No number below is one on {TITLES[name]}. ***\n({error})")
    if wanted in ("auto", "glyphs"):
        return _drawn(sheet_data, data_dir, images or 60_000)
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        raise DataError(f"--data {wanted}: found no such folder, expected auto, glyphs, "
                        f"{', '.join(TITLES)}, or a folder that holds four IDX files")
    title = folder.resolve().name
    return Source(f"folder {title}", title, None, folder, {})


def file_of(folder, name):
    """The path of an IDX file, plain or gzipped. Raises DataError where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    expected = ", ".join(f for pair in FILES.values() for f in pair)
    raise DataError(f"{folder}: found neither {name} nor {name}.gz, expected the four files "
                    f"{expected}")


def _on_disk_or_fetched(name, data_dir, timeout):
    folder = data_dir / name
    try:
        for file in (f for pair in FILES.values() for f in pair):
            file_of(folder, file)
    except DataError:
        data_download.fetch(name, data_dir, timeout=timeout, progress=show_transfer)
    return folder


def show_transfer(text, **options):
    """What a transfer says of itself; why a mirror failed stands in the error, if all fail."""
    if " MB" in text:
        print(text, **options)


def own_cache():
    """A folder for what can be made anew, where the data folder is others' or read-only.

    Each user of a machine has one: what another left in the common temporary folder is not
    taken for data.
    """
    user = os.getuid() if hasattr(os, "getuid") else "own"  # Windows: it is one's own already
    place = Path(tempfile.gettempdir(), f"minidl-data-{user}")
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700, parents=True)
    return place if place.lstat().st_uid in (user, 0) else Path(tempfile.mkdtemp("-minidl"))


def _drawn(sheet_data, data_dir, images):
    """The glyphs, drawn once and kept; test images in the same proportion as MNIST's."""
    kind, numbers = STANDS_IN[sheet_data], (images, max(1, images // 6))
    line = Line()

    def show(done, n):
        line.update(f"Drawing {kind}: {done:,} of {n:,}")

    try:
        folder = glyphs.folder(kind, data_dir, *numbers, progress=show)
    except (OSError, IdxError):  # a folder of data that only others may write to
        folder = glyphs.folder(kind, own_cache(), *numbers, progress=show)
    line.clear()
    return Source(f"glyphs-{kind}", f"embedded glyphs ({kind}, not {TITLES[sheet_data]})",
                  CLASSES[kind], folder, glyphs.known(folder))
