r"""Where film reviews come from: IMDb's archive, a folder, or a small grammar.

The archive is read once; its words are cached as numbers beside it, with the archive's hash in
the file's name. A damaged cache is made again. Checked in tests/test_reviews.py.
"""

import contextlib
import gzip
import hashlib
import re
import stat
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy

import data_download
from minidl.data import grammar
from minidl.data.sources import DataError, name_of, own_cache, show_transfer
from minidl.files import whole_file

VERSION = 2  # raise it when the words of a text change: it is part of the cache's name
UNKNOWN = "(unknown)"
FOLDERS = [f"{split}/{kind}" for split in ("train", "test") for kind in ("neg", "pos")]
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?]")
MARKUP = re.compile(r"</?[a-z][^<>]{0,50}>")


class Texts(NamedTuple):
    words: list            # of both splits; their order has no meaning
    w: numpy.ndarray       # (total,) int32: all reviews' words by number, one after another
    starts: numpy.ndarray  # (N + 1,) int64: review i is w[starts[i]:starts[i + 1]]
    y: numpy.ndarray       # (N,) int64: 0 negative, 1 positive
    test: numpy.ndarray    # (N,) bool: whether it belongs to the test split


def words_of(text):
    """'It isn\\'t GOOD.<br />' -> ['it', "isn't", 'good']."""
    return WORD.findall(MARKUP.sub(" ", text.lower().replace("\u2019", "'")))


def find(wanted, data_dir, say):
    """-> name, title, digest, Texts of what `wanted` names (see reviews.load)."""
    if wanted in ("auto", "imdb"):
        try:
            if data_download.missing("imdb", data_dir):
                data_download.fetch("imdb", data_dir, timeout=2 if wanted == "auto" else 20,
                                    progress=show_transfer)
            texts = _cached(data_dir / "imdb" / "aclImdb_v1.tar.gz", say)
            return "imdb", "IMDb", data_download.SETS["imdb"].reviews[:16], texts
        except data_download.DownloadError as error:
            if wanted == "imdb":
                raise
            say("*** IMDb IS NOT AVAILABLE; the embedded corpus, drawn from a small grammar, "
                f"replaces it. No number below is a result on IMDb. ***\n({error})")
    if wanted in ("auto", "embedded"):
        texts = _numbered(grammar.texts())
        return "embedded", grammar.TITLE, _digest(texts), texts
    folder = Path(wanted).expanduser()
    if not folder.is_dir():
        raise DataError(f"--data {wanted}: found no such folder, expected auto, imdb, "
                        f"embedded, or a folder that holds {', '.join(FOLDERS)}")
    title = f"folder {name_of(folder.resolve())}"
    texts = _numbered(_in_folder(folder))
    return title, title, _digest(texts), texts


def _digest(texts):
    """A hash of all reviews' words in their order: it tells two sets of one name apart."""
    hashed = hashlib.sha256(" ".join(texts.words).encode())
    for array in texts[1:]:
        hashed.update(array)
    return hashed.hexdigest()[:16]


def _cached(archive, say):
    """The words of the archive: from the cache beside it, or read again."""
    with archive.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    own = archive.parent.stat().st_mode & stat.S_IWUSR  # read-only is meant for root, too
    places = [folder / f"words-v{VERSION}-{mark}.npz"
              for folder in ([archive.parent] if own else []) + [own_cache()]]
    for place in places:
        with contextlib.suppress(Exception):  # a damaged file: it raises a dozen kinds
            return _read(place)
    say(f"Reading {archive}, once: its words are cached")
    texts = _numbered(_in_archive(archive))
    for place in places:
        with contextlib.suppress(OSError):  # a folder of data that only others may write to
            _write(place, texts)
            break
    return texts


def _write(place, texts):
    words = numpy.frombuffer("\n".join(texts.words).encode(), numpy.uint8)
    with whole_file(place) as path, path.open("wb") as file:
        numpy.savez(file, **texts._asdict() | {"words": words})


def _read(place):
    with numpy.load(place, allow_pickle=False) as kept:
        arrays = {key: kept[key] for key in Texts._fields}
    return Texts(**arrays | {"words": arrays["words"].tobytes().decode().split("\n")})


def _numbered(reviews):
    """(folder of FOLDERS, text) pairs -> Texts. The memory holds numbers, not words."""
    number = defaultdict()
    number.default_factory = number.__len__  # a new word gets the next number
    w, starts, y, test = [], [0], [], []
    for folder, text in reviews:
        found = words_of(text) or [UNKNOWN]
        w.append(numpy.fromiter(map(number.__getitem__, found), numpy.int32, len(found)))
        starts.append(starts[-1] + len(found))
        y.append(int(folder.endswith("pos")))
        test.append(folder.startswith("test"))
    return Texts(list(number), numpy.concatenate(w), numpy.array(starts), numpy.array(y),
                 numpy.array(test))


def _in_folder(folder):
    files = {name: sorted((folder / name).glob("*.txt")) for name in sorted(FOLDERS)}
    if lacking := [name for name in FOLDERS if not files[name]]:
        raise DataError(f"{folder}: found no review in {', '.join(lacking)}, expected some in "
                        f"each of {', '.join(FOLDERS)}")
    for name, paths in files.items():  # in the order of the archive
        for path in paths:
            yield name, path.read_bytes().decode(errors="replace")


def _in_archive(archive):
    """The published reviews, in the order of their names, or DataError."""
    try:
        with gzip.open(archive) as unpacked:
            texts = data_download.read_reviews(unpacked, data_download.SETS["imdb"].largest)
    except data_download.MALFORMED as error:
        raise DataError(f"{archive}: found damaged content ({error}), expected the published "
                        "IMDb archive; delete it to download it again") from error
    found, expected = data_download.hash_reviews(texts), data_download.SETS["imdb"].reviews
    if found != expected:
        raise DataError(f"{archive}: found {len(texts):,} reviews with SHA-256 {found}, "
                        f"expected the 50,000 published ones, {expected}")
    for name, text in texts.items():
        yield name.partition("/")[2].rpartition("/")[0], text.decode(errors="replace")
