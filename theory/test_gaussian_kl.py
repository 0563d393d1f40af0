r"""Exercise 3: the KL divergence of two Gaussians (6.32) reduces to the VAE's regulariser.

Result. For q = N(mu, diag(s^2)) and the prior N(0, I), Murphy's (6.32) becomes (20.103):

    KL(q || N(0, I)) = 1/2 sum_k (mu_k^2 + s_k^2 - log s_k^2 - 1)

The general formula, for p1 = N(mu1, S1) and p2 = N(mu2, S2) on R^D with symmetric positive
definite covariances and d = mu2 - mu1, is in nats

    KL(p1 || p2) = 1/2 (tr(S2^-1 S1) + d^T S2^-1 d - D + log(det S2 / det S1))

The reduction. Put mu1 = mu, S1 = diag(s^2), mu2 = 0 and S2 = I, so d = -mu.
(1) tr(S2^-1 S1) = tr(diag(s^2)) = sum_k s_k^2.
(2) d^T S2^-1 d = mu^T mu = sum_k mu_k^2, and D = sum_k 1.
(3) log det S2 = log 1 = 0, and log det S1 = sum_k log s_k^2, because S1 is diagonal.
(4) Together, KL = 1/2 (sum_k s_k^2 + sum_k mu_k^2 - sum_k 1 - sum_k log s_k^2): the result. In
    one dimension (6.32) is (6.33), log(s2/s1) + (s1^2 + (mu1 - mu2)^2) / (2 s2^2) - 1/2, and
    the result is also the sum of (6.33) over the latents.
(5) With the encoder's output l_k = log s_k^2, the gradients are dKL/dmu_k = mu_k and dKL/dl_k
    = (s_k^2 - 1)/2. Both are 0 only at the prior.

Where (6.32) comes from. E is the expectation over x with the law p1.
(6) KL(p1 || p2) = E[log p1(x) - log p2(x)] by definition, and for both Gaussians
    log p_i(x) = -1/2 (D log 2 pi + log det S_i + (x - mu_i)^T S_i^-1 (x - mu_i)).
(7) E[(x - mu1)^T A (x - mu1)] = tr(A S1) for every matrix A, because a number is its own
    trace, tr(u v) = tr(v u), and E[(x - mu1)(x - mu1)^T] = S1. With A = S1^-1 it is tr(I) = D.
(8) x - mu2 = (x - mu1) - d and E[x - mu1] = 0, so E[(x - mu2)^T S2^-1 (x - mu2)] is
    tr(S2^-1 S1) + d^T S2^-1 d.
(9) (7) and (8) in (6) give (6.32). After (6) only mean and covariance of p1 are used. So the
    average over the 2^D points mu1 + R e, with e in {-1, 1}^D and R R^T = S1, which have this
    mean and covariance, is the same number: the oracle of claim 54.

Sign. (10) Let r_k > 0 be the eigenvalues of S2^-1 S1, which is similar to a symmetric positive
definite matrix. Then KL = 1/2 sum_k (r_k - 1 - log r_k) + 1/2 d^T S2^-1 d. As r - 1 - log r is
positive except at r = 1, KL >= 0, and KL = 0 only if S1 = S2 and mu1 = mu2.

Beware. KL is not symmetric (claim 59). It adds over coordinates that are independent under
both laws, and in general not over others (claim 60). The book writes diag(s) in (20.96),
(20.103) and N(mu, s) in (6.33) where s is a standard deviation: read s^2. Common errors of VAE
code confuse s^2, s and log s^2, or take the mean over the latents for the sum (claim 57).

Check. Random well-conditioned cases in float64, within a bound by Higham (2002), chapter 10:
evidence for the algebra. The steps are the proof. Murphy (2022), 6.2.3 and 20.3.5.
"""
# sheet: S4.3a

import math

import numpy as np
import torch
from kit import U, claim, close, eye, holds, ints, reals, refuted, signs, vector
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from minidl.gaussian import kl, kl_scalar, kl_to_std_normal


def gaussians(n, seed):
    """mu1, S1, mu2, S2 in R^n, S = A A^T / n + I: eigenvalues from 1 to about 5."""
    (mu1, mu2), A = reals(2, n, seed=seed), reals(2, n, n, seed=seed + 100)
    cov1, cov2 = A @ A.mT / n + eye(n)
    return mu1, cov1, mu2, cov2


def terms(mu1, cov1, mu2, cov2):
    """The four terms of (6.32) as printed: an inverse and determinants, no Cholesky factor."""
    inverse, d = torch.linalg.inv(cov2), mu2 - mu1
    logdet = (torch.linalg.det(cov2) / torch.linalg.det(cov1)).log()
    return torch.trace(inverse @ cov1), d @ inverse @ d, len(d), logdet


