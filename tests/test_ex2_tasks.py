"""Exercise 2, tasks 2 to 5, as whole runs on small images: what each script tells."""

import contextlib
import io
import json
import types

import ex2_classifier
import ex2_classifier_decoding
import ex2_conv_ae
import ex2_few_labels
import ex2_transfer
import numpy as np
import pytest
import torch
from torch import nn

from minidl import cli, glyphs, idx
from minidl.augment import random_affine
from minidl.representation import spread
from minidl.results import Results, slug
from minidl.run import Run

SMALL = {ex2_conv_ae: {"epochs": 2}, ex2_classifier: {"epochs": 3},
         ex2_classifier_decoding: {"epochs": 2},
         ex2_few_labels: {"seeds": 1, "rounds": 2, "largest": 10},
         ex2_transfer: {"seeds": 1, "rounds": 2, "unlabelled_rounds": 2}}


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    for script in (ex2_few_labels, ex2_transfer):
        monkeypatch.setattr(script, "ROUND", 4)


def start(script, folder, out, *argv):
    settings = [word for name, value in SMALL[script].items()
                for word in (f"--{name.replace('_', '-')}", str(value))]
    cli.start(script.main, data="mnist", argv=["--data", str(folder), "--out", str(out),
                                               "--quick", *settings, *argv])
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def results(module_folder, tmp_path_factory):
    """Each script's results, its folder and what it printed; side by side as in outputs/."""
    outputs = tmp_path_factory.mktemp("outputs")

    def run(script):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            content = start(script, module_folder, outputs / script.__name__)
        return content, outputs / script.__name__, said.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        for script in (ex2_few_labels, ex2_transfer):
            patch.setattr(script, "ROUND", 4)
        return {script: run(script) for script in SMALL}


@pytest.mark.parametrize(("script", "headlines", "files"), [
    (ex2_classifier, ["test_accuracy", "train_cross_entropy"],
     ["cross_entropy.png", "error.png", "accuracy.png", "confusion.png", "hardest.png"]),
    (ex2_classifier_decoding, ["test_l1", "autoencoder_test_l1", "class_median_test_l1"],
     ["digits.png", "differ_most.png", "a_class_and_style.tex", "b_c_spread.tex"]),
    (ex2_few_labels, ["test_accuracy_plain", "test_accuracy_best", "overfitting_gap_plain",
                      "test_cross_entropy_plain_sheet"],
     ["loss.png", "accuracy.png", "labels.png", "variants.tex"]),
    (ex2_transfer, ["test_accuracy_plain", "test_accuracy_transfer", "paired_gain",
                    "test_accuracy_stretch", "test_cross_entropy_plain",
                    "test_cross_entropy_transfer"],
     ["loss.png", "accuracy.png", "transfer.tex"])])
def test_the_headlines_and_the_figures_are_there(results, script, headlines, files):
    content, out, _ = results[script]
    for name in headlines:
        assert isinstance(content["numbers"][name]["value"], float), name
    for name in files:
        assert name in content["files"] and (out / name).stat().st_size > 100
    assert content["findings"] and all("nan" not in f for f in content["findings"])


@pytest.mark.parametrize("script", [ex2_few_labels, ex2_transfer])
def test_stopped_in_the_middle_and_resumed_it_is_as_if_left_alone(
        results, script, module_folder, tmp_path, interrupted):
    with interrupted(14):
        start(script, module_folder, tmp_path)
    content = start(script, module_folder, tmp_path, "--resume")
    assert content["numbers"] == results[script][0]["numbers"]
    assert content["findings"] == results[script][0]["findings"]


def test_a_trained_encoder_is_taken_where_there_is_one_and_changes_nothing(
        results, module_folder, tmp_path, capsys):
    """Task 3 takes the runs of tasks 1 and 2, or trains both itself: the same numbers."""
    content, _, said = results[ex2_classifier_decoding]
    assert said.count("taken from") == 2 and "trained here" not in said
    alone = start(ex2_classifier_decoding, module_folder, tmp_path)
    assert capsys.readouterr().out.count("trained here") == 2
    assert alone["numbers"] == content["numbers"]


@pytest.mark.parametrize("size", ["default", "full"])
def test_tasks_2_and_3_have_task_1s_encoder_and_decoder_and_its_training(size):
    task_1, task_2, task_3 = (cli.settings(script.main, script.SIZES, size) for script in (
        ex2_conv_ae, ex2_classifier, ex2_classifier_decoding))
    for name in ("latent", "filters", "hidden"):
        assert task_2[name] == task_1[name], name
    for name in task_3:  # epochs, batch size, rate, images turned
        assert task_3[name] == task_1[name], name


