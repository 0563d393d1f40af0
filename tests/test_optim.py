"""minidl/optim.py: by hand, then beside torch.optim over many steps, then slightly wrong."""

import pytest
import torch

from minidl.optim import adam_step, sgd_momentum_step

X = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64) + 0.3 * X[:, 0] ** 2
START = torch.tensor([0.4, 0.1, -1.0, 2.0], dtype=torch.float64)
STEPS = 20


def gradient(w):
    """Of 1/N sum_n (tanh(x_n w) - y_n)^2: not linear in w, so the steps are not all alike."""
    w = w.clone().requires_grad_()
    ((X @ w).tanh() - Y).square().mean().backward()
    return w.grad


def by_torch(kind, **options):
    """The weights after each of the steps of a torch optimizer."""
    w, path = START.clone().requires_grad_(), []
    optimizer = kind([w], **options)
    for _ in range(STEPS):
        w.grad = gradient(w.detach())
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path)


def momentum_path(step=sgd_momentum_step, **options):
    w, v, path = START, torch.zeros_like(START), []
    for _ in range(STEPS):
        w, v = step(w, gradient(w), v, **options)
        path.append(w)
    return torch.stack(path)


def adam_path(step=adam_step, **options):
    w, m, v, path = START, torch.zeros_like(START), torch.zeros_like(START), []
    for t in range(1, STEPS + 1):
        w, m, v = step(w, gradient(w), m, v, t, **options)
        path.append(w)
    return torch.stack(path)


def one(value):
    return torch.tensor([value], dtype=torch.float64)


def test_momentum_by_hand_on_a_constant_gradient():
    """g = 2, mu = 1/2, lr = 1/10: v = 2, 3, 3.5; w falls by a tenth of it."""
    w, v = one(1.0), one(0.0)
    for expected_v, expected_w in ((2.0, 0.8), (3.0, 0.5), (3.5, 0.15)):
        w, v = sgd_momentum_step(w, one(2.0), v, lr=0.1, momentum=0.5)
        assert v.item() == pytest.approx(expected_v, abs=1e-15)
        assert w.item() == pytest.approx(expected_w, abs=1e-15)


def test_nesterov_by_hand_looks_one_velocity_ahead():
    """g = 2, mu = 1/2, lr = 1/10: the steps are 0.1 (2 + 2/2), then 0.1 (2 + 3/2)."""
    w, v = sgd_momentum_step(one(1.0), one(2.0), one(0.0), 0.1, 0.5, nesterov=True)
    assert (w.item(), v.item()) == pytest.approx((0.7, 2.0), abs=1e-15)
    w, v = sgd_momentum_step(w, one(2.0), v, 0.1, 0.5, nesterov=True)
    assert (w.item(), v.item()) == pytest.approx((0.35, 3.0), abs=1e-15)


def test_a_constant_gradient_is_summed_up_to_g_over_1_minus_mu():
    v = one(0.0)
    for _ in range(400):
        _, v = sgd_momentum_step(one(0.0), one(3.0), v, lr=0.1, momentum=0.9)
    assert v.item() == pytest.approx(30, rel=1e-12)  # 0.9^400 is below 1e-18


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_adams_first_step_has_the_size_lr_whatever_the_gradients_scale(scale):
    g = scale * torch.tensor([3.0, -0.2, 40.0], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    w, _, _ = adam_step(zero, g, zero, zero, t=1, lr=0.01)
    # eps = 1e-8 against the smallest gradient, 2e-4
    torch.testing.assert_close(w, -0.01 * g.sign(), rtol=1e-4, atol=0)


def test_adams_second_step_by_hand():
    """b1 = b2 = 1/2, g = 1 then 3: m = 1/2, 7/4; v = 1/2, 19/4; divided by 3/4 each."""
    w, m, v = adam_step(one(0.0), one(1.0), one(0.0), one(0.0), 1, 1.0, (0.5, 0.5), 0.0)
    assert (w.item(), m.item(), v.item()) == (-1, 0.5, 0.5)
    w, m, v = adam_step(w, one(3.0), m, v, 2, 1.0, (0.5, 0.5), 0.0)
    assert (m.item(), v.item()) == (1.75, 4.75)
    assert w.item() == pytest.approx(-1 - (7 / 3) / (19 / 3) ** 0.5, abs=1e-15)


# 20 steps of a few roundings of 1e-16 each, on weights of size 1
@pytest.mark.parametrize(("momentum", "nesterov"), [
    (0.0, False), (0.5, False), (0.9, False), (0.5, True), (0.9, True)])
def test_the_momentum_step_is_torchs(momentum, nesterov):
    options = {"lr": 0.1, "momentum": momentum, "nesterov": nesterov}
    torch.testing.assert_close(momentum_path(**options), by_torch(torch.optim.SGD, **options),
                               rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [
    {}, {"lr": 0.1}, {"lr": 0.03, "betas": (0.5, 0.9)}, {"lr": 0.1, "eps": 0.1}])
def test_the_adam_step_is_torchs(options):
    torch.testing.assert_close(adam_path(**options), by_torch(torch.optim.Adam, **options),
                               rtol=0, atol=1e-12)


def test_arguments_are_left_as_they_were():
    g, zero = gradient(START), torch.zeros_like(START)
    before = START.clone(), g.clone()
    sgd_momentum_step(START, g, zero, 0.1, 0.9)
    adam_step(START, g, zero, zero, 1)
    assert torch.equal(START, before[0]) and torch.equal(g, before[1])
    assert zero.count_nonzero() == 0


# --- negative controls: the same comparison notices what is slightly wrong ----------------

def lr_inside_and_dampened(w, g, v, lr, momentum, nesterov=False):
    v = momentum * v + (1 - momentum) * g
    return w - lr * v, v


def without_bias_correction(w, g, m, v, t, lr):
    return adam_step(w, g, m, v, 10**6, lr)


def eps_inside_the_root(w, g, m, v, t, lr, eps=1e-3):
    w, m, v = adam_step(w, g, m, v, t, 0.0)
    return w - lr * m / (1 - 0.9**t) / (v / (1 - 0.999**t) + eps).sqrt(), m, v


def a_step_late(w, g, m, v, t, lr):
    return adam_step(w, g, m, v, t + 1, lr)


@pytest.mark.parametrize("wrong", [without_bias_correction, a_step_late])
def test_a_wrong_bias_correction_is_noticed(wrong):
    right = by_torch(torch.optim.Adam, lr=0.1)
    assert (adam_path(wrong, lr=0.1) - right).abs().max() > 1e-3


def test_eps_inside_the_root_is_noticed():
    right = by_torch(torch.optim.Adam, lr=0.1, eps=1e-3)
    assert (adam_path(eps_inside_the_root, lr=0.1) - right).abs().max() > 1e-4


def test_nesterov_plain_and_dampened_momentum_differ():
    options = {"lr": 0.1, "momentum": 0.9}
    plain = momentum_path(**options)
    for other in (momentum_path(**options, nesterov=True),
                  momentum_path(lr_inside_and_dampened, **options)):
        assert (other - plain).abs().max() > 1e-2
