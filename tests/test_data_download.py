"""data_download.py against mirrors that misbehave: a real HTTP server on the loopback.

Whatever a mirror does, a file is in its place whole and right, or not at all. The data sets
here are tiny and no test needs a network; the published ones are checked where MINIDL_DATA is.
"""
import contextlib
import gzip
import hashlib
import io
import os
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
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import data_download
from data_download import DownloadError, fetch, import_files, main

ROOT = Path(data_download.__file__).parent
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
CONTENT = random.Random(0).randbytes(300_000)  # mnist's images; no gzip can shrink it
PACKED = gzip.compress(CONTENT, mtime=0)
OTHER = gzip.compress(CONTENT[::-1], mtime=0)  # fashion-mnist's images
HALF = len(PACKED) // 2
PATIENCE = 10  # seconds; reached only where something hangs


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


def repacked(request):
    good(request, gzip.compress(CONTENT, 0, mtime=1))


def ignores_range(request):
    send(request, PACKED)


def not_found(request):
    send(request, b"<html>no such file</html>", 404)


def forbidden(request):
    send(request, b"<html>not for you</html>", 403)


def empty(request):
    send(request, b"")


def login_page(request):
    send(request, b"<html>accept our terms first</html>")


def cut_short(request):
    send(request, PACKED[:HALF], length=len(PACKED))


def half_a_file(request):
    send(request, PACKED[:HALF])


def corrupted(request):
    send(request, PACKED[:HALF] + bytes([PACKED[HALF] ^ 1]) + PACKED[HALF + 1:])


def wrong_set(request):
    send(request, OTHER)


def bomb(request):
    send(request, gzip.compress(bytes(2**24), mtime=0))


def silent(request):
    request.server.release.wait(PATIENCE)


def stalled(request):
    send(request, PACKED[:HALF], length=len(PACKED))
    request.server.release.wait(PATIENCE)


def waits_then_good(request):
    """Half the file at once, the rest when the test says so."""
    send(request, PACKED[:HALF], length=len(PACKED))
    request.server.asked.set()
    request.server.release.wait(PATIENCE)
    request.wfile.write(PACKED[HALF:])


def reset(request):
    send(request, PACKED[:HALF], length=len(PACKED))
    time.sleep(0.05)  # a reset would also throw away what the client has not read yet
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def endless(request):
    request.send_response(200)
    request.end_headers()
    while request.server.sent < 2**26:  # the client should hang up long before
        request.server.sent += 2**16
        request.wfile.write(bytes(2**16))


def redirect(request):
    send(request, b"", 302, Location=request.path.replace("redirect", "good"))


def redirects_to_itself(request):
    send(request, b"", 302, Location=request.path)


def wrong_range(request):
    """The first bytes, said to be the first, whatever was asked for."""
    if "Range" in request.headers:
        span = f"bytes 0-{HALF - 1}/{len(PACKED)}"
        send(request, PACKED[:HALF], 206, Content_Range=span)
    else:
        send(request, PACKED)


def part_unasked(request):
    send(request, PACKED[:HALF], 206)


def always_416(request):
    send(request, b"", 416)


class Mirrors(BaseHTTPRequestHandler):
    """The first folder of a path names the function above that answers."""

    def do_GET(self):
        self.close_connection = True
        self.server.log.append((self.path, self.headers.get("Range")))
        with contextlib.suppress(OSError):  # the client has gone
            globals()[self.path.split("/")[1]](self)

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
    server.asked, server.release = threading.Event(), threading.Event()
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


def ask(server, folder, *mirrors, **options):
    fetch("mnist", folder, mirrors=[f"{server.url}/{m}" for m in mirrors], **options)


