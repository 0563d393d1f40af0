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


def test_every_script_and_proof_has_its_row_and_every_named_file_is_there():
    named = {*re.findall(r"\]\(([\w/.]+)\)", README),
             *re.findall(r"[` ]((?:assignments|theory|tests)/\w+\.py)\b", README)}
    answers = {path.relative_to(ROOT).as_posix() for path in (
        *ROOT.glob("assignments/[a-z]*.py"), *ROOT.glob("theory/test_*.py"))}
    assert answers - named == {"theory/test_the_proofs.py"}
    for page in ("CONTRIBUTING.md", "LECTURERS.md"):
        named |= set(re.findall(r"\b(?:assignments|minidl|tests)/\w+\.py\b",
                                (ROOT / page).read_text()))
    assert [name for name in named - {"assignments/example.py"}
            if not (ROOT / name).exists()] == []


def test_the_pinned_versions_lie_in_the_ranges():
    requirements = (ROOT / "requirements.txt").read_text()
    pins = dict(re.findall(r"^(\w+)==([\d.]+)$", requirements, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    ranges = [*project["dependencies"], *groups["test"], *groups["dev"]]
    assert pins.keys() == {text.split(">=")[0] for text in ranges}
    for name, low in (text.split(">=") for text in ranges):
        assert [int(n) for n in pins[name].split(".")] >= [int(n) for n in low.split(".")]


def test_importing_a_script_runs_nothing_and_torch_numpy_matplotlib_are_all_it_needs():
    code = ("import sys, ex2_conv_ae, ex2_conv_ae_study, data_download\n"
            "print(*sorted({name.split('.')[0] for name in sys.modules}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=ROOT / "assignments", check=True)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""
    assert {"torch", "numpy", "matplotlib"} <= set(done.stdout.split())


def test_the_code_imports_the_four_packages_and_the_standard_library_only():
    ours = {p.stem for p in ROOT.glob("*/*.py")} | {"minidl", "data_download"}
    allowed = {"torch", "numpy", "matplotlib"} | sys.stdlib_module_names | ours
    for path in [*ROOT.glob("minidl/**/*.py"), *ROOT.glob("assignments/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module] if isinstance(node, ast.ImportFrom) else [])
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_the_readmes_table_is_what_the_kept_results_say():
    assert readme.parts(README)[1] == readme.section(ROOT), (
        "README.md and results/ disagree: run `python assignments/run_all.py --ledger`")


def test_a_number_changed_in_the_readme_or_in_the_results_is_found_and_written_anew(tmp_path):
    def agrees():
        return readme.parts(copy.read_text())[1] == readme.section(tmp_path)

    copy = Path(shutil.copy(ROOT / "README.md", tmp_path))
    shutil.copytree(ROOT / "results", tmp_path / "results")
    copy.write_text(re.sub(r"(test MSE 0\.00)(\d)", lambda number: (
        number[1] + str(9 - int(number[2]))), README, count=1))
    assert not agrees()
    readme.write(tmp_path)
    assert copy.read_text() == README

    file = kept.path_of(tmp_path, readme.kept(tmp_path)["ex2_conv_ae"])
    content = json.loads(file.read_text())
    content["numbers"]["test_l1"]["value"] *= 1.1
    file.write_text(json.dumps(content))
    assert not agrees()
    for size in ("", "_full"):  # the default run stands beside the full one
        (tmp_path / f"results/ex2_conv_ae{size}.json").unlink()
    readme.write(tmp_path)
    (row,) = re.findall(r".*ex2_conv_ae\.py.*", copy.read_text().split(readme.BEGIN)[1])
    assert not re.search(r"\d\.\d|json", row)  # its words, and no number


@pytest.mark.parametrize("name, entry, told", [
    ("test_accuracy", {"value": 0.89464, "unit": "fraction"}, "89.46%"),
    ("test_accuracy", {"value": 0.5, "unit": "fraction", "std": 0.012}, "50.00% ± 1.20%"),
    ("paired_gain", {"value": 0.03, "unit": "fraction", "std": 0.004}, "+3.00 ± 0.40 points"),
    ("test_nats", {"value": 91.3309, "unit": "nats an image", "n": 10}, "91.33 nats"),
    ("test_l1", {"value": 0.1, "unit": "mean |x - x_hat| per pixel", "std": 0.0}, "0.1000"),
    ("factor", {"value": 0.99344, "unit": "something else"}, "0.993")])
def test_a_number_is_told_by_its_unit(name, entry, told):
    assert readme.number(name, entry) == told


def test_every_script_has_one_row_and_the_numbers_that_it_is_known_by():
    rows = [row.script for row in readme.ROWS if row.script]
    scripts = {path.stem for path in ROOT.glob("assignments/[a-z]*.py")} - {"run_all"}
    assert len(rows) == len(set(rows)) and set(rows) == scripts == set(HEADLINES)
    for script, content in readme.kept(ROOT).items():
        row = readme.ROWS[[row.script for row in readme.ROWS].index(script)]
        assert HEADLINES[script].keys() & content["numbers"].keys(), script
        assert f"{row.figure}.png" in content["files"]
    assert set(readme.PICTURES) <= scripts and readme.FIRST in readme.PICTURES


def test_a_row_has_the_proofs_that_its_script_names_or_shares_an_item_of_a_sheet_with():
    items = {path.stem.removeprefix("test_"): {item for _, item in sheets.tags(path)}
             for path in ROOT.glob("theory/test_*.py")}
    for row in (row for row in readme.ROWS if row.script):
        path = ROOT / "assignments" / f"{row.script}.py"
        own = {item for _, item in sheets.tags(path)}
        wanted = set(re.findall(r"theory/test_(\w+)\.py", path.read_text()))
        wanted |= {name for name, theirs in items.items() if own & theirs}
        assert wanted <= set(row.theory.split()), row.script


def test_the_first_picture_is_kept_and_stands_above_the_fold():
    head = README.split("## Quick start")[0]
    row = next(row for row in readme.ROWS if row.script == readme.FIRST)
    assert f"![{readme.PICTURES[readme.FIRST]}]({readme.picture(row)})" in head
    assert len(head.splitlines()) < 12


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


@pytest.mark.skipif(not shutil.which("ruff"), reason="ruff is not installed")
def test_the_exercise_in_ten_lines_is_clean_as_a_file_of_assignments(example):
    done = subprocess.run(["ruff", "check", "--stdin-filename", "assignments/example.py", "-"],
                          input=example, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
