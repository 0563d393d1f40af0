"""Fetch MNIST, Fashion-MNIST and IMDb from their mirrors: checked, resumable, all or nothing.

    python data_download.py [mnist fashion-mnist imdb] [--data-dir DIR] [--from DIR]

Writes DIR/mnist/train-images-idx3-ubyte.gz and its three siblings, the same four names in
DIR/fashion-mnist/, and DIR/imdb/aclImdb_v1.tar.gz; no name means all. Files that are there and
right stay. --from takes files that you downloaded, plain or .gz, with the same checks. A
download is written to FILE.part, and becomes FILE only if its content is the published one. A
later run continues it. Exit status: 0; 2, with a sentence why; 130 after Ctrl-C.
Licences: MNIST CC BY-SA 3.0; Fashion-MNIST MIT; IMDb: cite Maas et al. 2011.
Checked in tests/test_data_download.py.
"""
import argparse
import concurrent.futures
import contextlib
import gzip
import hashlib
import os
import re
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple


class DataSet(NamedTuple):
    """A published data set: its mirrors and its checksums. Files end in .gz on the mirrors."""

    mirrors: tuple     # folders, asked in this order
    md5: dict          # file -> MD5 of its decompressed bytes; none of an archive
    largest: int       # bytes: no more than this is read, packed or unpacked
    reviews: str = ""  # of an archive, the SHA-256 of its labelled reviews: hash_reviews