def files(folder):
    """Everything below the folder: path -> bytes."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if not path.is_dir()}


RIGHT = {f"mnist/{IMAGES}.gz": PACKED}


def write_part(folder, content):
    (folder / "mnist").mkdir(parents=True)
    (folder / "mnist" / f"{IMAGES}.gz.part").write_bytes(content)


# One mirror misbehaves ---------------------------------------------------------------------
SENT_NOTHING_RIGHT = [
    not_found, forbidden, empty, login_page, half_a_file, corrupted, wrong_set, bomb, silent,
    endless, redirects_to_itself, part_unasked, always_416]
SENT_HALF = [cut_short, stalled, reset]
ALL = pytest.mark.parametrize("bad", SENT_NOTHING_RIGHT + SENT_HALF, ids=lambda f: f.__name__)


@ALL
def test_the_second_mirror_serves_where_the_first_misbehaves(server, folder, bad):
    start = time.monotonic()
    ask(server, folder, bad.__name__, "good", timeout=0.3)
    assert time.monotonic() - start < PATIENCE / 2
    assert files(folder) == RIGHT
    assert [path.split("/")[1] for path, _ in server.log][-1] == "good"
    if bad is not reset:  # which may overtake the bytes before it
        assert server.log[-1][1] == (f"bytes={HALF}-" if bad in SENT_HALF else None)


@ALL
def test_where_all_mirrors_fail_nothing_is_in_place_and_the_sentence_helps(
        server, folder, bad):
    with pytest.raises(DownloadError) as error:
        ask(server, folder, bad.__name__, timeout=0.3)
    assert f"{server.url}/{bad.__name__}/{IMAGES}.gz" in str(error.value)
    assert str(folder / "mnist") in str(error.value)
    left = files(folder)
    if bad in SENT_HALF:
        kept = left.pop(f"mnist/{IMAGES}.gz.part", b"")
        assert kept == PACKED[:len(kept) if bad is reset else HALF]
    assert left == {}


def test_a_wrong_data_set_is_called_by_its_name(server, folder):
    sentence = f"these are the bytes of fashion-mnist's {IMAGES}, expected mnist's {IMAGES}"
    with pytest.raises(DownloadError, match=sentence):
        ask(server, folder, "wrong_set")


def test_a_redirect_is_followed_and_the_bytes_stay_as_served(server, folder):
    ask(server, folder, "redirect")
    assert files(folder) == RIGHT
    assert [path.split("/")[1] for path, _ in server.log] == ["redirect", "good"]


def test_what_is_there_and_right_costs_no_request(server, folder):
    ask(server, folder, "good")
    server.log.clear()
    ask(server, folder, "good")
    assert server.log == []


def test_what_is_there_and_wrong_is_replaced(server, folder):
    (folder / "mnist").mkdir(parents=True)
    (folder / "mnist" / f"{IMAGES}.gz").write_bytes(OTHER)
    ask(server, folder, "good")
    assert files(folder) == RIGHT


def test_missing_looks_at_names_only(server, folder):
    assert data_download.missing("mnist", folder) == [f"{IMAGES}.gz"]
    (folder / "mnist").mkdir(parents=True)
    (folder / "mnist" / f"{IMAGES}.gz").touch()
    assert data_download.missing("mnist", folder) == []


# Going on with a partial file --------------------------------------------------------------
def test_a_later_run_transfers_only_the_rest(server, folder):
    with pytest.raises(DownloadError, match=f"broke off at {HALF} of {len(PACKED)} bytes"):
        ask(server, folder, "cut_short")
    server.log.clear(); server.sent = 0
    ask(server, folder, "good")
    assert server.log == [(f"/good/{IMAGES}.gz", f"bytes={HALF}-")]
    assert server.sent == len(PACKED) - HALF
    assert files(folder) == RIGHT


@pytest.mark.parametrize("mirror, requests", [
    ("ignores_range", [f"bytes={HALF}-"]),             # 200: the whole file came at once
    ("wrong_range", [f"bytes={HALF}-", None]),         # 206 with other bytes: asked for all
])
def test_a_mirror_that_cannot_resume_gives_the_file_anew(server, folder, mirror, requests):
    write_part(folder, PACKED[:HALF])
    ask(server, folder, mirror)
    assert [asked for _, asked in server.log] == requests
    assert files(folder) == RIGHT


def test_bytes_of_mirrors_that_pack_otherwise_are_not_mixed(server, folder):
    write_part(folder, gzip.compress(CONTENT, 0, mtime=1)[:HALF])
    ask(server, folder, "good")
    assert [asked for _, asked in server.log] == [f"bytes={HALF}-", None]
    assert files(folder) == RIGHT


def test_a_partial_file_that_is_whole_needs_no_transfer(server, folder):
    write_part(folder, PACKED)
    ask(server, folder, "good")
    assert [asked for _, asked in server.log] == [f"bytes={len(PACKED)}-"]
    assert (server.sent, files(folder)) == (0, RIGHT)


def test_a_partial_file_longer_than_the_file_is_given_up(server, folder):
    write_part(folder, bytes(len(PACKED) + 1))
    ask(server, folder, "good")
    assert [asked for _, asked in server.log] == [f"bytes={len(PACKED) + 1}-", None]
    assert files(folder) == RIGHT


# No network --------------------------------------------------------------------------------
def test_without_a_network_the_status_is_2_and_one_sentence_tells_what_to_do(
        server, folder, monkeypatch, capsys):
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        tiny = data_download.DataSet((url,), {IMAGES: "0", LABELS: "0"}, 2**20)
        monkeypatch.setitem(data_download.SETS, "mnist", tiny)
        start = time.monotonic()
        assert main(["mnist", "--data-dir", str(folder)]) == 2
    assert time.monotonic() - start < 2  # refused at once, not after the 20 s of the time-out
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    assert "Connection refused" in sentence
    assert f"{url}/{IMAGES}.gz (likewise {LABELS}.gz)" in sentence
    assert f"into {folder / 'mnist'}" in sentence
    assert files(folder) == {}


def test_a_name_that_is_looked_up_for_ever_costs_one_timeout_a_mirror(
        server, folder, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: server.release.wait(PATIENCE))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"no answer within 0\.2 s.*within 0\.2 s"):
        ask(server, folder, "good", "good", timeout=0.2)
    assert 0.35 < time.monotonic() - start < 1.5
    assert server.log == []


# Two processes, crashes, Ctrl-C ------------------------------------------------------------
def start(server, folder, mirror, before=""):
    """The command line in a process of its own, with the tiny data set at one mirror."""
    tiny = replace(data_download.SETS["mnist"], mirrors=(f"{server.url}/{mirror}",))
    code = f"""
