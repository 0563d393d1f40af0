"""minidl/optim.py beside torch.optim for 60 steps, from tiny gradients to huge ones.

By hand, and what goes wrong without a correction or dampened:
theory/appendix/test_training.py.
"""

import pytest
import torch

from minidl.optim import adam_step, sgd_momentum_step

pytestmark = pytest.mark.numeric
START = torch.zeros(3, 4, dtype=torch.float64)
WHOLE = (torch.arange(240).view(20, 3, 4) * 7 % 8 - 4).double()  # 1 <= |g| <= 4
WHOLE[WHOLE == 0] = 3.0


@pytest.fixture(params=[1e-9, 1.0, 1e6])
def gradients(request):
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(60, 3, 4, generator=generator, dtype=torch.float64)
    return request.param * (g + 0.5)


def assert_is_torchs(w, kind, gradients, rtol=1e-10, atol=0, **options):
    """Rounding is some 1e-13 of 60 steps; 1e-10 of all steps is asked for."""
    expected = START.clone().requires_grad_()
    optimizer = kind([expected], **options)
    for g in gradients:
        expected.grad = g.clone()
        optimizer.step()
    torch.testing.assert_close(w, expected.detach(), rtol=rtol, atol=atol)


def test_adams_steps_are_counted_from_1():
    with pytest.raises(ValueError, match="found step t = 0"):
        adam_step(*[torch.ones(2)] * 4, t=0)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.75, True)])
def test_the_momentum_step_is_torchs(gradients, momentum, nesterov):
    options = {"lr": 0.1, "momentum": momentum, "nesterov": nesterov}
    w, v = START, torch.zeros_like(START)
    for g in gradients:
        w, v = sgd_momentum_step(w, g, v, **options)
    assert_is_torchs(w, torch.optim.SGD, gradients, **options)


@pytest.mark.parametrize(("momentum", "nesterov"), [
    (0.0, False), (0.5, False), (0.75, False), (0.5, True), (0.75, True)])
def test_the_momentum_step_is_torchs_to_the_last_bit(momentum, nesterov):
    """12 steps: v has 2 * 12 binary places at the most, so no sum rounds."""
    options = {"lr": 1 / 8, "momentum": momentum, "nesterov": nesterov}
    w, v = START, torch.zeros_like(START)
    for g in WHOLE[:12]:
        w, v = sgd_momentum_step(w, g, v, **options)
    assert_is_torchs(w, torch.optim.SGD, WHOLE[:12], rtol=0, **options)


OPTIONS = pytest.mark.parametrize("options", [
    {}, {"lr": 0.1}, {"lr": 0.03, "betas": (0.5, 0.9)}, {"lr": 0.1, "eps": 0.1}])


@OPTIONS
def test_the_adam_step_is_torchs(gradients, options):
    w, m, v = START, torch.zeros_like(START), torch.zeros_like(START)
    for t, g in enumerate(gradients, start=1):
        w, m, v = adam_step(w, g, m, v, t, **options)
    assert_is_torchs(w, torch.optim.Adam, gradients, **options)


@OPTIONS
def test_the_adam_step_is_torchs_but_for_rounding(options):
    """u = 2^-53, 1 <= |g| <= G = 4. m_hat is off by 50 u G (5 roundings a step; it forgets in
    10), v_hat >= 1 by 80 u of itself: a step by 100 u G lr, 20 of them by 800 u; w, which is
    at most 10, is rounded twice a step: 400 u. All of it twice, as torch rounds as well."""
    w, m, v = START, torch.zeros_like(START), torch.zeros_like(START)
    for t, g in enumerate(WHOLE, start=1):
        w, m, v = adam_step(w, g, m, v, t, **options)
    assert_is_torchs(w, torch.optim.Adam, WHOLE, 0, 2 * (800 + 400) * 2**-53, **options)
