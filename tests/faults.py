"""A full disk, a clock that goes backwards, files of others: each in a process of its own.

Disks are small ones in memory (tmpfs), which only that process sees; where that is forbidden,
the largest size of a file is limited instead. Used in tests/torture.py, its short form
tests/test_torture.py.
"""

import contextlib
import ctypes
import io
import json
import os
import random
import resource
import shutil
import time
from pathlib import Path
from unittest import mock

import commands
import killing
import torch
from torch import nn

from minidl.lab import cli, stamp
from minidl.lab.plot import curves
from minidl.publish import kept

NEW_MOUNTS, NEW_USER = 1 << 17, 1 << 28                 # of unshare(2)
READ_ONLY, REMOUNT, PRIVATE = 1, 32, 1 << 18 | 1 << 14  # of mount(2)


def script(run, epochs: "passes" = 3, width: "of the layer" = 5):
    """Two short trainings, a search, a figure, a table: all kinds of files a run writes."""
    for name in ("first", "second"):
        model = nn.Linear(width, width)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in run.epochs(epochs, name, model=model, optimizer=optimizer):
            loss = model(torch.randn(8, width, generator=run.generator)).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            run.track(8, loss=loss)
    search = run.trials("search", lambda settings, _: settings["x"] ** 2)
    trials = search([{"x": x} for x in range(300)])
    run.results.number("best", min(trial["score"] for trial in trials), "score")
    losses = range(1, epochs + 1), run.history["loss"]
    run.results.figure("loss", curves({"loss": losses}, "made data", "epoch", "loss"))
    run.results.table("trials", [trial["settings"] for trial in trials])
    run.claim("The loss is recorded.", bool(run.history), loss=run.history["loss"][-1])


def run(folder, resume):
    """The script with what it says."""
    cli.start(script, argv=["--out", str(folder), *["--resume"] * resume])


