"""A short run of every kind of file, its ends, and a full disk: used in test_torture.py.

In a file of its own, which the processes of killing.py import.
"""

import contextlib
import io
import resource

import killing
import torch
from torch import nn

from minidl.lab import cli
from minidl.lab.plot import curves


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


def full_disk(scratch, steps):
    """A disk without room at ever later moments (a limit on a file's size stands for it);
    with room again, --resume ends the run."""
    status, said = ends(scratch / "alone")
    assert not status, said
    whole = killing.content(scratch / "alone")
    largest, hard = max(map(len, whole.values())), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for i in range(steps):
        out = scratch / str(i) / "out"
        out.mkdir(parents=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (i * largest // steps, hard))
        status, said = ends(out, *["--resume"] * (i % 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert status == 2 and said.count("\n") == 1 and "expected" in said, (status, said)
        left = killing.content(out.parent)
        assert not [name for name in left if name.endswith(".tmp")], left.keys()
        half = killing.half_written(killing.content(out), whole)
        assert not half, half
        status, said = ends(out, "--resume")
        assert not status, said
        other = killing.differences(killing.content(out), whole)
        assert not other, other
