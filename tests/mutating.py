"""Mutated files: each is read right or refused in a sentence, by nothing but the right errors.

A file is changed in one to four places (a bit, bytes, a piece cut out, put in or doubled),
half of the gzipped ones before they are packed. What `read` means is found by a second, plain
reading of the mutated bytes. Used in tests/test_torture.py.
"""

import functools
import gzip
import io
import json
import random
import signal
import struct
import tarfile
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import numpy
import torch

import data_download
from minidl import idx
from minidl.data import points as files_of_points
from minidl.data import review_sources
from minidl.data.sources import DataError
from minidl.lab import checkpoint

TOO_LONG = 300  # seconds for a file of a few kilobytes, on a busy machine
CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}  # of IDX
TEXTS = {f"aclImdb/{folder}/{i}_1.txt": f"a {('good', 'bad')[i % 2]} film {i}".encode()
         for i, folder in enumerate(2 * review_sources.FOLDERS)}
REVIEWS = [(name.removeprefix("aclImdb/").rpartition("/")[0], TEXTS[name].decode())
           for name in sorted(TEXTS)]
TINY = data_download.DataSet((), {"aclImdb_v1.tar.gz": ""}, 2**20, data_download.hash_reviews(
    {name: TEXTS[name] for name in sorted(TEXTS)}))


def mutated(data, source):
    """The bytes, changed in one to four places."""
    data = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 4))):
        at, n = source.randrange(len(data) + 1), source.choice((1, 1, 2, 4, 16, 100))
        piece = data[at:at + n]
        flipped = bytes(b ^ 1 << source.randrange(8) for b in piece[:1]) + piece[1:]
        filled = bytes([source.choice(b"\0\xff\x7f\x80-0. ,\n")]) * len(piece)
        data[at:at + n] = source.choice((flipped, flipped, filled, source.randbytes(n),
                                         source.randbytes(n) + piece, 2 * piece, b""))
    return bytes(data if source.random() < 0.9 else data[:source.randrange(len(data) + 1)])


# --- the kinds of file: fresh bytes, and the check of what was read -------------------------

def plain_idx(source):
    """A small array of any type and shape as IDX, packed by hand; mutated."""
    kind = source.choice(list(CODES))
    shape = [source.randint(0, 5) for _ in range(source.randint(0, 4))]
    n = int(numpy.prod(shape)) * int(kind[1])
    return mutated(struct.pack(f">HBB{len(shape)}I", 0, CODES[kind], len(shape), *shape)
                   + source.randbytes(n), source)


def zipped_idx(source):
    packed = gzip.compress(plain_idx(source), mtime=0)
    return packed if source.random() < 0.5 else mutated(packed, source)


def read_idx(path):
    """True: the array is what the bytes say. IdxError: refused."""
    array = idx.read(path)
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    kind = next(kind for kind, code in CODES.items() if code == data[2])
    shape = struct.unpack(f">{data[3]}I", data[4:4 + 4 * data[3]])
    assert data[:2] == b"\0\0" and array.shape == shape and array.dtype == kind
    return array.astype(f">{kind}").tobytes() == data[4 + 4 * data[3]:]


def packed(texts, odd=()):
    """A .tar of texts, name -> bytes; before them odd members: (name, text, type, link)."""
    texts = [(name, text, tarfile.REGTYPE, "") for name, text in texts.items()]
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as tar:
        for name, text, kind, link in [*odd, *texts]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(text)
            tar.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def archive(source):
    """The reviews, now and then with a member of another kind; mutated."""
    data = packed(TEXTS, [(source.choice(("../x", "/x", "n" * 200)), b"",
                           source.choice(b"0123567xgLKSV").to_bytes(), "/etc")
                          for _ in range(source.choice((0, 0, 1, 2)))])
    data = data[:-2000]  # the zeros at the end are nothing to mutate
    if source.random() < 0.5:
        return mutated(gzip.compress(data, 1, mtime=0), source)
    return gzip.compress(mutated(data, source), 1, mtime=0)


def read_archive(path):
    """True: these are the reviews. DataError: refused."""
    return list(review_sources._in_archive(path)) == REVIEWS


def points(source):
    """Lines x,y with a heading or without; mutated."""
    rows = [f"{source.uniform(-9, 9):.{source.randint(0, 9)}f},{source.gauss(0, 9):g}"
            for _ in range(source.randint(9, 30))]
    ends = source.choice(("\n", "\r\n"))
    return mutated(ends.join(["x,y"] * source.randint(0, 1) + rows).encode(), source)


def read_points(path):
    """True: the points are those of the lines. DataError: refused."""
    found = torch.cat(files_of_points.read_points(path), dim=1)
    lines = path.read_bytes().decode("utf-8-sig").splitlines()
    lines = [line for line in lines if line.strip()]
    if lines[0].lstrip()[:1].isalpha() and lines[0].count(",") == 1:
        lines = lines[1:]  # a heading
    wanted = [list(map(float, line.split(","))) for line in lines]
    return torch.equal(found, torch.tensor(wanted, dtype=torch.float64))


@functools.cache
def whole_checkpoint():
    generator = torch.Generator().manual_seed(0)
    torch.save({"made_by": {"epochs": 3}, "progress": {"epoch": 2, "history": {"loss": [1.5]}},
                "parts": {"model": {"weight": torch.arange(12.0)}},
                "generators": {"order": generator.get_state()}}, buffer := io.BytesIO())
    return checkpoint.sealed(buffer.getvalue())


def read_checkpoint(path):
    """True: all of it is as it was saved. CheckpointError: refused."""
    found, saved = checkpoint.read(path), torch.load(io.BytesIO(whole_checkpoint()))
    return json.dumps(found, default=torch.Tensor.tolist) == json.dumps(
        saved, default=torch.Tensor.tolist)


# --- all together ---------------------------------------------------------------------------

class Kind(NamedTuple):
    fresh: Callable  # source of chance -> mutated bytes
    name: str        # of the file
    read: Callable   # path -> whether what it reads is right
    refusal: type    # the error of a file that is refused


KINDS = {
    "IDX": Kind(plain_idx, "a-idx3-ubyte", read_idx, idx.IdxError),
    "IDX, gzipped": Kind(zipped_idx, "a-idx3-ubyte.gz", read_idx, idx.IdxError),
    "archive of reviews": Kind(archive, "a.tar.gz", read_archive, DataError),
    "CSV of points": Kind(points, "a.csv", read_points, DataError),
    "checkpoint": Kind(lambda source: mutated(whole_checkpoint(), source), "a.pt",
                       read_checkpoint, checkpoint.CheckpointError)}


def outcome(kind, path):
    """-> "read", "refused", or what went wrong with the file, in words."""
    try:
        return "read" if kind.read(path) else "READ WRONGLY"
    except kind.refusal as error:
        sentence = (str(path) in str(error) and "\n" not in str(error)
                    and "expected" in str(error))
        return "refused" if sentence else f"NO SENTENCE: {error!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def mutate(name, n, seed, scratch):
    """Read n mutated files of a kind -> outcome -> how often. What is neither "read" nor
    "refused" is unexpected; a file that does not end kills the process (SIGALRM)."""
    kind, source, found = KINDS[name], random.Random(f"{name} {seed}"), Counter()
    with mock.patch.dict(data_download.SETS, imdb=TINY):
        for _ in range(n):
            path = scratch / kind.name
            path.write_bytes(kind.fresh(source))
            signal.alarm(TOO_LONG)
            found[outcome(kind, path)] += 1
            signal.alarm(0)
    return found
