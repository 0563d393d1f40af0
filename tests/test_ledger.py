"""minidl/ledger.py: a result knows its code; words change nothing, code changes the hash.
minidl/kept.py: only runs of the present code, in a size of their own, are kept in results/."""

import io
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import run_all

from minidl import kept, ledger, readme

SCRIPT = '''"""A question."""
import helper
from minidl import plot
from minidl.losses import half
SIZE = 3


def main(run):
    """Not hashed."""
    data = run.load()  # why
    plot.draw(helper.twice(half(SIZE), data))
'''
HELPER = '''"""Helps."""
from minidl.losses import third
BASE, OTHER = 2, 5


def twice(x):
    return BASE * inner(x)


def inner(x):
    return third(x)


def unused(x):
    return OTHER
'''
LOSSES = "def half(x):\n    return x / 2\n\n\ndef third(x):\n    return x / 3\n\n\nN = 1\n"
FILES = {"assignments/script.py": SCRIPT, "assignments/helper.py": HELPER,
         "minidl/losses.py": LOSSES, "minidl/plot.py": "def draw(x): pass\n",
         "minidl/data.py": "def load():\n    return 1\n"}


@pytest.fixture
def hashes(tmp_path):
    """The hashes after a change (file, old text, new text)."""
    def found(name=None, old="", new=""):
        for file, text in FILES.items():
            path = tmp_path / file
            path.parent.mkdir(exist_ok=True)
            assert file != name or old in text
            path.write_text(text.replace(old, new) if file == name else text)
        return ledger.code_of("script", tmp_path)
    return found


def test_the_files_that_make_numbers_are_listed(hashes):
    assert list(hashes()) == ["assignments/helper.py", "assignments/script.py",
                              "minidl/data.py", "minidl/losses.py"]


@pytest.mark.parametrize("file, old, new", [
    ("assignments/script.py", "SIZE = 3", "SIZE = 4"),
    ("assignments/script.py", "import helper\n", "import helper\nprint(1)\n"),
    ("assignments/helper.py", "BASE, OTHER = 2, 5", "BASE, OTHER = 2, 6"),
    ("assignments/helper.py", "return third(x)", "return -third(x)"),
    ("minidl/losses.py", "x / 3", "x / 4"), ("minidl/losses.py", "x / 2", "x/2"),
    ("minidl/data.py", "return 1", "return 2")])
def test_a_line_of_code_that_is_used_changes_its_files_hash(hashes, file, old, new):
    before, after = hashes(), hashes(file, old, new)
    assert [name for name in before if before[name] != after[name]] == [file]


@pytest.mark.parametrize("file, old, new", [
    ("assignments/script.py", "# why", "# therefore"),
    ("assignments/script.py", '"""A question."""', '"""Another\nquestion."""\n\n'),
    ("assignments/script.py", "Not hashed", "Never hashed"),
    ("assignments/helper.py", "return OTHER", "return 0"),
    ("minidl/losses.py", "N = 1", "N = 2"), ("minidl/plot.py", "pass", "return x")])
def test_words_pictures_and_what_is_not_used_change_nothing(hashes, file, old, new):
    assert hashes() == hashes(file, old, new)


def test_a_script_of_the_project_has_its_own_code_and_what_it_reads_through_the_run():
    found = ledger.code_of("ex2_conv_ae")
    assert {"assignments/ex2_conv_ae.py", "minidl/losses.py", "minidl/data.py",
            "minidl/pca.py"} <= set(found) and "minidl/plot.py" not in found
    assert "minidl/reviews.py" in ledger.code_of("asst8_text_cnn")
    assert ledger.code_of("no_such_script") == {}


RUN = """import numpy
from minidl import cli

SIZES = {"quick": {"epochs": 1}, "full": {"epochs": 60}}


def main(run, epochs: "passes" = 2, rate: "of Adam" = 0.1):
    return 1 + 2  # why


if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one script, `walk`, whose figure is kept, and with no result."""
    monkeypatch.setattr(readme, "ROWS", [readme.Row("a", "walk", "plane", "", "it walks")])
    monkeypatch.setattr(readme, "HEADLINES", {"walk": {"test_l1": "L1"}})
    monkeypatch.setattr(readme, "PICTURES", {"walk": "a plane"})
    for folder in ("assignments", "results", "outputs/walk"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "assignments" / "walk.py").write_text(RUN)
    (tmp_path / "README.md").write_text(f"Before\n{readme.BEGIN}\n{readme.END}\nAfter\n")
    return tmp_path


