"""minidl/lab/folder.py: a run replaces and removes its own files, and nothing else."""

import pytest

from minidl.data import DataError
from minidl.lab import cli
from minidl.lab.checkpoint import CheckpointError
from minidl.lab.folder import Folder, FolderError


def written(out, *names, **made_by):
    """A folder in which a run has written files of these names."""
    folder = Folder(out, made_by)
    for name in names:
        folder.path(name).write_text("a run's")
    return folder


def content(out):
    return {path.relative_to(out).as_posix(): path.read_text()
            for path in out.rglob("*") if path.is_file() and path.name != "run.json"}


def test_a_new_run_removes_what_the_earlier_one_wrote_and_leaves_the_users_files(tmp_path):
    written(tmp_path, "results.json", "checkpoints/model.pt", "trials/a/rank_0.jsonl")
    (tmp_path / "checkpoints" / "thesis.pt").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    Folder(tmp_path, {}).begin()
    assert content(tmp_path) == {"checkpoints/thesis.pt": "mine", "notes.txt": "mine"}
    assert not (tmp_path / "trials" / "a").exists()


@pytest.mark.parametrize(("there", "size", "good"), [
    ("full", "default", False), ("default", "quick", False), ("quick", "quick", True),
    ("quick", "full", True), ("full", "full", True), ("hours", "quick", True)])
def test_a_larger_finished_run_is_not_replaced_without_a_word(tmp_path, there, size, good):
    folder = written(tmp_path, "checkpoints/model.pt")
    folder.path("results.json").write_text(f'{{"size": "{there}"}}')
    before = content(tmp_path)
    if good:
        Folder(tmp_path, {}, size=size).begin()
        assert content(tmp_path) == {}
    else:
        with pytest.raises(FolderError, match=f"a finished {there} run.*another --out"):
            Folder(tmp_path, {}, size=size)
        Folder(tmp_path, {}, resume=True, size=size).begin()  # goes on, and replaces nothing
        assert content(tmp_path) == before


@pytest.mark.parametrize(("there", "size", "good"), [
    ("full", "default", False), ("full", "full", True), ("default", "quick", True)])
def test_the_hours_of_a_full_run_count_before_its_end(tmp_path, there, size, good):
    Folder(tmp_path, {}, size=there).begin()
    Folder(tmp_path, {}, size=size)  # no hour was spent yet
    Folder(tmp_path, {}, size=there).path("checkpoints/model.pt").write_text("hours")
    if good:
        Folder(tmp_path, {}, size=size).begin()
    else:
        with pytest.raises(FolderError, match=f"an unfinished {there} run.*another --out"):
            Folder(tmp_path, {}, size=size)
    assert (content(tmp_path) == {}) is good


def test_a_link_to_a_folder_elsewhere_is_not_written_through(tmp_path):
    mine, out = tmp_path / "models", tmp_path / "out"
    mine.mkdir(), out.mkdir()
    (mine / "first.pt").write_text("mine")
    (out / "checkpoints").symlink_to(mine)
    with pytest.raises(FolderError, match=r"checkpoints: found a link to another place"):
        Folder(out, {}).path("checkpoints/first.pt")
    (tmp_path / "linked").symlink_to(out)  # --out itself may be one
    Folder(tmp_path / "linked", {}).path("loss.png").write_text("a run's")
    assert content(mine) == {"first.pt": "mine"} and (out / "loss.png").exists()


def test_a_file_that_no_run_wrote_is_not_replaced(tmp_path):
    (tmp_path / "loss.png").write_text("mine")
    with pytest.raises(FolderError, match=r"loss\.png: found a file that no run wrote"):
        Folder(tmp_path, {}).path("loss.png")
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(FolderError, match=r"results\.json"):  # at once, not after the training
        Folder(tmp_path, {})
    assert content(tmp_path) == {"loss.png": "mine", "results.json": "mine"}


def test_a_list_that_leads_out_of_the_folder_removes_nothing_there(tmp_path):
    out = tmp_path / "out"
    folder = written(out, "loss.png")
    (tmp_path / "thesis.txt").write_text("mine")
    folder.files.append("../thesis.txt")
    folder.path("other.png").write_text("a run's")  # writes the list
    Folder(out, {}).begin()
    assert content(tmp_path) == {"thesis.txt": "mine"}


def test_a_resumed_run_finds_its_files_and_must_be_made_by_the_same(tmp_path):
    written(tmp_path, "checkpoints/model.pt", rate=1, code="a")
    folder = Folder(tmp_path, {"rate": 1, "code": "a"}, resume=True)
    assert folder.path("checkpoints/model.pt").read_text() == "a run's"
    for other in ({"rate": 2, "code": "a"}, {"rate": 1, "code": "b"}):
        with pytest.raises(CheckpointError, match="was made with"):
            Folder(tmp_path, other, resume=True)
    folder.agree({"data": "mnist"})
    folder.path("loss.png")
    with pytest.raises(CheckpointError, match="data 'mnist' where this run has 'glyphs'"):
        Folder(tmp_path, {}, resume=True).agree({"data": "glyphs"})


@pytest.mark.parametrize("text", ["[\xff", "3", "{}", '{"made_by": {}, "files": 3}',
                                  '{"made_by": {}, "files": [3]}'])
def test_a_record_that_is_no_runs_is_one_sentence_and_stays(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    for resume in (False, True):
        with pytest.raises(CheckpointError, match=r"run\.json: found damaged content"):
            Folder(tmp_path, {}, resume)
    assert (tmp_path / "run.json").read_text() == text


@pytest.mark.parametrize("argv", [["--data", "/nowhere"], ["--epochs", "0"]])
def test_wrong_data_or_a_wrong_flag_touch_nothing_of_an_earlier_run_or_a_stranger(
        tmp_path, argv):
    def main(run, epochs: "passes" = 1):
        run.load()
        raise DataError("not reached")

    written(tmp_path, "results.json", "checkpoints/model.pt")
    (tmp_path / "checkpoints" / "thesis.pt").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.start(main, data="mnist", argv=[*argv, "--out", str(tmp_path)])
    assert stopped.value.code == 2 and content(tmp_path) == before