@pytest.mark.parametrize("script", [ex2_classifier_decoding, ex2_few_labels, ex2_transfer])
def test_batches_of_one_image_are_refused_in_a_sentence(
        script, module_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        start(script, module_folder, tmp_path, "--batch-size", "1")
    assert stop.value.code == 2
    assert "--batch-size 1: expected 2 or more, for batch norm" in capsys.readouterr().err


def test_more_than_ten_classes_and_every_schedule_to_its_end(tmp_path, monkeypatch):
    """Twelve classes: ten labels cannot be balanced. 110 images are less than one batch of
    unlabelled ones, and still each round has all its steps."""
    random, schedules, folder = np.random.default_rng(0), [], tmp_path / "twelve"
    folder.mkdir()
    for n, (images, labels) in zip((240, 36), glyphs.FILES.values(), strict=True):
        idx.write(folder / images, random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        idx.write(folder / labels, (np.arange(n) % 12).astype(np.uint8))
    for script in (ex2_few_labels, ex2_transfer):
        monkeypatch.setattr(script, "one_cycle", lambda *args, f=script.one_cycle: [
            schedules.append((f(*args), args[1])), schedules[-1][0]][1])
        content = start(script, folder, tmp_path / script.__name__, "--rounds", "1")
        assert content["numbers"] and "test_accuracy_best_10_labels" not in content["numbers"]
        for file in (tmp_path / script.__name__ / "checkpoints").glob("*seed_0.pt"):
            parts = torch.load(file, weights_only=True)["parts"]
            assert parts["classifier"]["1.2.bias"].shape == (12,), file
    assert len(schedules) > 15
    for schedule, steps in schedules:
        assert schedule.last_epoch == steps


def test_the_headlines_of_task_5_are_of_the_sheets_subset_and_each_gain_of_one_change(results):
    few, numbers = (results[script][0]["numbers"] for script in (ex2_few_labels, ex2_transfer))

    def of(name, key="test_accuracy"):
        return numbers[f"{key}_{slug(name)}_sheet"]["value"]

    assert numbers["test_accuracy_plain"] == few["test_accuracy_plain"]
    for headline, name in ex2_transfer.HEADLINES.items():
        assert numbers[f"test_accuracy_{headline}"]["value"] == of(name)
    assert numbers["paired_gain"]["value"] == pytest.approx(
        of(ex2_transfer.TRANSFER) - of(ex2_transfer.PLAIN))
    for name, base in ex2_transfer.BASES.items():
        assert of(name, "paired_gain") == pytest.approx(of(name) - of(base)), name


@pytest.mark.parametrize("tight", ["autoencoder", "classifier"])
def test_b_and_c_say_which_expectation_is_found_and_which_is_not(tight, tmp_path):
    """Two classes, two units apart in every space; of the code in which they are tight less
    variance lies inside, of the images it is always the autoencoder's that vary more."""
    run = types.SimpleNamespace(results=Results(tmp_path))
    for style in ex2_classifier_decoding.STYLES:
        run.results.number(f"classifier_R2_{style}", 0.5, "share")

    def at(inside):
        z = torch.tensor([-1 - inside, -1 + inside, 1 - inside, 1 + inside]).unsqueeze(1)
        return spread(z, torch.tensor([0, 0, 1, 1]))

    names = ("autoencoder", "classifier")
    spreads = {f"{name}'s code": at(1 / 8 if name == tight else 1 / 2) for name in names} | {
        "input images": at(1 / 4), "autoencoder's images": at(1 / 4),
        "classifier's images": at(1 / 8)}
    ex2_classifier_decoding.answer_b_and_c(run, spreads, ["0", "1"], "stripes")
    b, c = (next(f for f in run.results.findings if f.startswith(f"({part}) Why"))
            for part in "bc")
    not_ = "" if tight == "classifier" else "not "
    assert f"vary more is {not_}found in the codes and found in the reconstructions" in b
    assert (f"further apart is {not_}found in the codes and not found in the reconstructions"
            in c)


def test_the_classifiers_test_curve_ends_at_the_weights_that_are_kept(results, module_folder):
    """Snapshots hold the weights after each epoch, the last of them the trained network."""
    parts = torch.load(results[ex2_classifier][1] / "checkpoints" / "classifier.pt",
                       weights_only=True)["parts"]
    assert list(parts["snapshots"]) == [1, 2, 3]
    first, last = (nn.Sequential(ex2_conv_ae.Encoder(), ex2_conv_ae.MLP()) for _ in range(2))
    first.load_state_dict(parts["snapshots"][1])
    last.load_state_dict(parts["snapshots"][3])
    for name, tensor in last[0].state_dict().items():
        assert torch.equal(tensor, parts["encoder"][name]), name
    assert not torch.equal(first[0][0].weight, last[0][0].weight)


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


def test_the_step_of_the_encoder_can_be_smaller_or_none(module_folder, tmp_path, results):
    """After the same steps: frozen it stands, with a smaller step it moves less."""

    def weights(name, script=ex2_transfer):
        path = results[script][1] / "checkpoints" / name
        return torch.load(path, weights_only=True)["parts"]

    start = weights("autoencoder.pt", ex2_conv_ae)["encoder"]["0.weight"]
    moved = {name: (weights(f"sheet_{name}_seed_0.pt")["classifier"]["0.0.weight"] - start)
             .norm().item() for name in (
                 "fine_tuned", "frozen", "smaller_step_for_the_encoder",
                 "frozen_then_fine_tuned")}
    assert moved["frozen"] == 0
    assert 0 < moved["smaller_step_for_the_encoder"] < 0.3 * moved["fine_tuned"]
    assert 0 < moved["frozen_then_fine_tuned"] < moved["fine_tuned"]


def test_augmentation_leaves_the_labelled_images_themselves_alone(generator):
    x = torch.rand(4, 1, 28, 28, generator=generator)
    before = x.clone()
    assert not torch.equal(random_affine(x, generator, **ex2_few_labels.AUGMENTED), x)
    assert torch.equal(x, before)


@pytest.mark.real_data
def test_the_sheets_subset_of_the_real_mnist_has_5_to_14_images_a_class(real_data, tmp_path):
    run = Run("s", "quick", {}, out=tmp_path, sheet_data="mnist", data_dir=real_data)
    sheet = ex2_few_labels.subset(run.load(), "sheet", 100, 0)
    assert torch.bincount(sheet.y).tolist() == [13, 14, 6, 11, 11, 5, 11, 10, 8, 11]
