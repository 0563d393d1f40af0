"""The traps of public solutions of these exercises, by name: none is in this project.

Traps 11 and 17 have theirs beside the VAE's and SimCLR's other tests.
Each test fails when its trap is built in: `python tests/mutate.py --pitfalls` builds in one
after the other, by changing one line, and shows that exactly the trap's own test fails.
"""

import json
import math
import shutil
from unittest.mock import Mock

import ex2_classifier
import ex2_classifier_decoding
import ex2_conv_ae
import ex2_few_labels
import ex2_transfer
import hw2_denoising
import hw2_report_vae_search
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidl import idx, noise, tune
from minidl.data import balanced, batches, load, to_unit
from minidl.data.sources import FILES
from minidl.evaluation import evaluate, per_example
from minidl.lab import cli, flags
from minidl.lab.results import Results, slug
from minidl.lab.run import Run
from minidl.lab.trials import Trials
from minidl.losses import l1

pytestmark = pytest.mark.numeric
DECODING = slug("decoder of the classifier's code")


def start(script, folder, out, **settings):
    """A script's run on the folder's images, without figures; -> its results.json, and of each
    training what was trained and its history."""
    argv = ["--data", str(folder), "--out", str(out), "--quick", "--batch-size", "20"]
    for name, value in settings.items():
        argv += [f"--{name.replace('_', '-')}", str(value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Results, "figure", lambda *_: None)
        patch.setattr(script, "plot", Mock(), raising=False)
        cli.start(script.main, data="mnist", argv=argv)
    kept = {path.stem: torch.load(path, weights_only=True)
            for path in out.rglob("checkpoints/*.pt")}
    parts = {name: content["parts"] | {"history": content["progress"]["history"]}
             for name, content in kept.items()}
    return json.loads((out / "results.json").read_text()), parts


def read(folder, seed=0):
    return load("mnist", str(folder), seed=seed, say=lambda _: None)


@pytest.fixture(scope="module")
def autoencoder(module_folder, tmp_path_factory):
    """Task 1, and the lengths of the batches that went through l1."""
    return counted(ex2_conv_ae, module_folder, tmp_path_factory.mktemp("ae"), epochs=10)


@pytest.fixture(scope="module")
def decoding(module_folder, tmp_path_factory):
    """Task 3, likewise."""
    out = tmp_path_factory.mktemp("decoding")
    return counted(ex2_classifier_decoding, module_folder, out, epochs=3)


def counted(script, folder, out, **settings):
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "l1", lambda x_hat, x: seen.append(len(x)) or l1(x_hat, x))
        return *start(script, folder, out, **settings), seen


@pytest.fixture(scope="module")
def uneven(module_folder, tmp_path_factory):
    """The stripes in another order: the first 60 training images are of five classes."""
    folder = shutil.copytree(module_folder, tmp_path_factory.mktemp("uneven") / "stripes")
    for name in FILES["train"]:
        values = idx.read(folder / name)
        idx.write(folder / name, np.concatenate([values[::2], values[1::2]]))
    return folder


@pytest.fixture(scope="module")
def tasks_4_and_5(uneven, tmp_path_factory):
    """Both tasks, with the test images and with others: (task, which) -> results, parts."""
    others = shutil.copytree(uneven, tmp_path_factory.mktemp("others") / "stripes")
    images, labels = (others / name for name in FILES["test"])
    idx.write(images, 255 - idx.read(images))
    idx.write(labels, (idx.read(labels) + 3).astype(np.uint8) % 10)
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        for script in (ex2_few_labels, ex2_transfer):
            patch.setattr(script, "ROUND", 4)
        for which, folder in (("first", uneven), ("other", others)):
            out = tmp_path_factory.mktemp(which)
            for task, script in (("few", ex2_few_labels), ("transfer", ex2_transfer)):
                runs[task, which] = start(script, folder, out / task, seeds=1, rounds=2)
    return runs


@pytest.fixture(scope="module")
def standing_still(uneven, tmp_path_factory):
    """Task 5, without a step of a length: what each training starts from, and task 1's."""
    out = tmp_path_factory.mktemp("still")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ex2_transfer, "ROUND", 4)
        _, parts = start(ex2_transfer, uneven, out, seeds=1, rounds=1, learning_rate=0)
    path = out / "trained/ex2_conv_ae/checkpoints/autoencoder.pt"
    autoencoder = torch.load(path, weights_only=True)["parts"]["autoencoder"]
    starts = {name: part["classifier"] for name, part in parts.items() if "classifier" in part}
    return starts, autoencoder


def test_trap_1_no_softmax_before_the_cross_entropy(module_folder, tmp_path):
    """With one more, no loss is below log(e + 9) - 1 = 1.46, here or at the end; without, that
    of bright rows goes to 0. At the start the logits are small and the loss near log 10."""
    torch.manual_seed(0)
    x, y = torch.rand(20, 1, 28, 28), torch.arange(20) % 10
    classifier = nn.Sequential(ex2_conv_ae.Encoder(), ex2_classifier.MLP())
    with torch.no_grad():
        first = F.cross_entropy(classifier(x), y).item()
    assert abs(first - math.log(10)) < 0.3
    _, parts = start(ex2_classifier, module_folder, tmp_path, epochs=8, augmented=0)
    assert parts["classifier"]["history"]["train_loss"][-1] < 0.05