def finished(root, size="default", value=0.1, picture=None, **other):
    """A finished run in outputs/."""
    settings = {"epochs": {"quick": 1, "default": 2, "full": 60}[size], "rate": 0.1}
    (root / "outputs/walk/results.json").write_text(json.dumps({
        "script": "walk", "size": size, "data": "mnist", "settings": settings,
        "code": ledger.code_of("walk", root),
        "numbers": {"test_l1": {"value": value, "unit": "mean |x - x_hat|"}}, **other}))
    if picture is not None:
        matplotlib.image.imsave(root / "outputs/walk/plane.png", picture)


def keep(root):
    return kept.keep(root / "outputs", root)


def value(root):
    found = readme.kept(root)
    return found and found["walk"]["numbers"]["test_l1"]["value"]


def test_a_finished_run_is_kept_and_its_number_and_picture_stand_in_the_readme(
        project, capsys):
    finished(project, value=0.02266, picture=np.zeros((4, 4, 3)))
    assert run_all.ledger(project / "outputs", project) == 0
    assert capsys.readouterr().out == f"Wrote {project / 'README.md'}\n"
    text = (project / "README.md").read_text()
    assert "it walks: L1 0.0227 ([default](results/walk.json)) |" in text
    assert "[`plane`](results/walk_plane.png)" in text
    assert "![a plane](results/walk_plane.png)" in text
    assert text.startswith("Before\n") and text.endswith("\nAfter\n")


@pytest.mark.parametrize("run, reason", [
    ({"size": "quick"}, "it is of size quick; run `python assignments/walk.py`"),
    ({"data": "glyphs-digits"}, "its data are glyphs-digits, the sheet's mnist; run"),
    ({"settings": {"epochs": 1, "rate": 0.1}}, "epochs set by hand; run `python"),
    ({"size": "full", "code": {"assignments/walk.py": "0"}},
     "it is older than assignments/walk.py; run `python assignments/walk.py --full`"),
    ({"code": {}}, "it is older than assignments/walk.py; run `python assignments/walk.py`")])
def test_a_run_that_is_no_such_number_is_not_kept(project, run, reason):
    finished(project, **run)
    (told,) = keep(project)
    assert reason in told and value(project) == {}


def test_full_goes_before_the_default_of_the_same_code_alone(project):
    finished(project, "full", value=1)
    assert keep(project) == []
    finished(project, "default", value=2)
    assert "there is a larger run of the same code" in keep(project)[0] and value(project) == 1
    file = project / "assignments" / "walk.py"
    file.write_text(RUN.replace("1 + 2", "1 + 3"))
    finished(project, "default", value=3)
    assert keep(project) == [] and value(project) == 3
    finished(project, "full", value=4)
    assert keep(project) == [] and value(project) == 4


def test_a_changed_line_makes_what_is_kept_stale_and_a_changed_word_does_not(project):
    finished(project, "full")
    keep(project)
    file = project / "assignments" / "walk.py"
    file.write_text(RUN.replace("# why", "# because"))
    assert kept.stale(project) == []
    file.write_text(RUN.replace("1 + 2", "2 + 1"))
    assert kept.stale(project) == [
        "results/walk.json is older than assignments/walk.py: run `python assignments/walk.py "
        "--full`, then `python assignments/run_all.py --ledger`"]


def test_in_a_copy_of_the_project_the_file_that_changed_is_named(tmp_path):
    for folder in ("assignments", "minidl"):
        shutil.copytree(ledger.ROOT / folder, tmp_path / folder,
                        ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/asst8_fc_ae.json").write_text(json.dumps({
        "script": "asst8_fc_ae", "size": "default",
        "code": ledger.code_of("asst8_fc_ae", tmp_path)}))
    assert kept.stale(tmp_path) == []
    losses = tmp_path / "minidl" / "losses.py"
    text = losses.read_text()
    losses.write_text("# a word\n" + text)
    assert kept.stale(tmp_path) == []
    losses.write_text(text.replace("    return ", "    return 2 * "))
    assert "asst8_fc_ae.json is older than minidl/losses.py: run" in kept.stale(tmp_path)[0]


def test_a_picture_is_of_the_run_that_is_kept_small_and_like_the_large_one(project):
    noise = np.random.default_rng(0).random((300, 400, 3)).round(1)
    noise[:150] = 0.2
    finished(project, picture=noise)
    keep(project)
    path, large = project / "results/walk_plane.png", project / "outputs/walk/plane.png"
    assert path.stat().st_size <= kept.MOST < large.stat().st_size
    shown = matplotlib.image.imread(io.BytesIO(path.read_bytes()))[..., :3]
    H, W, _ = shown.shape
    assert abs(W / H - 4 / 3) < 0.05 and abs(shown[:H // 2 - 1] - 0.2).max() < 0.04
    large.unlink()  # a run without the figure
    finished(project, value=0.3)
    keep(project)
    assert not path.exists()


def test_the_kept_results_are_of_the_present_code():
    told = kept.stale(ledger.ROOT)
    assert not told, "\n".join(told)
