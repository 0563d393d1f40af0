"""Exercise 2: one network for all tasks, the L1 collapse, few labels, what transfer moves."""

import math

import ex2_classifier
import ex2_classifier_decoding
import ex2_conv_ae
import ex2_conv_ae_study
import ex2_few_labels
import ex2_few_labels_study
import ex2_transfer
import ex2_transfer_study
import numpy as np
import pytest
import torch
import whole_runs
from torch import nn

from minidl import idx
from minidl.data import load
from minidl.data.sources import FILES
from minidl.lab import flags
from minidl.lab.layers import parameter_count
from minidl.lab.run import Run
from minidl.losses import l1

pytestmark = pytest.mark.numeric
SCRIPTS = (ex2_few_labels, ex2_few_labels_study, ex2_transfer, ex2_transfer_study)


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    for script in SCRIPTS:
        monkeypatch.setattr(script, "ROUND", 2)


def start(script, folder, out, *argv):
    return whole_runs.start(script.__name__, out, "--data", str(folder), *argv, data="mnist")


@pytest.mark.parametrize("size", ["default", "full"])
def test_tasks_2_to_5_have_task_1s_encoder_and_task_3_its_training_too(size):
    task_1, task_3, *others = (flags.settings(script.main, script.SIZES, size) for script in (
        ex2_conv_ae, ex2_classifier_decoding, ex2_classifier, ex2_few_labels, ex2_transfer,
        ex2_transfer_study))
    assert task_3.items() <= task_1.items()  # epochs, batch size, rate, images turned
    for other in others:
        for name in ("filters", "hidden", "images"):
            assert other[name] == task_1[name], name


def test_without_fully_connected_layers_a_variant_has_as_many_parameters_as_the_base():
    study = ex2_conv_ae_study
    wider = parameter_count(study.build(**study.VARIANTS["the same, more filters"]))
    assert wider == pytest.approx(parameter_count(study.build()), rel=0.01)


def test_no_gradient_leads_out_of_the_black_image_through_a_sigmoid():
    logit = torch.full((1, 1, 4, 4), -20.0, requires_grad=True)
    l1(torch.sigmoid(logit), torch.ones(1, 1, 4, 4)).sum().backward()
    assert logit.grad.abs().max() < 2.1e-9 / 16  # sigmoid'(-20) = exp(-20), of 16 pixels


@pytest.mark.parametrize("script", SCRIPTS)
def test_more_than_ten_classes_and_every_schedule_to_its_end(script, tmp_path, monkeypatch):
    """Twelve classes: ten labels cannot be balanced. 110 images are less than one batch of
    unlabelled ones, and still each round has all its steps."""
    random, schedules, folder = np.random.default_rng(0), [], tmp_path / "twelve"
    folder.mkdir()
    for n, (images, labels) in zip((240, 36), FILES.values(), strict=True):
        idx.write(folder / images, random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        idx.write(folder / labels, (np.arange(n) % 12).astype(np.uint8))
    monkeypatch.setattr(script, "one_cycle", lambda *args, f=script.one_cycle: [
        schedules.append((f(*args), args[1])), schedules[-1][0]][1])
    content = start(script, folder, tmp_path / "out")
    assert content["numbers"] and "test_accuracy_best_10_labels" not in content["numbers"]
    files = list((tmp_path / "out/checkpoints").glob("*.pt"))
    for file in files:
        bias = torch.load(file, weights_only=True)["parts"]["classifier"]["1.2.bias"]
        assert bias.shape == (12,), file
    assert len(schedules) == len(files) >= 2
    for schedule, steps in schedules:
        assert schedule.last_epoch == steps


def test_the_loss_of_unlabelled_images_counts_only_those_the_network_is_sure_of(
        tmp_path, monkeypatch):
    """Without augmentation an image's loss is -log of its largest probability: of two images
    with 0.9 and 0.6, where tau is 0.8, half of -log 0.9 is added to that of the labelled."""
    run = Run("s", "quick", {}, out=tmp_path)
    monkeypatch.setattr(ex2_transfer_study, "changed", lambda x, generator: x)
    p = torch.tensor([[0.25, 0.75], [0.9, 0.1], [0.4, 0.6]], dtype=torch.float64)
    x, u = p[:1].log(), p[1:].log()  # as logits, of a network that does nothing
    for tau, sure in ((0.8, -math.log(0.9) / 2), (1.0, 0)):
        found = ex2_transfer_study.with_unlabelled(run, nn.Identity(), x, torch.tensor([1]),
                                                   u, tau)
        # float64; fewer than 12 logarithms and sums, of numbers below 3
        assert found.item() == pytest.approx(-math.log(0.75) + sure, abs=12 * 3 * 2**-52)
    run.log()
    assert run.history["trusted"] == [0.25]  # one of two images, then none


@pytest.mark.real_data
def test_the_sheets_subset_of_the_real_mnist_has_5_to_14_images_a_class(real_data):
    data = load("mnist", data_dir=real_data, say=lambda _: None)
    assert torch.bincount(data.head().y).tolist() == [13, 14, 6, 11, 11, 5, 11, 10, 8, 11]
