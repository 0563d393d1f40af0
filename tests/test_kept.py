"""minidl/publish/kept.py, restamp.py: what is kept, and whether later code makes it."""

import json
import subprocess

import matplotlib.image
import numpy as np
import pytest
import run_all

from minidl.lab import stamp
from minidl.publish import kept, readme, restamp, sheets

FORMULA = "def loss(x):\n    error = x / 3\n    return error\n"
SCRIPT = """# sheet: S3.1
import argparse, json, pathlib

SIZES = {"quick": {"epochs": 1}, "full": {"epochs": 60}}


def main(run, epochs: "passes; amount" = 2, rate: "of Adam" = 0.1):
    pass


def run():
    from formulas import loss
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    for name in ("device", "seed", "data", "data-dir", "out", "epochs", "rate"):
        parser.add_argument(f"--{name}")
    flags = parser.parse_args()
    out = pathlib.Path(flags.out)
    out.mkdir(parents=True)
    value = loss(float(flags.rate)) * int(flags.epochs)
    claim = {"claim": "L1 is low.", "numbers": {"L1": value}, "holds": value < 1}
    (out / "results.json").write_text(json.dumps({"claims": [claim], "numbers": {
        "test_l1": {"value": value, "unit": "mean |x - x_hat|"},
        "seconds": {"value": id(value), "unit": "s"}}}))


if __name__ == "__main__":
    run()
if False:
    cli.start(main, data="mnist", **SIZES)
"""


def git(root, *words):
    subprocess.run(["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b",
                    *words], check=True, capture_output=True)


