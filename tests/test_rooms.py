"""The rooms of minidl/: arrows go one way, publish -> lab -> data -> subject."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ["", "data", "lab", "publish"]  # each imports itself and those before it
FILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("minidl/**/*.py"))


def room(file):
    """The room of minidl/... : 0 the subject, 3 what is made of runs."""
    return ROOMS.index(file.parts[1]) if len(file.parts) > 2 else 0


def imported(text):
    """The files that a file's text imports of the project, by whatever way."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from filter(None, (file_of(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:  # a file of the package, or a name in it
                found = file_of(f"{node.module}.{alias.name}") or file_of(node.module)
                if found:
                    yield found


def file_of(name):
    path = Path(name.replace(".", "/"))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py")
                 if (ROOT / file).is_file()), None)


def uses(file):
    return {other for other in imported((ROOT / file).read_text("utf-8"))
            if other.parts[0] == "minidl" and other != Path("minidl/__init__.py")}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_room_imports_no_room_above_it(file):
    assert [other for other in uses(file) if room(other) > room(file)] == []


def test_the_imports_have_no_cycle():
    waiting, done = {file: uses(file) - {file} for file in FILES}, set()
    while ready := [file for file, needs in waiting.items() if needs <= done]:
        done.update(ready)
        waiting = {file: needs for file, needs in waiting.items() if file not in done}
    assert waiting == {}


def test_an_import_that_goes_the_wrong_way_would_be_found():
    found = [*imported("import torch\nfrom minidl.lab import run, infer\nimport minidl.idx")]
    assert found == [Path("minidl/lab/run.py"), Path("minidl/lab/__init__.py"),
                     Path("minidl/idx.py")]
    assert [room(file) for file in found] == [2, 2, 0]
