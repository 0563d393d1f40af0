r"""Gaussians: their KL divergence, the VAE's term, reparametrisation, the ELBO. All in nats.

    KL(p1 || p2) = E_1[log p1(x) - log p2(x)],   p_i = N(mu_i, S_i) on R^D

Derived and proven in theory/test_gaussian_kl.py and theory/test_vae.py, checked in
tests/test_gaussian.py. Equation numbers: Murphy, Probabilistic Machine Learning (2022).
ValueError for shapes that disagree: (B, 1) with (B, D) would broadcast without an error.
"""

import math

import torch


def kl(mu1, cov1, mu2, cov2):
    r"""KL = 1/2 [tr(S2^-1 S1) + d^T S2^-1 d - D + log(det S2 / det S1)],   d = mu2 - mu1.

    (D,), (D, D) twice -> (), or in a batch (B, D), (B, D, D) twice -> (B,). Murphy (6.32).
    With Cholesky factors S = L L^T no matrix is inverted and no determinant can overflow:
        tr(S2^-1 S1) = |L2^-1 L1|_F^2,  d^T S2^-1 d = |L2^-1 d|^2,  log det S = 2 sum log L_kk
    ValueError for a covariance that is not symmetric (up to rounding), positive definite.
    """
    if mu1.dim() not in (1, 2):
        raise ValueError(f"found mu1 of shape {tuple(mu1.shape)}, expected (D,) or (B, D)")
    D = mu1.shape[-1]
    _expect(mu1.shape, mu2=mu2)
    _expect((*mu1.shape, D), cov1=cov1, cov2=cov2)
    L1, L2 = _cholesky("cov1", cov1), _cholesky("cov2", cov2)
    d = (mu2 - mu1).unsqueeze(-1)  # (B, D) -> (B, D, 1): a column
    trace = torch.linalg.solve_triangular(L2, L1, upper=False).square().sum((-2, -1))
    distance = torch.linalg.solve_triangular(L2, d, upper=False).square().sum((-2, -1))
    logdet1, logdet2 = (2 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1) for L in (L1, L2))
    return 0.5 * (trace + distance - D + logdet2 - logdet1)


def kl_scalar(mu1, sigma1, mu2, sigma2):
    r"""KL = log(s2 / s1) + (s1^2 + (mu1 - mu2)^2) / (2 s2^2) - 1/2,   s: standard deviations.

    Four tensors of one shape, any -> the same shape, entry by entry. Murphy (6.33): (6.32)
    with D = 1, S_i = s_i^2. ValueError for a standard deviation that is not positive.
    """
    _expect(mu1.shape, sigma1=sigma1, mu2=mu2, sigma2=sigma2)
    if not ((sigma1 > 0) & (sigma2 > 0)).all():
        raise ValueError("found a standard deviation that is not positive, expected sigma > 0")
    return (sigma2 / sigma1).log() + (sigma1**2 + (mu1 - mu2) ** 2) / (2 * sigma2**2) - 0.5


def kl_to_std_normal(mu, logvar):
    r"""KL(N(mu, diag(s^2)) || N(0, I)) = 1/2 sum_d (mu_d^2 + s_d^2 - log s_d^2 - 1), in nats.

    (B, D), (B, D) -> (B,), logvar = log s^2: summed over d, not averaged. Murphy (20.103).
    It is (6.32) with mu2 = 0, S2 = I and S1 = diag(s^2), whose log det is sum_d log s_d^2.
    """
    B, D = mu.shape
    _expect((B, D), logvar=logvar)
    # expm1: s^2 - 1 without cancellation, which makes a small KL negative in float32
    return 0.5 * (mu**2 + logvar.expm1() - logvar).sum(dim=1)


def reparametrise(mu, logvar, generator=None, *, eps=None):
    r"""z = mu + s * eps, s = exp(logvar / 2), eps ~ N(0, I): a sample of N(mu, diag(s^2)).

    mu, logvar, eps, z: one shape, any. Gradients reach mu and logvar, none reaches eps.
    Murphy (20.101). eps is drawn with the generator, on its device, or given.
    """
    if eps is None:
        device = generator.device if generator else mu.device
        eps = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=device)
        eps = eps.to(mu.device)
    _expect(mu.shape, logvar=logvar, eps=eps)
    return mu + (logvar / 2).exp() * eps


def log_normal(x, mu, logvar):
    r"""log N(x; mu, diag(s^2)) = -1/2 sum_d [log 2 pi + log s_d^2 + (x_d - mu_d)^2 / s_d^2].

    (B, D) three times -> (B,), logvar = log s^2.
    """
    B, D = mu.shape
    _expect((B, D), x=x, logvar=logvar)
    return -0.5 * (math.log(2 * math.pi) + logvar + (x - mu) ** 2 / logvar.exp()).sum(dim=1)


def elbo_joint(log_px_given_z, z, mu, logvar):
    r"""log p(x, z) - log q(z|x) at one z ~ q = N(mu, diag(s^2)); the prior p(z) = N(0, I).

    (B,), (B, D) three times -> (B,). Its mean over q is the ELBO, the first form of (20.98).
    At q = p(z|x) it is log p(x) for every z.
    """
    _expect(mu.shape[:1], log_px_given_z=log_px_given_z)
    prior = log_normal(z, torch.zeros_like(mu), torch.zeros_like(mu))
    return log_px_given_z + prior - log_normal(z, mu, logvar)


def elbo_kl(log_px_given_z, mu, logvar):
    r"""log p(x|z) - KL(q(z|x) || p(z)) at one z ~ q = N(mu, diag(s^2)), p(z) = N(0, I).

    (B,), (B, D), (B, D) -> (B,). Its mean over q is the ELBO, the second form of (20.98).
    """
    _expect(mu.shape[:1], log_px_given_z=log_px_given_z)
    return log_px_given_z - kl_to_std_normal(mu, logvar)


def _expect(shape, **tensors):
    for name, tensor in tensors.items():
        if tensor.shape != shape:
            raise ValueError(f"found {name} of shape {tuple(tensor.shape)}, "
                             f"expected {tuple(shape)}")


def _cholesky(name, S):
    """The factor L, lower triangular, of a covariance or of a batch of them: S = L L^T."""
    rounding = torch.finfo(S.dtype).eps ** 0.5 * S.amax((-2, -1), keepdim=True)
    L, failed = torch.linalg.cholesky_ex(S)  # reads the lower triangle only
    # S - S^T has each entry in both signs, so no absolute value; NaN fails as well
    if failed.any() or not (S - S.mT <= rounding).all():
        raise ValueError(f"found a {name} that is not symmetric positive definite, expected a "
                         "covariance")
    return L