def as_printed(*pair):
    trace, distance, D, logdet = terms(*pair)
    return (trace + distance - D + logdet) / 2


def bound(*pair):
    """Rounding of (6.32): some 8 backward stable steps (Cholesky, inverse, solve, product)
    err by D^2 u each, amplified by the condition number of the covariances."""
    mu1, cov1, _, cov2 = pair
    condition = max(np.linalg.cond(cov1), np.linalg.cond(cov2))
    return 8 * len(mu1)**2 * condition * U * sum(abs(term) for term in terms(*pair))


def reversed_kl(mu1, cov1, mu2, cov2):
    return kl(mu2, cov2, mu1, cov1)


def off_by_a_thousandth(*pair):
    return 1.001 * kl(*pair)


@claim(54, "float", "exercise 3")
def test_eq_6_32_equals_the_exact_expectation_over_sign_points():
    """Steps (6) to (9): the average of log p1 - log p2 over the 2^D points equals (6.32), D =
    1..5: minidl's, alone and in a batch, as printed and torch's. R comes from an eigen-
    decomposition, the densities from numpy: nothing is shared with minidl's Cholesky factors.
    The points' mean and covariance are checked first."""
    def log_density(x, mu, cov):
        x = x - mu
        exponent = (x @ np.linalg.inv(cov) * x).sum(axis=1)
        return -(len(mu) * math.log(2 * math.pi) + np.linalg.slogdet(cov)[1] + exponent) / 2

    def check(kl):
        for n in range(1, 6):
            for seed in range(3):
                pair = gaussians(n, seed)
                mu1, cov1, mu2, cov2 = (part.numpy() for part in pair)
                values, vectors = np.linalg.eigh(cov1)
                R = vectors * np.sqrt(values)                     # R R^T = S1
                x = mu1 + signs(n).numpy() @ R.T                  # (2^n, n)
                close(x.mean(axis=0), mu1, 32 * U * abs(x).max())
                close((x - mu1).T @ (x - mu1) / len(x), cov1, 32 * n * U * values.max())
                exact = (log_density(x, mu1, cov1) - log_density(x, mu2, cov2)).mean()
                close(kl(*pair), exact, bound(*pair))

    def in_a_batch(*pair):
        return kl(*(torch.stack([part, part]) for part in pair))[1]

    def torchs(mu1, cov1, mu2, cov2):
        return kl_divergence(MultivariateNormal(mu1, cov1), MultivariateNormal(mu2, cov2))

    for formula in (kl, in_a_batch, as_printed, torchs):
        check(formula)
    refuted(check, off_by_a_thousandth, reversed_kl,
            lambda mu1, cov1, mu2, cov2: kl(mu1, cov1.inverse(), mu2, cov2.inverse()),
            lambda *pair: kl(*pair) + len(pair[0]) / 2,            # -D missing
            lambda *pair: kl(*pair) - terms(*pair)[3],             # det S1 / det S2
            lambda *pair: 2 * kl(*pair))                           # 1/2 missing


@claim(56, "float", "exercise 3")
def test_eq_6_32_reduces_to_6_33_in_one_dimension():
    """(6.33) on a grid of 5^4 parameters against (6.32) with S = s^2 and against PyTorch's
    univariate KL. Bound: a dozen roundings of terms that are at most `size`."""
    mu, sigma = vector(-2.0, -0.5, 0.0, 0.3, 4.0), vector(0.25, 0.7, 1.0, 1.9, 5.0)
    mu1, sigma1, mu2, sigma2 = grid = torch.cartesian_prod(mu, sigma, mu, sigma).T
    size = (sigma1**2 + (mu1 - mu2)**2) / (2 * sigma2**2) + 4

    def check(scalar):
        close(scalar(*grid), kl_divergence(Normal(mu1, sigma1), Normal(mu2, sigma2)),
              12 * U * size)
        close(scalar(*grid), kl(mu1[:, None], sigma1[:, None, None]**2,
                                mu2[:, None], sigma2[:, None, None]**2), 12 * U * size)

    check(kl_scalar)
    refuted(check, lambda *pair: 1.001 * kl_scalar(*pair),
            lambda mu1, s1, mu2, s2: kl_scalar(mu1, s1.sqrt(), mu2, s2.sqrt()),  # as printed
            lambda mu1, s1, mu2, s2: kl_scalar(mu2, s2, mu1, s1),
            lambda *pair: kl_scalar(*pair) + 0.5)                        # -1/2 missing


