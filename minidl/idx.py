r"""IDX, the file format of MNIST: a header with the shape, then an array of that shape.

    byte      holds
    0, 1      00 00
    2         type: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    3         number n of dimensions, 0 to 255; n = 0 is a scalar, one element
    4 ...     n sizes, 4 bytes each, unsigned; a size may be 0
    4 + 4n    the elements, the last index running fastest, and then the file ends

All numbers are big endian. A name that ends in .gz holds this gzipped, any other name plain.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section on the file format.
Errors: any other file is an IdxError, "FILE: found ..., expected ...". `read` uses memory for
the bytes in the file, never for those that a header claims. Checked in tests/test_idx.py.
"""
import gzip
import math
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minidl import UserError
from minidl.files import whole_file

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}


class IdxError(UserError):
    """A file or an array that is not IDX: one sentence with what was found and expected."""


def read(path):
    """The array in the file `path`: writable, native byte order. Raises IdxError."""
    path = Path(path)
    with _named_errors(path):
        if path.exists() and not path.is_file():  # asked first: to open a pipe is to wait
            raise ValueError("a folder, a pipe or a device")
        with path.open("rb") as file:
            return _parse(gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file)


def _parse(stream):
    zeros, code, n = struct.unpack(">2sBB", start := stream.read(4))
    if zeros != b"\0\0" or code not in TYPES:
        raise ValueError(f"'{start.hex(' ')}' at the start (gzip, 1f 8b, needs a name in .gz)")
    shape, dtype = struct.unpack(f">{n}I", stream.read(4 * n)), np.dtype(">" + TYPES[code])
    np.broadcast_to(np.zeros((), dtype), shape)  # takes no memory; fails where numpy would
    size, data = math.prod(shape) * dtype.itemsize, bytearray()
    # One byte more than claimed: it shows a longer file, and gzip checks its sum at the end.
    while piece := stream.read(min(2**20, size + 1 - len(data))):
        data += piece
    if len(data) != size:
        more = " or more" if len(data) > size else ""
        raise ValueError(f"{len(data)}{more} bytes of elements under a header of {size}")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def header(array):
    """The 4 + 4n bytes before the elements of `array`. Raises IdxError."""
    codes = {np.dtype(kind).name: code for code, kind in TYPES.items()}
    name, shape = array.dtype.name, array.shape
    if name not in codes or max(shape, default=0) >= 2**32:
        raise IdxError(f"{name}s of shape {shape}, where IDX has {', '.join(codes)} and "
                       "sizes below 2^32")
    return struct.pack(f">HBB{len(shape)}I", 0, codes[name], len(shape), *shape)


def write(path, array):
    """Writes `array`, gzipped if `path` ends in .gz: the whole file or none. Raises IdxError.

    The same array gives the same bytes: gzip's header carries neither the time nor the name.
    """
    path, array = Path(path), np.asarray(array)
    with _named_errors(path), whole_file(path) as beside:
        content = header(array) + array.astype(array.dtype.newbyteorder(">")).tobytes()
        packed = gzip.compress(content, 6, mtime=0) if path.suffix == ".gz" else content
        beside.write_bytes(packed)


@contextmanager
def _named_errors(path):
    """Turns any error of a file into one sentence that begins with the file's name."""
    try:
        yield
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        what = getattr(error, "strerror", None) or error
        raise IdxError(f"{path}: found {what}, expected an IDX file within reach") from error