@pytest.mark.parametrize("batch_size", [1, 7, 29, 1000])
def test_trap_2_the_test_loss_does_not_depend_on_the_evaluation_batch(
        module_folder, batch_size):
    """30 images: the last batch of 7 has 2, of 29 has 1, and its loss is another one."""
    test = read(module_folder).test()
    loss = torch.linspace(0, 1, 10)[test.y].square()
    found = evaluate(lambda _, y: torch.linspace(0, 1, 10)[y].square(), test,
                     batch_size=batch_size)
    assert found == pytest.approx(sum(loss.tolist()) / 30, rel=30 * 2**-53)  # both in float64


@pytest.mark.parametrize("task", ["few", "transfer"])
def test_trap_3_nothing_is_chosen_by_the_test_images(tasks_4_and_5, task):
    """With other test images, of other classes, every network goes the same way."""
    (first, weights), (other, other_weights) = (tasks_4_and_5[task, which]
                                                for which in ("first", "other"))
    assert weights.keys() == other_weights.keys() and len(weights) >= 2
    for name, parts in weights.items():
        a, b = (dict(leaves(content)) for content in (parts, other_weights[name]))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name
    assert first["numbers"] != other["numbers"]


def leaves(state, prefix=""):
    """Every tensor of a state_dict and of those in it, by name."""
    for name, value in state.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value


def test_trap_4_a_learning_rate_of_0_428_is_used_and_ruins_adam(module_folder, tmp_path):
    """A report of this exercise names Adam with 0.428: what is claimed can be tried here, on
    its own network. 0.001 learns; 0.428 ends above the untrained network, or in NaN."""
    search = hw2_report_vae_search
    run = Run("s", "quick", {}, out=tmp_path, sheet_data="mnist", data=str(module_folder))
    data = run.load()
    log = Trials(search.fitness(run, "Adam", data.train, data.val, 0), tmp_path)
    good, bad, still = log([search.FOUND | {"learning_rate": rate} for rate in (
        1e-3, search.FOUND["learning_rate"], 0.0)], 6)
    assert good["score"] < 0.9 * still["score"]
    assert tune.score_of(bad) > 1.01 * still["score"]


def test_trap_5_the_loss_is_the_mean_l1_that_the_sheet_asks_for(
        autoencoder, decoding, module_folder):
    """What is trained on and what is reported, against |x_hat - x| in numpy. The report sums
    784 pixels of an image in float32: a share of 784 * 2^-24 at the most."""
    test = read(module_folder).test()
    for (results, parts, seen), training, epochs in (
            (autoencoder, "autoencoder", 10), (decoding, DECODING, 3)):
        assert seen.count(20) == 5 * epochs  # every training step's batch went through l1
        kept = parts[training].get("autoencoder") or {
            f"{i}.{key}": tensor for i, name in enumerate(("encoder", "decoder"))
            for key, tensor in parts[training][name].items()}
        network = nn.Sequential(ex2_conv_ae.Encoder(), ex2_conv_ae.Decoder())
        network.load_state_dict(kept)
        x_hat = per_example(lambda x, _, n=network: n(x), test, network)
        by_hand = np.abs((x_hat - to_unit(test.x)).numpy().astype(np.float64)).mean()
        assert results["numbers"]["test_l1"]["value"] == pytest.approx(
            by_hand, rel=784 * 2**-24)


def test_trap_6_a_run_that_ends_in_the_black_image_says_so(
        autoencoder, module_folder, tmp_path, monkeypatch):
    def black(*_):
        layers = nn.Sequential(nn.Linear(12, 784), nn.Unflatten(1, (1, 28, 28)), nn.ReLU())
        nn.init.constant_(layers[0].bias, -1e3)  # every ReLU is dead: no gradient, no way out
        return layers

    monkeypatch.setattr(ex2_conv_ae, "Decoder", black)
    collapsed, _ = start(ex2_conv_ae, module_folder, tmp_path, epochs=1)
    for results, holds in ((collapsed, False), (autoencoder[0], True)):
        (claim,) = (c for c in results["claims"] if "black" in c["claim"])
        assert claim["holds"] is holds


def test_trap_7_a_frozen_encoder_is_frozen_buffers_included(decoding):
    """Though batches run through it; that nothing else moves it: tests/test_frozen.py."""
    before, after = decoding[1]["classifier"]["classifier"], decoding[1][DECODING]["encoder"]
    for name, tensor in after.items():
        assert torch.equal(tensor, before[f"0.{name}"]), name


