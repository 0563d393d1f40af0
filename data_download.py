"""Fetch MNIST, Fashion-MNIST and IMDb from their mirrors: checked, resumable, all or nothing.

    python data_download.py [mnist fashion-mnist imdb] [--data-dir DIR] [--from DIR]

Writes DIR/mnist/train-images-idx3-ubyte.gz and its three siblings, the same four names in
DIR/fashion-mnist/, and DIR/imdb/aclImdb_v1.tar.gz; no name means all. What is there and right
stays. --from takes files fetched by hand, plain or .gz, under the same checks.

A download grows in FILE.part and takes its place only when its content is the published one; a
later run goes on where it stopped. Exit status: 0; 2, with a sentence why; 130 after Ctrl-C.
Licences: MNIST CC BY-SA 3.0; Fashion-MNIST MIT; IMDb: cite Maas et al. 2011.
Checked in tests/test_data_download.py.
"""
import argparse
import contextlib
import gzip
import hashlib
import http.client
import os
import queue
import re
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows; see _alone
    fcntl = None


@dataclass(frozen=True)
class DataSet:
    """What is published: where it is, and how to know it. Names of files end in .gz there."""

    mirrors: tuple     # folders, asked in this order
    md5: dict          # file -> MD5 of its decompressed bytes, of an archive's packed ones
    largest: int       # bytes: of anything longer, packed or unpacked, no more is read
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
        "aclImdb_v1.tar.gz": "7c2ac02c03563afcf9b574c7e56c153a"}, 2**29,
        "2cf617f1b8c167cb5e884b208221a11240aa2a069b0fe59ff9891248885cd499"),
}
REVIEW = re.compile(r"aclImdb/(train|test)/(pos|neg)/[^/]+\.txt")
REVIEW_LARGEST = 2**16  # bytes; the longest has 13,704
MALFORMED = (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, ValueError,
             RecursionError)  # what gzip and tarfile raise at bytes that are neither


class DownloadError(Exception):
    """A data set that cannot be had: one sentence. An OSError as its cause is the disk's."""


class _MirrorError(Exception):
    """This mirror did not give the file; the next one may."""


def data_dir(flag=None):
    """Where all data sets are: --data-dir, else $MINIDL_DATA, else data/ beside this file."""
    default = Path(__file__).resolve().parent / "data"
    return Path(flag or os.environ.get("MINIDL_DATA") or default).expanduser()


def missing(name, data_dir):
    """Names of the data set's files that are not in data_dir; content is not looked at."""
    return [place.name for _, place in _places(name, data_dir) if not place.is_file()]


def fetch(name, data_dir, *, timeout=20, mirrors=None, progress=None):
    """Make the data set present and right in data_dir, or raise DownloadError.

    timeout    seconds in which a mirror has to answer, and later to send something.
    mirrors    other folders to ask (None: those of the table).
    progress   called like print (None: in silence).
    What is there is read whole to be checked; ask `missing` first where that takes too long.
    """
    say = progress or (lambda *texts, **options: None)

    def download(file, place, part):
        reasons, folders = [], mirrors or SETS[name].mirrors
        urls = [f"{folder.rstrip('/')}/{place.name}" for folder in folders]
        for url in urls:
            try:
                return _from_mirror(url, name, file, part, timeout, say)
            except _MirrorError as error:
                reasons.append(f"{urllib.parse.urlsplit(url).netloc}: {error}")
                say(reasons[-1])
        others = ", ".join(f for f in missing(name, data_dir) if f != place.name)
        also = f" (likewise {others})" if others else ""
        raise DownloadError(f"no mirror gave {place.name} ({'; '.join(reasons)}); fetch by "
                            f"hand {urls[0]}{also} and put it into {place.parent}")

    _complete(name, data_dir, download, say)


def import_files(name, source, data_dir, *, progress=None):
    """`fetch` from files, plain or .gz, in the folder `source` or in source/<data set>."""
    say = progress or (lambda *texts, **options: None)

    def adopt(file, place, part):
        names = place.name, place.name.removesuffix(".gz")
        folders = Path(source) / name, Path(source)
        origin = next((f / n for f in folders for n in names if (f / n).is_file()), None)
        if origin is None:
            raise DownloadError(f"--from {source}: found neither {' nor '.join(names)}, "
                                f"expected one of them there or in {folders[0]}")
        _pack(origin, part, SETS[name].largest)
        if fault := _fault(name, file, part):
            os.truncate(part, 0)
            raise DownloadError(f"{origin}: {fault}")
        say(f"{origin}: checked, now {place}")

    _complete(name, data_dir, adopt, say)


def _places(name, data_dir):
    """Pairs (file, its path on disk); DownloadError where no data set has that name."""
    if name not in SETS:
        raise DownloadError(f"found '{name}', expected a data set: {', '.join(SETS)}")
    return [(file, Path(data_dir) / name / f"{file.removesuffix('.gz')}.gz")
            for file in SETS[name].md5]


