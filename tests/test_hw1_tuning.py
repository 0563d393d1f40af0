"""assignments/hw1_tuning.py: runs, killed, spread over processes; the test out of reach."""

import json
import subprocess
import sys
from pathlib import Path

import hw1_tuning as hw1
import hw2_tuning
import pytest
import torch

from minidl import cli
from minidl.data import Dataset, Split, load
from minidl.progress import Line
from minidl.run import RunError

SMALL = ["--seeds", "1", "--subset", "60", "--epochs", "2", "--folds", "2", "--curve-points",
         "20", "--curve-steps", "2"]
SCRIPT = Path(hw1.__file__)


def start(folder, out, *argv):
    cli.start(hw1.main, data="fashion-mnist", **hw1.SIZES, argv=[
        "--data", str(folder), "--out", str(out), *SMALL, *argv])
    return json.loads((out / "results.json").read_text())


@pytest.fixture(autouse=True)
def threads():
    """The script sets the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(module_folder, tmp_path_factory):
    """A run's results, its folder, and its trainings and its reading of the test images."""
    events, test, fit = [], Dataset.test, hw1.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "test", lambda data: [events.append("test"), test(data)][1])
        patch.setattr(hw1, "fit", lambda *args: [events.append("fit"), fit(*args)][1])
        return start(module_folder, out := tmp_path_factory.mktemp("tuning")), out, events


def test_a_run_compares_the_searches_on_both_tasks(alone):
    content, out, _ = alone
    for task in ("stripes", "regression_of_made_points"):
        assert f"paired_gain_{task}_random" in content["numbers"]
        for name in (f"trials_{task}.png", f"importance_{task}.png", f"searches_{task}.tex"):
            assert name in content["files"] and (out / name).stat().st_size > 100
    numbers = {name: entry["value"] for name, entry in content["numbers"].items()}
    assert numbers["trials_stripes_grid"] == numbers["trials_stripes_random"] == 2 ** 5
    assert numbers["trials_stripes_halving"] > 2 ** 6
    # two folds; halving has 64 draws of 1 epoch, 8 of 2, 1 of 2; a regression's step is one
    assert numbers["epochs_stripes_grid"] == numbers["epochs_stripes_random"] == 2 * 2 * 2 ** 5
    assert numbers["epochs_stripes_halving"] == 2 * (64 + 8 * 2 + 2)
    assert numbers["epochs_regression_of_made_points_grid"] == 2 * 2 * 2 ** 4
    assert any("one seed cannot tell" in f for f in content["findings"])
    assert 0 <= numbers["test_accuracy"] <= 1


def test_killed_in_the_middle_it_goes_on_to_the_same_numbers(
        alone, module_folder, tmp_path, monkeypatch):
    fit, ran = hw1.fit, []

    def dies(settings, *rest):
        ran.append(settings)
        if len(ran) == 50:
            raise KeyboardInterrupt
        return fit(settings, *rest)

    monkeypatch.setattr(hw1, "fit", dies)
    with pytest.raises(SystemExit):
        start(module_folder, tmp_path)
    kept = sum(len(path.read_text().splitlines()) for path in tmp_path.rglob("*.jsonl"))
    assert kept == 49 // 2  # two folds a trial
    before = len(ran)
    content = start(module_folder, tmp_path, "--resume")
    assert content["numbers"] == alone[0]["numbers"]
    assert content["findings"] == alone[0]["findings"]
    assert len(ran) - before == alone[2].count("fit") - 2 * kept


def test_two_processes_of_torchrun_write_what_one_does(alone, module_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(SCRIPT),
         "--data", str(module_folder), "--out", str(tmp_path), *SMALL],
        capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "results.json").read_text())
    for part in ("numbers", "findings", "files"):
        assert content[part] == alone[0][part]
    logs = sorted(path.name for path in (tmp_path / "trials").rglob("*.jsonl"))
    assert set(logs) == {"rank_0.jsonl", "rank_1.jsonl"}  # both worked
    assert done.stdout.count("Wrote ") == 1  # one tells


