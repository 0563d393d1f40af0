"""assignments/hw1_tuning.py: killed, spread over processes, its images, what it chooses."""

import json
import subprocess
import sys

import hw1_tuning as hw1
import pytest
import torch
import whole_runs

SMALL = ["--seeds", "1", "--epochs", "2", "--folds", "2"]
TRIALS = 2 * 2**5 + 1  # of grid and random search, and the untuned one; two folds each
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
    return start(module_folder, tmp_path_factory.mktemp("tuning"))


def test_two_processes_of_torchrun_write_what_one_does(alone, module_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", hw1.__file__,
         "--data", str(module_folder), "--out", str(tmp_path), "--quick", *SMALL],
        capture_output=True, text=True, timeout=BUSY)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["numbers"] == alone["numbers"]
    logs = sorted(path.name for path in (tmp_path / "trials").rglob("*.jsonl"))
    assert set(logs) == {"rank_0.jsonl", "rank_1.jsonl"}  # both worked
    assert done.stdout.count("Wrote ") == 1  # one tells


def test_no_network_is_scored_with_an_image_that_it_has_seen(
        module_folder, tmp_path, monkeypatch):
    train, score, scored = hw1.train, hw1.error, []

    def watched(settings, split, *rest):
        network = train(settings, split, *rest)
        network.seen = {x.numpy().tobytes() for x in split.x}
        return network

    def apart(network, split):
        assert not network.seen & {x.numpy().tobytes() for x in split.x}
        scored.append(len(split.y))
        return score(network, split)

    monkeypatch.setattr(hw1, "train", watched)
    monkeypatch.setattr(hw1, "error", apart)
    start(module_folder, tmp_path)
    # trials of two folds, then the winners on validation, at last on the test images
    assert scored == 2 * TRIALS * [55] + 3 * [10] + 3 * [30]
