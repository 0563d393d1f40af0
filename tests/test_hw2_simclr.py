"""Homework 2's SimCLR as a whole run on small images: who is compared, and on what terms."""

import math

import hw2_simclr
import hw2_simclr_study
import pytest
import torch
import whole_runs
from torch import nn

from minidl.data import Dataset, Split
from minidl.run import Run

SMALL = {hw2_simclr: ["--epochs", "2", "--batch-size", "32", "--filters", "2"],
         hw2_simclr_study: ["--subset", "40"]}


def start(folder, out, *argv, script=hw2_simclr):
    return whole_runs.start(script, folder, out, *SMALL[script], *argv, data="fashion-mnist")


@pytest.fixture(scope="module")
def results(module_folder, tmp_path_factory):
    """The run's results, its folder, and the order of its trainings and the test images."""
    out, events = tmp_path_factory.mktemp("outputs"), []
    epochs, test = Run.epochs, Dataset.test
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "test", lambda data: [events.append("test"), test(data)][1])
        patch.setattr(Run, "epochs", lambda self, n, name, **parts: [
            events.append(name), epochs(self, n, name, **parts)][1])
        return start(module_folder, out), out, events


@pytest.fixture
def run(tmp_path):
    return Run("s", "quick", {}, out=tmp_path)


@pytest.fixture
def images(generator):
    return Split(torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8,
                               generator=generator), torch.arange(40) % 10)


def test_the_headlines_and_the_figures_are_there(results):
    content, out, _ = results
    for key in ("", "_raw_pixels", "_random", "_ae", "_supervised"):
        for name in (f"probe_accuracy{key}", f"val_probe_accuracy{key}",
                     f"probe_accuracy{key}_10_labels"):
            assert 0 <= content["numbers"][name]["value"] <= 1, name
    assert content["numbers"]["probe_accuracy_raw_pixels"]["value"] > 0.9  # bright rows
    for name in ("loss.png", "labels.png", "views.png", "neighbours.png", "plane.png",
                 "ladder.tex"):
        assert name in content["files"] and (out / name).stat().st_size > 100
    assert content["findings"] and all("nan" not in f for f in content["findings"])


def test_the_test_images_are_read_once_after_the_last_training(results):
    events = results[2]
    assert events.count("test") == 1 and events[-1] == "test"
    assert events[:-1] == ["autoencoder", "SimCLR", "supervised"]


def test_the_study_pairs_every_choice_and_reads_no_test_image(
        module_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Dataset, "test", None)
    content = start(module_folder, tmp_path, "--seeds", "2", script=hw2_simclr_study)
    for choice in ("all", "none", "crop_alone", "without_crop"):
        assert content["numbers"][f"augmentations_{choice}"]["n"] == 2
    assert "augmentations_without_mirror" not in content["numbers"]  # stripes are not clothes
    numbers = content["numbers"]
    of = {k: numbers[f"augmentations_without_{k}"]["value"] for k in ("crop", "turn",
                                                                      "brightness")}
    told = next(f for f in content["findings"] if "the highest is" in f)
    best = next(k for k in of if f"without {k}," in told)
    assert of[best] == max(of.values())
    assert numbers[f"paired_without_{best}"]["value"] == pytest.approx(
        100 * (of[best] - numbers["augmentations_all"]["value"]))
    assert {"augmentations.png", "augmentations.tex"} <= set(content["files"])
    assert content["findings"] and all("nan" not in f for f in content["findings"])


def test_each_augmentation_changes_the_images_and_none_changes_nothing(images):
    x = images.x / 255
    for kinds in ([kind] for kind in hw2_simclr.AUGMENTATIONS):
        view = hw2_simclr.change(x, torch.Generator().manual_seed(0), kinds)
        assert view.shape == x.shape and not torch.equal(view, x), kinds
        assert view.min() >= 0 and view.max() <= 1 + 1e-6
    assert torch.equal(hw2_simclr.change(x, torch.Generator(), []), x)


def test_stopped_in_the_middle_and_resumed_it_is_as_if_left_alone(
        results, module_folder, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    with interrupted(4):  # the second epoch of SimCLR
        start(module_folder, tmp_path)
    assert whole_runs.same(start(module_folder, tmp_path, "--resume"), results[0])


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
    z = nn.functional.one_hot(torch.arange(40)).float()  # an encoder that knows each image
    assert loss(torch.cat([z, z]), x, None).shape == (80,)
    assert loss(torch.cat([z, z]), x, None).mean() < 0.5
    assert loss(torch.cat([z, z.roll(1, 0)]), x, None).mean() > 4
    assert loss(z.repeat_interleave(2, 0), x, None).mean() > 4


def test_trap_17_a_probe_whose_encoder_is_not_frozen_is_an_error(
        module_folder, tmp_path, monkeypatch):
    """Running statistics that move while features are read."""
    def in_training_mode(metric, split, encoder):
        encoder.train()
        return metric(split.x.float(), split.y)

    monkeypatch.setattr(hw2_simclr, "per_example", in_training_mode)
    with pytest.raises(RuntimeError, match=r"frozen, yet changed: 1\.running_mean"):
        start(module_folder, tmp_path)


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


@pytest.mark.parametrize(("last", "collapsed"), [(math.log(63), True), (3.9, True),
                                                 (2.0, False)])
def test_a_collapse_is_named(run, last, collapsed):
    data = Dataset("s", "S", (), None, None, None, 1.0)
    run.history = {"train_loss": [4.2, last]}
    hw2_simclr.report_loss(run, data, 32)
    assert any("collapsed" in f for f in run.results.findings) == collapsed


@pytest.mark.parametrize("flag", [("--batch-size", "2"), ("--filters", "1"), ("--tau", "0")])
def test_what_cannot_be_told_apart_is_one_sentence(flag, folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        start(folder, tmp_path, *flag)
    assert f"{' '.join(flag)}" in capsys.readouterr().err.replace("\n", " ")