def test_the_test_images_are_read_once_after_the_last_training(alone):
    events = alone[2]
    assert events.count("test") == 1 and events[-1] == "test" and events.count("fit") > 200


def test_a_searchs_objective_holds_its_split_and_no_data_set(module_folder):
    """It can reach what it was made with; a Dataset could read the test files."""
    data = load("fashion-mnist", str(module_folder), say=lambda _: None)

    def held(objective):
        return [cell.cell_contents for cell in objective.__closure__]

    task = hw1.classification(data, hw1.own_images(data, 1, 40, 2)[0], 0, 2, 1)
    assert not any(isinstance(value, Dataset) for value in held(task.objective))
    (parts,) = (value for value in held(task.objective) if isinstance(value, list))
    assert sum(len(fold.y) for _, fold in parts) == 40
    assert any(isinstance(v, Dataset) for v in held(lambda: data))  # the check can fail


def test_searches_of_other_seeds_have_other_images(module_folder):
    data = load("fashion-mnist", str(module_folder), say=lambda _: None)

    def images(seed):
        own = hw1.own_images(data, 2, 40, 2)[seed]
        parts = next(cell.cell_contents for cell in
                     hw1.classification(data, own, seed, 2, 1).objective.__closure__
                     if isinstance(cell.cell_contents, list))
        return {image.numpy().tobytes() for _, fold in parts for image in fold.x}

    assert len(images(0)) == len(images(1)) == 40 and not images(0) & images(1)


def test_more_images_than_there_are_is_a_sentence(module_folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        start(module_folder, tmp_path, "--subset", "1000")
    assert "--seeds 1 --subset 1000: expected a product of at most" in capsys.readouterr().err


@pytest.mark.parametrize(("script", "flags"), [
    (hw1, ["--folds", "1"]), (hw1, ["--folds", "61"]),
    (hw1, ["--folds", "21", "--curve-points", "20"]), (hw2_tuning, ["--folds", "1"]),
    (hw2_tuning, ["--folds", "61"])])
def test_folds_that_are_none_or_too_many_are_one_sentence_before_any_training(
        script, flags, module_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "fit", None)
    with pytest.raises(SystemExit) as stopped:
        cli.start(script.main, data="fashion-mnist", argv=[
            "--data", str(module_folder), "--out", str(tmp_path), "--seeds", "1", "--subset",
            "60", *flags], **script.SIZES)
    assert stopped.value.code == 2 and f"{' '.join(flags[:2])}: exp" in capsys.readouterr().err


def test_a_search_wins_by_more_than_two_standard_errors_or_not_at_all():
    """Gains 1 and 3: mean 2, standard error 1."""
    for gain, told in (([1.0, 3.0], "neither"), ([1.1, 3.0], "random search beats the grid"),
                       ([-1.1, -3.0], "random search is beaten by"), ([0.0, 0.0], "neither"),
                       ([5.0], "one seed cannot tell")):
        assert hw1.verdict("random", gain).startswith(told)


def test_a_winner_that_fails_when_trained_again_is_one_sentence():
    best = {("a", 0): {"score": 1.0}, ("a", 1): {"score": 2.0}}
    assert hw1.scores_of_winners(best, [{"score": 3.0}, {"score": 4.0}]) == {
        ("a", 0): 3.0, ("a", 1): 4.0}
    with pytest.raises(RunError, match="seed 1 failed, trained again: the loss is nan"):
        hw1.scores_of_winners(best, [{"score": 3.0}, {"failure": "the loss is nan"}])


def test_a_trial_that_diverges_says_where():
    settings = {"hidden": 8, "dropout": 0.0, "learning_rate": 1e30, "momentum": 0.9,
                "weight_decay": 0.0}
    split = Split(torch.randint(0, 255, (200, 1, 28, 28)).byte(), torch.arange(200) % 10)
    with pytest.raises(FloatingPointError, match="the loss is nan after epoch"):
        hw1.fit(settings, split, 10, 3, 0, Line())
