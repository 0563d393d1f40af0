r"""Losses and activations: softmax, the sigmoid inside the loss, L1 against L2, SELU.

Result. The Jacobian of softmax is diag(p) - p p^T, and the gradient of the cross-entropy by
the logits is p - y. A sigmoid belongs into the loss. L1 is least at the median and L2 at the
mean. SELU keeps mean 0 and variance 1 if the weights of a unit have the variance 1/n for n
inputs.

Softmax, p_i = e^{z_i} / S with S = sum_k e^{z_k}.
(1) dp_i/dz_j is p_i (1 - p_i) for i = j and -p_i p_j else, by the quotient rule: J = diag(p) -
    p p^T. It is symmetric, its rows sum to 0, and v^T J v = Var_p(v) >= 0.
(2) The cross-entropy is -sum_i y_i log p_i = log S - sum_i y_i z_i, because sum_i y_i = 1.
(3) So its gradient by z is p - y, its Hessian is J, and it is convex in z. Where the y_i sum
    to c, the gradient is c p - y. With softmax applied twice the loss is bounded, so not
    convex.

Sigmoid inside the loss, s(z) = 1 / (1 + e^{-z}) with a target t in [0, 1].
(4) -t log s(z) - (1 - t) log(1 - s(z)) = log(1 + e^z) - t z.
(5) log(1 + e^z) = max(z, 0) + log(1 + e^{-|z|}): no exponential can overflow. The left of (4)
    fails as soon as s(z) rounds to 1. In float32 at z = 17 and t = 0 it is infinite, where the
    loss is 17; with the logarithm clamped at -100 it is 100, and its gradient is 0.

L1, L2 and denoising.
(6) sum_n |x_n - c| has the slope (number of x_n < c) - (number of x_n > c) off the data: it is
    least at every median. Where most pixels are black, L1 gives exactly 0.
(7) sum_n (x_n - c)^2 = sum_n (x_n - m)^2 + N (c - m)^2 with the mean m: least at m alone.
(8) For clean x, noisy y and m(y) = E[x|y]: E(f(y) - x)^2 = E(f(y) - m(y))^2 + E(m(y) - x)^2,
    because the mixed term has the mean 0 for every y. So the best denoiser is m.

SELU(x) = lam x for x > 0 and lam al (e^x - 1) else; P is the normal distribution function.
(9) Over x with the law N(0, 1): E SELU = lam (1/sqrt(2 pi) + al (sqrt(e) P(-1) - 1/2)), which
    is 0 for one al.
(10) E SELU^2 = lam^2 (1/2 + al^2 (e^2 P(-2) - 2 sqrt(e) P(-1) + 1/2)), which is 1 for one lam.
(11) A layer whose weights have the row sum w and the sum of squares t takes mean and variance
    to (w mu, t nu), if inputs are independent, and then through SELU, if the sum is normal. At
    (0, 1) and t = 1 the Jacobian of this map is 0.985 w and 0.089, below them 0.303 w and
    0.783. For w = 0 the fixed point attracts, by 0.783; for w = 1 the eigenvalue 1.077 repels.
(12) torch's Linear draws from U(-1/sqrt(n), 1/sqrt(n)): variance 1 / (3 n), t = 1/3. The
    second moment decays with the depth, near 0 by lam^2 (1 + al^2) / 6 = 0.70 a layer, but for
    what the bias adds. SELU needs LeCun's normal of variance 1 / n.

Check. (6) to (8) on all small cases listed, which proves those; the rest in float64 against
autograd, decimals or quadrature. Murphy (2022), 13.3.3; Klambauer et al. (2017).
"""

import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from kit import U, claim, close, holds, ints, jacobian, reals, refuted, same, vector

from minidl.losses import bce, l1, mse


def softmax_jacobian(z):
    """J of (1), (C,) -> (C, C), by the quotient rule in plain loops."""
    e, S = [math.exp(v) for v in z.tolist()], sum(math.exp(v) for v in z.tolist())
    return vector(*([((i == j) * e[i] * S - e[i] * e[j]) / S**2 for j in range(len(e))]
                    for i in range(len(e))))


def cross_entropy(z, y):
    """(B, C), (B, C) -> (B,), right of (2)."""
    return torch.logsumexp(z, dim=1) - (y * z).sum(dim=1)


def naive_bce(z, t):
    p = 1 / (1 + (-z).exp())
    return -t * p.log() - (1 - t) * (1 - p).log()


def minidls_bce(z, t):
    return bce(z.reshape(-1, 1), t.reshape(-1, 1))


def P(x):
    """The normal distribution function."""
    return torch.erfc(-x / math.sqrt(2)) / 2


