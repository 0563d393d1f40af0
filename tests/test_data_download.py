"""data_download.py against mirrors that misbehave: a real HTTP server on the loopback.

Whatever a mirror does, a file is in its place whole and right, or not at all. The data sets
here are tiny and no test needs a network; the published ones are checked where MINIDL_DATA is.
"""
import contextlib
import gzip
import hashlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mutating
import pytest

import data_download
from data_download import DownloadError, fetch, main

ROOT = Path(data_download.__file__).parent
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
CONTENT = random.Random(0).randbytes(300_000)  # mnist's images; no gzip can shrink it
PACKED = gzip.compress(CONTENT, mtime=0)
OTHER = gzip.compress(CONTENT[::-1], mtime=0)  # fashion-mnist's images
HALF = len(PACKED) // 2
PATIENCE = 120  # seconds; reached only where something hangs


# The mirrors: what each path does ----------------------------------------------------------
def send(request, body, status=200, length=None, **headers):
    """Count the bytes of the body, and answer; the headers' names have _ for -."""
    request.server.sent += len(body)
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)
    request.wfile.flush()


def good(request, body=PACKED):
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    start = int(asked[1]) if asked else 0
    if start >= len(body):
        send(request, b"", 416, Content_Range=f"bytes */{len(body)}")
    elif asked:
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        send(request, body[start:], 206, Content_Range=span)
    else:
        send(request, body)


ANSWERS = {  # of the mirrors that always say the same
    "ignores_range": {"body": PACKED},
    "not_found": {"body": b"<html>no such file</html>", "status": 404},
    "login_page": {"body": b"<html>accept our terms first</html>"},
    "cut_short": {"body": PACKED[:HALF], "length": len(PACKED)},
    "corrupted": {"body": PACKED[:HALF] + bytes([PACKED[HALF] ^ 1]) + PACKED[HALF + 1:]},
    "wrong_set": {"body": OTHER},
    "bomb": {"body": gzip.compress(bytes(2**24), mtime=0)},
}


def silent(request):
    request.server.release.wait(PATIENCE)


def stalled(request):
    send(request, PACKED[:HALF], length=len(PACKED))
    request.server.release.wait(PATIENCE)


def reset(request):
    """Half the file, then the connection is broken off, not closed."""
    send(request, PACKED[:HALF], length=len(PACKED))
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def redirect(request):
    send(request, b"", 302, Location=request.path.replace("redirect", "good"))


def redirects_to_itself(request):
    send(request, b"", 302, Location=request.path)


def waits_then_good(request):
    """Half the file at once, the rest when the test says so."""
    send(request, PACKED[:HALF], length=len(PACKED))
    request.server.release.wait(PATIENCE)
    request.wfile.write(PACKED[HALF:])


def endless(request):
    request.send_response(200)
    request.end_headers()
    while request.server.sent < 2**28:  # the client should hang up long before
        request.server.sent += 2**16
        request.wfile.write(bytes(2**16))


def drips(request):
    """A byte now and then, each before any time-out."""
    send(request, PACKED[:1], length=len(PACKED))
    for byte in PACKED[1:]:
        if request.server.release.wait(0.01):
            break
        request.wfile.write(bytes([byte]))


def escapes(request):
    """A status line that would move the cursor of the user's terminal."""
    request.wfile.write(b"\x1b[2J\x07 200 OK\r\n\r\n")


def huge_numbers(request):
    """Lengths that no integer of Python's default settings is read from, and one that is."""
    digits = "9" * (4300 if "Range" in request.headers else 5000)
    span = f"bytes {HALF}-{digits}/{digits}"
    send(request, b"", 206 if "Range" in request.headers else 200, digits, Content_Range=span)


class Mirrors(BaseHTTPRequestHandler):
    """The first folder of a path names the function or the answer above."""

    def do_GET(self):
        self.close_connection = True
        name = self.path.split("/")[1]
        self.server.log.append((name, self.headers.get("Range")))
        with contextlib.suppress(OSError):  # the client has gone
            if name in ANSWERS:
                send(self, **ANSWERS[name])
            else:
                globals()[name](self)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The mirrors, running, and tiny data sets in place of the published ones."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path / "data"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirrors)
    server.daemon_threads = True
    server.log, server.sent = [], 0
    server.release = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name, packed in {"mnist": PACKED, "fashion-mnist": OTHER}.items():
        md5 = {IMAGES: hashlib.md5(gzip.decompress(packed)).hexdigest()}
        tiny = data_download.DataSet((f"{server.url}/good",), md5, 2**20)
        monkeypatch.setitem(data_download.SETS, name, tiny)
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def set_mirrors(server, *mirrors, name="mnist"):
    data_download.SETS[name] = data_download.SETS[name]._replace(
        mirrors=tuple(f"{server.url}/{mirror}" for mirror in mirrors))


