"""Scripts run whole: small data, how a test starts one, and what it watches."""

import importlib
import json
from typing import NamedTuple
from unittest.mock import Mock

import numpy as np
import pytest
import refuting
import torch

from minidl import idx
from minidl.data import Dataset
from minidl.data.reviews import Corpus
from minidl.data.sources import FILES
from minidl.lab import cli
from minidl.lab.results import Results
from minidl.lab.run import Run


class WholeRun(NamedTuple):
    content: dict  # of results.json
    events: list   # each "step" of a training and each reading of the "test" split
    claims: list   # see refuting.py


def write_images(folder, n=120, tests=30, classes=range(10), change=lambda x: x):
    """n + tests images of these classes in four IDX files; -> the folder.

    Class c is a bright row 2c + 3, so easy to tell.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for count, (images, labels) in zip((n, tests), FILES.values(), strict=True):
        y = np.resize(np.array(classes, np.uint8), count)
        x = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        x[np.arange(count), (2 * y + 3) % 28] += 180
        idx.write(folder / images, change(x))
        idx.write(folder / labels, y)
    return folder


def start(name, out, *argv, data, figures=False):
    """A script in its quick size; -> what is in results.json. data: what the sheet asks for.

    Figures take most of a short run's time: without them, nothing is drawn.
    """
    script = importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        if not figures:
            patch.setattr(Results, "figure", lambda *_: None)
            patch.setattr(script, "plot", Mock(), raising=False)
        cli.start(script.main, data=data, **getattr(script, "SIZES", {}),
                  argv=["--out", str(out), "--quick", *argv])
    return json.loads((out / "results.json").read_text())


def watched(name, out, *argv, data):
    """The same with its figures and its events; -> a WholeRun.

    The steps of LBFGS are none: it fits linear probes and bags of words, which are measures of
    a trained network or beside it, and take no setting from the test split.
    """
    events, claims, clear = [], [], torch.optim.Optimizer.zero_grad

    def noting_steps(self, *args):
        if not isinstance(self, torch.optim.LBFGS):
            events.append("step")
        return clear(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Optimizer, "zero_grad", noting_steps)
        patch.setattr(Run, "claim", refuting.noting(claims))
        for kind in (Dataset, Corpus):
            patch.setattr(kind, "test", lambda self, test=kind.test: [
                events.append("test"), test(self)][1])
        return WholeRun(start(name, out, *argv, data=data, figures=True), events, claims)
