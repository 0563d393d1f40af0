"""minidl/losses.py: reductions by hand, and no dependence on the evaluation batch size."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minidl.data import Split
from minidl.evaluation import evaluate, evaluating, per_example
from minidl.losses import bce, l1, mse

pytestmark = pytest.mark.numeric

X = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]], [[[1.0, 1.0], [0.0, 0.0]]]])      # (2, 1, 2, 2)
X_HAT = torch.tensor([[[[0.5, 1.0], [0.5, 0.75]]], [[[0.0, 1.0], [0.0, 0.5]]]])


def split(n, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Split(torch.randint(0, 256, (n, 1, 28, 28), generator=random, dtype=torch.uint8),
                 torch.randint(0, 10, (n,), generator=random))


def test_l1_and_mse_are_means_over_pixels_one_value_an_example():
    assert l1(X_HAT, X).tolist() == [0.25, 0.375]          # (0.5 + 0.5) / 4, (1 + 0.5) / 4
    assert mse(X_HAT, X).tolist() == [0.125, 0.3125]       # (0.25 + 0.25) / 4, (1 + 0.25) / 4


@pytest.mark.parametrize(("ours", "torchs"), [(l1, F.l1_loss), (mse, F.mse_loss)])
def test_their_batch_mean_is_torchs_loss(ours, torchs):
    a, b = torch.rand(2, 7, 3, 5, 4, dtype=torch.float64)
    # two sums of 420 positive numbers
    assert torch.isclose(ours(a, b).mean(), torchs(a, b), rtol=2 * 420 * 2**-53, atol=0)


def test_bce_is_the_sum_over_pixels_in_nats_one_value_an_example():
    x = torch.tensor([[[0.0, 1.0]], [[0.25, 1.0]]], dtype=torch.float64)
    p = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]], dtype=torch.float64)
    hand = [2 * math.log(2), -0.25 * math.log(0.25) - 1.75 * math.log(0.75)]
    values, few = bce(torch.logit(p), x), 32 * 2**-53  # roundings of two logarithms a pixel
    assert values.tolist() == pytest.approx(hand, rel=few)
    assert values.sum().item() == pytest.approx(
        F.binary_cross_entropy(p, x, reduction="sum").item(), rel=few)


@pytest.mark.parametrize("loss", [l1, mse, bce])
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ValueError, match=r"\(2, 4\) and \(2, 1, 2, 2\)"):
        loss(X.flatten(1), X)


def bright_pixels(x, y):
    """Whole numbers, so that no sum rounds."""
    return (x > 0.5).sum((1, 2, 3)) * (y + 1)


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
def test_the_mean_over_a_split_does_not_depend_on_the_batch_size(batch_size):
    data = split(103)  # 103 = 14 * 7 + 5 = 100 + 3: the last batch is uneven
    by_hand = sum(int((x >= 128).sum()) * (int(y) + 1) for x, y in zip(*data, strict=True))
    assert evaluate(bright_pixels, data, batch_size=batch_size) == by_hand / 103


def test_a_mean_of_batch_means_would_differ_here():
    """The control of the test above: its data can tell the two apart."""
    values = per_example(bright_pixels, split(103)).double()
    of_means = torch.stack([part.mean() for part in values.split(100)]).mean()
    assert abs(of_means - values.mean()) > 1


def test_evaluation_uses_running_statistics_and_leaves_each_mode_as_it_was():
    frozen, learning = nn.BatchNorm2d(1), nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    frozen.eval()
    before = learning[0].running_mean.clone()
    per_example(lambda x, _: learning(frozen(x)).sum((1, 2, 3)), split(5), frozen, learning)
    assert torch.equal(learning[0].running_mean, before)
    assert (frozen.training, learning.training, learning[0].training) == (False, True, True)


def test_the_mode_comes_back_after_an_error():
    module = nn.Dropout()
    with pytest.raises(RuntimeError, match="broken"), evaluating(module):
        raise RuntimeError("broken")
    assert module.training
