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

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
MAIN_JOB = "pip install -r requirements.txt && python assignments/ex2_conv_ae.py"
TESTS = "pip install -r requirements.txt && python -m pytest"


@pytest.mark.parametrize("command", [MAIN_JOB, TESTS])
def test_the_quick_start_is_a_line_of_its_own_that_ci_finds(command):
    assert README.splitlines().count(command) == 1
    patterns = re.findall(r"grep -m1 -E '([^']+)' README\.md", (ROOT / ".ci/run").read_text())
    assert len(patterns) == 2 and any(re.search(p, command) for p in patterns)


def test_every_script_is_in_the_readme_and_every_named_file_is_there():
    named = set(re.findall(r"`((?:assignments|theory|tests)/\w+\.py)`", README))
    scripts = {str(p.relative_to(ROOT)) for p in (ROOT / "assignments").glob("[a-z]*.py")}
    assert scripts <= named
    assert all((ROOT / name).exists() for name in named)


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
    for path in [*ROOT.glob("minidl/*.py"), *ROOT.glob("assignments/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module] if isinstance(node, ast.ImportFrom) else [])
            assert {name.split(".")[0] for name in names} <= allowed, path


@pytest.mark.parametrize(("words", "key", "form"), [
    ("test L1", "test_l1", ".4f"), ("test MSE", "test_mse", ".5f"),
    ("test nats", "test_nats", ".2f"), ("the CNN's test accuracy", "test_accuracy_cnn", ".2%"),
    ("test accuracy of a linear probe", "probe_accuracy", ".2%"),
    ("test accuracy of the max over time", "test_accuracy", ".2%"),
    ("test accuracy of the best", "test_accuracy_best", ".2%")])
def test_the_numbers_in_the_readme_are_those_of_the_results_that_are_kept(words, key, form):
    shown = re.findall(rf"{words} ([\d.]+%?) \(`results/(\w+)\.json`, (`--full`|default)",
                       README)
    assert shown
    for number, name, size in shown:
        kept = json.loads((ROOT / "results" / f"{name}.json").read_text())
        assert format(kept["numbers"][key]["value"], form) == number
        assert kept["data"] in ("mnist", "fashion-mnist", "imdb")
        assert kept["size"] == size.strip("`-")


def test_every_kept_result_is_in_the_readme_with_a_number():
    kept = {path.name for path in (ROOT / "results").glob("*.json")}
    assert kept == set(re.findall(r"[\d.]%? \(`results/(\w+\.json)`", README))


def test_the_exercise_in_ten_lines_runs_as_it_stands(tmp_path, folder):
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    script = tmp_path / "example.py"
    script.write_text(text)
    shutil.copy(ROOT / "assignments" / "_path.py", tmp_path)
    done = subprocess.run(
        [sys.executable, script, "--quick", "--data", folder, "--out", tmp_path / "out"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 0 < content["numbers"]["test_mse"]["value"] < 0.1 and content["findings"]


def test_the_pages_name_files_that_are_there():
    for page in ("CONTRIBUTING.md", "LECTURERS.md"):
        text = (ROOT / page).read_text()
        named = set(re.findall(r"\b(?:assignments|minidl|tests)/\w+\.py\b", text))
        assert all((ROOT / name).exists() for name in named - {"assignments/example.py"}), page