def ask(server, folder, *mirrors, timeout=PATIENCE):
    set_mirrors(server, *mirrors)
    server.log.clear()
    server.sent = 0
    fetch("mnist", folder, timeout=timeout)
    return [asked for _, asked in server.log]


def files(folder):
    """Everything below the folder: path -> bytes."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if not path.is_dir()}


PLACE = f"mnist/{IMAGES}.gz"
PART = f"{PLACE}.part"
RIGHT = {PLACE: PACKED}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# One mirror misbehaves ---------------------------------------------------------------------
HANGING = ["silent", "stalled", "drips"]
SENT_SOME = ["cut_short", "stalled", "drips", "reset"]  # and nothing wrong
MISBEHAVING = [*sorted({*ANSWERS} - {"ignores_range"}), *HANGING, "reset", "endless",
               "redirects_to_itself", "escapes", "huge_numbers"]


@pytest.mark.parametrize("bad", MISBEHAVING)
def test_a_mirror_that_misbehaves_puts_nothing_in_place_and_the_next_one_serves(
        server, folder, bad):
    with pytest.raises(DownloadError) as error:
        ask(server, folder, bad, timeout=0.3 if bad in HANGING else PATIENCE)
    sentence = str(error.value)
    assert f"{server.url}/{bad}" in sentence and f"{IMAGES}.gz" in sentence
    assert str(folder / "mnist") in sentence and sentence.isprintable()
    left = files(folder)
    if bad in SENT_SOME:  # a reset, or the time-out of a busy machine, may overtake it
        assert PACKED.startswith(left.pop(PART, b""))
    assert left == {}
    assert server.sent < 2**27  # 1 MiB is allowed; the rest is what the sockets buffer
    ask(server, folder, *[bad] * (bad not in HANGING), "good")
    assert files(folder) == RIGHT


def test_what_is_right_costs_no_request_and_what_is_wrong_is_replaced(server, folder):
    write(folder / PLACE, OTHER)
    assert data_download.missing("mnist", folder) == []  # looks at names only
    assert ask(server, folder, "redirect") == [None, None]
    assert files(folder) == RIGHT
    assert ask(server, folder, "good") == []
    (folder / PLACE).unlink()
    assert data_download.missing("mnist", folder) == [f"{IMAGES}.gz"]


# Going on with a partial file --------------------------------------------------------------
def test_a_later_run_transfers_only_the_rest(server, folder):
    with pytest.raises(DownloadError):
        ask(server, folder, "cut_short")
    assert ask(server, folder, "not_found", "huge_numbers", "good") == 3 * [f"bytes={HALF}-"]
    assert server.sent < len(PACKED) - HALF + 99
    assert files(folder) == RIGHT


@pytest.mark.parametrize("part, mirror, anew", [
    (PACKED[:HALF], "ignores_range", False),  # 200: the whole file came at once
    (gzip.compress(CONTENT, 0)[:HALF], "good", True),  # of a mirror that packs otherwise
    (PACKED, "good", False),                           # whole
], ids=["range ignored", "packed otherwise", "whole"])
def test_a_partial_file_that_cannot_be_gone_on_with_is_fetched_anew(
        server, folder, part, mirror, anew):
    write(folder / PART, part)
    assert ask(server, folder, mirror) == [f"bytes={len(part)}-"] + [None] * anew
    assert files(folder) == RIGHT


# No network --------------------------------------------------------------------------------
def test_without_a_network_the_status_is_2_and_one_sentence_tells_what_to_do(
        server, folder, monkeypatch, capsys):
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        tiny = data_download.DataSet((url,), {IMAGES: "0", LABELS: "0"}, 2**20)
        monkeypatch.setitem(data_download.SETS, "mnist", tiny)
        assert main(["mnist", "--data-dir", str(folder)]) == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    for told in (url, f"{IMAGES}.gz", f"{LABELS}.gz", str(folder / "mnist")):
        assert told in sentence
    assert files(folder) == {}


# Two processes, crashes, Ctrl-C ------------------------------------------------------------
def start(server, folder, mirror, before=""):
    """The command line in a process of its own, with the tiny data set at one mirror."""
    set_mirrors(server, mirror)
    code = f"""