def _complete(name, data_dir, fill, say):
    """For each place that is not right, let fill(file, place, part) make `part` so; move it.

    An OSError that gets here is the disk's (full, not writable, a file for a folder).
    """
    places, folder = _places(name, data_dir), Path(data_dir) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, say) as suffix:
            for file, place in places:
                part = place.with_name(place.name + suffix)
                try:
                    if fault := _fault(name, file, place):
                        say(f"{place}: {fault}")
                        part.touch()
                        fill(file, place, part)
                        part.replace(place)
                finally:
                    if part.exists() and (suffix != ".part" or not part.stat().st_size):
                        part.unlink()
    except OSError as error:
        raise DownloadError(f"{error.filename or folder}: found '{error.strerror or error}', "
                            "expected room to read and write") from error


@contextlib.contextmanager
def _alone(folder, say):
    """Wait until no other process fills the folder; yield the suffix of partial files.

    The lock is on the folder itself: it leaves no file behind, and a crash gives it back, with
    a .part to go on with. Without locks (Windows, some network disks) each process has partial
    files of its own; no other could take them over, so they do not outlive it.
    """
    suffix = ".part"
    with contextlib.ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{folder}: another process fills it, waiting")
                fcntl.flock(handle, fcntl.LOCK_EX)
        except (AttributeError, OSError):
            suffix = f".part-{os.getpid()}-{threading.get_ident()}"
        yield suffix


def _from_mirror(url, name, file, part, timeout, say):
    """Make `part` whole and right, going on from what it holds; else raise _MirrorError."""
    while True:
        have = part.stat().st_size
        _transfer(url, part, have, SETS[name].largest, timeout, say)
        fault = _fault(name, file, part)
        if not fault:
            return
        os.truncate(part, 0)
        if not have:
            raise _MirrorError(fault)
        # The first bytes may be another mirror's, packed otherwise: once more, from the start.
        say(f"{url}: what was there does not fit, anew from the start")


def _transfer(url, part, have, largest, timeout, say):
    """Append to `part` the bytes from `have` on, or write it anew if the mirror sends all.

    Where it has none (416) or sends others than asked for, `part` stays as it is. It may be
    whole: the check that follows tells.
    """
    with _open(url, have, timeout) as response:
        if response.status not in (200, 206, 416):
            raise _MirrorError(f"HTTP status {response.status}")
        span = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status == 200:
            have, total = 0, response.length
        elif response.status == 206 and span and int(span[1]) == have:
            total = int(span[2])
        else:
            return
        meter = _Meter(say, url.rpartition("/")[2], have, total)
        with part.open("ab" if have else "wb") as target, contextlib.closing(meter):
            while have <= largest and (block := _read(response)):
                target.write(block)
                have += len(block)
                meter.show(have)
    if total is not None and have < min(total, largest):
        raise _MirrorError(f"broke off at {have} of {total} bytes")


def _open(url, have, timeout):
    """The mirror's answer when asked for the bytes from `have` on; _MirrorError without one.

    Asked in a thread: looking up the host knows no time-out, and each of its addresses gets
    the whole of it. Here the time is up once.
    """
    headers = {"User-Agent": "minidl"} | ({"Range": f"bytes={have}-"} if have else {})
    answers = queue.SimpleQueue()

    def ask():
        try:
            request = urllib.request.Request(url, headers=headers)
            answers.put(urllib.request.urlopen(request, timeout=timeout))
        except urllib.error.HTTPError as error:
            answers.put(error)  # is an answer, too
        except Exception as error:
            answers.put(_MirrorError(getattr(error, "reason", error)))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        answer = _MirrorError(f"no answer within {timeout} s")
    if isinstance(answer, _MirrorError):
        raise answer
    return answer


def _read(response):
    """The next bytes of the body, b"" at its end; _MirrorError if none come in time."""
    try:
        return response.read1(2**16)
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(error) from error


class _Meter:
    """Bytes, percent, rate: one line rewritten on a terminal, else a line every 10 seconds."""

    def __init__(self, say, label, have, total):
        self.say, self.label, self.have, self.total = say, label, have, total
        self.start, self.terminal = have, sys.stdout.isatty()
        self.begun = self.shown = time.monotonic()

    def show(self, have, end=""):
        now, self.have = time.monotonic(), have
        if not end and now - self.shown < (0.1 if self.terminal else 10):
            return
        self.shown, rate = now, (have - self.start) / max(now - self.begun, 1e-3)
        of = f" of {self.total / 1e6:.1f} MB, {have / self.total:.0%}" if self.total else " MB"
        line = f"{self.label}: {have / 1e6:.1f}{of}, {rate / 1e6:.1f} MB/s"
        if self.terminal:
            self.say(f"\r{line:<78}", end=end, flush=True)
        else:
            self.say(line)

    def close(self):
        self.show(self.have, end="\n")


