"""assignments/hw1_classification.py, and what it is made of: scores, shifts, mirrors."""

import hw1_classification as hw1
import pytest
import torch
import whole_runs
from torch import nn

from minidl import evaluation
from minidl.augment import random_mirror, random_shift
from minidl.data import load, to_unit
from minidl.lab.layers import layer_rows

pytestmark = pytest.mark.numeric


def test_folds_and_validation_images_are_not_trained_on(module_folder, tmp_path, monkeypatch):
    """Of every training, no image that it is scored with is one that it has seen."""
    seen, trained, train, score = [], {}, hw1.train, hw1.nats_and_accuracy

    def images(split):
        return {x.numpy().tobytes() for x in split.x}

    def watched_train(run, name, network, split, *held_out):
        trained[network] = name, images(split)
        train(run, name, network, split, *held_out)

    def watched_score(network, split):
        (name, inside), outside = trained[network], images(split)
        seen.append((name, len(inside), len(outside)))
        assert not inside & outside
        return score(network, split)

    monkeypatch.setattr(hw1, "train", watched_train)
    monkeypatch.setattr(hw1, "nats_and_accuracy", watched_score)
    whole_runs.start("hw1_classification", tmp_path, "--data", str(module_folder), "--hidden",
                     "32", "--epochs", "1", "--mlp-epochs", "1", data="fashion-mnist")
    in_folds = [(f"{kind}, fold {i}", 60, 60) for i in (1, 2) for kind in ("MLP", "CNN")]
    assert seen == [("MLP", 110, 10), ("CNN", 110, 10), *in_folds]


def test_the_cnns_shapes_are_those_of_its_comments():
    rows = layer_rows(hw1.CNN(8, 10), torch.zeros(1, 1, 28, 28))
    shapes = [row["output shape"] for row in rows if row["layer"].startswith("ReLU")]
    assert shapes == ["B x 8 x 14 x 14", "B x 16 x 7 x 7", "B x 16 x 7 x 7", "B x 16 x 7 x 7",
                      "B x 32 x 3 x 3", "B x 32 x 3 x 3", "B x 32 x 3 x 3"]


# --- minidl/evaluation.py ----------------------------------------------------

def test_a_score_is_the_mean_over_all_examples_without_dropout(folder):
    """The cross-entropy of the same logits by its formula, in float64."""
    split = load("mnist", str(folder), say=lambda _: None).train
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Dropout(0.5))
    ce, accuracy = evaluation.nats_and_accuracy(network, split)
    with torch.no_grad():
        o = network[:2](to_unit(split.x)).double()
    by_hand = o.logsumexp(dim=1) - o[range(len(o)), split.y]
    assert ce == pytest.approx(by_hand.mean().item(), rel=1e-12)
    assert accuracy == (o.argmax(dim=1) == split.y).double().mean().item()


# --- minidl/augment.py ---------------------------------------------------------------------

def test_a_shift_moves_each_image_by_whole_pixels_and_all_moves_occur(generator):
    x = torch.zeros(2000, 1, 9, 9)
    x[:, :, 4, 4] = 1
    moved = random_shift(x, generator, 2)
    assert (moved.sum(dim=(1, 2, 3)) == 1).all() and (moved.amax(dim=(1, 2, 3)) == 1).all()
    places, counts = moved.sum(dim=(0, 1)).nonzero(), moved.sum(dim=(0, 1))
    assert places.min() == 2 and places.max() == 6 and len(places) == 25
    assert counts[2:7, 2:7].min() > 40  # 80 each on average, deviation 9
    edge = torch.ones(50, 3, 4, 4)
    assert (random_shift(edge, generator, 1).sum(dim=(2, 3)) >= 9).all()  # 0 from outside


def test_a_mirror_turns_half_of_the_images_and_each_of_them_wholly(generator):
    x = torch.arange(2000 * 6.0).view(2000, 1, 2, 3)
    mirrored = random_mirror(x, generator)
    turned = (mirrored == x.flip(-1)).flatten(1).all(dim=1)
    same = (mirrored == x).flatten(1).all(dim=1)
    assert (turned ^ same).all() and 900 < turned.sum() < 1100
