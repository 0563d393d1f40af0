"""The rooms of minidl/: arrows go one way, publish -> lab -> data -> subject."""

import ast
import importlib.util
import shutil
import subprocess
import sys
import zipfile
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


def test_an_import_that_goes_the_wrong_way_would_be_found():
    found = [*imported("import torch\nfrom minidl.lab import run, infer\nimport minidl.idx")]
    assert found == [Path("minidl/lab/run.py"), Path("minidl/lab/__init__.py"),
                     Path("minidl/idx.py")]
    assert [room(file) for file in found] == [2, 2, 0]


def test_the_imports_have_no_cycle():
    waiting, done = {file: uses(file) - {file} for file in FILES}, set()
    while ready := [file for file, needs in waiting.items() if needs <= done]:
        done.update(ready)
        for file in ready:
            del waiting[file]
    assert waiting == {}


def test_what_lies_open_is_the_subject_thirty_files_at_most():
    files = [file for file in FILES if room(file) == 0]
    assert len(files) <= 30
    assert sum(len((ROOT / file).read_text("utf-8").splitlines()) for file in files) <= 3000


def test_a_wheel_holds_every_package_and_works(tmp_path):
    if not importlib.util.find_spec("setuptools"):
        pytest.skip("setuptools is not installed: no wheel can be built")
    copy = tmp_path / "project"  # a build leaves files in its folder
    shutil.copytree(ROOT / "minidl", copy / "minidl",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "data_download.py"):
        shutil.copy(ROOT / name, copy)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps",
                    "--no-index", "-q", "-w", tmp_path, copy], check=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {file.as_posix() for file in FILES} | {
        "data_download.py", *(file.relative_to(ROOT).as_posix()
                              for kind in ("mplstyle", "css", "js", "tex")
                              for file in ROOT.glob(f"minidl/**/*.{kind}"))} <= names
    code = "import minidl.publish.companion.pages as p; print(p.__file__)"
    path = str(tmp_path / "installed")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, timeout=600, env={"PYTHONPATH": path, "PATH": ""})
    assert path in done.stdout, done.stderr