@claim(57, "float", "exercise 3")
def test_eq_6_32_reduces_to_the_vae_regulariser():
    """Steps (1) to (4): minidl's term of the VAE against (6.32) at diag(s^2), 0, I for D =
    1..12 and against (6.33) added up by a plain loop. S2 = I and S1 diagonal: nothing
    amplifies, the bound is D + 8 roundings of the sum of the terms' sizes."""
    def check(regulariser):
        for n in range(1, 13):
            mu, logvar = 2 * reals(2, 5, n, seed=n)               # (5, n) each
            logvar[0], logvar[1] = 12 * logvar[0], -9 - logvar[1].abs()
            general = torch.stack([kl(m, v.exp().diag(), 0 * m, eye(n))
                                   for m, v in zip(mu, logvar, strict=True)])
            by_hand = [sum(math.log(1 / math.exp(v / 2)) + (math.exp(v) + m * m) / 2 - 1 / 2
                           for m, v in zip(*row, strict=True))
                       for row in zip(mu.tolist(), logvar.tolist(), strict=True)]
            rounding = (n + 8) * U * (mu**2 + logvar.exp() + logvar.abs() + 1).sum(dim=1)
            close(regulariser(mu, logvar), general, rounding)
            close(regulariser(mu, logvar), np.array(by_hand), rounding)

    check(kl_to_std_normal)
    refuted(check, lambda mu, logvar: 1.001 * kl_to_std_normal(mu, logvar),
            lambda mu, logvar: kl_to_std_normal(mu, logvar / 2),   # S1 = diag(s), as printed
            lambda mu, logvar: kl_to_std_normal(mu, 2 * logvar),   # the output taken as log s
            lambda mu, logvar: kl_to_std_normal(mu, logvar) / mu.shape[1],  # mean, not sum
            lambda mu, logvar: -kl_to_std_normal(mu, logvar),
            lambda mu, logvar: kl_to_std_normal(0 * mu, logvar))


@claim(58, "float", "exercise 3")
def test_kl_is_nonnegative_and_zero_only_at_equality():
    """Step (10): (6.32) equals its eigenvalue form, each f(r_k) is positive, KL(p || p)
    is 0 up to rounding, and a step of 1/1000 in the mean or the covariance alone lifts it."""
    for r in [k / 64 for k in range(1, 640)]:
        holds((r - 1 - math.log(r) > 0) == (r != 1), f"f({r})")

    def check(kl):
        for n in range(1, 6):
            for seed in range(4):
                mu1, cov1, mu2, cov2 = pair = gaussians(n, seed)
                r = np.linalg.eigvals(np.linalg.solve(cov2, cov1)).real
                distance = terms(*pair)[1] / 2
                holds((r - 1 - np.log(r) > 0).all() and distance > 0)
                close(kl(*pair), (r - 1 - np.log(r)).sum() / 2 + distance, bound(*pair))
                rounding = bound(mu1, cov1, mu1, cov1)
                holds(abs(kl(mu1, cov1, mu1, cov1)) <= rounding)
                holds(kl(mu1, cov1, mu1 + 1e-3 * mu2, cov1) > rounding)
                holds(kl(mu1, cov1, mu1, cov1 + 1e-3 * cov2) > rounding)

    check(kl)
    refuted(check, off_by_a_thousandth,
            lambda *pair: kl(*pair) + len(pair[0]) / 2,              # -D missing
            lambda *pair: kl(*pair) - terms(*pair)[3],               # the log's sign
            lambda *pair: kl(*pair) - terms(*pair)[1])               # the distance's sign


@claim(59, "witness", "exercise 3")
def test_kl_is_asymmetric():
    """N(0, 1) and N(0, 4), by hand with (6.33): log 2 + 1/8 - 1/2 = 0.318 one way and
    -log 2 + 2 - 1/2 = 0.807 the other. A symmetrised divergence, or s for s^2, is refuted."""
    def check(kl):
        zero, one = vector(0), eye(1)
        there, back = kl(zero, one, zero, 4 * one), kl(zero, 4 * one, zero, one)
        close(torch.stack((there, back)),
              np.array([math.log(2) - 3 / 8, 3 / 2 - math.log(2)]), 8 * U)

    check(kl)
    check(as_printed)
    refuted(check, off_by_a_thousandth, reversed_kl,
            lambda *pair: (kl(*pair) + reversed_kl(*pair)) / 2,
            lambda mu1, cov1, mu2, cov2: kl(mu1, cov1.sqrt(), mu2, cov2.sqrt()))


