"""Scripts run whole, on small images: how a test starts one, and what each of them shows."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from minidl import cli
from minidl.data import Dataset


class WholeRun(NamedTuple):
    content: dict  # of results.json
    out: Path      # its folder
    events: list   # each "step" of an optimizer and each reading of the "test" images


def start(script, folder, out, *argv, data):
    """A script in its quick size on the images of a folder; -> what is in results.json."""
    cli.start(script.main, data=data, **script.SIZES, argv=[
        "--data", str(folder), "--out", str(out), "--quick", *argv])
    return json.loads((out / "results.json").read_text())


def watched(script, folder, out, *argv, data):
    """The same with its events; -> a WholeRun."""
    events, test, clear = [], Dataset.test, torch.optim.Optimizer.zero_grad
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "test", lambda data: [events.append("test"), test(data)][1])
        patch.setattr(torch.optim.Optimizer, "zero_grad", lambda self: [
            events.append("step"), clear(self)][1])
        return WholeRun(start(script, folder, out, *argv, data=data), out, events)


def shows(run, headlines, files):
    """The headlines are numbers, the files are there, the findings are whole sentences."""
    for name in headlines:
        assert isinstance(run.content["numbers"][name]["value"], float), name
    for name in files:
        assert name in run.content["files"] and (run.out / name).stat().st_size > 100, name
    assert run.content["findings"]
    assert all("nan" not in finding for finding in run.content["findings"])
    return True


def same(content, other):
    """Two runs end with the same numbers and say the same."""
    assert content["numbers"] == other["numbers"]
    assert content["findings"] == other["findings"]
    return True
