"""Homework 2's VAE: the scale of its loss, what its latents carry, posterior collapse."""

import ex2_conv_ae
import hw2_vae
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from minidl import vae
from minidl.data import batches
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric
D64 = torch.float64
SMALL = {"filters": 2, "hidden": 16, "learning_rate": 1e-3}


@pytest.fixture
def in_float64(monkeypatch):
    """What the scripts make float32 is float64: a weight's gradient sums at most 110 * 784
    products, which is off by a share of 1e5 * 2^-53 = 1e-11 of their sizes, and these may be
    100 times what is left of them."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    before = torch.get_default_dtype()
    torch.set_default_dtype(D64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def run_of(tmp_path, folder):
    """-> a run with small networks, which are trained on the 110 images at a time or fewer."""
    def make(**settings):
        return Run("hw2_vae", "quick", SMALL | {"batch_size": 110} | settings,
                   out=tmp_path / "out", sheet_data="mnist", data=str(folder))
    return make


# --- the loss -------------------------------------------------------------------------------

def test_trap_11_the_gradient_is_that_of_sums_over_pixels_and_latents_averaged_over_images(
        run_of, monkeypatch, in_float64):
    """One step at z = mu, against torch's own loss summed over all and divided by B; a mean
    over pixels, a mean over latents and a sum over images have other gradients."""
    monkeypatch.setattr(hw2_vae, "reparametrise", lambda mu, logvar, *_: mu)
    run = run_of(learning_rate=0.0)  # the weights stay those that torch's loss sees
    data = run.load()
    encoder, decoder = hw2_vae.train(run, "one step", data, 3, 1, lambda t: 1)
    networks = nn.ModuleList([encoder, decoder])
    x, _ = next(batches(data.train, 110, run.generator))
    B, found = len(x), gradient(networks)

    def expected(over_pixels=1, over_latents=1, over_images=B):
        networks.zero_grad()
        mu, logvar = encoder(x)[:, :3], encoder(x)[:, 3:]
        cost = F.binary_cross_entropy(decoder(mu).sigmoid(), x, reduction="sum")
        kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
        ((cost / over_pixels + kl / over_latents) / over_images).backward()
        return gradient(networks)

    right = expected()
    assert (found - right).norm() < 1e-8 * right.norm()
    for wrong in ({"over_pixels": 784}, {"over_latents": 3}, {"over_images": 1},
                  {"over_latents": 784}, {"over_latents": B}):
        assert (found - expected(**wrong)).norm() > 1e-3 * right.norm(), wrong


def gradient(network):
    return torch.cat([p.grad.flatten() for p in network.parameters()]).clone()


@pytest.mark.parametrize("size", [7, 1000])
def test_trap_11_what_is_reported_is_in_nats_an_image(size, generator, in_float64):
    """BCE and KL of every image against torch.distributions, at the z that was drawn; of a
    network with batch normalisation, so in evaluation mode."""
    encoder = ex2_conv_ae.Encoder(6, 2, 16)
    decoder = nn.Sequential(*list(ex2_conv_ae.Decoder(3, 2, 16))[:-1])
    x = torch.randint(0, 256, (10, 1, 28, 28), dtype=torch.uint8, generator=generator)
    found = vae.elbo_terms(encoder, decoder, x, 3, size=size)
    assert encoder.training and decoder.training
    assert torch.equal(vae.elbo_terms(encoder, decoder, x, 3, size=size).z, found.z)
    assert not torch.equal(vae.elbo_terms(encoder, decoder, x, 4, size=size).z, found.z)
    with torch.no_grad():
        mu, logvar = encoder.eval()(x / 255).chunk(2, dim=1)
        p = Bernoulli(logits=decoder.eval()(found.z), validate_args=False)
    cost = -p.log_prob(x / 255).sum(dim=(1, 2, 3))
    kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
    for ours, torchs in ((found.bce, cost), (found.kl, kl), (found.mu, mu)):
        torch.testing.assert_close(ours, torchs, rtol=1e-9, atol=1e-9)


def test_the_loss_weighs_kl_by_beta_and_augmentation_ends_at_60_percent(run_of, monkeypatch):
    """Of the weight of KL the gradient tells; so a KL whose gradient is that weight."""
    shares, weights, one = [], [], torch.ones((), requires_grad=True)
    monkeypatch.setattr(hw2_vae.augment, "random_affine", lambda x, *_, share, **__: [
        shares.append(share), x][1])
    one.register_hook(lambda gradient: weights.append(gradient.item()))
    monkeypatch.setattr(hw2_vae, "kl_to_std_normal", lambda mu, logvar: one)
    run = run_of(batch_size=50, augmented=0.3)
    hw2_vae.train(run, "n", run.load(), 3, 2, lambda t: 2 * t)
    assert weights == [0.5, 1, 1.5, 2]  # at t = 1/4 ... 1: 110 images, 2 steps an epoch
    assert shares == [0.3, 0.3]


# --- minidl/vae.py --------------------------------------------------------------------------

def test_a_unit_is_active_where_its_mean_varies_and_not_where_it_is_only_away_from_0():
    t = torch.tensor([-1.0, 1.0]).repeat(50)
    mu = torch.stack([0.101 * t, 0.099 * t, 5 + 0 * t, 5 + t], dim=1)
    assert vae.active_units(mu).tolist() == [True, False, False, True]
    assert vae.active_units(mu, threshold=2).tolist() == [False] * 4
    assert vae.active_units(mu[:2, :1]).tolist() == [True]  # 0.0102; with N - 1 it is 0.0204
    assert vae.active_units(0.9 * mu[:2, :1]).tolist() == [False]


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