def selu_constants():
    """al and lam out of (9) and (10)."""
    P1, P2 = math.erfc(1 / math.sqrt(2)) / 2, math.erfc(2 / math.sqrt(2)) / 2
    al = 1 / math.sqrt(2 * math.pi) / (1 / 2 - math.sqrt(math.e) * P1)
    lam = (1 / 2 + al**2 * (math.e**2 * P2 - 2 * math.sqrt(math.e) * P1 + 1 / 2))**-0.5
    return al, lam


AL, LAM = selu_constants()


def selu_moments(mu, nu):
    """Mean and second moment of SELU(x), x ~ N(mu, nu): (9), (10) at any mean and variance."""
    s = nu.sqrt()
    density = s * (-mu**2 / (2 * nu)).exp() / math.sqrt(2 * math.pi)
    below = P(-mu / s)                                 # E[e^{kx}; x < 0] for k = 0, 1, 2
    below1 = (mu + nu / 2).exp() * P(-(mu + nu) / s)
    below2 = (2 * mu + 2 * nu).exp() * P(-(mu + 2 * nu) / s)
    mean = LAM * (mu * P(mu / s) + density + AL * (below1 - below))
    second = LAM**2 * ((mu**2 + nu) * P(mu / s) + mu * density
                       + AL**2 * (below2 - 2 * below1 + below))
    return torch.stack((mean, second))


def layer(w, t):
    """(11): (mu, nu) -> (mu, nu) of a SELU layer."""
    def step(x):
        mean, second = selu_moments(w * x[0], t * x[1])
        return torch.stack((mean, second - mean**2))
    return step


@claim(88, "float")
def test_softmax_jacobian_is_diag_p_minus_ppT():
    """(1): autograd of a batched softmax is block diagonal, with the blocks of the quotient
    rule, which are diag(p) - p p^T. Softmax over the wrong axis and 0.1% are refuted."""
    def check(softmax):
        for C in (2, 3, 5):
            z, v = reals(4, C, seed=C), reals(C, seed=C + 9)
            blocks = [softmax_jacobian(row) for row in z]
            close(jacobian(softmax, z), torch.block_diag(*blocks), 32 * U)
            for p, J in zip(softmax(z), blocks, strict=True):
                close(J, p.diag() - torch.outer(p, p), 32 * U)
                close(v @ J @ v, (p * (v - p @ v)**2).sum(), 32 * U * (1 + v @ v))

    check(lambda z: z.softmax(dim=1))
    check(lambda z: z.exp() / z.exp().sum(dim=1, keepdim=True))
    refuted(check, lambda z: z.softmax(dim=0), lambda z: (1.001 * z).softmax(dim=1),
            lambda z: z.sigmoid(), lambda z: z.exp() / z.exp().sum())


@claim(89, "float")
def test_cross_entropy_gradient_is_p_minus_y_and_hessian_is_psd():
    """(2), (3) for hard and soft targets, ours and torch's. Where sum y = 2 the gradient is
    2 p - y. Softmax twice, a mean over the classes, 0.1% are refuted."""
    y = vector([8, 0, 0, 0, 0], [0, 0, 0, 8, 0], [1, 2, 0, 4, 1]) / 8
    z = reals(3, 5, seed=3)

    def check(loss):
        def total(z):
            return loss(z, y).sum()

        close(jacobian(total, z), (z.softmax(dim=1) - y).reshape(1, 15), 32 * U)
        hessian = torch.autograd.functional.hessian(total, z).reshape(15, 15)
        close(hessian, torch.block_diag(*map(softmax_jacobian, z)), 32 * U)
        holds((torch.linalg.eigvalsh(hessian) >= -32 * U).all())

    def torchs(z, y):
        return F.cross_entropy(z, y, reduction="none")

    check(cross_entropy)
    check(torchs)
    two_labels = (y[0] + y[1])[None]
    close(jacobian(lambda z: torchs(z, two_labels), z[:1]),
          2 * z[:1].softmax(dim=1) - two_labels, 32 * U)
    refuted(check, lambda z, y: torchs(z.softmax(dim=1), y), lambda z, y: torchs(z, y) / 5,
            lambda z, y: 1.001 * torchs(z, y), lambda z, y: cross_entropy(z, 1 - y))