import signal, sys, data_download as d
from data_download import DataSet
signal.signal(signal.SIGINT, signal.default_int_handler)  # for tests run with &
d.SETS["mnist"] = {tiny}
{before}
sys.exit(d.main(["mnist", "--data-dir", {str(folder)!r}]))"""
    return subprocess.Popen([sys.executable, "-u", "-c", code], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_some(folder):
    """Until something is in the partial file."""
    end = time.monotonic() + PATIENCE
    while not any(files(folder).values()):
        assert time.monotonic() < end, files(folder).keys()
        time.sleep(0.01)


def test_of_two_processes_one_waits_and_transfers_nothing(server, folder):
    first = start(server, folder, "waits_then_good")
    assert server.asked.wait(PATIENCE)
    second = start(server, folder, "waits_then_good")
    assert "another process fills it, waiting" in second.stdout.readline()
    server.release.set()
    for process in (first, second):
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
    assert len(server.log) == 1
    assert files(folder) == RIGHT


def test_two_processes_without_locks_do_not_share_a_partial_file(server, folder):
    first, second = (start(server, folder, "waits_then_good", "d.fcntl = None") for _ in "ab")
    end = time.monotonic() + PATIENCE
    while len(server.log) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    server.release.set()
    for process in (first, second):
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
    assert [asked for _, asked in server.log] == [None, None]
    assert files(folder) == RIGHT


def test_a_partial_file_that_no_other_process_can_take_over_is_removed(
        server, folder, monkeypatch):
    monkeypatch.setattr(data_download, "fcntl", None)
    with pytest.raises(DownloadError):
        ask(server, folder, "cut_short")
    assert files(folder) == {}


def test_what_a_killed_process_left_is_gone_on_with(server, folder):
    process = start(server, folder, "waits_then_good")
    wait_for_some(folder)
    process.kill()
    process.communicate(timeout=PATIENCE)
    (kept,) = files(folder).values()
    ask(server, folder, "good")
    assert [asked for _, asked in server.log] == [None, f"bytes={len(kept)}-"]
    assert files(folder) == RIGHT


def test_ctrl_c_is_a_sentence_with_status_130_and_keeps_what_came(server, folder):
    process = start(server, folder, "waits_then_good")
    wait_for_some(folder)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.count("\n")) == (130, 1)
    assert errors.startswith("Interrupted")
    (path, kept), = files(folder).items()
    assert (path, kept) == (f"mnist/{IMAGES}.gz.part", PACKED[:len(kept)])
    assert kept


# The command line --------------------------------------------------------------------------
def test_the_folder_is_the_flag_else_the_environment_else_data(monkeypatch):
    monkeypatch.setenv("MINIDL_DATA", "/from/environment")
    assert data_download.data_dir("/from/flag") == Path("/from/flag")
    assert data_download.data_dir() == Path("/from/environment")
    monkeypatch.delenv("MINIDL_DATA")
    assert data_download.data_dir() == ROOT / "data"


def test_the_command_fetches_the_named_set_into_the_folder_of_the_environment(
        server, folder, capsys):
    assert main(["mnist"]) == 0
    assert files(folder) == RIGHT
    assert capsys.readouterr().err == ""


def test_a_set_that_fails_does_not_keep_the_next_from_being_fetched(
        server, folder, monkeypatch, capsys):
    for name, mirror in {"mnist": "not_found", "fashion-mnist": "wrong_set"}.items():
        data_set = replace(data_download.SETS[name], mirrors=(f"{server.url}/{mirror}",))
        monkeypatch.setitem(data_download.SETS, name, data_set)
    assert main(["mnist", "fashion-mnist"]) == 2
    assert files(folder) == {f"fashion-mnist/{IMAGES}.gz": OTHER}
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments, sentence", [
    (["mnits"], "found 'mnits', expected a data set: mnist, fashion-mnist, imdb\n"),
    (["--from", "/no/such/folder"], "--from: found no folder /no/such/folder\n"),
    (["--form"], "unrecognized arguments: --form\n"),
])
def test_a_mistake_on_the_command_line_is_one_sentence_with_status_2(
        server, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as end:
        main(["mnist", *arguments])
    assert end.value.code == 2
    assert capsys.readouterr().err == sentence
    assert server.log == []


def test_a_folder_that_cannot_be_written_is_one_sentence_with_status_2(
        server, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["mnist", "fashion-mnist", "--data-dir", str(tmp_path / "file" / "data")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert "Not a directory" in error
    assert error.count("\n") == 1  # not one for each set
    assert server.log == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to write to")
def test_a_full_disk_is_one_sentence_with_status_2(server, folder, capsys):
    (folder / "mnist").mkdir(parents=True)
    (folder / "mnist" / f"{IMAGES}.gz.part").symlink_to("/dev/full")
    assert main(["mnist"]) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert error.count("\n") == 1
    assert files(folder) == {}


def test_a_terminal_sees_one_line_rewritten_and_a_log_few_lines(
        server, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["mnist"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\r\S+: 0\.3 of 0\.3 MB, 100%, \d+\.\d MB/s *\n", shown), shown
    (folder / "mnist" / f"{IMAGES}.gz").unlink()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert main(["mnist"]) == 0
    shown = capsys.readouterr().out
    assert "\r" not in shown
    assert shown.count("MB/s") == 1


def test_the_import_needs_the_standard_library_only():
    code = "import sys, data_download; print({'numpy', 'torch', 'minidl'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert found.stdout == b"set()\n", found.stderr


# Files fetched by hand ---------------------------------------------------------------------
@pytest.mark.parametrize("where", ["", "mnist"])
@pytest.mark.parametrize("name, content", [(IMAGES, CONTENT), (f"{IMAGES}.gz", PACKED)])
def test_from_takes_plain_and_gzipped_files(server, folder, tmp_path, where, name, content):
    source = tmp_path / "source"
    (source / where).mkdir(parents=True)
    (source / where / name).write_bytes(content)
    assert main(["mnist", "--from", str(source)]) == 0
    (path, packed), = files(folder).items()
    assert (path, gzip.decompress(packed)) == (f"mnist/{IMAGES}.gz", CONTENT)
    if content == PACKED:
        assert packed == PACKED  # not packed anew
    assert packed[3:8] == bytes(5)  # no name and no date in the gzip header
    assert server.log == []


@pytest.mark.parametrize("content, found", [
    (OTHER, f"these are the bytes of fashion-mnist's {IMAGES}, expected mnist's {IMAGES}"),
    (CONTENT[:-1], "these are bytes with hash "),
    (bytes(2**21), "more than 1048576 bytes"),
    (PACKED[:-1], "damaged content"),
    (PACKED + b"more", "damaged content"),
])
def test_from_refuses_wrong_content(server, folder, tmp_path, capsys, content, found):
    (tmp_path / IMAGES).write_bytes(content)
    assert main(["mnist", "--from", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path / IMAGES}: ")
    assert found in error
    assert error.count("\n") == 1
    assert files(folder) == {}


def test_from_says_which_file_it_did_not_find(server, folder, tmp_path):
    with pytest.raises(DownloadError, match=f"found neither {IMAGES}.gz nor {IMAGES}, "):
        import_files("mnist", tmp_path, folder)
    assert files(folder) == {}


# Archives and bombs ------------------------------------------------------------------------
REVIEWS = {"aclImdb/train/pos/0_9.txt": b"good", "aclImdb/train/neg/0_1.txt": b"bad",
           "aclImdb/test/pos/0_10.txt": b"fine", "aclImdb/test/neg/0_2.txt": b"poor"}


def archive(*extra, reviews=REVIEWS):
    """A .tar.gz of the extra members, then the reviews in the reverse of the sorted order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        texts = [(tarfile.TarInfo(name), text) for name, text in sorted(reviews.items())[::-1]]
        for member, text in [*extra, *texts]:
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def member(name, text=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, text


@pytest.fixture
def imdb(monkeypatch, tmp_path):
    """import_files of an archive, with the four reviews above as the published ones."""
    digest = hashlib.sha256(b"".join(
        name.encode() + b"\0" + REVIEWS[name] for name in sorted(REVIEWS))).hexdigest()
    whole = archive(member("aclImdb/README", b"as published"))
    tiny = data_download.DataSet((), {"aclImdb_v1.tar.gz": hashlib.md5(whole).hexdigest()},
                                 2**20, digest)
    monkeypatch.setitem(data_download.SETS, "imdb", tiny)
    source = tmp_path / "deep" / "source"
    source.mkdir(parents=True)

    def put(content, name="aclImdb_v1.tar.gz"):
        (source / name).write_bytes(content)
        import_files("imdb", source, source.parent / "data")
        (source / name).unlink()
        return files(tmp_path)

    put.whole = whole
    return put


def test_the_published_archive_is_known_by_its_md5_without_being_read(imdb, monkeypatch):
    monkeypatch.setattr(tarfile, "open", None)
    assert imdb(imdb.whole) == {"deep/data/imdb/aclImdb_v1.tar.gz": imdb.whole}


@pytest.mark.parametrize("extra", [
    [],
    [member("aclImdb/train/unsup/0_0.txt", b"no label"), member("aclImdb/imdb.vocab", b"a b")],
], ids=["without unsup", "with unsup"])
def test_an_archive_with_the_same_labelled_reviews_is_accepted(imdb, extra):
    content = archive(*extra)
    assert imdb(content) == {"deep/data/imdb/aclImdb_v1.tar.gz": content}


def test_a_plain_tar_is_packed(imdb):
    content = gzip.decompress(archive())
    (packed,) = imdb(content, "aclImdb_v1.tar").values()
    assert gzip.decompress(packed) == content


def test_a_malicious_archive_writes_nothing_but_itself(imdb, tmp_path, monkeypatch):
    for name in ("extract", "extractall", "_extract_member"):
        monkeypatch.setattr(tarfile.TarFile, name, None)
    content = archive(
        member("../evil.txt", b"x"), member(f"{tmp_path}/evil.txt", b"x"),
        member("aclImdb/train/pos/../../../../evil.txt", b"x"),
        member("aclImdb/train/pos/1_9.txt", kind=tarfile.SYMTYPE, link=f"{tmp_path}/evil.txt"),
        member("aclImdb/train/pos/2_9.txt", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        member("aclImdb/train/pos/3_9.txt", kind=tarfile.CHRTYPE),
        member("aclImdb/train/pos/4_9.txt", kind=tarfile.FIFOTYPE))
    assert imdb(content) == {"deep/data/imdb/aclImdb_v1.tar.gz": content}


@pytest.mark.parametrize("content, found", [
    (archive(reviews={**REVIEWS, "aclImdb/train/pos/0_9.txt": b"goof"}), "with hash"),
    (archive(reviews=dict(list(REVIEWS.items())[:3])), "with hash"),
    (archive(member("aclImdb/train/pos/1_9.txt", b"one more")), "with hash"),
    (archive(member("aclImdb/train/pos/0_9.txt", b"shadowed")), "twice"),
    (archive(member("aclImdb/train/pos/1_9.txt", bytes(2**16 + 1))), "too long"),
    (archive(member("aclImdb/zeros", bytes(2**21))), "more than 1048576 bytes"),
    (archive()[:-20], "damaged"),
    (gzip.compress(b"no archive at all" * 99), "damaged"),
], ids=["changed", "fewer", "more", "twice", "too long", "bomb", "cut", "no tar"])
def test_an_archive_with_other_reviews_is_refused(imdb, tmp_path, content, found):
    with pytest.raises(DownloadError, match=found):
        imdb(content)
    assert list(files(tmp_path)) == ["deep/source/aclImdb_v1.tar.gz"]


def test_a_member_that_claims_16_gib_is_not_looked_for_beyond_the_end(imdb):
    info = tarfile.TarInfo("aclImdb/README")
    info.size = 2**34
    start = time.monotonic()
    with pytest.raises(DownloadError, match="ends too soon"):
        imdb(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)))
    assert time.monotonic() - start < 1


