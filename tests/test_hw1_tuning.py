"""assignments/hw1_tuning.py: killed, spread over processes; its images."""

import json
import subprocess
import sys

import hw1_tuning as hw1
import pytest
import torch
import whole_runs

from minidl.data import Split, load
from minidl.data.progress import Line

SMALL = ["--seeds", "1", "--subset", "60", "--epochs", "2", "--folds", "2", "--curve-points",
         "20", "--curve-steps", "2"]
BUSY = 600  # seconds; 10 s on an idle machine


def start(folder, out, *argv):
    return whole_runs.start("hw1_tuning", out, "--data", str(folder), *SMALL, *argv,
                            data="fashion-mnist")


@pytest.fixture(autouse=True)
def threads():
    """The script sets the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(module_folder, tmp_path_factory):
    """A run's results, and how many trainings it took."""
    trained, fit = [], hw1.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hw1, "fit", lambda *args: [trained.append(1), fit(*args)][1])
        return start(module_folder, tmp_path_factory.mktemp("tuning")), len(trained)


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
    assert len(ran) - before == alone[1] - 2 * kept


def test_two_processes_of_torchrun_write_what_one_does(alone, module_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", hw1.__file__,
         "--data", str(module_folder), "--out", str(tmp_path), "--quick", *SMALL],
        capture_output=True, text=True, timeout=BUSY)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["numbers"] == alone[0]["numbers"]
    logs = sorted(path.name for path in (tmp_path / "trials").rglob("*.jsonl"))
    assert set(logs) == {"rank_0.jsonl", "rank_1.jsonl"}  # both worked
    assert done.stdout.count("Wrote ") == 1  # one tells


def test_searches_of_other_seeds_have_other_images(module_folder):
    """Else their scores would not be independent, and no standard error of them right."""
    data = load("fashion-mnist", str(module_folder), say=lambda _: None)
    images = [{x.numpy().tobytes() for x in own.x} for own in hw1.own_images(data, 2, 40, 2)]
    assert list(map(len, images)) == [40, 40] and not images[0] & images[1]


def test_a_trial_that_diverges_says_where():
    settings = {"hidden": 8, "dropout": 0.0, "learning_rate": 1e30, "momentum": 0.9,
                "weight_decay": 0.0}
    split = Split(torch.randint(0, 255, (200, 1, 28, 28)).byte(), torch.arange(200) % 10)
    with pytest.raises(FloatingPointError, match="nan after epoch"):
        hw1.fit(settings, split, 10, 3, 0, Line())