class _Bounded:
    """The stream, read in order; a ValueError where it has more than `largest` bytes.

    An EOFError for who reads on after the end, as tarfile does when a member claims terabytes.
    """

    def __init__(self, stream, largest):
        self.stream, self.largest, self.left, self.ended = stream, largest, largest, False

    def read(self, size):
        block = self.stream.read(size)
        if self.ended:
            raise EOFError("ends too soon")
        self.ended = not block
        self.left -= len(block)
        if self.left < 0:
            raise ValueError(f"more than {self.largest} bytes")
        return block


def _pack(origin, part, largest):
    """Copy `origin` to `part`, gzipped unless it is; of what is too long, just too much."""
    with origin.open("rb") as source, part.open("wb") as file:
        zipped = source.peek(2)[:2] == b"\x1f\x8b"
        # No name, no date: the same bytes give the same file.
        with file if zipped else gzip.GzipFile("", "wb", 6, file, mtime=0) as target:
            while source.tell() <= largest and (block := source.read(2**20)):
                target.write(block)


def _fault(name, file, path):
    """None if the .gz file `path` holds the published bytes of `file`; else what is wrong."""
    largest, expected = SETS[name].largest, SETS[name].md5[file]
    try:
        with path.open("rb") as packed:
            unpacked = gzip.GzipFile(fileobj=packed)
            if not SETS[name].reviews:
                found = _md5(_Bounded(unpacked, largest))
            elif (found := _md5(_Bounded(packed, largest))) != expected:
                packed.seek(0)
                found = hash_reviews(read_reviews(unpacked, largest))
                expected = SETS[name].reviews
    except FileNotFoundError:
        return "not there yet"
    except MALFORMED as error:
        return f"found damaged content ({error}), expected {name}'s {file}"
    if found == expected:
        return None
    known = {md5: f"the bytes of {owner}'s {f}" for owner, data_set in SETS.items()
             for f, md5 in data_set.md5.items()}
    what = known.get(found, f"bytes with hash {found}")
    return f"these are {what}, expected {name}'s {file}"


def _md5(stream):
    digest = hashlib.md5(usedforsecurity=False)  # MD5 is what is published
    while block := stream.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def read_reviews(unpacked, largest):
    """Name -> bytes of the labelled reviews in an unpacked archive, sorted by name.

    Regular members named like REVIEW. Links, devices, absolute names and ../ are none, and
    nothing is ever unpacked to disk. In memory are 65 MB of text. Raises one of MALFORMED,
    also for more than `largest` bytes and for a member that claims more than there are.
    """
    texts = {}
    with tarfile.open(fileobj=_Bounded(unpacked, largest), mode="r|") as archive:
        while member := archive.next():
            archive.members.clear()  # else it keeps all that it has seen
            if member.isreg() and REVIEW.fullmatch(member.name):
                if member.size > REVIEW_LARGEST or member.name in texts:
                    raise ValueError(f"{member.name} too long or twice")
                texts[member.name] = archive.extractfile(member).read()
    return {name: texts[name] for name in sorted(texts)}


def hash_reviews(texts):
    """SHA-256 over name, zero byte and text of the 50,000 labelled reviews, sorted by name.

    It is the same for an archive with the unlabelled ones and without.
    """
    digest = hashlib.sha256()
    for name, text in texts.items():
        # a name that is not UTF-8 has escaped bytes: it is another name, and no error
        digest.update(name.encode(errors="surrogateescape") + b"\0" + text)
    return digest.hexdigest()


def main(argv=None):
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser("data_download.py", description="Fetch the data sets.")
    parser.error = lambda message: parser.exit(2, f"{message}\n")  # one sentence, no usage
    parser.add_argument("names", nargs="*", help=f"{', '.join(SETS)}; none means all")
    parser.add_argument("--data-dir", help="where to ($MINIDL_DATA, else data)")
    parser.add_argument("--from", dest="source", metavar="DIR", help="files fetched by hand")
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in SETS:
            parser.error(f"found '{name}', expected a data set: {', '.join(SETS)}")
    if args.source is not None and not Path(args.source).is_dir():
        parser.error(f"--from: found no folder {args.source}")
    folder, status = data_dir(args.data_dir), 0
    for name in args.names or SETS:
        try:
            if args.source is None:
                fetch(name, folder, progress=print)
            else:
                import_files(name, args.source, folder, progress=print)
            print(f"{name}: there and right, in {folder / name}")
        except DownloadError as error:
            print(error, file=sys.stderr)
            status = 2
            if isinstance(error.__cause__, OSError):
                break  # a full disk is full for the next data set as well
        except KeyboardInterrupt:
            print("Interrupted; the same command goes on where it stopped.", file=sys.stderr)
            return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
