"""minidl/losses.py and evaluation.py: reductions by hand, networks in evaluation mode."""

import numpy as np
import pytest
import torch
from torch import nn

from minidl.data import Split
from minidl.evaluation import per_example
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


def test_losses_take_every_pixel_at_its_full_value(generator):
    """Images of 3 x 40 x 41 and differences up to 1,000; bce's oracle is NumPy's logaddexp."""
    a, b = 300 * torch.randn(2, 4, 3, 40, 41, generator=generator, dtype=torch.float64)
    far, x = (a - b).flatten(1).numpy(), b.sigmoid()
    logits, t = a.flatten(1).numpy(), x.flatten(1).numpy()
    for found, expected in (
            (l1(a, b), abs(far).mean(axis=1)),
            (mse(a, b), (far**2).mean(axis=1)),
            (bce(a, x), (np.logaddexp(0, logits) - t * logits).sum(axis=1))):
        np.testing.assert_allclose(found, expected, rtol=4920 * 2**-53)


@pytest.mark.parametrize("loss", [l1, mse, bce])
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ValueError, match=r"\(2, 4\) and \(2, 1, 2, 2\)"):
        loss(X.flatten(1), X)


def test_evaluation_uses_running_statistics_and_leaves_each_mode_as_it_was():
    frozen, learning = nn.BatchNorm2d(1), nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    frozen.eval()
    before = learning[0].running_mean.clone()
    per_example(lambda x, _: learning(frozen(x)).sum((1, 2, 3)), split(5), frozen, learning)
    assert torch.equal(learning[0].running_mean, before)
    assert (frozen.training, learning.training, learning[0].training) == (False, True, True)
