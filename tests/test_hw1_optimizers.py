"""assignments/hw1_optimizers.py, minidl/mlp.py, lab/task.py: what is compared, and how."""

import math

import hw1_optimizers as hw1
import pytest
import torch
import torch.nn.functional as F

from minidl.lab import infer
from minidl.lab.run import Run
from minidl.lab.task import regression
from minidl.mlp import linear, mlp, share_near_0

pytestmark = pytest.mark.numeric


@pytest.fixture
def run(tmp_path):
    return Run("s", "default", {"rounds": 3}, out=tmp_path, data="points")


@pytest.fixture
def task():
    generator = torch.Generator().manual_seed(0)
    return regression(40, generator, "cpu")._replace(steps=4)


def train(run, task, name="a", seed=0, rounds=3, rate=1e-3, **change):
    run.settings["rounds"] = rounds
    run.seed_everything(seed)
    return hw1.train(run, task, name, rate, hw1.BASE | change)


# --- what a comparison rests on -----------------------------------------------------------

def test_every_variant_changes_one_thing():
    for name, design in hw1.VARIANTS.items():
        changed = [key for key in hw1.BASE if design[key] != hw1.BASE[key]]
        assert len(changed) == (name != "base") and design.keys() == hw1.BASE.keys()


@pytest.mark.parametrize("change", [
    {"initialisation": "He"}, {"optimizer": "SGD"}, {"dropout": 0.2}, {"norm": True},
    {"l1": 1e-3}, {"early": True}])
def test_seeds_are_paired_every_variant_sees_the_same_examples_in_the_same_order(
        run, task, change):
    def seen(name, seed=0, **change):
        order = []
        noted = task._replace(loss=lambda a, y: order.append(y.clone()) or F.mse_loss(a, y))
        train(run, noted, name, seed, **change)
        return torch.cat(order)

    base = seen("base")
    assert torch.equal(seen("variant", **change), base)
    assert not torch.equal(seen("other", seed=1, **change), base)


def test_paired_seeds_share_the_first_weights(run):
    networks = []
    for options in ({}, {"dropout": 0.5}, {"norm": True}):
        run.seed_everything(3)
        networks.append(mlp((4, 6, 6, 2), **options))
    for other in networks[1:]:
        for a, b in zip(linear(networks[0]), linear(other), strict=True):
            assert torch.equal(a.weight, b.weight)


def test_points_come_with_deviation_1_and_their_error_in_their_own_unit(task):
    assert (len(task.train.x), len(task.val.x)) == (40, 160)
    assert not torch.isin(task.val.x, task.train.x).any()
    # sums of 40 in float32, of x up to twice its deviation: 2 * 40 * 2^-24
    assert abs(task.train.x.std() - 1) < 5e-6 and task.train.x.mean().abs() < 5e-6
    y = task.train.y.double()
    y_std = task.measure(y + 1, y)[1] ** 0.5  # a prediction off by one deviation
    assert 0.8 < y_std < 1.5 and abs(y_std - 1) > 0.01  # the points' own unit, not 1


@pytest.mark.parametrize(("early", "kept"), [(False, 2), (True, 1)])
def test_early_stopping_keeps_the_weights_of_the_best_round(run, task, early, kept):
    """The errors on validation are given, the least of them in the second of three rounds."""
    errors, outputs = iter([3.0, 1.0, 2.0]), []

    def measure(o, y):
        if len(y) != len(task.val.y):
            return 9.0, 9.0
        outputs.append(o)
        return 0.0, next(errors)

    network = train(run, task._replace(measure=measure), early=early)
    o = infer(network, task.val.x)
    assert [torch.equal(o, then) for then in outputs] == [i == kept for i in range(3)]


@pytest.mark.parametrize(("sign", "best"), [(1, 0.03), (-1, 0.1)])
def test_the_best_rate_has_the_largest_accuracy_or_the_smallest_error(
        run, task, monkeypatch, sign, best):
    """SGD's first three rates, 0.1, 0.03 and 0.3, end with 0.25, 0.75 and 0.5."""
    ends = iter([0.25, 0.75, 0.5])
    run.settings["rates"] = 3
    monkeypatch.setattr(hw1, "train", lambda *_: run.history.update(metric=[next(ends)]))
    rate, row = hw1.best_rate(run, task._replace(sign=sign), "SGD")
    assert rate == best
    assert row["tried"] == "0.03, 0.1, 0.3" and (row["at an edge"] == "yes") == (best == 0.03)


def test_a_penalty_leaves_biases_alone(run, task):
    """With nothing but the penalty to minimise the weights go to 0, the biases stay."""
    penalised = task._replace(loss=lambda outputs, y: 0 * outputs.sum())
    network = train(run, penalised, rounds=20, rate=0.03, l2=1.0)
    run.seed_everything(0)
    for before, after in zip(linear(mlp(task.sizes)), linear(network), strict=True):
        assert torch.equal(before.bias, after.bias)
        assert after.weight.norm() < 0.2 * before.weight.norm()


# --- initialisation -----------------------------------------------------------------------

@pytest.mark.parametrize(("name", "variance"), [
    ("Xavier", 2 / (300 + 500)), ("He", 2 / 500), ("torch's default", 1 / (3 * 500))])
def test_an_initialisation_has_the_variance_it_claims(run, name, variance):
    """150,000 draws: their variance is off by a share of sqrt(2 / 150,000) = 0.4%."""
    w = linear(mlp((500, 300, 1), name))[0].weight
    assert w.var().item() == pytest.approx(variance, rel=0.02)
    assert w.mean().abs().item() < 5 * math.sqrt(variance / 150_000)


def test_from_zeros_nothing_but_the_last_bias_ever_moves(run, task):
    network = train(run, task, initialisation="zeros", rate=0.1)
    *hidden, last = linear(network)
    assert all(not layer.weight.any() and not layer.bias.any() for layer in hidden)
    assert last.bias.any() and not last.weight.any()
    other = linear(train(run, task, "b", initialisation="He", rate=0.1))[0].weight
    assert len(other.unique(dim=0)) == task.sizes[1]


def test_the_share_of_weights_near_0_by_hand_without_biases():
    network = mlp((2, 2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0.5, 1e-4], [-2e-4, -0.5]]))
        network[2].weight.copy_(torch.tensor([[1.0, 1e-3]]))
        network[2].bias.zero_()
    assert share_near_0(network, 1e-3) == 2 / 6
