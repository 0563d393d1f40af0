"""kill -9: what a process leaves, and how it goes on.

A process is forked from a server that has imported torch once, killed, and what it leaves is
compared, file by file, with what an undisturbed one left. The same command with --resume then
ends with the same files, byte for byte but for timings. Used in tests/test_torture.py.
"""

import contextlib
import io
import json
import multiprocessing
import os
import re
import signal
import socket
import sys
import time
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch

from minidl.lab import checkpoint, results

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
    """-> (exit status, its output, its seconds) of work(*args), left alone."""
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


# --- what it leaves -------------------------------------------------------------------------

def content(folder):
    """Every file below the folder: its path -> its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def without_timings(name, data):
    """A file's bytes but for what is measured in seconds; ValueError where it is damaged."""
    if name.endswith(".pt"):
        found = checkpoint.read(SimpleNamespace(read_bytes=lambda: data))
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


def half_written(left, whole):
    """Names of files of a killed process that a reader could take for whole, and that are not.

    left, whole: the contents of its folder and of an undisturbed one's. A checkpoint may be
    of an earlier epoch, a log have fewer trials.
    """
    return [name for name, data in left.items()
            if not TEMPORARY.fullmatch(Path(name).name) and not _is_whole(name, data, whole)]


def _is_whole(name, data, whole):
    try:
        found = without_timings(name, data)  # fails for a checkpoint that is none
    except (ValueError, checkpoint.CheckpointError):
        return False
    if name.endswith(".pt") or name not in whole:
        return name in whole
    wanted = without_timings(name, whole[name])
    if name == "run.json":  # a name is added to it before each file is written
        found, wanted = json.loads(found), json.loads(wanted)
        return (found["made_by"].items() <= wanted["made_by"].items()
                and found["files"] == wanted["files"][:len(found["files"])])
    if name.endswith(".jsonl"):
        return set(found.split(b"\n")) <= {b"", *wanted.split(b"\n")}
    return found == wanted


def differences(found, wanted):
    """Names of files that one has and the other has not, or otherwise, but for timings."""
    return [name for name in sorted({*found, *wanted})
            if name not in found or name not in wanted
            or without_timings(name, found[name]) != without_timings(name, wanted[name])]