IDX_LARGEST = 47_040_016 + 2**16  # 60,000 images of 28 x 28 bytes, their header, and a little
SETS = {
    "mnist": DataSet((
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist"), {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637"}, IDX_LARGEST),
    "fashion-mnist": DataSet((
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ), {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965"}, IDX_LARGEST),
    "imdb": DataSet(("https://ai.stanford.edu/~amaas/data/sentiment",), {
        "aclImdb_v1.tar.gz": ""}, 2**29,
        "fed48a346ea67969f5e8b245d1cbe50395530c8ded8db5e7e8153b9a4f1213a3")}
REVIEW = re.compile(r"aclImdb/(train|test)/(pos|neg)/[^/]+\.txt")
MALFORMED = (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, ValueError,
             RecursionError)  # what gzip and tarfile raise at bytes that are neither


class DownloadError(Exception):
    """A data set, or a file from one mirror, that is not available: one sentence."""


def data_dir(flag=None):
    """Where all data sets are: --data-dir, else $MINIDL_DATA, else data/ beside this file."""
    default = Path(__file__).resolve().parent / "data"
    return Path(flag or os.environ.get("MINIDL_DATA") or default).expanduser()


def missing(name, data_dir):
    """Names of the data set's files that are not in data_dir; their content is not checked."""
    return [place.name for _, place in _places(name, data_dir) if not place.is_file()]


def _places(name, data_dir):
    """Pairs (file, its path on disk)."""
    if name not in SETS:
        raise DownloadError(f"found '{name}', expected a data set: {', '.join(SETS)}")
    return [(file, Path(data_dir) / name / f"{file.removesuffix('.gz')}.gz")
            for file in SETS[name].md5]


def fetch(name, data_dir, *, timeout=20, source=None, progress=None):
    """Make the data set present and right in data_dir, or raise DownloadError.

    timeout    seconds in which a mirror must answer, later send something, and in which each
               MiB of a file must arrive: 20 are 52 kB per second.
    source     a folder of downloaded files, used instead of the mirrors.
    progress   called with each line of text (None: no messages).
    Files that are there are read whole for the check; if that takes too long, ask `missing`.
    """
    places, folder = _places(name, data_dir), Path(data_dir) / name
    folders = [Path(source, name), Path(source)] if source else SETS[name].mirrors
    say = progress or (lambda text: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder) as suffix:
            for file, place in places:
                part = place.with_name(place.name + suffix)
                try:
                    if _fault(name, file, place):
                        _fill(name, file, part, folders, timeout, say)
                        part.replace(place)
                finally:
                    if part.exists() and (suffix != ".part" or not part.stat().st_size):
                        part.unlink()
    except OSError as error:  # the disk's: full, not writable, a file for a folder
        raise DownloadError(f"{error.filename or folder}: found '{error.strerror or error}', "
                            "expected room to read and write") from error


@contextlib.contextmanager
def _alone(folder):
    """Wait until no other process fills the folder; yield the suffix of partial files: where
    there are no locks (Windows, some network disks), each process has some of its own."""
    suffix = f".part-{os.getpid()}-{threading.get_ident()}"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
            suffix = ".part"
        yield suffix


def _fill(name, file, part, folders, timeout, say):
    """Make `part` whole and right from one of the folders, or raise DownloadError."""
    part.touch()
    reasons, largest = [], SETS[name].largest
    for folder in folders:
        take = _copy if isinstance(folder, Path) else _transfer
        try:
            resumed = True
            while resumed:  # what was there may be another mirror's, packed otherwise
                resumed = take(folder, part, largest, timeout, say)
                if not (fault := _fault(name, file, part)):
                    return
                os.truncate(part, 0)
            raise DownloadError(fault)
        except DownloadError as error:
            reasons.append(re.sub(r"[^ -~]", "?", f"{folder}: {error}"[:300]))
            say(reasons[-1])
    raise DownloadError(f"found no right {part.stem} ({'; '.join(reasons)}); fetch by hand "
                        f"{', '.join(missing(name, part.parents[1]))} from "
                        f"{' or '.join(SETS[name].mirrors)} into {part.parent}")


def _copy(folder, part, *_):
    """Fill `part` from the file in the folder, .gz or plain, which it gzips."""
    for origin in (folder / part.stem, folder / part.stem.removesuffix(".gz")):
        if origin.is_file():
            content = origin.read_bytes()
            zipped = content[:2] == b"\x1f\x8b"
            part.write_bytes(content if zipped else gzip.compress(content, 6, mtime=0))
            return
    raise DownloadError("found no such file, plain or .gz")


def _transfer(mirror, part, largest, timeout, say):
    """Append to `part` what it lacks, or write it again if the mirror sends the whole file.
    -> whether it appended. `_fault` checks the bytes."""
    have = part.stat().st_size
    with _open(f"{mirror}/{part.stem}", have, timeout) as answer:
        if answer.status == 200:
            have = 0
        elif answer.status == 416 and have:
            return True  # there are no such bytes: what is there may be whole
        elif answer.status != 206:
            raise DownloadError(f"HTTP status {answer.status}")
        resumed, total = have > 0, have + min(answer.length or 0, largest)
        coming = min(answer.length or largest, largest)
        latest = time.monotonic() + timeout * (1 + coming / 2**20)
        with part.open("ab" if resumed else "wb") as target:
            while have <= largest:
                try:
                    block = answer.read1(2**16)
                except Exception as error:
                    raise DownloadError(error) from error
                if not block:
                    break
                target.write(block)
                have += len(block)
                if time.monotonic() > latest:
                    raise DownloadError(f"too slow: {have} of {total} bytes so far")
                if have >> 22 > have - len(block) >> 22:  # every 4 MiB
                    say(f"{part.stem}: {have / 1e6:.0f} of {total / 1e6:.0f} MB")
    if have < min(total, largest):
        raise DownloadError(f"broke off at {have} of {total} bytes")
    return resumed


def _open(url, have, timeout):
    """The mirror's answer when asked for the bytes from `have` on; DownloadError without one.

    Asked in a thread: the search for the host's address has no time-out, and each address of
    the host gets the whole time-out.
    """
    headers = {"User-Agent": "minidl"} | ({"Range": f"bytes={have}-"} if have else {})
    future = concurrent.futures.Future()

    def ask():
        try:
            request = urllib.request.Request(url, headers=headers)
            future.set_result(urllib.request.urlopen(request, timeout=timeout))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return future.result(timeout)
    except urllib.error.HTTPError as error:
        return error  # is an answer, too
    except Exception as error:
        why = str(getattr(error, "reason", error)) or f"no answer within {timeout} s"
        raise DownloadError(why) from error


def _fault(name, file, path):
    """None if the .gz file `path` holds the published content; else what is wrong with it."""
    published = SETS[name]
    try:
        with gzip.open(path) as unpacked:
            if published.reviews:
                found = hash_reviews(read_reviews(unpacked, published.largest))
            else:
                content = unpacked.read(published.largest + 1)
                found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        return "not there yet"
    except MALFORMED as error:
        return f"found damaged content ({error}), expected {name}'s {file}"
    expected = published.reviews or published.md5[file]
    return None if found == expected else f"found content of hash {found}, not {expected}"


def read_reviews(unpacked, largest):
    """Name -> bytes of the labelled reviews in an unpacked archive, sorted by name.

    They are regular members with names like REVIEW, so no links, devices, absolute names or
    ../. Nothing is unpacked to disk; the texts take 65 MB of memory. Raises one of MALFORMED,
    also for more than `largest` bytes and for a member that claims more bytes than there are.
    """
    texts, left, ended = {}, largest, False

    def read(size):
        nonlocal left, ended
        block = unpacked.read(size)
        left -= len(block)
        if left < 0 or ended:  # tarfile would go on to read what a member claims
            raise EOFError("ends too soon" if ended else "too long")
        ended = not block
        return block

    with tarfile.open(fileobj=SimpleNamespace(read=read), mode="r|") as archive:
        while member := archive.next():
            archive.members.clear()  # else it keeps all that it has seen
            if member.issparse():  # its holes are zeros that were never sent
                raise ValueError("a sparse member")
            if member.isreg() and REVIEW.fullmatch(member.name):
                if member.size > 2**16 or member.name in texts:  # the longest has 13,704
                    raise ValueError(f"{member.name!a} too long or twice")
                texts[member.name] = archive.extractfile(member).read()
    return {name: texts[name] for name in sorted(texts)}


def hash_reviews(texts):
    """SHA-256 over the labelled reviews, sorted by name: how many, then the lengths of name
    and text, name, text of each; the same for an archive with the unlabelled ones and without.
    """
    digest = hashlib.sha256(b"%d\0" % len(texts))
    for name, text in texts.items():  # a name that is not UTF-8 is another name, no error
        name = name.encode(errors="surrogateescape")
        digest.update(b"%d %d\0" % (len(name), len(text)) + name + text)
    return digest.hexdigest()


def replace_unprintable():
    """Print ? for a character of a path or a name that a terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has none
            stream.reconfigure(errors="replace")


def main(argv=None):
    """The command line; returns the exit status."""
    replace_unprintable()
    parser = argparse.ArgumentParser("data_download.py", description="Fetch the data sets.")
    parser.error = lambda message: parser.exit(2, f"{message}\n")  # one sentence, no usage
    parser.add_argument("names", nargs="*", help=f"{', '.join(SETS)}; none means all")
    parser.add_argument("--data-dir", help="folder for them ($MINIDL_DATA, else data)")
    parser.add_argument("--from", dest="source", metavar="DIR", help="files downloaded before")
    args = parser.parse_args(argv)
    folder, status = data_dir(args.data_dir), 0
    for name in args.names or SETS:
        try:
            fetch(name, folder, source=args.source, progress=print)
            print(f"{name}: there and right, in {folder / name}")
        except DownloadError as error:
            print(error, file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print("Interrupted; the same command continues where it stopped.", file=sys.stderr)
            return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