def test_a_gzip_bomb_is_not_read_to_its_end(server, folder, tmp_path, monkeypatch):
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(bytes(2**25), mtime=0))
    read, original = [0], gzip.GzipFile.read

    def counting(self, size=-1):
        block = original(self, size)
        read[0] += len(block)
        return block

    monkeypatch.setattr(gzip.GzipFile, "read", counting)
    with pytest.raises(DownloadError, match="more than 1048576 bytes"):
        import_files("mnist", tmp_path, folder)
    assert 2**20 < read[0] <= 2**21


def test_a_file_that_is_far_too_long_is_not_copied_whole(
        server, folder, tmp_path, monkeypatch):
    (tmp_path / f"{IMAGES}.gz").write_bytes(PACKED[:10] + bytes(2**23))
    refused, original = [], os.truncate

    def measuring(path, size):
        refused.append(Path(path).stat().st_size)
        original(path, size)

    monkeypatch.setattr(os, "truncate", measuring)
    with pytest.raises(DownloadError):
        import_files("mnist", tmp_path, folder)
    assert refused == [2**21]  # the limit of 1 MiB, and the block that is beyond it


def test_a_mirror_that_never_ends_is_left_soon(server, folder):
    with pytest.raises(DownloadError):
        ask(server, folder, "endless")
    assert server.sent < 2**24  # 1 MiB is allowed; the rest is what the sockets buffer


