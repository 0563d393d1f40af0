"""minidl/optim.py: by hand, then beside torch.optim over many steps.

The data are sums of powers of two where the result is then exact, whatever the order of sums.
theory/appendix/test_training.py has what goes wrong without a correction, or dampened.
"""

import pytest
import torch

from minidl.optim import adam_step, sgd_momentum_step

pytestmark = pytest.mark.numeric

# 20 gradients of 5 weights: whole numbers, 1 <= |g| <= 4
GRADIENTS = (torch.arange(100).view(20, 5) * 7 % 8 - 4).double()
GRADIENTS[GRADIENTS == 0] = 3.0
START = torch.tensor([0.5, 0.25, -1.0, 2.0, 0.0], dtype=torch.float64)


def by_torch(kind, gradients, **options):
    """The weights after each of the steps of a torch optimizer."""
    w, path = START.clone().requires_grad_(), []
    optimizer = kind([w], **options)
    for g in gradients:
        w.grad = g.clone()
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path)


def test_momentum_by_hand_on_a_constant_gradient():
    """g = 2, mu = 1/2, lr = 1/8: v = 2, 3, 7/2; w falls by an eighth of it."""
    w, v, g = torch.tensor([[1.0], [0.0], [2.0]], dtype=torch.float64)
    for expected in ((0.75, 2.0), (0.375, 3.0), (-0.0625, 3.5)):
        w, v = sgd_momentum_step(w, g, v, lr=1 / 8, momentum=0.5)
        assert (w.item(), v.item()) == expected


def test_adams_steps_are_counted_from_1():
    with pytest.raises(ValueError, match="found step t = 0"):
        adam_step(*[torch.ones(2)] * 4, t=0)


@pytest.mark.parametrize(("momentum", "nesterov"), [
    (0.0, False), (0.5, False), (0.75, False), (0.5, True), (0.75, True)])
def test_the_momentum_step_is_torchs(momentum, nesterov):
    """12 steps: v has 2 * 12 binary places at the most, so no sum rounds."""
    options = {"lr": 1 / 8, "momentum": momentum, "nesterov": nesterov}
    w, v, path = START, torch.zeros_like(START), []
    for g in GRADIENTS[:12]:
        w, v = sgd_momentum_step(w, g, v, **options)
        path.append(w)
    expected = by_torch(torch.optim.SGD, GRADIENTS[:12], **options)
    assert torch.equal(torch.stack(path), expected)


@pytest.mark.parametrize("options", [
    {}, {"lr": 0.1}, {"lr": 0.03, "betas": (0.5, 0.9)}, {"lr": 0.1, "eps": 0.1}])
def test_the_adam_step_is_torchs(options):
    """u = 2^-53, 1 <= |g| <= G = 4. m_hat is off by 50 u G (5 roundings a step; it forgets in
    10), v_hat >= 1 by 80 u of itself: a step by 100 u G lr, 20 of them by 800 u; w, which is
    at most 10, is rounded twice a step: 400 u. All of it twice, as torch rounds as well."""
    w, m, v, path = START, torch.zeros_like(START), torch.zeros_like(START), []
    for t, g in enumerate(GRADIENTS, start=1):
        w, m, v = adam_step(w, g, m, v, t, **options)
        path.append(w)
    expected = by_torch(torch.optim.Adam, GRADIENTS, **options)
    torch.testing.assert_close(torch.stack(path), expected, rtol=0,
                               atol=2 * (800 + 400) * 2**-53)
