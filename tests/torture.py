"""Faults by the thousand: kills, full disks, mutated and malicious files, told in tables.

    python tests/torture.py                         50 kills, 20,000 mutated files
    python tests/torture.py --kills 5 --files 300   does it run
    python tests/torture.py --flags 300 --seed 1    nothing but so many command lines

Every kill is followed by a check that nothing is half-written, every round of kills by a run
to the end, whose files are those of an undisturbed run but for timings. Exit status 1 where
anything did not survive. The short form is tests/test_torture.py.
"""

import argparse
import contextlib
import functools
import io
import os
import random
import resource
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a second waits busily for work
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import commands  # noqa: E402
import killing  # noqa: E402
import mutating  # noqa: E402
import torch  # noqa: E402
import whole_runs  # noqa: E402
from torch import nn  # noqa: E402

from minidl.lab import cli, stamp  # noqa: E402
from minidl.lab.plot import curves  # noqa: E402
from minidl.publish import kept  # noqa: E402

# --- a run of every kind of file ------------------------------------------------------------

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


# --- a full disk ----------------------------------------------------------------------------

def full_disk(scratch, steps=12):
    """A disk without room at ever later moments (a limit on a file's size stands for it);
    with room again, --resume ends the run."""
    status, said = ends(scratch / "alone")
    assert not status, said
    whole, sentences = killing.content(scratch / "alone"), []
    largest, hard = max(map(len, whole.values())), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for i in range(steps):
        out = scratch / str(i) / "out"
        out.mkdir(parents=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (i * largest // steps, hard))
        sentences.append(refused(out, *["--resume"] * (i % 2)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        half = killing.half_written(killing.content(out), whole)
        assert not half, half
        status, said = ends(out, "--resume")
        assert not status, said
        other = killing.differences(killing.content(out), whole)
        assert not other, other
    print(f"{steps} full disks: one sentence each, resumed to the same files; "
          f"e.g. {sentences[-1]}")


# --- what is not this run's ------------------------------------------------------------------

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
    page = scratch / "assignments" / "torture.py"
    page.parent.mkdir()
    with mock.patch.object(stamp, "ROOT", scratch):
        page.write_text("activation = 'SELU'", encoding="utf-8")
        assert not ends(scratch / "out")[0]
        page.write_text("activation = 'Tanh'", encoding="utf-8")
        print(refused(scratch / "out", "--resume"))


def one_name(scratch):
    """Two data sets of one name: the network of one is not taken for the other's."""
    for seed, folder in enumerate(("one", "two")):
        whole_runs.write_images(scratch / folder / "mine", seed=seed)

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


FAULTS = {"full disk": full_disk, "folders of others": strangers,
          "foreign checkpoints": foreign_checkpoints, "edited script": edited_script,
          "two data sets of one name": one_name}


# --- all together ---------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flags", type=int, nargs="?", const=300, metavar="N",
                        help="nothing but N command lines of the scripts, drawn by the seed")
    flags = parser.parse_args()
    parts = {"command lines": functools.partial(command_lines, flags)} if flags.flags else {
        "kills": functools.partial(kills, flags),
        **{name: functools.partial(alone, fault) for name, fault in FAULTS.items()},
        **{f"mutated {name}": functools.partial(files, name, flags)
           for name in mutating.KINDS}}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="torture") as scratch:
        for name, part in parts.items():
            folder = Path(scratch, name)
            folder.mkdir()
            good, said = part(folder)
            wrong += not good
            print(f"{'ok   ' if good else 'WRONG'} {name}: {said}", flush=True)
    return wrong > 0


def kills(flags, folder):
    wrong = killing.survives(run, flags.kills, random.Random(flags.seed), folder)
    return not wrong, "; ".join([f"{flags.kills} kills", *wrong])


def alone(fault, folder):
    """The fault in a process of its own."""
    status, said, _ = killing.finished(fault, folder)
    return not status, said.strip()


def files(name, flags, folder):
    found = mutating.mutate(name, flags.files // len(mutating.KINDS), flags.seed, folder)
    return found.keys() <= {"read", "refused"}, dict(found)


def command_lines(flags, folder):
    """Every odd end is printed with its command; -> how many ended with which status."""
    sets, source = commands.data_sets(folder), random.Random(flags.seed)

    def end(i):
        script, argv = lines[i]
        (folder / str(i)).mkdir()
        status, wrong = commands.outcome(script, argv, folder / str(i))
        if wrong:
            print(f"{script}.py {shlex.join(argv)}\n    {wrong}", flush=True)
        shutil.rmtree(folder / str(i), ignore_errors=True)
        return "WRONG" if wrong else f"status {status}"

    lines = [commands.line(source, sets, folder / str(i)) for i in range(flags.flags)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = Counter(pool.map(end, range(flags.flags)))
    return "WRONG" not in found, dict(found)


if __name__ == "__main__":
    sys.exit(main())