@claim(90, "float")
def test_sigmoid_inside_the_loss_is_equal_and_stable():
    """(4), (5) against the left of (4) in decimals of 400 digits, |z| up to 800: minidl's and
    torch's within 8 roundings of 1 + |z|. For |z| <= 3 the naive form is equal too; beyond it
    is refuted, as are BCE of a sigmoid, a missing |.|, 0.1%. Then the numbers of (5)."""
    def exact(z, t):
        with localcontext() as context:
            context.prec = 400
            p = 1 / (1 + (-Decimal(z)).exp())
            return float(-Decimal(t) * p.ln() - (1 - Decimal(t)) * (1 - p).ln())

    moderate, extreme = [-3.0, -0.5, 0.25, 2.0], [-800.0, -40.0, -17.0, 17.0, 40.0, 800.0]
    hard, grey = [0.0, 1.0], [0.25, 0.625]

    def check(loss, zs, ts):
        for z, t in itertools.product(zs, ts):
            value, truth = loss(*vector(z, t)).item(), exact(z, t)
            holds(abs(value - truth) <= 8 * U * (1 + abs(z)), f"{z}, {t}: {value}, {truth}")

    check(naive_bce, moderate, hard + grey)
    check(minidls_bce, moderate + extreme, hard + grey)
    check(F.binary_cross_entropy_with_logits, moderate + extreme, hard + grey)
    z, t = torch.tensor([17.0], requires_grad=True), torch.zeros(1)
    holds(naive_bce(z, t).item() == math.inf)
    same(minidls_bce(z, t), torch.tensor([17.0]))
    clamped = F.binary_cross_entropy(z.sigmoid(), t)
    holds(clamped.item() == 100 and torch.autograd.grad(clamped, z)[0].item() == 0)
    close(torch.autograd.grad(minidls_bce(z, t).sum(), z)[0], torch.ones(1), 1e-6)
    refuted(lambda broken: check(broken, extreme, hard), naive_bce,
            lambda z, t: F.binary_cross_entropy(z.sigmoid(), t),
            lambda z, t: z.clamp(min=0) - z * t + torch.log1p((-z).exp()))
    refuted(lambda broken: check(broken, moderate, grey),
            lambda z, t: 1.001 * minidls_bce(z, t), lambda z, t: minidls_bce(-z, t))


