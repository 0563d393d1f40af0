"""Exercise 2, tasks 2 to 5: one network for all, few labels, and what transfer moves."""

import ex2_classifier
import ex2_classifier_decoding
import ex2_conv_ae
import ex2_few_labels
import ex2_transfer
import numpy as np
import pytest
import torch
import whole_runs

from minidl import idx
from minidl.data import glyphs
from minidl.lab import flags
from minidl.lab.run import Run


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    for script in (ex2_few_labels, ex2_transfer):
        monkeypatch.setattr(script, "ROUND", 2)


def start(script, folder, out, *argv):
    return whole_runs.start(script.__name__, out, "--data", str(folder), "--seeds", "1", *argv,
                            data="mnist")


@pytest.mark.parametrize("size", ["default", "full"])
def test_tasks_2_and_3_have_task_1s_encoder_and_decoder_and_its_training(size):
    task_1, task_2, task_3 = (flags.settings(script.main, script.SIZES, size) for script in (
        ex2_conv_ae, ex2_classifier, ex2_classifier_decoding))
    for name in ("latent", "filters", "hidden"):
        assert task_2[name] == task_1[name], name
    for name in task_3:  # epochs, batch size, rate, images turned
        assert task_3[name] == task_1[name], name


def test_more_than_ten_classes_and_every_schedule_to_its_end(tmp_path, monkeypatch):
    """Twelve classes: ten labels cannot be balanced. 110 images are less than one batch of
    unlabelled ones, and still each round has all its steps."""
    random, schedules, folder = np.random.default_rng(0), [], tmp_path / "twelve"
    folder.mkdir()
    for n, (images, labels) in zip((240, 36), glyphs.FILES.values(), strict=True):
        idx.write(folder / images, random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        idx.write(folder / labels, (np.arange(n) % 12).astype(np.uint8))
    for script, more in ((ex2_few_labels, ("--largest", "10")),
                         (ex2_transfer, ("--unlabelled-rounds", "1"))):
        monkeypatch.setattr(script, "one_cycle", lambda *args, f=script.one_cycle: [
            schedules.append((f(*args), args[1])), schedules[-1][0]][1])
        content = start(script, folder, tmp_path / script.__name__, "--rounds", "1", *more)
        assert content["numbers"] and "test_accuracy_best_10_labels" not in content["numbers"]
        for file in (tmp_path / script.__name__ / "checkpoints").glob("*seed_0.pt"):
            parts = torch.load(file, weights_only=True)["parts"]
            assert parts["classifier"]["1.2.bias"].shape == (12,), file
    assert len(schedules) > 15
    for schedule, steps in schedules:
        assert schedule.last_epoch == steps


def test_early_stopping_keeps_its_fifth_out_of_the_training(module_folder):
    """The two parts are the 100 without overlap, and another seed cuts them elsewhere."""
    few = ex2_few_labels.Split(torch.arange(100), torch.arange(100))
    (train, apart), (other, _) = (
        ex2_few_labels.cut(few, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert (len(train.x), len(apart.x)) == (80, 20)
    assert torch.equal(torch.cat([train.x, apart.x]).sort().values, few.x)
    assert torch.equal(train.x, train.y) and not torch.equal(train.x, other.x)


def test_batches_without_end_show_every_image_once_a_pass(generator):
    few = ex2_few_labels.Split(torch.zeros(12, 1, dtype=torch.uint8), torch.arange(12))
    stream = ex2_few_labels.endless(few, 4, generator)
    passes = [torch.cat([next(stream)[1] for _ in range(3)]) for _ in range(2)]
    assert all(torch.equal(one.sort().values, few.y) for one in passes)
    assert not torch.equal(*passes)


def test_the_step_of_the_encoder_can_be_smaller_or_none(folder, tmp_path):
    """After the same steps: frozen it stands, with a smaller step it moves less."""
    start(ex2_transfer, folder, tmp_path, "--rounds", "2", "--unlabelled-rounds", "1")

    def weights(name):
        path = tmp_path / "checkpoints" / f"{name}.pt"
        return torch.load(path, weights_only=True)["parts"]

    before = weights("autoencoder")["encoder"]["0.weight"]
    moved = {name: (weights(f"sheet_{name}_seed_0")["classifier"]["0.0.weight"] - before)
             .norm().item() for name in (
                 "fine_tuned", "frozen", "smaller_step_for_the_encoder",
                 "frozen_then_fine_tuned")}
    assert moved["frozen"] == 0
    assert 0 < moved["smaller_step_for_the_encoder"] < 0.3 * moved["fine_tuned"]
    assert 0 < moved["frozen_then_fine_tuned"] < moved["fine_tuned"]


@pytest.mark.real_data
def test_the_sheets_subset_of_the_real_mnist_has_5_to_14_images_a_class(real_data, tmp_path):
    run = Run("s", "quick", {}, out=tmp_path, sheet_data="mnist", data_dir=real_data)
    sheet = ex2_few_labels.subset(run.load(), "sheet", 100, 0)
    assert torch.bincount(sheet.y).tolist() == [13, 14, 6, 11, 11, 5, 11, 10, 8, 11]
