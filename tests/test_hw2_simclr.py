"""Homework 2's SimCLR: its views, who is compared, and on what terms."""

import math

import hw2_simclr
import pytest
import torch
import whole_runs
from torch import nn

from minidl.data import Dataset, Split
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric


@pytest.fixture
def run(tmp_path):
    return Run("s", "quick", {}, out=tmp_path)


@pytest.fixture
def images(generator):
    return Split(torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8,
                               generator=generator), torch.arange(40) % 10)


def test_each_augmentation_changes_the_images_and_none_changes_nothing(images):
    x = images.x / 255
    for kinds in ([kind] for kind in hw2_simclr.AUGMENTATIONS):
        view = hw2_simclr.change(x, torch.Generator().manual_seed(0), kinds)
        assert view.shape == x.shape and not torch.equal(view, x), kinds
        assert view.min() >= 0 and view.max() <= 1 + 2**-20  # of four weights that sum to 1
    assert torch.equal(hw2_simclr.change(x, torch.Generator(), []), x)


@pytest.mark.parametrize("rung", [hw2_simclr.AE, hw2_simclr.SIMCLR, hw2_simclr.SUPERVISED])
def test_every_rung_starts_from_the_untrained_encoders_weights(run, images, rung):
    settings = images, ["crop"], 3, 2, 1, 20
    still = hw2_simclr.train(run, "still", rung, *settings, 0.0, 0.2, "float32")
    moved = hw2_simclr.train(run, "moved", rung, *settings, 1e-2, 0.2, "float32")
    untrained = dict(hw2_simclr.build(run, 2, 3).named_parameters())
    for name, parameter in still.named_parameters():
        assert torch.equal(parameter, untrained[name]), name
    assert not any(torch.equal(p, untrained[name]) for name, p in moved.named_parameters())


def test_the_autoencoder_gives_an_image_and_the_features_are_as_many_as_told(run, images):
    h = hw2_simclr.build(run, 3, 0)(images.x.float())
    assert h.shape == (40, 24)
    assert hw2_simclr.Decoder(3)(h).shape == images.x.shape


def test_trap_17_the_partner_of_view_i_is_i_plus_n_which_shows_the_same_image(images):
    changes = iter((0.0, 1.0))
    _, shown, loss = hw2_simclr.objective("SimCLR", 2, 10, lambda x: x + next(changes), 0.2)
    x = images.x.float()
    views = shown(x)
    assert torch.equal(views[:40], x) and torch.equal(views[40:], x + 1)
    # an encoder that knows each image: a view's similarities are 1 / tau = 5 and 78 zeros
    z = nn.functional.one_hot(torch.arange(40)).float()
    assert loss(torch.cat([z, z]), x, None).shape == (80,)
    right, wrong = math.log(1 + 78 * math.exp(-5)), math.log(math.exp(5) + 78)
    for views, expected in ((torch.cat([z, z]), right), (torch.cat([z, z.roll(1, 0)]), wrong),
                            (z.repeat_interleave(2, 0), wrong)):
        # log of a sum of 79 terms, and 5, in float32: (79 + 2 * 5) * 2^-24 at the most
        assert loss(views, x, None).mean().item() == pytest.approx(expected, abs=1e-5)


def test_trap_17_a_probe_whose_encoder_is_not_frozen_is_an_error(
        module_folder, tmp_path, monkeypatch):
    """Running statistics that move while features are read."""
    def in_training_mode(metric, split, encoder):
        encoder.train()
        return metric(split.x.float(), split.y)

    monkeypatch.setattr(hw2_simclr, "per_example", in_training_mode)
    with pytest.raises(RuntimeError, match=r"frozen, yet changed: 1\.running_mean"):
        whole_runs.start("hw2_simclr", tmp_path, "--data", str(module_folder), "--epochs", "1",
                         "--batch-size", "32", "--filters", "2", data="fashion-mnist")


def test_the_curve_draws_as_many_of_each_class_and_other_ones_for_each_set(
        run, images, monkeypatch):
    drawn, many = [], Split(torch.arange(400.0).view(400, 1), torch.arange(400) % 10)
    data = Dataset("s", "S", tuple("0123456789"), many, many, None, 1.0)
    monkeypatch.setattr(hw2_simclr, "probe", lambda known: [
        drawn.append(known), lambda x: nn.functional.one_hot(x[:, 0].long() % 10)][1])
    found = hw2_simclr.learning_curve(run, data, many, many, subsets=3)
    assert found == {10: [1.0] * 3, 100: [1.0] * 3}
    for known, n in zip(drawn, [1] * 3 + [10] * 3, strict=True):
        assert torch.bincount(known.y).tolist() == [n] * 10
        assert torch.equal(known.x[:, 0].long() % 10, known.y)  # features with their labels
    assert not torch.equal(drawn[0].x, drawn[1].x)