def test_trap_8_pixels_are_in_0_to_1_as_they_are(module_folder, generator):
    """Normalize(0.5, 0.5) would double every L1 error; 0.1307 is another data set's mean."""
    train = read(module_folder).train
    x = torch.cat([x for x, _ in batches(train, 10, generator)])
    assert x.min() == 0 and 0.9 < x.max() <= 1
    expected = train.x.double().mean().item() / 255
    assert x.double().mean().item() == pytest.approx(expected, rel=2**-22)  # 1/255, a product
    assert to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [0, 0.2, 1], rel=2**-22)


def test_trap_9_transfer_starts_from_task_1s_encoder(standing_still):
    """A copy of it, for each training: with one for all, the count of the batches that its
    normalisation has seen would go on from training to training."""
    starts, autoencoder = standing_still
    for name in ("transfer", "transfer_augmented"):
        for key, tensor in starts[f"{name}_seed_0"].items():
            if key.startswith("0.") and key.endswith("num_batches_tracked"):
                assert tensor == autoencoder[key] + 4
            elif key.startswith("0.") and "running" not in key:
                assert torch.equal(tensor, autoencoder[key]), (name, key)
    assert not torch.equal(starts["plain_seed_0"]["0.0.weight"], autoencoder["0.0.weight"])


def test_trap_9_what_is_compared_is_accuracy(tasks_4_and_5, uneven):
    results, parts = tasks_4_and_5["transfer", "first"]
    classifier = nn.Sequential(ex2_conv_ae.Encoder(), ex2_classifier.MLP())
    classifier.load_state_dict(parts["transfer_seed_0"]["classifier"])
    test = read(uneven).test()
    with torch.no_grad():
        right = classifier.eval()(to_unit(test.x)).argmax(dim=1) == test.y
    assert results["numbers"]["test_accuracy_transfer"]["value"] == pytest.approx(
        right.double().mean().item(), rel=2**-50)  # a count divided by 30, both in float64


@pytest.mark.parametrize("seed", [0, 3])
def test_trap_10_the_sheets_subset_is_uneven_and_the_balanced_one_is_not(uneven, seed):
    data, images = read(uneven, seed), idx.read(uneven / FILES["train"][0])
    sheet, one, other = (data.head(), *(balanced(data.train, 10, 50, s)
                                        for s in (seed, seed + 1)))
    assert torch.equal(sheet.x[:, 0], torch.from_numpy(images[:60]))
    assert torch.bincount(sheet.y, minlength=10).tolist() == [12, 0] * 5
    assert torch.bincount(one.y).tolist() == [5] * 10
    assert not torch.equal(one.x, other.x)


def test_trap_10_several_seeds_and_pairs_that_differ_in_the_encoder_alone(
        tasks_4_and_5, standing_still):
    for script in (ex2_few_labels, ex2_transfer):
        assert flags.settings(script.main, {}, "default")["seeds"] >= 5
    (task_4, few), (task_5, transfer) = (tasks_4_and_5[task, "first"]
                                         for task in ("few", "transfer"))
    value = {name: entry["value"] for name, entry in task_5["numbers"].items()}
    assert value["test_accuracy_plain"] == task_4["numbers"]["test_accuracy_plain"]["value"]
    assert value["paired_gain"] == (value["test_accuracy_transfer"]
                                    - value["test_accuracy_plain"])
    a, b = (parts["plain_seed_0"]["classifier"] for parts in (few, transfer))
    assert all(torch.equal(a[key], b[key]) for key in a)  # the same images and orders
    starts, _ = standing_still
    for key in ("1.0.weight", "1.2.weight"):              # the same first weights
        assert torch.equal(starts["plain_seed_0"][key], starts["transfer_seed_0"][key])


def test_trap_15_a_denoisers_target_is_the_clean_image_and_its_noise_fresh(
        folder, tmp_path, monkeypatch):
    states, targets = [], []
    run, other = (Run("s", "quick", {}, out=tmp_path / name, sheet_data="mnist",
                      data=str(folder)) for name in "ab")
    loss = hw2_denoising.mse

    def watched(x_hat, x):
        if x_hat.requires_grad:  # in training: the plain network's two steps, then two noisy
            targets.append(x.detach())
        return loss(x_hat, x)

    def corrupt(x, level, generator):
        states.append(generator.get_state())
        return noise.gaussian(x, level, generator)

    monkeypatch.setattr(hw2_denoising, "mse", watched)
    monkeypatch.setattr(noise, "KINDS", {"Gaussian": corrupt})
    monkeypatch.setattr(run, "pictures", lambda *_, **__: None)
    monkeypatch.setattr(run, "curves", lambda *_, **__: None)
    hw2_denoising.main(run, epochs=2, batch_size=110, filters=2, hidden=8)
    clean, _ = next(batches(other.load().train, 110, other.generator))
    assert len(targets) == 4
    assert {x.numpy().tobytes() for batch in targets for x in batch} == {
        x.numpy().tobytes() for x in clean}
    assert not torch.equal(*states[:2])