def ends(out, *argv):
    """The script's exit status and what it said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.start(script, argv=["--out", str(out), *argv])
        except SystemExit as stop:
            return stop.code, said.getvalue()
    return 0, said.getvalue()


def refused(out, *argv):
    """The sentence of a run that ends with status 2 and writes nothing half."""
    status, said = ends(out, *argv)
    words = "expected" in said or "give the same" in said
    assert status == 2 and said.count("\n") == 1 and words, (status, said)
    assert not [name for name in killing.content(out.parent) if name.endswith(".tmp")]
    return said.strip()


def disk(folder, kilobytes):
    """Mount a disk of that size in memory, for this process -> whether that is permitted."""
    libc, user = ctypes.CDLL(None), os.geteuid()
    if libc.unshare(NEW_MOUNTS | (NEW_USER if user else 0)):
        return False
    if user:
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    return not (libc.mount(None, b"/", None, PRIVATE, None)
                or libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=%dk" % kilobytes))


def remount(folder, flags=0, kilobytes=65536):
    status = ctypes.CDLL(None).mount(None, bytes(folder), None, REMOUNT | flags,
                                     b"size=%dk" % kilobytes)
    assert not status


def full_disk(scratch, steps=12):
    """A disk that is full at ever later moments; with room again, --resume ends the run."""
    status, said = ends(scratch / "alone")
    assert not status, said
    whole, sentences = killing.content(scratch / "alone"), []
    size = sum(4 * -(-len(data) // 4096) for data in whole.values())  # in pages of 4 KiB
    for i in range(steps):
        folder, room = scratch / str(i), max(4, i * size // steps)
        folder.mkdir()
        mounted = disk(folder, room)
        if not mounted:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            largest = max(map(len, whole.values()))
            resource.setrlimit(resource.RLIMIT_FSIZE, (i * largest // steps, hard))
        sentences.append(refused(folder / "out", *["--resume"] * (i % 2)))
        left = killing.content(folder / "out") if (folder / "out").exists() else {}
        half = killing.half_written(left, whole)
        assert not half, half
        if mounted:
            remount(folder)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        status, said = ends(folder / "out", "--resume")
        assert not status, said
        other = killing.differences(killing.content(folder / "out"), whole)
        assert not other, other
    print(f"{steps} full {'disks' if mounted else 'files'}: one sentence each, resumed to the "
          f"same files; e.g. {sentences[-1]}")


def read_only(scratch):
    """A folder that cannot be written to, one that is a file: refused, nothing lost."""
    (scratch / "file").write_text("here")
    said = [refused(scratch / "file")]
    folder = scratch / "disk"
    folder.mkdir()
    if disk(folder, 65536):
        assert not ends(folder / "out")[0]
        before = killing.content(folder)
        remount(folder, READ_ONLY)
        said += [refused(folder / "out", *argv) for argv in ([], ["--resume"])]
        said.append(refused(folder / "another"))
        assert killing.content(folder) == before
    print(*said, sep=" | ")


def clock_set_back(scratch):
    """A clock that goes an hour back each time it is read, files dated 2099 and 1970."""
    status, said = ends(scratch / "alone")
    assert not status, said
    reads = iter(range(10**6))
    with mock.patch("time.time", lambda: 2e9 - 3600 * next(reads)):
        assert time.time() > time.time()
        assert not ends(scratch / "out", "--epochs", "3")[0]
        (scratch / "out" / "results.json").unlink()
        (scratch / "out" / "checkpoints" / "second.pt").unlink()
        for i, path in enumerate(sorted((scratch / "out").rglob("*"))):
            os.utime(path, (i % 2 * 4e9, i % 2 * 4e9))
        assert not ends(scratch / "out", "--resume")[0]
    found = killing.content(scratch / "out")
    other = killing.differences(found, killing.content(scratch / "alone"))
    assert not other, other
    seconds = json.loads(found["results.json"])["seconds"]
    assert 0 <= seconds < 3600, seconds
    print(f"the same files, in {seconds} s")


def strangers(scratch, times=20):
    """Files of a user's in --out, some of them named as a run's: none is changed."""
    assert not ends(scratch / "alone")[0]
    names, chance, refusals = sorted(killing.content(scratch / "alone")), random.Random(0), 0
    for i in range(times):
        out = scratch / str(i)
        for name in [*chance.sample(names, chance.randint(0, 3)), "checkpoints/thesis.pt"]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(chance.choice((b"mine", b"{}", b"[1]", b"")))
        before = killing.content(out)
        status, said = ends(out, *["--resume"] * (i % 2))
        assert status == 0 or (status == 2 and said.count("\n") == 1), (status, said)
        assert before.items() <= killing.content(out).items(), (before, said)
        refusals += status == 2
    print(f"{times} folders of others, {refusals} refused, no file of theirs changed")


def foreign_checkpoints(scratch):
    """--resume with a checkpoint of another run in the place of one's own."""
    for name, argv in {"own": [], "wide": ["--width", "6"], "seed": ["--seed", "1"]}.items():
        assert not ends(scratch / name, *argv)[0]
    said = []
    for name in ("wide", "seed"):
        shutil.copy(scratch / name / "checkpoints" / "first.pt",
                    scratch / "own" / "checkpoints" / "first.pt")
        said.append(refused(scratch / "own", "--resume"))
    print(*said, sep=" | ")


def edited_script(scratch):
    """The script is edited after its run: the networks are no longer its own."""
    page = scratch / "assignments" / "faults.py"
    page.parent.mkdir()
    with mock.patch.object(stamp, "ROOT", scratch):
        page.write_text("activation = 'SELU'", encoding="utf-8")
        assert not ends(scratch / "out")[0]
        page.write_text("activation = 'Tanh'", encoding="utf-8")
        print(refused(scratch / "out", "--resume"))


def one_name(scratch):
    """Two data sets of one name: the network of one is not taken for the other's."""
    for seed, folder in enumerate(("one", "two")):
        commands.write_images(scratch / folder / "mine", seed=seed)

    def said(name, folder, *argv):
        main, sizes, data = kept.declared(name, commands.ROOT)
        argv = ["--data", str(scratch / folder / "mine"), "--images", "120", *argv]
        with contextlib.redirect_stdout(io.StringIO()) as stream, \
                contextlib.redirect_stderr(stream), contextlib.suppress(SystemExit):
            cli.start(main, data=data, **sizes,
                      argv=["--quick", *argv, "--out", str(scratch / "out" / name)])
        return stream.getvalue()

    said("ex2_conv_ae", "one")
    assert "Taken from" not in said("ex2_transfer", "two")
    assert "content" in said("ex2_transfer", "one", "--resume")
    assert "Taken from" in said("ex2_transfer", "one")
    print("trained anew, refused with --resume; taken where it is the same")


FAULTS = {"full disk": full_disk, "read-only folder": read_only,
          "clock set back": clock_set_back, "folders of others": strangers,
          "foreign checkpoints": foreign_checkpoints, "edited script": edited_script,
          "two data sets of one name": one_name}