# The published data sets -------------------------------------------------------------------
PUBLISHED = os.environ.get("MINIDL_DATA")


def real_data(test):
    there = pytest.mark.skipif(not PUBLISHED, reason="MINIDL_DATA is not set")
    return pytest.mark.real_data(there(test))


@real_data
def test_mnist_is_imported_with_the_published_md5s(tmp_path):
    assert main(["mnist", "--from", PUBLISHED, "--data-dir", str(tmp_path)]) == 0
    found = {Path(path).stem: hashlib.md5(gzip.decompress(content)).hexdigest()
             for path, content in files(tmp_path).items()}
    assert found == {"train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
                     "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
                     "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
                     "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637"}


@real_data
def test_mnist_is_refused_as_fashion_mnist(tmp_path, capsys):
    source = str(Path(PUBLISHED, "mnist"))
    assert main(["fashion-mnist", "--from", source, "--data-dir", str(tmp_path)]) == 2
    sentence = f"these are the bytes of mnist's {IMAGES}, expected fashion-mnist's {IMAGES}\n"
    assert capsys.readouterr().err.endswith(sentence)
    assert files(tmp_path) == {}


@real_data
@pytest.mark.parametrize("name", ["fashion-mnist", "imdb"])
def test_the_published_bytes_are_taken_for_right(name):
    if lacking := data_download.missing(name, PUBLISHED):
        pytest.skip(f"{', '.join(lacking)} not in {PUBLISHED}")
    with socket.socket() as unused:  # a mirror that would refuse
        unused.bind(("127.0.0.1", 0))
        fetch(name, PUBLISHED, mirrors=[f"http://127.0.0.1:{unused.getsockname()[1]}"])
