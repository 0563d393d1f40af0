"""Can a claim of a script be false? Its condition is asked again with other numbers.

A run's claims are noted with the names that they saw. Each condition is then evaluated with
those values replaced at random (tensors of their shape, numbers, lists), until it is false.
One that no numbers refute would be no claim.
"""

import ast
import copy
import dataclasses
import functools
import inspect
import math
import random
import sys
from pathlib import Path

import torch
from torch import nn

from minidl.data import Dataset
from minidl.lab.findings import Paired
from minidl.lab.run import Run


@functools.cache
def conditions(file):
    """The line of a claim in a file -> its condition."""
    calls = [node for node in ast.walk(ast.parse(Path(file).read_text("utf-8")))
             if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.claim"]
    return {call.lineno: call.args[1] for call in calls}


def noting(claims):
    """In the place of Run.claim: it also adds (sentence, *arguments of `refuted`) there."""
    def claim(run, sentence, holds, _claim=Run.claim, **numbers):
        frame = sys._getframe(1)
        if run.only is None:
            condition = conditions(inspect.getfile(frame))[frame.f_lineno]
            used = {node.id for node in ast.walk(condition) if isinstance(node, ast.Name)}
            names = {k: v for k, v in frame.f_locals.items() if k in used}
            claims.append((sentence, condition, names, frame.f_globals))
        return _claim(run, sentence, holds, **numbers)
    return claim


def refuted(condition, names, others, tries=3000):
    """Whether a condition is false for other values of some of `names`."""
    code, draw = compile(ast.Expression(condition), "", "eval"), random.Random(0)
    torch.manual_seed(0)
    for _ in range(tries):
        changed = {k: other(v, draw) for k, v in names.items() if draw.random() < 0.7}
        try:
            holds = eval(code, others | names | changed)
            if (holds.positive if isinstance(holds, Paired) else holds) in (False, 0):
                return True
        except (IndexError, KeyError, ValueError, TypeError, ZeroDivisionError, RuntimeError):
            continue  # these numbers do not fit each other
    return False


def other(value, draw):
    """A value of the same kind; of one seed three, for one alone decides nothing."""
    if isinstance(value, torch.Tensor):
        value = value.expand(3, *value.shape[1:]) if value.shape[:1] == (1,) else value
        if value.dtype == torch.bool:
            return torch.rand(value.shape) < draw.random()
        if value.is_floating_point():
            noise = torch.randn(value.shape) * 10 ** draw.uniform(-3, 0)
            return (value.abs().mean() + 0.1) * (noise + draw.gauss(0, 2)) + value
        return value
    if isinstance(value, bool):
        return draw.random() < 0.5
    if isinstance(value, int):
        return draw.choice([value, draw.randint(0, 2 * abs(value) + 40)])
    if isinstance(value, float) and math.isnan(value):  # no step of these reached it
        return draw.choice([value, draw.gauss(0, 100)])
    if isinstance(value, float):
        return draw.choice([0.0, 1.0, draw.gauss(0, 1) * 10 ** draw.uniform(-2, 2)])
    if value is None:  # what was not reached here
        return draw.choice([None, draw.gauss(0, 1)])
    if isinstance(value, dict):
        return {key: other(inner, draw) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        value = value * 3 if len(value) == 1 and isinstance(value, list) else value
        inner = [other(part, draw) for part in value]
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    if isinstance(value, Run):
        value = copy.copy(value)
        value.history = other(value.history, draw)
    elif isinstance(value, nn.Module) and draw.random() < 0.5:
        value = copy.deepcopy(value)
        for p in value.parameters():
            nn.init.normal_(p)
    elif isinstance(value, Dataset):
        value = dataclasses.replace(value, name=draw.choice(["mnist", "glyphs"]))
    return value
