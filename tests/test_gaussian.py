"""minidl/gaussian.py against torch.distributions, and with arguments that are wrong."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from minidl import gaussian

pytestmark = pytest.mark.numeric
D64 = torch.float64
FEW_ULPS = 1e-12  # matrices of condition number below 20: some 100 roundings of 1e-16 each


def tensor(*values):
    return torch.tensor(values, dtype=D64)


def gaussians(*shape, seed=0):
    """mu (..., D) and a well conditioned covariance (..., D, D)."""
    generator = torch.Generator().manual_seed(seed)
    mu = torch.randn(*shape, generator=generator, dtype=D64)
    A = torch.randn(*shape, shape[-1], generator=generator, dtype=D64)
    return mu, A @ A.mT / shape[-1] + torch.eye(shape[-1], dtype=D64)


def arguments(B=4, D=3):
    """mu, logvar, z: (B, D) each."""
    return torch.randn(3, B, D, generator=torch.Generator().manual_seed(7), dtype=D64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=FEW_ULPS, atol=FEW_ULPS)


# --- very large and very small -------------------------------------------------------------

def test_kl_survives_a_determinant_that_overflows():
    # D = 400, S1 = 10 I, S2 = 1000 I: det S2 = 10^1200; the answer from (6.33), 400 times
    mu, eye = torch.zeros(400, dtype=D64), torch.eye(400, dtype=D64)
    value = gaussian.kl(mu, 10 * eye, mu, 1000 * eye).item()
    assert value == pytest.approx(200 * (0.01 - 1 + math.log(100)), rel=FEW_ULPS)


def test_in_float32_a_small_kl_is_not_negative_and_keeps_its_digits(generator):
    """Of v = 1e-4, e^v - v - 1 is v^2 / 2: 5e-9, where e^v is rounded by 6e-8. expm1(v) and
    the difference are off by 2 u v, u = 2^-24; a sum of 20 by 22 u of itself."""
    mu, logvar = 1e-4 * torch.randn(2, 1000, 20, generator=generator)
    found = gaussian.kl_to_std_normal(mu, logvar)
    exact = gaussian.kl_to_std_normal(mu.double(), logvar.double())
    off = 2 * 2.0**-24 * logvar.double().abs().sum(dim=1) + 22 * 2.0**-24 * exact
    assert ((found - exact).abs() <= off).all() and (found > 0).all()


def test_the_gaussians_formulas_hold_far_from_the_standard_normal(generator):
    """Standard deviations from 1e-9 to 1e9, means of 1,000, 37 latents."""
    def within(found, expected, size):  # 100 roundings of the terms
        assert ((found - expected).abs() <= 100 * 2**-53 * size).all(), f"{found}\n{expected}"

    mu, x = 1000 * torch.randn(2, 5, 37, generator=generator, dtype=D64)
    logvar = torch.linspace(-41, 41, 5 * 37, dtype=D64).view(37, 5).T
    s = (logvar / 2).exp()
    q, prior = Normal(mu, s), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    size = (mu**2 + logvar.exp() + logvar.abs() + 1).sum(dim=1)
    within(gaussian.kl_to_std_normal(mu, logvar), kl_divergence(q, prior).sum(dim=1), size)
    size = ((x - mu)**2 / logvar.exp() + logvar.abs() + 2).sum(dim=1)
    within(gaussian.log_normal(x, mu, logvar), q.log_prob(x).sum(dim=1), size)
    size = logvar.abs() + 1 + (s**2 + (mu - x)**2) * logvar.exp()
    within(gaussian.kl_scalar(mu, s, x, 1 / s), kl_divergence(q, Normal(x, 1 / s)), size)
    eps = 4 * torch.randn(5, 37, generator=generator, dtype=D64)
    z = gaussian.reparametrise(mu, logvar, eps=eps)
    within(z, mu + s * eps, mu.abs() + (s * eps).abs())


# --- against torch.distributions: values and gradients --------------------------------------

def test_kl_and_its_gradients_equal_those_of_torch_and_a_batch_is_each():
    parts = [part.requires_grad_() for seed in (0, 1) for part in gaussians(4, 3, seed=seed)]
    mu1, cov1, mu2, cov2 = parts
    ours = gaussian.kl(*parts)
    theirs = kl_divergence(MultivariateNormal(mu1, cov1), MultivariateNormal(mu2, cov2))
    close(ours, theirs)
    close(torch.autograd.grad(ours.sum(), parts), torch.autograd.grad(theirs.sum(), parts))
    close(ours, torch.stack([gaussian.kl(*one) for one in zip(*parts, strict=True)]))


def test_diagonal_functions_and_their_gradients_equal_those_of_torch():
    mu, logvar, z = arguments().requires_grad_().unbind()
    q = Independent(Normal(mu, (logvar / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    log_px_given_z = z.sin().sum(dim=1)
    pairs = [
        (gaussian.kl_to_std_normal(mu, logvar), kl_divergence(q, prior)),
        (gaussian.log_normal(z, mu, logvar), q.log_prob(z)),
        (gaussian.elbo_kl(log_px_given_z, mu, logvar),
         log_px_given_z - kl_divergence(q, prior)),
        (gaussian.elbo_joint(log_px_given_z, z, mu, logvar),
         log_px_given_z + prior.log_prob(z) - q.log_prob(z)),
        (gaussian.kl_scalar(mu, logvar.exp(), z, z.exp()),
         kl_divergence(Normal(mu, logvar.exp()), Normal(z, z.exp()))),
    ]
    for ours, theirs in pairs:
        close(ours, theirs)
        close(*(torch.autograd.grad(value.sum(), (mu, logvar), retain_graph=True)
                for value in (ours, theirs)))


# --- drawing --------------------------------------------------------------------------------

def test_reparametrise_draws_eps_with_the_generator_in_the_type_of_mu():
    for dtype in (torch.float32, D64):
        mu, logvar, _ = arguments().to(dtype)
        eps = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=dtype)
        z = gaussian.reparametrise(mu, logvar, torch.Generator().manual_seed(5))
        assert z.dtype == dtype
        assert torch.equal(z, gaussian.reparametrise(mu, logvar, eps=eps))
        torch.manual_seed(5)  # which it follows without a generator
        assert torch.equal(gaussian.reparametrise(mu, logvar), z)


def test_reparametrise_takes_a_generator_of_another_device():
    mu, logvar, _ = arguments().to("meta")  # a device without values, in the place of a GPU
    assert gaussian.reparametrise(mu, logvar, torch.Generator()).device == mu.device
    state = torch.get_rng_state()
    assert gaussian.reparametrise(mu, logvar).device == mu.device
    assert torch.equal(torch.get_rng_state(), state)  # without one it draws where mu is


# --- arguments that are wrong ---------------------------------------------------------------

@pytest.mark.parametrize("name", ["cov1", "cov2"])
@pytest.mark.parametrize("cov", [
    [[1, 2], [2, 1]],                 # symmetric, eigenvalues 3 and -1
    [[1, 0], [0, 0]],                 # singular
    [[1, 0], [0.5, 1]],               # a Cholesky factor instead of the covariance
    [[1, 0], [1e-7, 1]],              # asymmetric by more than rounding
    [[1, math.nan], [math.nan, 1]],
    [[math.inf, 0], [0, 1]],
], ids=["indefinite", "singular", "factor", "asymmetric", "nan", "inf"])
def test_kl_refuses_what_is_no_covariance(name, cov):
    good = torch.eye(2, dtype=D64).repeat(3, 1, 1)
    bad = good.clone()
    bad[1] = torch.tensor(cov, dtype=D64)  # one of a batch of three
    mu, covs = torch.zeros(3, 2, dtype=D64), {"cov1": good, "cov2": good, name: bad}
    with pytest.raises(ValueError, match=f"{name} that is not symmetric positive definite"):
        gaussian.kl(mu, covs["cov1"], mu, covs["cov2"])


MU, LOGVAR, Z = arguments()
COV, ONE, PX = torch.eye(3, dtype=D64).repeat(4, 1, 1), tensor(1), torch.zeros(4, dtype=D64)


@pytest.mark.parametrize(("function", "arguments"), [
    (gaussian.kl, (MU, COV, MU[0], COV)), (gaussian.kl, (MU, COV[0], MU, COV)),
    (gaussian.kl_scalar, (MU, ONE, MU, MU)), (gaussian.kl_to_std_normal, (MU, ONE)),
    (gaussian.reparametrise, (MU, LOGVAR[0])), (gaussian.log_normal, (Z[0], MU, LOGVAR)),
    (gaussian.elbo_joint, (PX, Z[0], MU, LOGVAR)),
    (gaussian.elbo_kl, (PX[:, None], MU, LOGVAR))])
def test_shapes_that_would_broadcast_are_refused(function, arguments):
    with pytest.raises(ValueError, match=r"shape|unpack"):
        function(*arguments)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_kl_scalar_refuses_a_sigma_that_is_not_positive(sigma):
    mu, one, bad = tensor(0, 0), tensor(1, 1), tensor(1, sigma)
    for sigmas in ((one, bad), (bad, one)):
        with pytest.raises(ValueError, match="not positive"):
            gaussian.kl_scalar(mu, sigmas[0], mu, sigmas[1])
