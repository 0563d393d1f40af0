"""minidl/idx.py against bytes written by hand and damage of every kind.

Files damaged at random are read right or refused in tests/test_torture.py.
"""
import gzip
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from minidl import idx

# type -> (a file's bytes, the array they mean), decoded by hand with the table of the format
BY_HAND = {
    "uint8": ("00000802 00000002 00000003  00 01 02 7f 80 ff", [[0, 1, 2], [127, 128, 255]]),
    "int8": ("00000901 00000004  00 7f 80 ff", [0, 127, -128, -1]),
    "int16": ("00000b03 00000001 00000002 00000002  0001 0100 7fff fffe",
              [[[1, 256], [32767, -2]]]),
    "int32": ("00000c01 00000003  00000100 80000000 ffffffff", [256, -(2**31), -1]),
    "float32": ("00000d01 00000004  3f800000 c0200000 00000001 7f800000",
                [1.0, -2.5, 2.0**-149, np.inf]),
    "float64": ("00000e01 00000003  3ff0000000000000 c004000000000000 0000000000000001",
                [1.0, -2.5, 2.0**-1074]),
}
GOOD = bytes.fromhex("00000801 00000005  01 02 03 04 05")
ZIPPED = gzip.compress(GOOD, mtime=0)
HUGE = b"\xff\xff\xff\xff"
both_names = pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])


def put(path, content):
    """Writes bytes, gzipped by Python's own gzip if the name ends in .gz."""
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def refused(call, path, *args):
    """The call is refused in one sentence that begins with the file's name."""
    with pytest.raises(idx.IdxError) as caught:
        call(path, *args)
    message = str(caught.value)
    assert message.startswith(f"{path}: found ") and ", expected " in message, message
    assert "\n" not in message and len(message) < len(str(path)) + 300, message
    return message


def same(a, b):
    """Equal in dtype, shape and every bit: NaN equals NaN and -0.0 differs from 0.0."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# What a file means

@both_names
@pytest.mark.parametrize("dtype", BY_HAND)
def test_bytes_written_by_hand_mean_the_array_decoded_by_hand(tmp_path, dtype, name):
    content, values = bytes.fromhex(BY_HAND[dtype][0]), np.array(BY_HAND[dtype][1], dtype)
    array = idx.read(put(tmp_path / name, content))
    assert same(array, values) and array.dtype.isnative and array.flags.writeable
    idx.write(tmp_path / name, values)
    written = (tmp_path / name).read_bytes()
    assert (gzip.decompress(written) if name.endswith(".gz") else written) == content


@both_names
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 4), (1,) * 32])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, shape, name):
    for dtype in BY_HAND:  # every pattern of bits is an element, NaNs with a payload as well
        n = int(np.prod(shape)) * np.dtype(dtype).itemsize
        array = np.frombuffer(random.Random(0).randbytes(n), dtype).reshape(shape)
        idx.write(tmp_path / name, array)
        assert same(idx.read(tmp_path / name), array)


def test_byte_order_and_layout_in_memory_do_not_change_the_file(tmp_path):
    array = np.arange(-12, 12, dtype=np.int16).reshape(4, 6)
    wide = np.zeros((8, 6), np.int16)
    wide[::2] = array
    for layout in (array.astype(">i2"), array.astype("<i2"), np.asfortranarray(array),
                   wide[::2]):
        idx.write(tmp_path / "a-idx", layout)
        expected = struct.pack(">4B2I24h", 0, 0, 0x0B, 2, 4, 6, *range(-12, 12))
        assert (tmp_path / "a-idx").read_bytes() == expected


# Writing

@pytest.mark.parametrize("array", [
    np.zeros(2, np.int64), np.zeros(2, np.uint16), np.zeros(2, bool), np.array(["a", "b"]),
    np.zeros(2, np.complex64), np.zeros(2, "datetime64[s]"),
    np.broadcast_to(np.uint8(0), (2**32,)),
], ids=lambda array: f"{array.dtype} {array.shape}")
def test_an_array_that_idx_cannot_hold_is_refused_and_nothing_is_written(tmp_path, array):
    refused(idx.write, tmp_path / "a-idx", array)
    assert not list(tmp_path.iterdir())


# Malformed files

MALFORMED = {   # what is wrong -> (name, bytes)
    "empty": ("a-idx", b""),
    "first byte": ("a-idx", b"\1" + GOOD[1:]),
    "type": ("a-idx", b"\0\0\x0a\1" + GOOD[4:]),
    "magic cut": ("a-idx", GOOD[:3]),
    "short": ("a-idx", GOOD[:-1]),
    "long": ("a-idx", GOOD + b"\0"),
    "not gzip": ("a-idx.gz", GOOD),
    "gzip": ("a-idx", ZIPPED),
    "gz, no sum": ("a-idx.gz", ZIPPED[:-8]),
    "gz, wrong sum": ("a-idx.gz", ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:]),
    "gz, more": ("a-idx.gz", ZIPPED + b"junk"),
    "2^64 bytes": ("a-idx", b"\0\0\x0e\2\x80\0\0\0\x40\0\0\0"),
    "0 x huge": ("a-idx", b"\0\0\x08\4" + bytes(4) + 3 * HUGE),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_file_is_refused_in_a_sentence_with_its_name(tmp_path, kind):
    name, content = MALFORMED[kind]
    (tmp_path / name).write_bytes(content)
    refused(idx.read, tmp_path / name)


# Memory

def peak(path):
    """The most bytes held at a time while `read` refuses a file."""
    tracemalloc.start()
    try:
        refused(idx.read, path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# A piece is 1 MiB; a growing bytearray is copied, so that twice what arrived may be held.

@both_names
def test_a_header_that_claims_a_terabyte_takes_memory_for_what_arrives_only(tmp_path, name):
    noise = random.Random(0).randbytes(2**21)
    claim = struct.pack(">4B2I", 0, 0, 0x08, 2, 2**20, 2**20)
    used = peak(put(tmp_path / name, claim + noise))
    assert used < 8 * 2**20, f"{used} bytes at the peak; of 2 MiB that arrive, 8 MiB allowed"


# The real files

@pytest.mark.real_data
def test_the_training_set_of_mnist_is_read_as_published(real_data):
    images = idx.read(Path(real_data, "mnist", "train-images-idx3-ubyte.gz"))
    labels = idx.read(Path(real_data, "mnist", "train-labels-idx1-ubyte.gz"))
    assert images.shape == (60000, 28, 28) and images.dtype == np.uint8
    assert images.sum(dtype=np.int64) == 1_567_298_545  # / (255 n): the 0.1307 that all quote
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
