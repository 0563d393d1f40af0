"""What a student copies out of a page works in a bare file: its networks, and its loop."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidl.data import Split

ASSIGNMENTS = Path(__file__).parents[1] / "assignments"
SOURCES = {path.stem: path.read_text("utf-8") for path in ASSIGNMENTS.glob("*.py")}
PAGES = {name: ast.parse(source) for name, source in SOURCES.items()
         if "run.claim(" in source and not re.search("autocast|captured|layout", source)}
SIZES = {"B": 4, "C": 10, "T": 9, "V": 50, "d": 7, "D": 5, "depth": 5, "filters": 4,
         "hidden": 8, "width": 8, "layers": 2, "classes": 10, "words": 50, "start": "LeCun",
         "channels": {3: 2, 5: 4}, "activation": nn.Tanh, "kind": "Tanh"}  # without default
NONE = inspect.Parameter.empty
ARROWS = {  # where a docstring has none, or not all of it
    ("ex2_conv_ae_study", "build"): "x (B, 1, 28, 28) -> x_hat (B, 1, 28, 28)",
    ("hw2_report_vae", "ConvVAE"):
        "x (B, 1, 28, 28) -> logits (B, 1, 28, 28), mu (B, 20), logvar (B, 20)",
    ("asst8_rnn", "PaddedRNN"): "w (B, T), n (B,) -> o (B,)",
    ("asst8_text_cnn", "MaxOverTime"): "Z (B, 3, T), inside (B, 1, T) -> m (B, 3)"}


# --- networks -------------------------------------------------------------------------------

def definitions(script):
    """name -> (the script that defines it, the statement), imports of other scripts too."""
    found = {}
    for part in ast.parse(SOURCES[script]).body:
        if isinstance(part, ast.ImportFrom) and part.module in SOURCES:
            there = definitions(part.module)
            found |= {alias.name: there[alias.name] for alias in part.names}
        elif isinstance(part, ast.ClassDef | ast.FunctionDef):
            found[part.name] = script, part
        elif isinstance(part, ast.Assign):
            found |= dict.fromkeys(names(*part.targets), (script, part))
    return found


def names(*parts):
    return {name.id for part in parts for name in ast.walk(part) if isinstance(name, ast.Name)}


def paste(name, script, bare=None):
    """-> a namespace of torch, nn, F, a definition, and what it uses of the scripts."""
    bare = {"torch": torch, "nn": nn, "F": F} if bare is None else bare
    script, part = definitions(script)[name]
    bare[name] = None  # it is on its way
    for used in names(part) & definitions(script).keys() - bare.keys():
        paste(used, script, bare)
    exec(compile(ast.Module([part], []), script, "exec"), bare)
    return bare


def makes_a_network(part):
    """A class with methods, or a function that has a layer and no training."""
    text = ast.unparse(part)
    if isinstance(part, ast.ClassDef):
        return "def " in text
    return (isinstance(part, ast.FunctionDef) and part.name != "main"
            and re.search(r"\bnn\.[A-Z]\w*\(", text) and "backward" not in text)


def shapes(text, sizes):
    """The shapes in a text, in numbers: "x (B, d), y (B,)" -> [(4, 7), (4,)]."""
    return [eval(f"({shape})", {}, sizes) for shape in re.findall(r"\((B,[^()]*)\)", text)]


def defaults(function):
    """Its arguments, each with its default or NONE; without *args and **kwargs."""
    return {key: argument.default for key, argument in inspect.signature(
        function).parameters.items() if not argument.kind.name.startswith("VAR")}


def example(name, shape):
    """Random numbers; of reviews the words w, or how many, n."""
    return torch.randint(1, SIZES["T"], shape) if name in ("w", "n") else torch.rand(shape)


NETWORKS = {(script, part.name): ast.get_docstring(part) or ""
            for script, tree in PAGES.items() for part in tree.body if makes_a_network(part)}
NETWORKS |= {key: arrow for key, arrow in ARROWS.items() if key in NETWORKS}


@pytest.mark.parametrize(("script", "name"), NETWORKS)
def test_a_network_works_in_a_file_that_imports_torch_alone(script, name):
    """Its output has the shape behind the last arrow of its docstring; what has no arrow is
    part of a network that has one."""
    arrow = NETWORKS[script, name].split("->")
    if len(arrow) == 1:
        assert any(name in paste(other, page) for (page, other), text in NETWORKS.items()
                   if "->" in text), f"{script}.{name}: its docstring has no arrow"
        return
    make = paste(name, script)[name]
    arguments = defaults(make)
    sizes = SIZES | {key: value for key, value in arguments.items() if value is not NONE}
    network = make(**{key: sizes[key] for key in arguments})
    inputs = zip(re.findall(r"(\w+) \(B,", arrow[0]), shapes(arrow[0], sizes), strict=True)
    found = network(*(example(*pair) for pair in inputs))
    found = found if isinstance(found, tuple) else (found,)
    assert [tuple(part.shape) for part in found] == shapes(arrow[-1], sizes)


# --- loops ----------------------------------------------------------------------------------

TRAINED = {  # page -> what its first loop trains, by the name it has there
    "ex2_conv_ae": lambda page: {"autoencoder": nn.Sequential(page.Encoder(), page.Decoder())},
    "ex2_classifier": lambda page: {"classifier": nn.Sequential(page.Encoder(), page.MLP())},
    "hw2_conv_ae": lambda page: {"autoencoder": nn.Sequential(page.Encoder(), page.Decoder())},
    "asst8_fc_ae": lambda page: {"autoencoder": page.build()},
    "asst8_conv_ae": lambda page: {"autoencoder": page.build(30)},
    "asst8_rnn": lambda page: {"net": page.SentimentRNN(SIZES["V"])}}


def loop(tree, given):
    """-> the first loop over run.epochs, its steps alone, after the lines of its block that
    make what it uses and is not given."""
    for block in ast.walk(tree):
        for i, part in enumerate(getattr(block, "body", None) or []):
            if isinstance(part, ast.For) and "run.epochs" in ast.unparse(part.iter):
                part.body = [line for line in part.body if isinstance(line, ast.For)]
                lines = [part]
                for line in reversed(block.body[:i]):
                    made = names(*line.targets) if isinstance(line, ast.Assign) else set()
                    if made & names(*lines) - given.keys():
                        lines.insert(0, line)
                return lines
    raise AssertionError("found no loop over run.epochs")


@pytest.mark.parametrize("name", TRAINED)
def test_a_loop_trains_once_epochs_batches_and_what_is_recorded_are_replaced(name):
    page = importlib.import_module(name)
    torch.manual_seed(0)
    network = TRAINED[name](page)
    before = [p.detach().clone() for net in network.values() for p in net.parameters()]
    x, y = torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 0, 1])
    step = (example("w", (4, 9)), example("n", (4,)), y) if "rnn" in name else (x, y)
    images = Split(torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.zeros(8))
    given = vars(page) | defaults(page.main) | network | {
        "epochs": 1, "n": 1, "name": "", "kind": "", "words": 9, "batch_size": 4,
        "data": SimpleNamespace(train=images)}

    # what a student writes instead of our words
    given["run"] = SimpleNamespace(epochs=lambda n, *_, **__: range(1, n + 1),
                                   track=lambda *_, **__: None, generator=torch.Generator())
    given["batches"] = lambda *_: [step, step]

    lines = loop(ast.parse(SOURCES[name]), given)
    exec(compile(ast.Module(lines, []), name, "exec"), given)
    assert given["loss"].isfinite()
    assert {state["step"].item() for state in given["optimizer"].state.values()} == {2}
    after = [p for net in network.values() for p in net.parameters()]
    assert not all(map(torch.equal, before, after))
