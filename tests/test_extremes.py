"""Formulas at sizes that are unequal and long, and at values that are extreme.

Small square examples hide much: an index order that coincides, an effect after twenty steps, a
clamp, a parameter that is ignored above a size.
"""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from minidl import conv, gan, gaussian, losses, tsne, tune, vae
from minidl.gradcheck import check_gradient

pytestmark = pytest.mark.numeric
U = 2.0**-53


def ints(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).double()


def reals(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def close(found, expected, size):
    """Within 100 roundings of the summed sizes of the terms."""
    error = (found - expected).abs()
    assert (error <= 100 * U * size).all(), f"{found}\n{expected}\n{error}"


@pytest.mark.parametrize(("ours", "torchs"), [
    (conv.conv2d, F.conv2d), (conv.conv_transpose2d, F.conv_transpose2d)])
@pytest.mark.parametrize(("size", "kernel"), [((9, 8), (7, 6)), ((9, 9), (6, 6))])
def test_convolutions_with_wide_kernels_many_channels_and_groups_are_torchs(
        ours, torchs, size, kernel):
    """Integers, so every bit: the layer, and its gradients by x, w and b."""
    x, w, b = ints(2, 10, *size), ints(10, 2, *kernel, seed=1), ints(10, seed=2)
    found = []
    for layer in (ours, torchs):
        leaves = [v.clone().requires_grad_() for v in (x, w, b)]
        y = layer(*leaves, stride=(3, 2), padding=(3, 2), groups=5)
        found.append([y, *torch.autograd.grad(y, leaves, ints(*y.shape, seed=3))])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_the_gaussians_formulas_hold_far_from_the_standard_normal():
    """Standard deviations from 1e-9 to 1e9, means of 1,000, 37 latents."""
    mu, x = 1000 * reals(2, 5, 37)
    logvar = torch.linspace(-41, 41, 5 * 37, dtype=torch.float64).view(37, 5).T
    s = (logvar / 2).exp()
    q, prior = Normal(mu, s), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    size = (mu**2 + logvar.exp() + logvar.abs() + 1).sum(dim=1)
    close(gaussian.kl_to_std_normal(mu, logvar), kl_divergence(q, prior).sum(dim=1), size)
    size = ((x - mu)**2 / logvar.exp() + logvar.abs() + 2).sum(dim=1)
    close(gaussian.log_normal(x, mu, logvar), q.log_prob(x).sum(dim=1), size)
    size = logvar.abs() + 1 + (s**2 + (mu - x)**2) * logvar.exp()
    close(gaussian.kl_scalar(mu, s, x, 1 / s), kl_divergence(q, Normal(x, 1 / s)), size)
    eps = 4 * reals(5, 37, seed=1)
    z = gaussian.reparametrise(mu, logvar, eps=eps)
    close(z, mu + s * eps, mu.abs() + (s * eps).abs())


def test_losses_take_every_pixel_at_its_full_value():
    """Images of 3 x 40 x 41 and differences up to 1,000; bce's oracle is NumPy's logaddexp."""
    a, b = 300 * reals(2, 4, 3, 40, 41)
    far, x = (a - b).flatten(1).numpy(), b.sigmoid()
    logits, t = a.flatten(1).numpy(), x.flatten(1).numpy()
    for found, expected in (
            (losses.l1(a, b), abs(far).mean(axis=1)),
            (losses.mse(a, b), (far**2).mean(axis=1)),
            (losses.bce(a, x), (np.logaddexp(0, logits) - t * logits).sum(axis=1))):
        np.testing.assert_allclose(found, expected, rtol=4920 * U)


def test_the_descent_of_tsne_changes_its_momentum_and_its_exaggeration_once(monkeypatch):
    """A point's coordinate at a time, as in Jacobs: 60 steps in float32, 20 of them early. A
    rounding may grow; 1e-3 of the size is far below what another gain or momentum does."""
    monkeypatch.setattr(tsne, "EARLY", 20)
    x = reals(9, 4)
    P, y = tsne.affinities(x, 3).float(), tsne.tsne(x, 3, steps=0)
    velocity, gain = torch.zeros(9, 2), torch.ones(9, 2)
    for step in range(60):
        early = step < 20
        g = tsne.gradient((tsne.EXAGGERATION if early else 1) * P, y)
        for i, k in itertools.product(range(9), range(2)):
            grows = g[i, k] * velocity[i, k] < 0
            gain[i, k] = max(0.01, gain[i, k] + 0.2 if grows else 0.8 * gain[i, k])
            velocity[i, k] = ((0.5 if early else 0.8) * velocity[i, k]
                              - 9 / tsne.EXAGGERATION * gain[i, k] * g[i, k])
        y = y + velocity
    assert gain.max() > 2
    found = tsne.tsne(x, 3, steps=60)
    assert (found - y).abs().max() < 1e-3 * y.abs().max()


def test_the_players_losses_and_slopes_where_d_is_sure():
    """Logits up to +-1e4: log(1 + e^a) by NumPy, its slope sigmoid(a)."""
    a = torch.tensor([-1e4, -300.0, -41.0, 0.5, 41.0, 300.0, 1e4], dtype=torch.float64)
    softplus, sigmoid = torch.from_numpy(np.logaddexp(0, a.numpy())), a.sigmoid()
    away = torch.from_numpy(np.logaddexp(0, -a.numpy()))
    for loss, value, slope in (
            (lambda a: gan.discriminator_loss(-a, a), 2 * softplus, 2 * sigmoid),
            (gan.saturating, -softplus, -sigmoid),
            (gan.non_saturating, away, -(-a).sigmoid())):
        leaf = a.clone().requires_grad_()
        found = loss(leaf)
        close(found, value, value.abs() + U)
        close(torch.autograd.grad(found.sum(), leaf)[0], slope, slope.abs() + U)


def test_the_noise_of_elbo_terms_is_standard_normal_and_of_each_image_its_own():
    """3,000 images in parts of 1,000; five standard errors of 9,000 draws."""
    x = torch.zeros(3000, 1, 1, 1, dtype=torch.uint8)
    code = torch.tensor([[3.0, -1.0, 0.5, -4.0, 2.0, 1.0]]).double()  # mu, logvar

    def encode(x):
        return code.expand(len(x), 6)

    found = vae.elbo_terms(encode, lambda z: z.new_zeros(len(z), 1, 1, 1), x, 0)
    eps = (found.z - code[:, :3]) / (code[:, 3:] / 2).exp()
    assert len(eps.unique(dim=0)) == 3000
    assert eps.mean().abs() < 5 / 9000**0.5
    assert (eps.var() - 1).abs() < 5 * (2 / 9000)**0.5


class Linear(torch.autograd.Function):
    """A x, with A + error as its derivative."""

    @staticmethod
    def forward(ctx, x, A, error):
        ctx.save_for_backward(A + error)
        return A @ x

    @staticmethod
    def backward(ctx, g):
        A, = ctx.saved_tensors
        return A.T @ g, None, None


@pytest.mark.parametrize("size", [(1, 3), (4, 4), (60, 2)])
@pytest.mark.parametrize("error", [1e-3, math.inf])
def test_the_checker_finds_one_wrong_derivative_in_every_place(size, error):
    """By the second and third input, of the first and last outputs, by each number."""
    A, x = ints(*size) + 10, ints(size[1], seed=1)

    def f(first, *inputs):
        return first + sum(map(Linear.apply, inputs, [A, A], errors))

    outputs = {0, size[0] // 2, size[0] - 1}
    for number, i, j in itertools.product(range(2), outputs, range(size[1])):
        errors = torch.zeros(2, *size, dtype=torch.float64)
        errors[number, i, j] = error
        where = rf"d f\[{i}\] / d input{number + 1}\[{j}\]"
        with pytest.raises(AssertionError, match=where if error < 1 else "autograd"):
            check_gradient(f, ints(size[0]), x, x)
    errors = torch.zeros(2, *size, dtype=torch.float64)
    check_gradient(f, ints(size[0]), x, x)


def test_searches_keep_to_their_settings_at_any_size():
    """A grid of 9; without mutation and elite no gene is new; with an elite of 4 the best four
    live on; of equal scores the first is the best."""
    space, asked = {"a": tune.Uniform(0, 1), "b": tune.Uniform(0, 1)}, []

    def trials(settings):
        asked.append(settings)
        return [{"settings": s, "score": (s["a"] - 0.3)**2 + s["b"]} for s in settings]

    tune.grid_search(trials, space, 9)
    assert len(asked.pop()) == 81
    tune.genetic_search(trials, space, 30, 3, seed=0, mutation=0, elite=0)
    assert {s["a"] for s in asked[2]} <= {s["a"] for s in asked[0]}
    asked.clear()
    tune.genetic_search(trials, space, 30, 2, seed=0, mutation=1, elite=4)
    best = sorted(asked[0], key=lambda s: trials([s])[0]["score"])[:4]
    assert asked[1][:4] == best
    assert not {s["a"] for s in asked[1][4:]} & {s["a"] for s in asked[0]}
    equal = [{"settings": {"a": i}, "score": 1.0} for i in range(3)]
    assert tune.best(equal) is equal[0]