@claim(60, "float", "exercise 3")
def test_kl_is_invariant_under_invertible_affine_maps_and_adds_over_independent_coordinates():
    """x -> A x + b takes N(mu, S) to N(A mu + b, A S A^T) and leaves KL as it is; A is in
    integers, det A = 5, so that a lost determinant shows. KLs of independent blocks add.
    Breaks: with correlation rho both marginals are those of N(0, I), yet KL is
    -1/2 log(1 - rho^2)."""
    A, b, rho = vector([2, 1, 0], [0, 1, 3], [1, 0, 1]), ints(3), 0.6
    amplified = np.linalg.cond(A)**2

    def check(kl):
        for seed in range(5):
            mu1, cov1, mu2, cov2 = pair = gaussians(3, seed)
            mapped = A @ mu1 + b, A @ cov1 @ A.T, A @ mu2 + b, A @ cov2 @ A.T
            close(kl(*mapped), kl(*pair), 2 * amplified * bound(*pair))
            other = gaussians(2, seed + 50)
            joint = [torch.cat((p, q)) if p.dim() == 1 else torch.block_diag(p, q)
                     for p, q in zip(pair, other, strict=True)]
            close(kl(*joint), kl(*pair) + kl(*other), 2 * bound(*joint))
        zero, one = vector(0, 0), eye(2)
        correlated = zero, one + rho * one.flip(0), zero, one     # [[1, rho], [rho, 1]]
        close(kl(*correlated), np.float64(-math.log(1 - rho**2) / 2), bound(*correlated))

    check(kl)
    refuted(check, off_by_a_thousandth,
            lambda *pair: kl(*pair) + torch.linalg.det(pair[1]).log() / 2,  # det S1 missing
            lambda *pair: kl(*pair) + (len(pair[0]) - 1) / 2,               # -1 for -D
            lambda mu1, cov1, mu2, cov2:                                    # S2^-1 missing
            kl(mu1, cov1, mu1, cov2) + ((mu2 - mu1)**2).sum() / 2)


@claim(61, "float", "exercise 3")
def test_kl_gradients_are_mu_and_half_var_minus_one():
    """Step (5), by autograd and by central differences of step h = 2^-16; those err by
    h^2/6 max|f'''| < 2e-9 for s^2 < 30, and by 16 roundings of the value over h < 1e-9. At the
    prior the gradient is exactly 0, and nowhere else: mu = 0, s^2 = 1 are its only zeros."""
    def check(regulariser):
        mu, logvar = leaves = reals(2, 4, 3, seed=2).requires_grad_().unbind()
        gradients = torch.autograd.grad(regulariser(mu, logvar).sum(), leaves)
        for ours, formula in zip(gradients, (mu, (logvar.exp() - 1) / 2), strict=True):
            close(ours, formula.detach(), 8 * U * (1 + formula.detach().abs()))
        h, mu, logvar = 2.0**-16, mu.detach(), logvar.detach()
        for k, e in enumerate(h * eye(3)):
            by_mu = regulariser(mu + e, logvar) - regulariser(mu - e, logvar)
            by_logvar = regulariser(mu, logvar + e) - regulariser(mu, logvar - e)
            close(by_mu / (2 * h), mu[:, k], 3e-9)
            close(by_logvar / (2 * h), (logvar[:, k].exp() - 1) / 2, 3e-9)
        prior = torch.zeros(2, 4, 3).requires_grad_()
        (at_prior,) = torch.autograd.grad(regulariser(*prior).sum(), prior)
        holds((at_prior == 0).all(), at_prior)

    check(kl_to_std_normal)
    refuted(check, lambda mu, logvar: 1.001 * kl_to_std_normal(mu, logvar),
            lambda mu, logvar: kl_to_std_normal(mu, logvar / 2),
            lambda mu, logvar: kl_to_std_normal(mu, logvar) / mu.shape[1],
            lambda mu, logvar: 2 * kl_to_std_normal(mu, logvar))


@claim(62, "statistical", "exercise 3")
def test_monte_carlo_kl_lies_within_five_standard_errors():
    """Step (6) read literally: the mean of log p1 - log p2 over 100,000 seeded samples of p1,
    D = 3, the densities PyTorch's. A right formula fails one seed in 1.7 million. The standard
    error is near 0.5 % of the KL, so that the finest control is wrong by 5 %, not 0.1 %."""
    mu1, cov1, mu2, cov2 = pair = gaussians(3, 6)
    x = mu1 + reals(100_000, 3, seed=8) @ torch.linalg.cholesky(cov1).T
    p1, p2 = MultivariateNormal(mu1, cov1), MultivariateNormal(mu2, cov2)
    sample = p1.log_prob(x) - p2.log_prob(x)
    standard_error = sample.std() / len(sample)**0.5

    def check(kl):
        close(kl(*pair), sample.mean(), 5 * standard_error)

    check(kl)
    check(as_printed)
    refuted(check, reversed_kl, lambda *pair: 1.05 * kl(*pair))
