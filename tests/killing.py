"""kill -9 at random moments: what is killed, what it leaves, how it goes on.

A process is forked from a server that has imported torch once, killed, and what it leaves is
compared, file by file, with what an undisturbed one left. The same command with --resume then
ends with the same files, byte for byte but for timings. Used in tests/torture.py, its short
form tests/test_torture.py, and tests/test_ex2_conv_ae.py.
"""

import contextlib
import hashlib
import http.server
import io
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import ex2_conv_ae
import hw1_regression
import matplotlib.pyplot as plt
import torch

import data_download
from minidl import tune
from minidl.data import glyphs, review_sources
from minidl.lab import checkpoint, cli, results

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")  # beside the file to be; nobody reads it


# --- processes ------------------------------------------------------------------------------

def start(work, *args):
    """work(*args) in a process of its own -> the process, the lines that it prints.

    The first line is empty: it comes when all is imported and the work begins.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(  # an optimizer imports torch._dynamo in its first step
        ["torch._dynamo", "matplotlib.backends.backend_agg", "killing"])
    with mock.patch.dict(os.environ, OMP_NUM_THREADS="1",  # a second waits busily for work
                         PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        forkserver.ensure_running()
    ours, theirs = socket.socketpair()
    process = context.Process(target=_speaking, args=(theirs, work, args))
    process.start()
    theirs.close()
    return process, ours.makefile()


def _speaking(theirs, work, args):
    results.DPI = 30  # figures are most of a short run's time
    with theirs.makefile("w") as stream, contextlib.redirect_stdout(stream), \
            contextlib.redirect_stderr(stream):
        stream.reconfigure(line_buffering=True)
        print()
        work(*args)


def finished(work, *args):
    """-> (exit status, what it said, its seconds) of work(*args), left alone."""
    process, lines = start(work, *args)
    lines.readline()
    begun = time.perf_counter()
    said = lines.read()
    process.join()
    return process.exitcode, said, time.perf_counter() - begun


def killed(seconds, work, *args):
    """Kill work(*args) so long after it has begun -> False where it ended before.

    It may kill itself earlier.
    """
    process, lines = start(work, *args)
    lines.readline()
    process.join(seconds)
    process.kill()
    process.join()
    lines.close()
    return process.exitcode == -signal.SIGKILL


# --- what is killed: each again with the same folder, until it ends -------------------------

class Kind(NamedTuple):
    """work(folder, resume, *args) writes into a folder."""

    work: Callable
    args: tuple = ()


def training(folder, resume, data_dir):
    """Exercise 2's autoencoder, small, on embedded glyphs."""
    cli.start(ex2_conv_ae.main, data="mnist", **ex2_conv_ae.SIZES, argv=[
        "--data", "glyphs", "--data-dir", str(data_dir), "--out", str(folder), "--quick",
        "--images", "240", "--epochs", "8", "--filters", "4", "--hidden", "32",
        *["--resume"] * resume])


def tuning(folder, resume):
    """Homework 1's random search, with short trainings."""
    hw1_regression.SPACE |= {"steps": tune.Choice((10, 20, 30))}
    cli.start(hw1_regression.main, **hw1_regression.SIZES, argv=[
        "--out", str(folder), "--points", "40", "--trials", "12", "--folds", "2",
        *["--resume"] * resume])


def downloading(folder, resume, data_sets):
    """Two files of a slow mirror; a later process goes on where the .part ends."""
    data_download.SETS |= data_sets
    sys.exit(data_download.main(["mnist", "--data-dir", str(folder)]))


def caching(folder, resume, archive, data_sets):
    """The words of an archive of reviews, then glyphs as IDX files."""
    data_download.SETS |= data_sets
    place = folder / "imdb" / "aclImdb_v1.tar.gz"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(archive)
    review_sources._cached(place, print)
    glyphs.CHUNK = 50  # images are drawn by so many
    glyphs.folder("digits", folder, 100, 50)


def writing(folder, resume):
    """Figures, tables and results.json, again and again: nothing but writing."""
    for n in range(4):
        found = results.Results(folder / str(n))
        found.folder.mkdir(parents=True, exist_ok=True)
        figure, axes = plt.subplots()
        axes.plot(range(n + 2))
        found.figure("line", figure)
        plt.close(figure)
        found.table("rows", [{"i": i, "i^n": i ** n} for i in range(3000)])
        for i in range(3000):
            found.number(f"number_{i}", i / 3, "thirds")
        found.save({"seconds": time.perf_counter()})


@contextlib.contextmanager
def kinds(scratch):
    """name -> Kind, with what they need: a mirror, an archive and a folder of glyphs."""
    archive, imdb = archive_of_reviews(scratch / "reviews.tar.gz", 400)
    with mirror() as mnist:
        yield {"training": Kind(training, (scratch / "glyphs",)), "tuning": Kind(tuning),
               "downloading": Kind(downloading, ({"mnist": mnist},)),
               "caching": Kind(caching, (archive, {"imdb": imdb})), "writing": Kind(writing)}