def commit(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change", "--allow-empty")
    return stamp.commit(root)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository of one script, `walk`, whose figure is kept, and with no result."""
    monkeypatch.setattr(sheets, "ANSWERS", {"S3.1": ("walk", "test_l1")})
    monkeypatch.setattr(sheets, "HEADLINES", {"walk": {"test_l1": "L1"}})
    monkeypatch.setattr(readme, "PICTURES", {"walk": ("plane", "a plane")})
    for folder in ("results", "outputs/walk"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"Before\n{readme.BEGIN}\n{readme.END}\nAfter\n")
    (tmp_path / ".gitignore").write_text("outputs\n__pycache__\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path, assignments__walk_py=SCRIPT, assignments__formulas_py=FORMULA)
    kept._changed_since.cache_clear()
    return tmp_path


def finished(root, size="default", value=0.1, picture=None, **other):
    """A finished run in outputs/, and what came of keeping it."""
    settings = {"epochs": {"quick": 1, "default": 2, "full": 60}[size], "rate": 0.1}
    (root / "outputs/walk/results.json").write_text(json.dumps({
        "script": "walk", "size": size, "data": "mnist", "settings": settings, "seed": 0,
        "commit": stamp.commit(root), "processor": "a", "threads": 1, "precision": "float32",
        "code": "0", "seconds": 1.0,
        "numbers": {"test_l1": {"value": value, "unit": "mean |x - x_hat|"}},
        "claims": [{"claim": "L1 is low.", "numbers": {"L1": value}, "holds": True}],
        **other}))
    if picture is not None:
        matplotlib.image.imsave(root / "outputs/walk/plane.png", picture)
    return kept.keep(root / "outputs", root)


def kept_file(root, name="walk"):
    return json.loads((root / f"results/{name}.json").read_text())


# --- keeping ------------------------------------------------------------------------------

def test_a_finished_run_is_kept_and_its_number_and_picture_stand_in_the_readme(project):
    finished(project, value=0.02266, picture=np.zeros((4, 4, 3)))
    assert run_all.ledger(project / "outputs", project) == 0
    text = (project / "results/README.md").read_text()
    assert "L1 0.0227 ([default](walk.json)) |" in text
    assert "![a plane](walk_plane.png)" in text
    text = (project / "README.md").read_text()
    assert text.startswith("Before\n") and text.endswith("\nAfter\n")
    assert kept_file(project)["trained"] == {
        "commit": stamp.commit(project), "processor": "a", "threads": 1,
        "precision": "float32"}


@pytest.mark.parametrize("run, reason", [
    ({"size": "quick"}, "size quick"), ({"data": "glyphs-digits"}, "glyphs-digits"),
    ({"seed": 7}, "its seed is 7"),
    ({"settings": {"epochs": 1, "rate": 0.1}}, "epochs set by hand"),
    ({"commit": None}, "in no commit"), ({"commit": "0123456789ab-changed"}, "in no commit")])
def test_a_run_that_is_no_such_number_is_not_kept(project, run, reason):
    (told,) = finished(project, **run)
    assert reason in told and "run `python assignments/walk.py" in told
    assert list((project / "results").iterdir()) == []


# --- age, and whether it matters -----------------------------------------------------------

def restamped(root):
    kept._changed_since.cache_clear()
    (told,) = restamp.restamp((), root)
    return told


def test_another_name_in_the_code_makes_the_same_numbers_and_the_result_is_stamped(project):
    finished(project)
    trained = kept_file(project)["trained"]
    now = commit(project, assignments__formulas_py=FORMULA.replace("error", "e"))
    assert "the same numbers" in restamped(project)
    assert kept_file(project)["same_as"] == {"commit": now, "checked": "at small amounts"}
    assert kept_file(project)["trained"] == trained
    git(project, "add", "-A"), git(project, "commit", "-qm", "stamp")
    assert "no file of it changed" in restamped(project)
    assert kept.keep(project / "outputs", project) == []  # the same run keeps its stamp
    assert kept_file(project)["same_as"]["commit"] == now


@pytest.mark.parametrize("edit, words", [
    (("is low", "is small"), "L1 is small."),
    (('is low.", "numbers": {"L1": value}', 'is high.", "numbers": {"L1": -value}'),
     "L1 is low.")])  # another claim, not another sentence
def test_a_claim_gets_the_words_of_today_where_it_is_the_same_claim(project, edit, words):
    finished(project)
    commit(project, assignments__walk_py=SCRIPT.replace(*edit))
    assert "the same numbers" in restamped(project)
    assert kept_file(project)["claims"] == [
        {"claim": words, "numbers": {"L1": 0.1}, "holds": True}]


def test_a_loss_times_1_001_is_refused_with_the_number_and_the_command(project):
    finished(project)
    before = kept_file(project)
    commit(project, assignments__formulas_py=FORMULA.replace("error\n", "error * 1.001\n"))
    told = restamped(project)
    assert "test_l1 (value) moved from" in told and "run `python assignments/walk.py`" in told
    assert kept_file(project) == before


def test_words_make_no_run_old_and_code_does(project):
    finished(project)
    content = kept_file(project)
    commit(project, assignments__formulas_py="# more words\n" + FORMULA)
    kept._changed_since.cache_clear()
    assert kept.older(content, project) == []
    commit(project, assignments__formulas_py=FORMULA + "more = 1\n")
    kept._changed_since.cache_clear()
    assert kept.older(content, project) == ["assignments/formulas.py"]


def test_a_setting_that_says_what_counts_and_one_that_says_how_much_is_small(project):
    finished(project, settings={"epochs": 2, "rate": 0.5})
    assert "set by hand" in finished(project, settings={"epochs": 2, "rate": 0.5})[0]
    finished(project, "full")  # epochs 60: the code below differs there alone
    commit(project, assignments__formulas_py=FORMULA,
           assignments__walk_py=SCRIPT.replace("int(flags.epochs)",
                                               "min(int(flags.epochs), 7)"))
    assert "the same" in restamped(project)
    commit(project, assignments__walk_py=SCRIPT.replace("int(flags.epochs)",
                                                        "(1 + (flags.rate == '0.1'))"))
    assert "moved" in restamped(project)


def test_edits_that_are_in_no_commit_are_not_restamped(project):
    finished(project)
    git(project, "add", "-A"), git(project, "commit", "-qm", "kept")
    (project / "assignments/formulas.py").write_text(FORMULA + "x = 1\n")
    assert "expected a clean tree" in restamped(project)
