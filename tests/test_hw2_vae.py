"""Homework 2's VAE: the scale of its loss, what its latents carry, the tighter bound."""

import copy
import math

import bench_training
import hw2_vae
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from minidl import vae
from minidl.data import to_unit
from minidl.gaussian import elbo_joint, kl_to_std_normal, log_normal, reparametrise
from minidl.lab.run import Run
from minidl.losses import bce

pytestmark = pytest.mark.numeric
D64 = torch.float64


@pytest.fixture
def in_float64(monkeypatch):
    """What the scripts make float32 is float64: a weight's gradient sums at most 110 * 784
    products, which is off by a share of 1e5 * 2^-53 = 1e-11 of their sizes, and these may be
    100 times what is left of them."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.fixture
def run(tmp_path, folder):
    return Run("hw2_vae", "quick", {}, out=tmp_path / "out", sheet_data="mnist",
               data=str(folder))


def small():
    torch.manual_seed(0)
    return hw2_vae.VAE(3, 2, 16).double()


# --- the loss -------------------------------------------------------------------------------

def test_trap_11_the_gradient_is_that_of_sums_over_pixels_and_latents_averaged_over_images(
        run, monkeypatch, in_float64):
    """One step at z = mu, against torch's own loss summed over all and divided by B; a mean
    over pixels, a mean over latents and a sum over images have other gradients."""
    monkeypatch.setattr(hw2_vae, "reparametrise", lambda mu, logvar, *_: mu)
    data, network, other = run.load(), small(), small()
    B = len(data.train.x)
    hw2_vae.train(run, "one step", network, data.train, data.val, 1, B, 1e-3, "float32",
                  lambda t: 1)
    found = gradient(network)

    def expected(over_pixels=1, over_latents=1, over_images=B):
        other.zero_grad()
        other.train()
        x = to_unit(data.train.x)
        mu, logvar = other.encoder(x)[:, :3], other.encoder(x)[:, 3:]
        cost = F.binary_cross_entropy(other.decoder(mu).sigmoid(), x, reduction="sum")
        kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
        ((cost / over_pixels + kl / over_latents) / over_images).backward()
        return gradient(other)

    right = expected()
    assert (found - right).norm() < 1e-8 * right.norm()
    for wrong in ({"over_pixels": 784}, {"over_latents": 3}, {"over_images": 1},
                  {"over_latents": 784}, {"over_latents": B}):
        assert (found - expected(**wrong)).norm() > 1e-3 * right.norm(), wrong


def gradient(network):
    return torch.cat([p.grad.flatten() for p in network.parameters()])


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_trap_11_what_is_reported_is_in_nats_an_image(
        run, batch_size, monkeypatch, in_float64):
    """BCE and KL of every image against torch.distributions, at the z that was drawn."""
    data, network, drawn = run.load(), small(), []
    monkeypatch.setattr(hw2_vae, "reparametrise", lambda *a: [
        drawn.append(reparametrise(*a)), drawn[-1]][1])
    found = hw2_vae.measure(run, network, data.val, "float32")
    x, network = to_unit(data.val.x), network.eval()
    with torch.no_grad():
        mu, logvar = network.encode(x)
        p = Bernoulli(logits=network.decoder(torch.cat(drawn)), validate_args=False)
    assert len(drawn) == 1 and len(x) == 10
    cost = -p.log_prob(x).sum(dim=(1, 2, 3))
    kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
    for ours, torchs in ((found.bce, cost), (found.kl, kl), (found.mu, mu),
                         (found.logvar, logvar)):
        torch.testing.assert_close(ours, torchs, rtol=1e-9, atol=1e-9)
    again = hw2_vae.measure(run, network, data.val, "float32")
    assert torch.equal(again.bce, found.bce)  # the same z whenever it is asked for


def test_beta_rises_over_the_steps_of_the_whole_training(run, in_float64):
    seen = []
    data = run.load()
    hw2_vae.train(run, "n", small(), data.train, data.val, 2, 50, 1e-3, "float32",
                  lambda t: [seen.append(t), 1][1])
    assert seen == [0.25, 0.5, 0.75, 1.0]  # 110 images, 2 steps an epoch


def test_only_the_first_60_percent_of_the_steps_are_augmented(run, monkeypatch, in_float64):
    shares, data = [], run.load()
    monkeypatch.setattr(hw2_vae, "random_affine", lambda x, *_, share, **__: [
        shares.append(share), x][1])
    for augmented in (0.3, 0.0):
        hw2_vae.train(run, f"{augmented}", small(), data.train, data.val, 2, 50, 1e-3,
                      "float32", lambda t: 1, augmented)
    assert shares == [0.3, 0.3]  # at t = 1/4 and 1/2 of 4 steps


def test_a_weight_of_784_collapses(run, in_float64):
    """A mean over the pixels beside a sum over the latents: no latent is worth its KL."""
    data, network = run.load(), small()
    hw2_vae.train(run, "n", network, data.train, data.val, 30, 55, 2e-2, "float32",
                  lambda t: 784)
    found = hw2_vae.measure(run, network, data.val, "float32")
    assert found.kl.mean() < 0.05 and not vae.active_units(found.mu).any()


def test_the_best_constant_image_is_the_mean_training_image(run, in_float64):
    data = run.load()
    p, x = hw2_vae.constant_image(data), to_unit(data.train.x)

    def cost(q):
        return F.binary_cross_entropy(q.expand_as(x), x, reduction="sum").item() / len(x)

    assert hw2_vae.constant_nats(data, data.train) == pytest.approx(cost(p), rel=1e-9)
    for other in (p * 1.02, p * 0.98, p**1.02):
        assert cost(other.clamp(1e-5, 1 - 1e-5)) > cost(p) + 1e-6


@pytest.mark.parametrize("scale", [1, 1.01])  # the second: a KL 1% too large is noticed
def test_the_benchmarks_textbook_trains_as_minidl_does(
        generator, scale, monkeypatch, in_float64):
    """From the same weights, with the same noise, over some steps."""
    kl = bench_training.kl_to_std_normal
    monkeypatch.setattr(bench_training, "kl_to_std_normal",
                        lambda mu, logvar: scale * kl(mu, logvar))
    x = torch.rand(16, 1, 28, 28, generator=generator, dtype=D64)
    torch.manual_seed(0)  # textbook's noise, from here on minidl's as well
    ours = bench_training.VAE().double()
    theirs = copy.deepcopy(ours)
    fused = torch.optim.Adam(ours.parameters(), lr=1e-3, fused=True)
    plain = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    noise = torch.Generator()
    noise.set_state(torch.get_rng_state())
    losses = []
    for _ in range(5):
        pair = (bench_training.minidl_loss(ours, x, noise).mean(),
                bench_training.textbook_loss(theirs, x) / len(x))
        for optimizer, loss in zip((fused, plain), pair, strict=True):
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append((pair[0].item(), pair[1].item()))
    far = max(abs(a / b - 1) for a, b in losses)
    assert (far < 1e-9) == (scale == 1), losses


# --- minidl/vae.py --------------------------------------------------------------------------

def test_the_kl_per_latent_is_each_coordinates_own_and_sums_to_the_whole(generator):
    mu, logvar = torch.randn(2, 50, 4, generator=generator, dtype=D64)
    found = vae.kl_per_latent(mu, logvar)
    own = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).mean(dim=0)
    torch.testing.assert_close(found, own, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.sum(), kl_to_std_normal(mu, logvar).mean(), rtol=1e-12,
                               atol=1e-12)


def test_a_unit_is_active_where_its_mean_varies_and_not_where_it_is_only_away_from_0():
    t = torch.tensor([-1.0, 1.0]).repeat(50)
    mu = torch.stack([0.101 * t, 0.099 * t, 5 + 0 * t, 5 + t], dim=1)
    assert vae.active_units(mu).tolist() == [True, False, False, True]
    assert vae.active_units(mu, threshold=2).tolist() == [False] * 4
    assert vae.active_units(mu[:2, :1]).tolist() == [True]  # 0.0102; with N - 1 it is 0.0204
    assert vae.active_units(0.9 * mu[:2, :1]).tolist() == [False]


def test_the_importance_bound_is_the_log_of_the_mean_weight():
    w = torch.tensor([[1.0, 2.0], [3.0, 2.0], [8.0, 2.0]], dtype=D64)
    found = vae.importance_bound(w.log())
    assert found.tolist() == pytest.approx([math.log(4), math.log(2)], rel=1e-14)
    assert torch.equal(vae.importance_bound(w[:1].log()), w[0].log())
    far = vae.importance_bound(w.log() - 5000)  # a weight of exp(-5000) is 0 in float64
    assert far.tolist() == pytest.approx(
        [math.log(4) - 5000, math.log(2) - 5000], rel=1e-14)


def test_the_importance_bound_lies_between_the_elbo_and_the_evidence(generator):
    """A linear Gaussian VAE, whose log p(x) is known, with a q that is not the posterior. At
    the posterior itself every weight is p(x). The mean over 4,000 images drawn alike."""
    W, t, N = torch.tensor([[1.0, 0.5], [0.2, 1.5], [0.7, 0.0]], dtype=D64), 0.25, 4000
    x = torch.tensor([1.0, -0.5, 0.8], dtype=D64)
    evidence = MultivariateNormal(torch.zeros(3, dtype=D64), W @ W.T + t * torch.eye(
        3, dtype=D64)).log_prob(x).item()
    M = torch.eye(2, dtype=D64) + W.T @ W / t
    mu, logvar = (torch.linalg.solve(M, W.T @ x / t).expand(N, 2),
                  -M.diagonal().log().expand(N, 2))

    def log_weights(mu, logvar, K):
        weights = []
        for _ in range(K):
            z = reparametrise(mu, logvar, generator)
            px = log_normal(x.expand(N, 3), z @ W.T, torch.full((N, 3), math.log(t)).double())
            weights.append(elbo_joint(px, z, mu, logvar))
        return torch.stack(weights)

    found = [vae.importance_bound(log_weights(mu, logvar, K)).mean().item()
             for K in (1, 5, 50)]
    assert found[0] < found[1] < found[2] < evidence + 0.01
    assert evidence - found[2] < 0.2 * (evidence - found[0]), (found, evidence)
    biased = log_weights(mu, logvar, 50).mean(dim=0).mean().item()  # the mean of the logs
    assert biased == pytest.approx(found[0], abs=0.05)              # is the ELBO again


def test_the_pixels_entropy_is_the_least_bce(generator):
    x = torch.rand(3, 1, 4, 4, generator=generator, dtype=D64)
    entropy = vae.pixel_entropy(x)
    torch.testing.assert_close(entropy, bce(x.logit(), x), rtol=1e-12, atol=0)
    assert (entropy < bce(x.logit() + 0.1, x)).all()
    assert vae.pixel_entropy(torch.full((1, 784), 0.5, dtype=D64)).item() == pytest.approx(
        784 * math.log(2), rel=784 * 2**-53)
    assert torch.equal(vae.pixel_entropy(torch.tensor([[0.0, 1, 1]])), torch.zeros(1))
