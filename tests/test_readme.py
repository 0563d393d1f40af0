"""The README and the frame around it: what a user pastes is there, and is what CI runs."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from minidl.publish import kept, readme, sheets
from minidl.publish.sheets import HEADLINES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
MAIN_JOB = "pip install -r requirements.txt && python assignments/ex2_conv_ae.py"
TESTS = "pip install -r requirements.txt && python -m pytest"


def test_the_quick_start_is_lines_of_their_own_that_ci_finds():
    patterns = re.findall(r"grep -m1 -E '([^']+)' README\.md", (ROOT / ".ci/run").read_text())
    for command, pattern in zip((MAIN_JOB, TESTS), patterns, strict=True):
        assert README.splitlines().count(command) == 1 and re.search(pattern, command)


def test_every_script_and_proof_of_a_sheet_has_its_row_and_every_named_file_is_there():
    ledger = (ROOT / "results/README.md").read_text()
    rows = {name.removeprefix("../") for name in re.findall(r"\]\((\.\.[\w/.]+)\)", ledger)}
    answers = {path.relative_to(ROOT).as_posix() for path in (
        *ROOT.glob("assignments/[a-z]*.py"), *ROOT.glob("theory/**/test_*.py"))
        if sheets.tags(path)}
    assert answers <= rows
    named = rows | set(re.findall(r"\]\(([\w/.]+)\)", README))
    for page in ("README.md", "CONTRIBUTING.md", "LECTURERS.md"):
        named |= set(re.findall(r"\b(?:assignments|minidl|tests|theory)/\w+\.py\b",
                                (ROOT / page).read_text()))
    assert [name for name in named - {"assignments/example.py"}
            if not (ROOT / name).exists()] == []


def test_importing_a_script_runs_nothing_and_torch_numpy_matplotlib_are_all_it_needs():
    code = ("import sys, ex2_conv_ae, ex2_conv_ae_study, data_download\n"
            "print(*sorted({name.split('.')[0] for name in sys.modules}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=ROOT / "assignments", check=True)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""
    assert {"torch", "numpy", "matplotlib"} <= set(done.stdout.split())


def test_the_readme_names_the_oldest_versions_that_pip_may_install():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = ["Python" + project["requires-python"], *project["dependencies"]]
    words = " ".join(README.split())
    assert [bound for bound in oldest if bound.replace(">=", " ") not in words] == []


def test_the_code_imports_the_four_packages_and_the_standard_library_only():
    ours = {p.stem for p in ROOT.glob("*/*.py")} | {"minidl", "data_download"}
    allowed = {"torch", "numpy", "matplotlib"} | sys.stdlib_module_names | ours
    for path in [*ROOT.glob("minidl/**/*.py"), *ROOT.glob("assignments/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module] if isinstance(node, ast.ImportFrom) else [])
            assert {name.split(".")[0] for name in names} <= allowed, path


def agrees(root):
    """Whether both tables say what the results of a project say."""
    return ((root / "results/README.md").read_text() == readme.ledger(root)
            and readme.parts((root / "README.md").read_text())[1] == readme.beginnings(root))


def test_the_tables_are_what_the_kept_results_say():
    assert agrees(ROOT), ("README.md or results/README.md disagrees with results/: "
                          "run `python assignments/run_all.py --ledger`")


def test_a_number_changed_in_a_table_or_in_the_results_is_found_and_written_anew(tmp_path):
    shutil.copy(ROOT / "README.md", tmp_path)
    for folder in ("results", "assignments", "theory"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    assert agrees(tmp_path)
    for page in ("README.md", "results/README.md"):
        text = (tmp_path / page).read_text()
        (tmp_path / page).write_text(re.sub(r"(test MSE 0\.00)(\d)", lambda number: (
            number[1] + str(9 - int(number[2]))), text, count=1))
        assert not agrees(tmp_path)
        readme.write(tmp_path)
        assert agrees(tmp_path) and (tmp_path / page).read_text() == text

    file = kept.path_of(tmp_path, readme.kept(tmp_path)["ex2_conv_ae"])
    content = json.loads(file.read_text())
    content["numbers"]["test_l1"]["value"] *= 1.1
    file.write_text(json.dumps(content))
    assert not agrees(tmp_path)


def test_every_script_has_its_headline_numbers():
    scripts = {path.stem for path in ROOT.glob("assignments/[a-z]*.py")} - {"run_all"}
    assert scripts == set(HEADLINES)
    for script, content in readme.kept(ROOT).items():
        assert HEADLINES[script].keys() & content["numbers"].keys(), script
    assert sheets.BEGIN.keys() == sheets.SHEETS.keys()
    assert set(sheets.BEGIN.values()) <= scripts


@pytest.fixture
def example():
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    return text


def test_the_exercise_in_ten_lines_runs_as_it_stands(example, tmp_path, folder):
    script = tmp_path / "example.py"
    script.write_text(example)
    shutil.copy(ROOT / "assignments" / "_path.py", tmp_path)
    done = subprocess.run(
        [sys.executable, script, "--quick", "--data", folder, "--out", tmp_path / "out"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 0 < content["numbers"]["test_mse"]["value"] < 0.1 and content["claims"][0]["holds"]
    assert "digits.png" in content["files"]
    assert [item in sheets.ITEMS for _, item in sheets.tags(script)] == [True]


@pytest.mark.skipif(not shutil.which("ruff"), reason="ruff is not installed")
def test_the_exercise_in_ten_lines_is_clean_as_a_file_of_assignments(example):
    done = subprocess.run(["ruff", "check", "--stdin-filename", "assignments/example.py", "-"],
                          input=example, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
