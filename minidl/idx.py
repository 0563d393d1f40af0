r"""IDX, the file format of MNIST: an array of any shape after a header that tells the shape.

    byte      holds
    0, 1      00 00
    2         type: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    3         number n of dimensions, 0 to 255; n = 0 is a scalar, one element
    4 ...     n sizes, 4 bytes each, unsigned; a size may be 0
    4 + 4n    the elements, the last index running fastest, and then the file ends

All numbers are big endian. A name that ends in .gz holds this gzipped, any other name plain.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section on the file format.

Errors: any other file is an IdxError, "FILE: found ..., expected ...". `read` takes memory for
bytes that arrive, never for bytes that a header claims. Checked in tests/test_idx.py.
"""
import gzip
import math
import stat
import struct
import textwrap
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minidl.files import whole_file

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
GZIP = b"\x1f\x8b"      # the first two bytes of every gzip file
DEFLATE = 1032          # gzip's utmost: 2 bits stand for 258 bytes
CHUNK = 2**20           # bytes a read: memory follows what arrives, not what is claimed


class IdxError(ValueError):
    """A file or an array that is not IDX: one sentence with what was found and expected."""


def read(path):
    """The array in the file `path`: writable, native byte order. Raises IdxError."""
    with _named_errors(path):
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):    # asked first: to open a named pipe is to wait
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise IdxError(f"found {kind}, expected a regular file")
        with Path(path).open("rb") as file:
            start, zipped = file.peek(2)[:2], Path(path).name.endswith(".gz")
            if zipped and start != GZIP:
                raise IdxError(f"found bytes '{start.hex(' ')}', expected gzip's '1f 8b'")
            if start == GZIP and not zipped:
                raise IdxError("found gzip, expected plain IDX or a name that ends in .gz")
            if zipped:
                return _parse(gzip.GzipFile(fileobj=file), DEFLATE * status.st_size)
            return _parse(file, status.st_size)


def _parse(stream, limit):
    """The array in a stream that cannot hold more than `limit` bytes."""
    zeros, code, ndim = struct.unpack(">2sBB", _take(stream, 4))
    if zeros != b"\0\0":
        raise IdxError(f"found bytes '{zeros.hex(' ')}', expected '00 00', the start of IDX")
    if code not in TYPES:
        known = ", ".join(f"{known:02x}" for known in TYPES)
        raise IdxError(f"found elements of type {code:02x}, expected one of {known}")
    shape = struct.unpack(f">{ndim}I", _take(stream, 4 * ndim))
    dtype = np.dtype(">" + TYPES[code])
    data = _elements(stream, limit - 4 - 4 * ndim, (*shape, dtype.itemsize))
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:     # more than 64 sizes, or as 0 x 2^32-1 x 2^32-1 x 2^32-1
        raise IdxError(f"found {ndim} sizes, expected what numpy holds ({error})") from None
    return array.astype(dtype.newbyteorder("="), copy=False)


def _take(stream, count):
    """Exactly `count` bytes of the header."""
    data = stream.read(count)
    if len(data) < count:
        raise IdxError(f"found {len(data)} bytes, expected {count} more of the header")
    return data


def _elements(stream, room, factors):
    """The last product(factors) bytes of a stream that has room for `room` more."""
    size = math.prod(factors)       # Python's integers do not overflow
    text = f"expected {' x '.join(map(str, factors))} = {size} bytes of elements"
    expected = textwrap.shorten(text, 95, placeholder=" ...")
    if size > room:
        raise IdxError(f"found room for {room}, {expected}")
    data = bytearray()
    # Up to one byte more: it shows a longer file, and gzip compares its checksum at the end.
    while chunk := stream.read(min(CHUNK, size + 1 - len(data))):
        data += chunk
    if len(data) != size:
        raise IdxError(f"found {'at least ' * (len(data) > size)}{len(data)}, {expected}")
    return data


def header(array):
    """The 4 + 4n bytes before the elements of `array`. Raises IdxError."""
    kind, shape = f"{array.dtype.kind}{array.dtype.itemsize}", array.shape
    codes = {kind: code for code, kind in TYPES.items()}
    if kind not in codes:
        known = ", ".join(np.dtype(kind).name for kind in codes)
        raise IdxError(f"found elements of type {array.dtype}, expected one of {known}")
    if len(shape) > 255 or any(size >= 2**32 for size in shape):
        raise IdxError(f"found shape {shape}, expected at most 255 sizes, each below 2^32")
    return struct.pack(f">HBB{len(shape)}I", 0, codes[kind], len(shape), *shape)


def write(path, array):
    """Writes `array`, gzipped if `path` ends in .gz: the whole file or none. Raises IdxError.

    The same array gives the same bytes: gzip's header carries neither the time nor the name.
    """
    path, array = Path(path), np.asarray(array)
    with _named_errors(path), whole_file(path) as beside:
        content = header(array) + array.astype(array.dtype.newbyteorder(">")).tobytes()
        zipped = path.name.endswith(".gz")
        beside.write_bytes(gzip.compress(content, 6, mtime=0) if zipped else content)


@contextmanager
def _named_errors(path):
    """Makes whatever goes wrong with a file an IdxError that begins with its name."""
    try:
        yield
    except IdxError as error:
        raise IdxError(f"{path}: {error}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IdxError(f"{path}: found damaged gzip ({error}), expected it whole") from error
    except OSError as error:
        what = error.strerror or error
        raise IdxError(f"{path}: found '{what}', expected a file within reach") from error