import signal, sys, data_download as d
from data_download import DataSet
signal.signal(signal.SIGINT, signal.default_int_handler)  # for tests run with &
d.SETS["mnist"] = {data_download.SETS["mnist"]}
d.fetch.__kwdefaults__["timeout"] = {PATIENCE}
{before}
sys.exit(d.main(["mnist", "--data-dir", {str(folder)!r}]))"""
    return subprocess.Popen([sys.executable, "-u", "-c", code], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_do_not_write_to_the_same_partial_file(server, folder, locks):
    """With locks, one waits for the other and transfers nothing."""
    before = "" if locks else "sys.modules['fcntl'] = None"
    processes = [start(server, folder, "waits_then_good", before) for _ in "ab"]
    wait_until(lambda: len(server.log) >= 2 - locks)
    time.sleep(locks)  # in which the second would ask if it did not wait
    server.release.set()
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
    assert [asked for _, asked in server.log] == [None] * (2 - locks)
    assert files(folder) == RIGHT


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT])
def test_what_a_killed_or_interrupted_process_left_is_gone_on_with(
        server, folder, signal_sent):
    process = start(server, folder, "waits_then_good")
    wait_until(lambda: any(files(folder).values()))
    process.send_signal(signal_sent)
    _, errors = process.communicate(timeout=PATIENCE)
    if signal_sent == signal.SIGINT:  # Ctrl-C is a sentence
        assert (process.returncode, errors.count("\n")) == (130, 1)
    (path, kept), = files(folder).items()
    assert (path, kept) == (PART, PACKED[:len(kept)]) and kept
    assert ask(server, folder, "good") == [f"bytes={len(kept)}-"]
    assert files(folder) == RIGHT


# The command line --------------------------------------------------------------------------
def test_the_folder_is_the_flag_else_the_environment_else_data(monkeypatch):
    monkeypatch.setenv("MINIDL_DATA", "/from/environment")
    assert data_download.data_dir("/from/flag") == Path("/from/flag")
    assert data_download.data_dir() == Path("/from/environment")
    monkeypatch.delenv("MINIDL_DATA")
    assert data_download.data_dir() == ROOT / "data"


def test_a_set_that_fails_does_not_keep_the_next_from_being_fetched(server, folder, capsys):
    set_mirrors(server, "not_found")
    set_mirrors(server, "wrong_set", name="fashion-mnist")
    assert main(["mnist", "fashion-mnist"]) == 2
    assert files(folder) == {f"fashion-mnist/{IMAGES}.gz": OTHER}
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments, named", [
    (["mnits"], "mnits"), (["mnist", "--from", "/no/such/folder"], "/no/such/folder"),
    (["--form"], "--form"), (["mnist", "--data-dir", "/dev/null"], "/dev/null")])
def test_a_mistake_on_the_command_line_is_one_sentence_with_status_2(
        server, capsys, arguments, named):
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    sentence = capsys.readouterr().err
    assert status == 2 and named in sentence and sentence.count("\n") == 1
    assert server.log == []


# Files fetched by hand ---------------------------------------------------------------------
@pytest.mark.parametrize("where, content", [
    (f"mnist/{IMAGES}", CONTENT), (IMAGES, CONTENT), (f"{IMAGES}.gz", PACKED)])
def test_from_takes_plain_and_gzipped_files(server, folder, tmp_path, where, content):
    write(tmp_path / "source" / where, content)
    assert main(["mnist", "--from", str(tmp_path / "source")]) == 0
    (path, packed), = files(folder).items()
    assert (path, gzip.decompress(packed)) == (PLACE, CONTENT)
    assert packed[3:8] == bytes(5)  # no name and no date in the gzip header
    assert server.log == []


@pytest.mark.parametrize("content", [
    OTHER, CONTENT[:-1], PACKED[:-1], gzip.compress(bytes(2**25))], ids=range(4))
def test_from_refuses_wrong_content(server, folder, tmp_path, capsys, content):
    (tmp_path / IMAGES).write_bytes(content)
    assert main(["mnist", "--from", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error and IMAGES in error and error.count("\n") == 1
    assert files(folder) == {}


# Archives and bombs ------------------------------------------------------------------------
REVIEWS = {"aclImdb/train/pos/0_9.txt": b"good", "aclImdb/train/neg/0_1.txt": b"bad",
           "aclImdb/test/pos/0_10.txt": b"fine", "aclImdb/test/neg/0_2.txt": b"poor"}


def archive(*extra, reviews=REVIEWS):
    """A .tar.gz of the extra members, then the reviews in the reverse of the sorted order."""
    return gzip.compress(mutating.packed(dict(sorted(reviews.items())[::-1]), extra))


def member(name, text=b"", kind=tarfile.REGTYPE, link=""):
    return name, text, kind, link


@pytest.fixture
def imdb(monkeypatch, tmp_path):
    """Take an archive, with the four reviews above as the published ones."""
    digest = hashlib.sha256(b"4\0" + b"".join(
        b"%d %d\0%b%b" % (len(name), len(REVIEWS[name]), name.encode(), REVIEWS[name])
        for name in sorted(REVIEWS))).hexdigest()
    tiny = data_download.DataSet((), {"aclImdb_v1.tar.gz": ""}, 2**20, digest)
    monkeypatch.setitem(data_download.SETS, "imdb", tiny)
    source = tmp_path / "deep" / "source"
    source.mkdir(parents=True)

    def put(content, name="aclImdb_v1.tar.gz"):
        (source / name).write_bytes(content)
        fetch("imdb", source.parent / "data", source=source)
        (source / name).unlink()
        return files(tmp_path)

    return put


@pytest.mark.parametrize("extra", [
    [],
    [member("aclImdb/train/unsup/0_0.txt", b"no label"), member("aclImdb/imdb.vocab", b"a b")],
    [member("../evil.txt", b"x"), member("/tmp/minidl-evil.txt", b"x"),
     member("aclImdb/train/pos/../../../../evil.txt", b"x"),
     member("aclImdb/train/pos/1_9.txt", kind=tarfile.SYMTYPE, link="/tmp/minidl-evil.txt"),
     member("aclImdb/train/pos/2_9.txt", kind=tarfile.LNKTYPE, link="/etc/passwd"),
     member("aclImdb/train/pos/3_9.txt", kind=tarfile.CHRTYPE),
     member("aclImdb/train/pos/4_9.txt", kind=tarfile.FIFOTYPE)],
], ids=["without unsup", "with unsup", "malicious"])
def test_an_archive_with_the_same_labelled_reviews_is_accepted_and_unpacks_nothing(
        imdb, extra):
    content = archive(*extra)
    assert imdb(content) == {"deep/data/imdb/aclImdb_v1.tar.gz": content}
    assert not Path("/tmp/minidl-evil.txt").exists()


def claiming(size):
    """An archive of one member that claims to have so many bytes."""
    info = tarfile.TarInfo("aclImdb/README")
    info.size = size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT))


def sparse():
    """A member of 512 bytes that stands for 1 GiB of zeros, in GNU's format."""
    info = tarfile.TarInfo("aclImdb/train/pos/1_9.txt")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:410] = b"%011o\0%011o\0" % (0, 0)  # the first piece of data
    header[483:495] = b"%011o\0" % 2**30
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    return gzip.compress(bytes(header) + bytes(1024))


