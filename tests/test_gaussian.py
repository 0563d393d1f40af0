"""minidl/gaussian.py against hand cases, torch.distributions, and arguments that are wrong."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from minidl import gaussian

pytestmark = pytest.mark.numeric
D64 = torch.float64
BY_HAND = 64 * 2.0**-53  # some 16 roundings of numbers below 8, a logarithm among them
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


# Hand cases

def test_kl_of_a_hand_case():
    # S1 = [[2, 1], [1, 2]], S2 = diag(1, 4), d = (1, 2):
    # tr = 2 + 2/4, distance = 1 + 4/4, D = 2, det S2 / det S1 = 4/3
    value = gaussian.kl(tensor(0, 0), tensor([2, 1], [1, 2]),
                        tensor(1, 2), tensor([1, 0], [0, 4]))
    assert value.item() == pytest.approx((2.5 + 2 - 2 + math.log(4 / 3)) / 2, abs=BY_HAND)


def test_kl_scalar_of_a_hand_case():
    # log(4/2) + (2^2 + (5 - 2)^2) / (2 * 4^2) - 1/2
    value = gaussian.kl_scalar(tensor(5), tensor(2), tensor(2), tensor(4))
    assert value.item() == pytest.approx(math.log(2) + 13 / 32 - 1 / 2, abs=BY_HAND)


def test_kl_to_std_normal_of_a_hand_case():
    # s^2 = (1, 4), mu = (3, 0): 1/2 (9 + 1 - 0 - 1) + 1/2 (0 + 4 - log 4 - 1)
    value = gaussian.kl_to_std_normal(tensor([3, 0]), tensor([1, 4]).log())
    assert value.tolist() == pytest.approx([4.5 + (3 - math.log(4)) / 2], abs=BY_HAND)


def test_reparametrise_of_a_hand_case():
    # s = (2, 3): (1, -1) + (2, 3) * (10, 100)
    z = gaussian.reparametrise(tensor(1, -1), tensor(4, 9).log(), eps=tensor(10, 100))
    assert z.tolist() == pytest.approx([21, 299], rel=BY_HAND)


# Shapes and batches

def test_kl_of_a_batch_is_kl_of_each():
    first, second = gaussians(4, 3), gaussians(4, 3, seed=1)
    batch = gaussian.kl(*first, *second)
    assert batch.shape == (4,)
    for b in range(4):
        one = gaussian.kl(*(part[b] for part in (*first, *second)))
        assert one.shape == ()
        assert one.item() == pytest.approx(batch[b].item(), rel=FEW_ULPS)


@pytest.mark.parametrize("shape", [(), (4,), (2, 4, 3)])
def test_kl_scalar_and_reparametrise_keep_any_shape(shape):
    ones = torch.ones(shape)
    assert gaussian.kl_scalar(ones, ones, ones, ones).shape == shape
    assert gaussian.reparametrise(ones, ones).shape == shape


def test_the_others_give_one_value_per_example():
    mu, logvar, z = arguments()
    log_px_given_z = torch.zeros(4, dtype=D64)
    for value in (gaussian.kl_to_std_normal(mu, logvar), gaussian.log_normal(z, mu, logvar),
                  gaussian.elbo_joint(log_px_given_z, z, mu, logvar),
                  gaussian.elbo_kl(log_px_given_z, mu, logvar)):
        assert value.shape == (4,) and value.dtype == D64


# Against torch.distributions: values and gradients

def test_kl_and_its_gradients_equal_those_of_torch():
    parts = [part.requires_grad_() for seed in (0, 1) for part in gaussians(4, 3, seed=seed)]
    mu1, cov1, mu2, cov2 = parts
    ours = gaussian.kl(*parts)
    theirs = kl_divergence(MultivariateNormal(mu1, cov1), MultivariateNormal(mu2, cov2))
    torch.testing.assert_close(ours, theirs, rtol=FEW_ULPS, atol=FEW_ULPS)
    for a, b in zip(torch.autograd.grad(ours.sum(), parts),
                    torch.autograd.grad(theirs.sum(), parts), strict=True):
        torch.testing.assert_close(a, b, rtol=FEW_ULPS, atol=FEW_ULPS)


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
        torch.testing.assert_close(ours, theirs, rtol=FEW_ULPS, atol=FEW_ULPS)
        for a, b in zip(torch.autograd.grad(ours.sum(), (mu, logvar), retain_graph=True),
                        torch.autograd.grad(theirs.sum(), (mu, logvar), retain_graph=True),
                        strict=True):
            torch.testing.assert_close(a, b, rtol=FEW_ULPS, atol=FEW_ULPS)


def test_kl_survives_a_determinant_that_overflows():
    # D = 400, S1 = 10 I, S2 = 1000 I: det S2 = 10^1200; the answer from (6.33), 400 times
    mu, eye = torch.zeros(400, dtype=D64), torch.eye(400, dtype=D64)
    value = gaussian.kl(mu, 10 * eye, mu, 1000 * eye).item()
    assert value == pytest.approx(200 * (0.01 - 1 + math.log(100)), rel=FEW_ULPS)


# Drawing

def test_reparametrise_draws_eps_with_the_generator_in_the_type_of_mu():
    for dtype in (torch.float32, torch.float64):
        mu, logvar, _ = arguments().to(dtype)
        eps = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=dtype)
        z = gaussian.reparametrise(mu, logvar, torch.Generator().manual_seed(5))
        assert z.dtype == dtype
        assert torch.equal(z, gaussian.reparametrise(mu, logvar, eps=eps))


def test_reparametrise_without_a_generator_follows_torch_manual_seed():
    mu, logvar, _ = arguments()
    torch.manual_seed(3)
    first, second = (gaussian.reparametrise(mu, logvar) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(gaussian.reparametrise(mu, logvar), first)
    assert not torch.equal(first, second)


def test_reparametrise_takes_a_generator_of_another_device():
    mu, logvar, _ = arguments().to("meta")  # a device without values, in the place of a GPU
    assert gaussian.reparametrise(mu, logvar, torch.Generator()).device == mu.device
    state = torch.get_rng_state()
    assert gaussian.reparametrise(mu, logvar).device == mu.device
    assert torch.equal(torch.get_rng_state(), state)  # without one it draws where mu is


# Arguments that are wrong

def refuses(message, function, *args, **kwargs):
    with pytest.raises(ValueError) as caught:
        function(*args, **kwargs)
    assert str(caught.value) == message


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
    refuses(f"found a {name} that is not symmetric positive definite, expected a covariance",
            gaussian.kl, mu, covs["cov1"], mu, covs["cov2"])


def test_kl_takes_asymmetry_of_rounding_at_any_scale():
    # up to 2^-26, the root of float64's 2^-52, of each matrix's own largest entry, here 2
    scale, mu = tensor(1e-12, 1e12)[:, None, None], torch.zeros(2, 3, dtype=D64)

    def cov(asymmetry):
        return scale * tensor([2, 1 + asymmetry, 0], [1, 2, 0], [0, 0, 2])

    good, bad = cov(0.99 * 2 * 2**-26), cov(1.01 * 2 * 2**-26)
    assert gaussian.kl(mu, good, mu, good).abs().max() < 1e-12
    refuses("found a cov1 that is not symmetric positive definite, expected a covariance",
            gaussian.kl, mu, bad, mu, bad)


def test_kl_refuses_shapes_that_disagree():
    mu, cov = gaussians(4, 3)
    refuses("found mu2 of shape (3,), expected (4, 3)", gaussian.kl, mu, cov, mu[0], cov)
    refuses("found cov1 of shape (3, 3), expected (4, 3, 3)", gaussian.kl, mu, cov[0], mu, cov)
    refuses("found cov2 of shape (4, 3, 2), expected (4, 3, 3)",
            gaussian.kl, mu, cov, mu, cov[:, :, :2])
    for shape in [(), (2, 4, 3)]:
        mu = torch.zeros(shape)
        refuses(f"found mu1 of shape {shape}, expected (D,) or (B, D)",
                gaussian.kl, mu, cov, mu, cov)


def test_the_others_refuse_shapes_that_would_broadcast():
    mu, logvar, z = arguments()
    one, px = tensor(1), torch.zeros(4, dtype=D64)
    refuses("found sigma1 of shape (1,), expected (4, 3)", gaussian.kl_scalar, mu, one, mu, mu)
    refuses("found mu2 of shape (1,), expected (4, 3)", gaussian.kl_scalar, mu, mu, one, mu)
    refuses("found sigma2 of shape (1,), expected (4, 3)", gaussian.kl_scalar, mu, mu, mu, one)
    refuses("found logvar of shape (1,), expected (4, 3)", gaussian.kl_to_std_normal, mu, one)
    refuses("found mu of shape (3,), expected (B, D)",
            gaussian.kl_to_std_normal, mu[0], logvar[0])
    refuses("found logvar of shape (3,), expected (4, 3)",
            gaussian.reparametrise, mu, logvar[0])
    refuses("found eps of shape (3,), expected (4, 3)",
            gaussian.reparametrise, mu, logvar, eps=z[0])
    refuses("found x of shape (3,), expected (4, 3)", gaussian.log_normal, z[0], mu, logvar)
    refuses("found logvar of shape (1,), expected (4, 3)", gaussian.log_normal, z, mu, one)
    refuses("found mu of shape (3,), expected (B, D)", gaussian.log_normal, z, mu[0], logvar)
    refuses("found z of shape (3,), expected (4, 3)",
            gaussian.elbo_joint, px, z[0], mu, logvar)
    for elbo, sample in ((gaussian.elbo_joint, (z,)), (gaussian.elbo_kl, ())):
        refuses("found log_px_given_z of shape (4, 1), expected (4,)",
                elbo, px[:, None], *sample, mu, logvar)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_kl_scalar_refuses_a_sigma_that_is_not_positive(sigma):
    mu, one, bad = tensor(0, 0), tensor(1, 1), tensor(1, sigma)
    for sigmas in ((one, bad), (bad, one)):
        refuses("found a standard deviation that is not positive, expected sigma > 0",
                gaussian.kl_scalar, mu, sigmas[0], mu, sigmas[1])