def archive_of_reviews(path, n):
    """n short reviews of each folder as a .tar.gz -> its path, the DataSet that knows it."""
    source, texts = random.Random(0), {}
    for folder in review_sources.FOLDERS:
        for i in range(n):
            words = [f"word{source.randrange(5000)}" for _ in range(30)]
            texts[f"aclImdb/{folder}/{i}_1.txt"] = " ".join(words).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    digest = data_download.hash_reviews({name: texts[name] for name in sorted(texts)})
    return path, data_download.DataSet((), {"aclImdb_v1.tar.gz": ""}, 2**24, digest)


@contextlib.contextmanager
def mirror():
    """A mirror that sends 20 kB every 5 ms -> the DataSet of its two files."""
    content = {f"{name}.gz": random.Random(name).randbytes(800_000) for name in "ab"}
    packed = {name: data_download.gzip.compress(data, 1, mtime=0)
              for name, data in content.items()}

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = packed[self.path.strip("/")]
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            self.send_response(416 if first >= len(body) else 206 if asked else 200)
            self.send_header("Content-Length", str(len(body) - first))
            if asked:
                self.send_header("Content-Range",
                                 f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has been killed
                for at in range(first, len(body), 20_000):
                    self.wfile.write(body[at:at + 20_000])
                    time.sleep(0.005)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield data_download.DataSet(
            (f"http://127.0.0.1:{server.server_address[1]}",),
            {name.removesuffix(".gz"): hashlib.md5(data).hexdigest()
             for name, data in content.items()}, 2**20)
    finally:
        server.shutdown()
        server.server_close()


# --- what it leaves -------------------------------------------------------------------------

def content(folder):
    """Every file below the folder: its path -> its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def without_timings(name, data):
    """A file's bytes but for what is measured in seconds; ValueError where it is damaged."""
    if name.endswith(".pt"):
        found = checkpoint.read(_InMemory(data))
        progress = {k: v for k, v in found["progress"].items() if "seconds" not in k}
        torch.save(found | {"progress": progress}, packed := io.BytesIO())
        return packed.getvalue()
    if name.endswith(".jsonl"):  # a log in the order in which trials ended, up to a whole line
        trials = [json.loads(line) for line in data.split(b"\n")[:-1]]
        return b"\n".join(json.dumps(t | {"seconds": 0}, sort_keys=True).encode()
                          for t in trials)
    if name.endswith("results.json"):
        found = json.loads(data) | {"seconds": 0}
        found["numbers"] = {k: v for k, v in found["numbers"].items() if v["unit"] != "s"}
        return json.dumps(found).encode()
    return data


class _InMemory(NamedTuple):
    """Stands in for the path of a checkpoint."""

    data: bytes

    def read_bytes(self):
        return self.data


def half_written(left, whole):
    """Names of files of a killed process that a reader could take for whole, and that are not.

    left, whole: the contents of its folder and of an undisturbed one's. A checkpoint may be
    of an earlier epoch, a log have fewer trials, a .part be the first bytes of its file.
    """
    bad = []
    for name, data in left.items():
        twin = whole.get(name.removesuffix(".part"))
        try:
            if TEMPORARY.fullmatch(Path(name).name):
                continue
            if name.endswith(".part"):
                good = twin.startswith(data)
            elif name == "run.json":  # names are added to it as the files are written
                found, end = json.loads(data), json.loads(twin)
                good = (found["made_by"].items() <= end["made_by"].items()
                        and found["files"] == end["files"][:len(found["files"])])
            elif name.endswith(".jsonl"):
                good = set(without_timings(name, data).split(b"\n")) <= {
                    b"", *without_timings(name, twin).split(b"\n")}
            else:
                found = without_timings(name, data)  # fails for a checkpoint that is none
                good = name.endswith(".pt") or found == without_timings(name, twin)
        except (ValueError, AttributeError, checkpoint.CheckpointError):
            good = False
        if not good:
            bad.append(name)
    return bad


def differences(found, wanted):
    """Names of files that one has and the other has not, or otherwise, but for timings."""
    names = [*found, *(name for name in wanted if name not in found)]
    return [name for name in names if name not in found or name not in wanted
            or without_timings(name, found[name]) != without_timings(name, wanted[name])]


# --- the kills ------------------------------------------------------------------------------

def survives(kind, kills, source, scratch):
    """Kill a kind so often, in rounds of one to three in a row -> (survived, told).

    After each kill nothing is half-written, and the round's last process, left alone, ends
    with the files of the undisturbed one. `told`: what went wrong, in words.
    """
    alone, told, done, survived = scratch / "alone", [], 0, 0
    status, said, seconds = finished(kind.work, alone, False, *kind.args)
    assert not status, said
    whole = content(alone)
    while done < kills:
        folder, rounds, wrong = scratch / f"killed_{done}", 0, []
        folder.mkdir()
        for _ in range(min(kills - done, source.randint(1, 3))):
            moment = source.uniform(0, seconds)
            while not killed(moment, kind.work, folder, rounds > 0, *kind.args):
                moment *= 0.7  # it had ended: resumed, it had less to do
            rounds += 1
            wrong += [f"half-written {name}" for name in half_written(content(folder), whole)]
        status, said, _ = finished(kind.work, folder, True, *kind.args)
        wrong += [f"exit status {status}: {said}"] * bool(status)
        wrong += [f"other {name}" for name in differences(content(folder), whole)]
        told += wrong
        done += rounds
        survived += rounds * (not wrong)
    return survived, told