@pytest.mark.parametrize("content", [
    archive(reviews={**REVIEWS, "aclImdb/train/pos/0_9.txt": b"goof"}),
    archive(reviews=dict(list(REVIEWS.items())[:3])),
    archive(reviews={"aclImdb/test/neg/0_2.txt": b"poor" + b"".join(
        name.encode() + REVIEWS[name] for name in sorted(REVIEWS)[1:])}),
    archive(member("aclImdb/train/pos/0_9.txt", b"shadowed")),
    archive(member("aclImdb/train/pos/1_9.txt", bytes(2**16 + 1))),
    archive(member("aclImdb/zeros", bytes(2**21))),
    gzip.compress(b"no archive at all" * 99),
    claiming(2**45),  # hours, if it were looked for beyond the end
], ids=range(8))
def test_an_archive_with_other_reviews_is_refused(imdb, tmp_path, content):
    with pytest.raises(DownloadError, match="aclImdb_v1"):
        imdb(content)
    assert list(files(tmp_path)) == ["deep/source/aclImdb_v1.tar.gz"]


def test_a_sparse_member_is_refused_before_its_zeros_are_made(imdb):
    with pytest.raises(DownloadError, match="a sparse member"):
        imdb(sparse())


def test_bombs_are_read_to_what_is_allowed_and_no_further(server, imdb, folder, monkeypatch):
    """2^20 bytes, and the block that is beyond them: of a gzip, and of what is in it."""
    read, original = [], gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size: read.append(
        original(self, size)) or read[-1])
    set_mirrors(server, "bomb")
    with pytest.raises(DownloadError):
        fetch("mnist", folder)
    assert 2**20 < sum(map(len, read)) <= 2**21
    read.clear()
    with pytest.raises(DownloadError):
        imdb(archive(member("aclImdb/zeros", bytes(2**24))))
    assert 2**20 < sum(map(len, read)) <= 2**21


# The published data sets -------------------------------------------------------------------
@pytest.mark.real_data
def test_the_published_bytes_are_taken_for_right(real_data, tmp_path):
    published = data_download.SETS
    for name in published:
        if lacking := data_download.missing(name, real_data):
            pytest.skip(f"{', '.join(lacking)} not in {real_data}")
        assert [data_download._fault(name, file, place) for file, place
                in data_download._places(name, real_data)] == [None] * len(published[name].md5)
    with pytest.raises(DownloadError, match=IMAGES):
        fetch("fashion-mnist", tmp_path, source=Path(real_data, "mnist"))
    assert files(tmp_path) == {}
