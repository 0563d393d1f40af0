"""minidl/idx.py against bytes written by hand, a second parser, and damage of every kind."""
import gzip
import io
import os
import random
import struct
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import idx

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]

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


def put(path, content):
    """Writes bytes, gzipped by Python's own gzip if the name ends in .gz."""
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def error_of(path):
    """The message with which `read` refuses a file: one line that begins with the name."""
    with pytest.raises(idx.IdxError) as caught:
        idx.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: found ") and ", expected " in message, message
    assert "\n" not in message and len(message) < len(str(path)) + 300, message
    return message


def same(a, b):
    """Equal in dtype, shape and every bit: NaN equals NaN and -0.0 differs from 0.0."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# What a file means

@pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_written_by_hand_mean_the_array_decoded_by_hand(tmp_path, dtype, name):
    text, values = BY_HAND[dtype]
    array = idx.read(put(tmp_path / name, bytes.fromhex(text)))
    assert same(array, np.array(values, dtype)), array


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_is_written_as_the_bytes_written_by_hand(tmp_path, dtype):
    text, values = BY_HAND[dtype]
    idx.write(tmp_path / "a-idx", np.array(values, dtype))
    assert (tmp_path / "a-idx").read_bytes() == bytes.fromhex(text)
    idx.write(tmp_path / "a-idx.gz", np.array(values, dtype))
    assert gzip.decompress((tmp_path / "a-idx.gz").read_bytes()) == bytes.fromhex(text)


def test_the_header_of_the_training_images_of_mnist_is_its_sixteen_published_bytes():
    images = np.broadcast_to(np.uint8(0), (60000, 28, 28))
    assert idx.header(images) == bytes.fromhex("00000803 0000ea60 0000001c 0000001c")


@pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 4), (1,) * 64])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, shape, dtype, name):
    if len(shape) > 32 and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("numpy 1 holds 32 dimensions")
    itemsize, count = np.dtype(dtype).itemsize, int(np.prod(shape))
    # Every pattern of bits is an element, NaNs with a payload among them.
    bits = np.random.default_rng(0).bytes(count * itemsize)
    array = np.frombuffer(bits, dtype).reshape(shape)
    idx.write(tmp_path / name, array)
    assert same(idx.read(tmp_path / name), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_read_is_native_and_contiguous_and_may_be_written_to(tmp_path, dtype):
    array = idx.read(put(tmp_path / "a-idx", bytes.fromhex(BY_HAND[dtype][0])))
    assert array.dtype.isnative and array.flags.c_contiguous and array.flags.writeable
    array[...] = 1
    assert (array == 1).all()


def test_byte_order_and_layout_in_memory_do_not_change_the_file(tmp_path):
    array = np.arange(-12, 12, dtype=np.int16).reshape(4, 6)
    wide = np.zeros((8, 6), np.int16)
    wide[::2] = array
    layouts = [array, array.astype(">i2"), array.astype("<i2"), np.asfortranarray(array),
               np.ascontiguousarray(array.T).T, wide[::2]]
    for layout in layouts:
        idx.write(tmp_path / "a-idx", layout)
        expected = struct.pack(">4B2I24h", 0, 0, 0x0B, 2, 4, 6, *range(-12, 12))
        assert (tmp_path / "a-idx").read_bytes() == expected


def test_gzip_of_two_members_is_one_file_as_gzip_defines_it(tmp_path):
    content = bytes.fromhex(BY_HAND["int16"][0])
    path = tmp_path / "a-idx.gz"
    path.write_bytes(gzip.compress(content[:9]) + gzip.compress(content[9:]))
    assert same(idx.read(path), np.array(BY_HAND["int16"][1], np.int16))


# Writing

@pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])
def test_the_bytes_do_not_depend_on_the_time_or_the_name(tmp_path, monkeypatch, name):
    array = np.arange(1000, dtype=np.int32)
    idx.write(tmp_path / name, array)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    idx.write(tmp_path / f"other-{name}", array)
    first, second = (tmp_path / name).read_bytes(), (tmp_path / f"other-{name}").read_bytes()
    assert first == second
    if name.endswith(".gz"):    # RFC 1952: flags 00 (no name), then four bytes of time
        assert first[:8] == bytes.fromhex("1f8b 08 00 00000000"), first[:8].hex(" ")


class Failing(io.BytesIO):
    def write(self, data):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])
@pytest.mark.parametrize("step", ["open", "replace", "interrupt"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
        tmp_path, monkeypatch, step, name):
    def fail(*args, **keywords):
        if step == "interrupt":
            raise KeyboardInterrupt
        raise OSError(28, "No space left on device")

    old = np.arange(5, dtype=np.uint8)
    idx.write(tmp_path / name, old)
    with monkeypatch.context() as patch:
        if step == "open":      # the disk fills up while the temporary file grows
            def open_and_fill(self, mode):
                self.touch()
                return Failing()
            patch.setattr(Path, "open", open_and_fill)
        else:
            patch.setattr(Path, "replace", fail)
        expected = KeyboardInterrupt if step == "interrupt" else idx.IdxError
        with pytest.raises(expected) as caught:
            idx.write(tmp_path / name, np.zeros(9, np.uint8))
    if step != "interrupt":
        assert f"{tmp_path / name}: found 'No space left on device'" in str(caught.value)
    assert same(idx.read(tmp_path / name), old)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_writing_into_a_folder_that_is_not_there_names_the_file(tmp_path):
    path = tmp_path / "nowhere" / "a-idx"
    with pytest.raises(idx.IdxError, match=r"nowhere.a-idx: found 'No such file"):
        idx.write(path, np.zeros(1, np.uint8))


@pytest.mark.parametrize("array, found, expected", [
    (np.zeros(2, np.int64), "int64", "uint8, int8, int16, int32, float32, float64"),
    (np.zeros(2, np.uint16), "uint16", "uint8, int8"),
    (np.zeros(2, bool), "bool", "uint8, int8"),
    (np.zeros(2, np.complex64), "complex64", "float64"),
    (np.array(["a", "b"]), "<U1", "float64"),
    (np.zeros(2, "datetime64[s]"), "datetime64", "float64"),
    (np.broadcast_to(np.uint8(0), (2**32,)), "4294967296", "below 2^32"),
    (np.empty((2**32, 0), np.int8), "4294967296", "below 2^32"),
])
def test_an_array_that_idx_cannot_hold_is_refused_and_nothing_is_written(
        tmp_path, array, found, expected):
    with pytest.raises(idx.IdxError) as caught:
        idx.write(tmp_path / "a-idx", array)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a-idx'}: found ")
    assert found in message and expected in message, message
    assert not list(tmp_path.iterdir())


def test_sizes_up_to_the_limits_of_the_header_fit_and_one_more_does_not():
    assert idx.header(np.empty((2**32 - 1, 0), np.int8))[4:8] == b"\xff" * 4
    # numpy stops at 64 dimensions, the format at 255: hence a stand-in for an array
    fits = SimpleNamespace(dtype=np.dtype("u1"), shape=(1,) * 255)
    assert idx.header(fits) == bytes([0, 0, 8, 255]) + struct.pack(">I", 1) * 255
    with pytest.raises(idx.IdxError, match="expected at most 255"):
        idx.header(SimpleNamespace(dtype=np.dtype("u1"), shape=(1,) * 256))


# Malformed files

GOOD = bytes.fromhex("00000801 00000005  01 02 03 04 05")
ZIPPED = gzip.compress(GOOD, mtime=0)
WRONG_SUM = ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:]
WRONG_LENGTH = ZIPPED[:-1] + b"\x01"
HUGE = b"\xff\xff\xff\xff"
CONTENT = "expected 5 x 1 = 5 bytes"

MALFORMED = {   # what is wrong -> (name, bytes, what is found, what is expected)
    "empty": ("a-idx", b"", "found 0 bytes", "expected 4 more of the header"),
    "empty, gz": ("a-idx.gz", b"", "found bytes ''", "expected gzip's '1f 8b'"),
    "empty in gz": ("a-idx.gz", gzip.compress(b""), "found 0 bytes", "expected 4 more"),
    "first byte": ("a-idx", b"\1" + GOOD[1:], "found bytes '01 00'", "expected '00 00'"),
    "second byte": ("a-idx", b"\0\1" + GOOD[2:], "found bytes '00 01'", "expected '00 00'"),
    "a web page": ("a-idx", b"<html>Forbidden", "found bytes '3c 68'", "expected '00 00'"),
    "type": ("a-idx", b"\0\0\x0a\1" + GOOD[4:], "type 0a", "expected one of 08, 09, 0b, 0c"),
    "magic cut": ("a-idx", GOOD[:3], "found 3 bytes", "expected 4 more of the header"),
    "sizes cut": ("a-idx", GOOD[:7], "found 3 bytes", "expected 4 more of the header"),
    "no sizes": ("a-idx", b"\0\0\x08\xff", "found 0 bytes", "expected 1020 more"),
    "short": ("a-idx", GOOD[:-1], "found room for 4,", CONTENT),
    "short, gz": ("a-idx.gz", gzip.compress(GOOD[:-1]), "found 4,", CONTENT),
    "long": ("a-idx", GOOD + b"\0", "found at least 6,", CONTENT),
    "long, gz": ("a-idx.gz", gzip.compress(GOOD + b"\0"), "found at least 6,", CONTENT),
    "scalar, short": ("a-idx", b"\0\0\x0c\0" + b"\0\0\0", "room for 3,", "expected 4 = 4"),
    "nothing, long": ("a-idx", b"\0\0\x08\1\0\0\0\0!", "at least 1,", "0 x 1 = 0 bytes"),
    "odd bytes": ("a-idx", b"\0\0\x0b\1\0\0\0\2abc", "room for 3,", "2 x 2 = 4 bytes"),
    "not gzip": ("a-idx.gz", GOOD, "found bytes '00 00'", "expected gzip's '1f 8b'"),
    "gzip": ("a-idx", ZIPPED, "found gzip", "expected plain IDX or a name that ends in .gz"),
    "gzip twice": ("a-idx.gz", gzip.compress(ZIPPED), "found bytes '1f 8b'", "'00 00'"),
    "gz, two bytes": ("a-idx.gz", ZIPPED[:2], "damaged gzip", "expected it whole"),
    "gz, half": ("a-idx.gz", ZIPPED[:-12], "damaged gzip (Compressed file ended", "whole"),
    "gz, no sum": ("a-idx.gz", ZIPPED[:-8], "damaged gzip (Compressed file ended", "whole"),
    "gz, wrong sum": ("a-idx.gz", WRONG_SUM, "damaged gzip (CRC check failed", "whole"),
    "gz, wrong length": ("a-idx.gz", WRONG_LENGTH, "damaged gzip (Incorrect length", "whole"),
    "gz, wrong code": ("a-idx.gz", ZIPPED[:10] + b"\xff" * 9, "gzip (Error -3", "whole"),
    "gz, method": ("a-idx.gz", b"\x1f\x8b\7" + ZIPPED[3:], "gzip (Unknown compr", "whole"),
    "gz, more": ("a-idx.gz", ZIPPED + b"junk", "gzip (Not a gzipped file (b'ju'", "whole"),
    "terabytes": ("a-idx", b"\0\0\x0e\2" + 2 * HUGE + b"abc", "found room for 3,",
                  "4294967295 x 4294967295 x 8 = 147573952520956936200 bytes"),
    "terabytes, gz": ("a-idx.gz", gzip.compress(b"\0\0\x0e\2" + 2 * HUGE + b"abc"),
                      "found room for ", "x 4294967295 x 8 = 147573952520956936200 bytes"),
    "2^64 bytes": ("a-idx", b"\0\0\x0e\2\x80\0\0\0\x40\0\0\0", "found room for 0,",
                   "2147483648 x 1073741824 x 8 = 18446744073709551616 bytes"),
    "255 sizes": ("a-idx", b"\0\0\x0e\xff" + 255 * HUGE, "room for 0,", "x 4294967295 x ..."),
    "65 sizes": ("a-idx", b"\0\0\x08\x41" + 65 * b"\0\0\0\1" + b"!", "found 65 sizes",
                 "what numpy holds"),
    "0 x huge": ("a-idx", b"\0\0\x08\4" + bytes(4) + 3 * HUGE, "found 4 sizes",
                 "what numpy holds"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_file_is_refused_with_its_name_what_was_found_and_expected(tmp_path, kind):
    name, content, found, expected = MALFORMED[kind]
    (tmp_path / name).write_bytes(content)
    message = error_of(tmp_path / name)
    before, after = message.split(", expected ", 1)
    assert found in before + "," and expected in f", expected {after}", message


def test_the_file_that_every_malformed_one_departs_from_is_read(tmp_path):
    for name in ["a-idx", "a-idx.gz"]:
        assert idx.read(put(tmp_path / name, GOOD)).tolist() == [1, 2, 3, 4, 5]


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "found 'No such file or directory'" in error_of(tmp_path / "missing")
    assert "found 'Not a directory'" in error_of(put(tmp_path / "file", GOOD) / "a-idx")
    assert "found a folder, expected a regular file" in error_of(tmp_path)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = put(tmp_path / "a-idx.gz", GOOD)

    def refuse(self, *args):    # in place of chmod, which does not bind root
        raise PermissionError(13, "Permission denied", str(self))
    monkeypatch.setattr(Path, "open", refuse)
    assert "found 'Permission denied'" in error_of(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe", "pipe.gz"])
def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path, name):
    os.mkfifo(tmp_path / name)
    messages = []
    thread = threading.Thread(target=lambda: messages.append(error_of(tmp_path / name)),
                              daemon=True)
    thread.start()
    thread.join(5)
    assert messages and "found a pipe or a device, expected a regular file" in messages[0]


# Memory

def peak(task):
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])
def test_a_header_that_claims_a_terabyte_is_refused_before_memory_is_taken(tmp_path, name):
    path = put(tmp_path / name, struct.pack(">4B2I", 0, 0, 0x08, 2, 2**20, 2**20) + bytes(99))
    used = peak(lambda: error_of(path))
    assert used < 2**20, f"{used} bytes at the peak, one MiB allowed"


def test_gzip_is_refused_unread_from_one_byte_more_than_deflate_can_expand(tmp_path):
    def zipped(claim):      # compression level 0 stores: the file's size stays the same
        return gzip.compress(struct.pack(">4BI", 0, 0, 0x08, 1, claim) + b"abc", 0)
    path, room = tmp_path / "a-idx.gz", 1032 * len(zipped(0)) - 8
    path.write_bytes(zipped(room + 1))
    assert f"found room for {room}, expected {room + 1} x 1" in error_of(path)
    path.write_bytes(zipped(room))
    assert f"found 3, expected {room} x 1" in error_of(path)


def test_gzip_that_claims_what_deflate_could_hold_takes_only_what_it_does_hold(tmp_path):
    # 2 MB of noise could be 2 GB by the limit of deflate; the header claims 1 GB.
    noise = np.random.default_rng(0).bytes(2_000_000)
    path = put(tmp_path / "a-idx.gz", struct.pack(">4BI", 0, 0, 0x08, 1, 10**9) + noise)
    messages = []
    used = peak(lambda: messages.append(error_of(path)))
    assert "found 2000000, expected 1000000000 x 1" in messages[0], messages[0]
    assert used < 8 * 2**20, f"{used} bytes at the peak, 8 MiB allowed"


def test_the_most_that_deflate_can_expand_is_still_read(tmp_path):
    zeros = np.zeros(20_000_000, np.uint8)
    content = idx.header(zeros) + zeros.tobytes()
    (tmp_path / "a-idx.gz").write_bytes(gzip.compress(content, 9))
    ratio = len(content) / (tmp_path / "a-idx.gz").stat().st_size
    assert 1020 < ratio <= idx.DEFLATE, f"expanded {ratio}, expected nearly {idx.DEFLATE}"
    assert same(idx.read(tmp_path / "a-idx.gz"), zeros)


def test_a_gzip_bomb_is_read_no_further_than_one_byte_past_the_claim(tmp_path):
    # The stream is 200 MB of zeros, and broken off: who reads on meets the end, not the byte.
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(struct.pack(">4BI", 0, 0, 0x08, 1, 100))
    for _ in range(200):
        bomb += packer.compress(bytes(10**6))
    (tmp_path / "a-idx.gz").write_bytes(bomb)
    messages = []
    used = peak(lambda: messages.append(error_of(tmp_path / "a-idx.gz")))
    assert "found at least 101, expected 100 x 1 = 100 bytes" in messages[0], messages[0]
    assert used < 2 * 2**20, f"{used} bytes at the peak, 2 MiB allowed"


# Random damage

def parse(content, zipped):
    """A second, minimal parser: the array, or None where the bytes are not IDX."""
    if zipped:
        try:
            if not content:         # gzip of no member at all: empty to Python, no file to us
                return None
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return None
    dtypes = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in dtypes:
        return None
    start = 4 + 4 * content[3]
    if len(content) < start:
        return None
    shape = [int.from_bytes(content[at:at + 4], "big") for at in range(4, start, 4)]
    dtype, size = np.dtype(dtypes[content[2]]), 1
    for length in [*shape, dtype.itemsize]:
        size *= length
    if len(content) - start != size:
        return None
    try:
        return np.frombuffer(content[start:], dtype).reshape(shape)
    except ValueError:              # an empty array of too many or too large dimensions
        return None


def flip(content, rng):
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1:]


def cut(content, rng):
    return content[:rng.randrange(len(content))]


def drop(content, rng):
    at = rng.randrange(len(content))
    return content[:at] + content[at + rng.randint(1, 4):]


def insert(content, rng):
    at = rng.randint(0, len(content))
    return content[:at] + rng.randbytes(rng.randint(1, 8)) + content[at:]


def edit_header(content, rng):
    at, sizes = rng.randrange(2, 12), [b"\0", b"\1", b"\2", b"\x08", b"\x0d", b"\x40", b"\xff"]
    return content[:at] + rng.choice(sizes) * rng.choice([1, 1, 4]) + content[at + 1:]


def reshape_header(content, rng):
    """Other sizes with the same product, or nearly: the damage that often stays valid."""
    sizes = rng.choice([(24,), (2, 12), (4, 6), (3, 2, 4), (1, 24, 1), (5, 5), (0, 9), ()])
    return content[:3] + struct.pack(f">B{len(sizes)}I", len(sizes), *sizes) + content[12:]


def test_five_thousand_damaged_files_are_read_right_or_refused(tmp_path):
    rng, outcomes = random.Random(0), {}
    seeds = [struct.pack(">4B2I", 0, 0, code, 2, 4, 6) + rng.randbytes(24 * size)
             for code, size in [(8, 1), (9, 1), (11, 2), (12, 4), (13, 4), (14, 8)]]
    inside = [flip, cut, drop, insert, edit_header, reshape_header]
    outside = [flip, cut, drop, insert]     # damage to the gzip around a file
    for turn in range(5000):
        content, zipped = rng.choice(seeds), turn % 2 == 1
        if not zipped or rng.random() < 0.5:
            for _ in range(rng.randint(1, 3)):
                content = rng.choice(inside)(content, rng) if len(content) > 12 else content
        if zipped:
            content = gzip.compress(content, 1, mtime=0)
            if rng.random() < 0.6:
                content = rng.choice(outside)(content, rng)
        path = tmp_path / ("a-idx.gz" if zipped else "a-idx")
        path.unlink(missing_ok=True)    # some file systems wait for the disk on overwriting
        path.write_bytes(content)
        expected = parse(content, zipped)
        try:
            array = idx.read(path)      # any exception but IdxError fails the test
        except idx.IdxError as error:
            assert expected is None, f"turn {turn}: refused what is right: {error}"
            assert str(error).startswith(f"{path}: found ") and ", expected " in str(error)
        else:
            assert expected is not None, f"turn {turn}: read what is wrong: {content.hex()}"
            assert same(array, expected.astype(expected.dtype.newbyteorder("=")))
        outcome = (zipped, expected is not None)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    # Both ends were met, plain and gzipped: the loop did test something.
    assert len(outcomes) == 4 and min(outcomes.values()) > 100, outcomes


# The real files

@pytest.mark.real_data
def test_the_training_set_of_mnist_is_read_as_published():
    folder = Path(os.environ.get("MINIDL_DATA", "")) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("MINIDL_DATA names no folder with mnist/train-images-idx3-ubyte.gz")
    images = idx.read(folder / "train-images-idx3-ubyte.gz")
    labels = idx.read(folder / "train-labels-idx1-ubyte.gz")
    assert images.shape == (60000, 28, 28) and images.dtype == np.uint8
    assert round(images.mean() / 255, 4) == 0.1307      # the mean that everybody quotes
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
