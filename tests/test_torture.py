"""Faults: nothing half-written, nothing lost, nothing executed. torture.py goes on longer."""

import json
import os
import pickle
import signal

import pytest
import torch
from torch import nn

from minidl import cli, files
from minidl.files import alone, whole_file
from minidl.trials import Trials

LEFT = ".results.json.0123456789abcdef.tmp"  # as a killed process leaves it


def script(run, epochs: "passes" = 3, width: "of the layer" = 4):
    """Two short trainings, a search and a figure's worth of numbers."""
    for name in ("first", "second"):
        model = nn.Linear(3, width)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in run.epochs(epochs, name, model=model, optimizer=optimizer):
            loss = model(torch.randn(8, 3, generator=run.generator)).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            run.track(8, loss=loss)
    found = Trials(lambda settings, _: settings["x"] ** 2, run.out / "trials")(
        [{"x": x} for x in range(3)])
    run.results.number("best", min(trial["score"] for trial in found), "score")
    run.results.finding(f"loss {run.history['loss']}")


def start(out, *argv):
    cli.start(script, argv=["--out", str(out), *argv])
    return json.loads((out / "results.json").read_text())


def sentence(capsys, out, *argv):
    """Status 2 and one sentence on stderr, which it returns."""
    with pytest.raises(SystemExit) as stop:
        start(out, *argv)
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert said.count("\n") == 1 and said.startswith("test_torture.py: "), said
    return said


def content(folder):
    """Every file below the folder: its path -> its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


# --- files that are whole or not there ------------------------------------------------------

def test_what_a_killed_process_left_is_cleared_away_by_the_next_writer(tmp_path):
    (tmp_path / LEFT).write_text("half")
    (tmp_path / LEFT.replace("results", "other")).write_text("of another file")
    with whole_file(tmp_path / "results.json") as beside:
        beside.write_text("whole")
    assert content(tmp_path) == {LEFT.replace("results", "other"): b"of another file",
                                 "results.json": b"whole"}


def test_a_file_that_another_process_is_writing_is_left_to_it(tmp_path):
    path = tmp_path / "results.json"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second" and first.exists()
    assert content(tmp_path) == {"results.json": b"first"}  # the last one's, whole


def test_without_locks_files_are_whole_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / LEFT).write_text("half")
    with whole_file(tmp_path / "results.json") as beside:
        beside.write_text("whole")
    assert content(tmp_path)["results.json"] == b"whole"
    with alone(tmp_path) as first, alone(tmp_path) as second:
        assert first and second


def test_an_error_in_the_block_leaves_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(OSError, match=r"No space left on device: '.*/results.json'"), \
            whole_file(path) as beside:
        beside.write_text("half")
        raise OSError(28, "No space left on device")
    assert content(tmp_path) == {"results.json": b"old"}


# --- one run a folder -----------------------------------------------------------------------

def test_a_folder_is_one_processs_until_the_block_ends_or_it_is_killed(tmp_path):
    told, tell = os.pipe()
    if not (child := os.fork()):
        with alone(tmp_path) as granted:
            os.write(tell, b"1" if granted else b"0")
            signal.pause()
    assert os.read(told, 1) == b"1"
    with alone(tmp_path) as granted:
        assert not granted
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with alone(tmp_path) as granted:
        assert granted
    assert content(tmp_path) == {}


def test_a_second_run_into_a_folder_is_refused_and_the_first_loses_nothing(tmp_path, capsys):
    start(tmp_path)
    before = content(tmp_path)
    with alone(tmp_path) as granted:
        assert granted
        said = sentence(capsys, tmp_path)
    assert f"--out {tmp_path}: found another run that writes to this folder" in said
    assert content(tmp_path) == before
    start(tmp_path)  # and it may when the other has ended


# --- what lies in the folder: damaged, of other settings, malicious -------------------------

def pickled_trap(marker):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(marker),)
    return Trap()


@pytest.mark.parametrize("damage", [
    lambda b: b[:len(b) // 2], lambda b: b"", lambda b: os.urandom(len(b)),
    lambda b: b[:800] + bytes([b[800] ^ 16]) + b[801:], lambda b: pickle.dumps({"parts": 1})])
def test_a_damaged_checkpoint_is_one_sentence_and_stays_as_it_is(tmp_path, capsys, damage):
    start(tmp_path)
    path = tmp_path / "checkpoints" / "first.pt"
    path.write_bytes(damage(path.read_bytes()))
    before = content(tmp_path)
    assert f"{path}: found no whole checkpoint" in sentence(capsys, tmp_path, "--resume")
    assert content(tmp_path) == before


@pytest.mark.parametrize("kind", ["zip", "old format"])
def test_a_malicious_checkpoint_is_one_sentence_and_runs_nothing(tmp_path, capsys, kind):
    start(tmp_path / "out")
    path, marker = tmp_path / "out" / "checkpoints" / "first.pt", tmp_path / "sprung"
    torch.save({"made_by": pickled_trap(marker)}, path,
               _use_new_zipfile_serialization=kind == "zip")
    sentence(capsys, tmp_path / "out", "--resume")
    assert not marker.exists()
    torch.load(path, weights_only=False)  # an unsafe loader: the trap would have been sprung
    assert marker.exists()


def test_a_checkpoint_of_other_code_is_one_sentence(tmp_path, capsys):
    start(tmp_path)
    path = tmp_path / "checkpoints" / "first.pt"
    saved = torch.load(path, weights_only=True)
    saved["parts"]["model"]["weight"] = torch.zeros(5, 3)
    torch.save(saved, path)
    assert f"{path}: found what does not fit this run's networks (RuntimeError: " in sentence(
        capsys, tmp_path, "--resume")


@pytest.mark.parametrize(("argv", "difference"), [
    (["--width", "5"], "width 4 where this run has 5"),
    (["--seed", "1"], "seed 0 where this run has 1")])
def test_other_settings_are_refused_also_where_only_trials_are_kept(
        tmp_path, capsys, argv, difference):
    start(tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    before = content(tmp_path)
    assert f"run.json: was made with {difference}; give the same" in sentence(
        capsys, tmp_path, "--resume", *argv)
    assert content(tmp_path) == before


def test_settings_that_are_damaged_are_one_sentence(tmp_path, capsys):
    start(tmp_path)
    (tmp_path / "run.json").write_bytes(b"[\xff")
    assert "run.json: found damaged content" in sentence(capsys, tmp_path, "--resume")


def test_a_log_that_was_cut_off_twice_loses_those_two_trials_and_no_other(tmp_path):
    def kept():
        return len(Trials(None, tmp_path).known)

    log = tmp_path / "rank_0.jsonl"
    for n in range(4):  # each process is killed within the line of its second trial
        Trials(lambda settings, _: settings["x"], tmp_path)([{"x": 2 * n}])
        whole = log.read_bytes()
        Trials(lambda settings, _: settings["x"], tmp_path)([{"x": 2 * n + 1}])
        log.write_bytes(log.read_bytes()[:len(whole) + 9])
    assert kept() == 4
    log.write_bytes(log.read_bytes() + b'\n\xff\xfe\n{"settings": 1, "budget": 2}\n[]\n3\n'
                    + b"[" * 100_000 + b'\n{"settings": {}, "budget": null, "seconds": 1, '
                    b'"score": NaN}\n')
    assert kept() == 4