@claim(91, "exact")
def test_l1_is_minimised_by_the_median_and_l2_by_the_mean():
    """(6), (7) with minidl's losses: every multiset of up to 5 values out of 0, 60, ..., 240
    against every integer from 0 to 240: all kinks and all means are among them."""
    candidates = torch.arange(241).double()[:, None]              # (241, 1)

    def check(loss, minimisers):
        for n in range(1, 6):
            for values in itertools.combinations_with_replacement(range(0, 300, 60), n):
                total = sum(loss(candidates, torch.full_like(candidates, x)) for x in values)
                found = candidates[total == total.min(), 0].long().tolist()
                holds(found == list(minimisers(values)), f"{values}: {found}")

    def medians(values):
        n = len(values)
        return range(values[(n - 1) // 2], values[n // 2] + 1)    # sorted: 0-based middles

    def mean(values):
        return [sum(values) / len(values)]                        # 60 k / n is an integer

    check(l1, medians)
    check(mse, mean)
    refuted(lambda broken: check(broken, medians), mse,
            lambda a, b: F.smooth_l1_loss(a, b, beta=60.0, reduction="none")[:, 0])
    refuted(lambda broken: check(l1, broken), mean,
            lambda values: [values[len(values) // 2]])            # the upper median alone
    refuted(lambda broken: check(mse, broken), medians)


@claim(92, "expectation")
def test_denoising_optimum_is_the_conditional_mean():
    """(8) in fractions on joint tables p(x, y), 4 clean values by 3 noisy ones: a step d = -1
    or 1 of f at one y away from m costs exactly p(y) d^2, so the loss, a parabola in every
    f(y), has its vertex at m. The mean of all x, the likeliest x and 0.1% are refuted."""
    clean = [Fraction(x) for x in (0, 1, 3, 7)]

    def check(denoiser):
        for seed in range(5):
            table = ints(4, 3, low=1, high=9, seed=seed).long().tolist()
            total = sum(map(sum, table))
            joint = [[Fraction(v, total) for v in row] for row in table]
            f = denoiser(joint)

            def loss(f, joint=joint):
                return sum(row[y] * (f[y] - x)**2 for row, x in zip(joint, clean, strict=True)
                           for y in range(3))

            for y, d in itertools.product(range(3), (-1, 1)):
                moved = [value + d * (k == y) for k, value in enumerate(f)]
                holds(loss(moved) - loss(f) == sum(row[y] for row in joint), (seed, y, d))

    def conditional_mean(joint):
        return [sum(row[y] * x for row, x in zip(joint, clean, strict=True))
                / sum(row[y] for row in joint) for y in range(3)]

    check(conditional_mean)
    refuted(check,
            lambda joint: [sum(sum(row) * x for row, x in zip(joint, clean, strict=True))] * 3,
            lambda joint: [clean[max(range(4), key=lambda i: joint[i][y])] for y in range(3)],
            lambda joint: [Fraction(1001, 1000) * m for m in conditional_mean(joint)])


@claim(93, "float")
def test_selu_fixes_mean_0_variance_1():
    """(9), (10) by Gauss-Legendre quadrature, 100 nodes on each side of the kink over 12
    standard deviations (its error and the tails are below 1e-15); and the closed form for any
    N(mu, nu). ReLU, ELU and 0.1% are refuted."""
    nodes, node_weights = np.polynomial.legendre.leggauss(100)

    def quadrature(activation, mu, nu):
        moments = np.zeros(2)
        for a, b in ((mu - 12 * nu**0.5, 0), (0, mu + 12 * nu**0.5)):
            x = (a + b) / 2 + (b - a) / 2 * nodes
            density = np.exp(-(x - mu)**2 / (2 * nu)) / math.sqrt(2 * math.pi * nu)
            y = activation(torch.from_numpy(x)).numpy()
            moments += (b - a) / 2 * np.array([node_weights @ (density * y),
                                               node_weights @ (density * y**2)])
        return moments

    def check(activation):
        close(quadrature(activation, 0, 1), np.array([0.0, 1.0]), 1e-13)
        close(activation(vector(1, -50)), vector(LAM, -LAM * AL), 8 * U)

    def check_moments(moments):
        for mu, nu in itertools.product([-0.7, 0.0, 0.4, 1.5], [0.3, 1.0, 2.5]):
            close(moments(*vector(mu, nu)), quadrature(F.selu, mu, nu), 1e-12)

    check(F.selu)
    check_moments(selu_moments)
    refuted(check, F.relu, F.elu, lambda x: 1.001 * F.selu(x))
    refuted(check_moments, lambda mu, nu: selu_moments(mu, nu.sqrt()),
            lambda mu, nu: 1.001 * selu_moments(mu, nu))


@claim(94, "float")
def test_selu_fixed_point_attracts_with_centred_weights_and_not_with_row_sum_one():
    """(11): 100 layers take each (mean, variance) of a 3 x 4 grid around (0, 1) to within 1e-9
    of it (0.783^100 = 2.4e-11). A row sum of 1 leaves it, from mean 0.001 to above 1. t = 1/3
    and a step 0.1% too large end elsewhere."""
    fixed = vector(0, 1)

    def after_100(step, x):
        for _ in range(100):
            x = step(x)
        return x

    def check(step):
        close(step(fixed), fixed, 64 * U)
        for start in itertools.product([-0.1, 0.0, 0.1], [0.8, 1.0, 1.25, 1.5]):
            close(after_100(step, vector(*start)), fixed, 1e-9)

    check(layer(w=0, t=1))
    holds(after_100(layer(w=1, t=1), vector(0.001, 1))[0] > 1)
    J = jacobian(layer(w=1, t=1), fixed)
    close(J, vector([0.985, 0.089], [0.303, 0.783]), 5e-4)    # as in (11), to 3 digits
    holds(torch.linalg.eigvals(J).abs().max() > 1.07)
    refuted(check, layer(w=1, t=1), layer(w=0, t=1 / 3),
            lambda x: 1.001 * layer(w=0, t=1)(x))


@claim(95, "statistical")
def test_default_linear_init_has_variance_one_third_and_breaks_selu():
    """(12), seeded: n Var = 1/3 within five standard errors, each sqrt(0.8 / 60000) of it as
    E w^4 = 9/5 (E w^2)^2; six SELU layers of it end, within five standard errors over 20
    networks, at the second moment q that q -> E SELU(N(0, t q + bias))^2 predicts, below 0.1.
    LeCun's normal stays at 1."""
    def check(linear, t, bias):
        torch.manual_seed(2)
        values, q = [], vector(1)
        for _ in range(20):
            h = torch.randn(64, 256)
            for _ in range(6):
                h = F.selu(linear(256, 256)(h))
            values.append(h.square().mean().double())
        for _ in range(6):
            q = selu_moments(vector(0), t * q + bias)[1]
        values = torch.stack(values)
        close(values.mean(), q[0], 5 * values.std() / 20**0.5)
        W = linear(300, 200).weight.double()
        close(300 * W.var(), t * vector(1)[0], 5 * t * (2 / 60_000)**0.5)
        return values.mean()

    def lecun(n_in, n_out, gain=1):
        made = torch.nn.Linear(n_in, n_out, bias=False)
        torch.nn.init.normal_(made.weight, std=gain / n_in**0.5)
        return made

    with torch.random.fork_rng(), torch.no_grad():
        default = {"t": 1 / 3, "bias": 1 / (3 * 256)}
        holds(check(torch.nn.Linear, **default) < 0.1)
        check(lecun, t=1, bias=0)
        refuted(lambda linear: check(linear, **default), lecun,
                lambda n_in, n_out: lecun(n_in, n_out, 3**-0.5))
