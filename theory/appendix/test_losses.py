r"""Losses and activations: softmax, the sigmoid inside the loss, L1 against L2, SELU.

Softmax. p_i = e^{z_i} / S, S = sum_k e^{z_k}, z in R^C.
(1) dp_i/dz_j = (e^{z_i} [i = j] S - e^{z_i} e^{z_j}) / S^2 = p_i ([i = j] - p_j)
    so J = diag(p) - p p^T: symmetric, rows sum to 0 (a shift of all z changes nothing), and
    v^T J v = sum p_i v_i^2 - (sum p_i v_i)^2 = Var_p(v) >= 0: positive semidefinite.
(2) Cross-entropy l = -sum_i y_i log p_i = log S - sum_i y_i z_i             sum_i y_i = 1
(3) dl/dz = p - y, and the Hessian is J: l is convex in z                         (2), (1)
    Breaks: with sum y = c the gradient is c p - y. With softmax applied twice the loss is
    bounded, so not convex.

Sigmoid inside the loss (assignment 8, footnote). s(z) = 1 / (1 + e^-z), target t in [0, 1].
(4) -t log s(z) - (1 - t) log(1 - s(z)) = sp(z) - t z,  sp(z) = log(1 + e^z)
    by -log(1 - s(z)) = sp(z) and -log s(z) = sp(-z) = sp(z) - z
(5) sp(z) = max(z, 0) + log(1 + e^{-|z|}): no exponential can overflow, and log1p keeps a
    small e^{-|z|}. In floating point the left of (4) fails as soon as s(z) rounds to 1: in
    float32 at z = 17, t = 0, log(1 - s) = -inf, where the loss is 17.0. A clamp of the log
    at -100 (PyTorch's BCELoss) gives 100, and a gradient of 0 to the worst of all errors.

L1 and L2. (6) F(c) = sum_n |x_n - c| has slope #{x_n < c} - #{x_n > c} off the data: negative
    before the median, positive after it; all points between the two middle values of an even
    number are minima. (7) sum_n (x_n - c)^2 = sum_n (x_n - m)^2 + N (c - m)^2, m the mean.
    Given a code, both hold of the pixels that have it: the L1 decoder of exercise 2 tends to
    their median, an L2 decoder to their mean. Where most are black, L1 gives exactly 0.
(8) Denoising, x clean, y noisy, m(y) = E[x|y]: E(f(y) - x)^2 = E(f(y) - m(y))^2 +
    E(m(y) - x)^2, as E[(f - m)(m - x) | y] = (f - m)(m - E[x|y]) = 0. So f = m is best.

SELU(x) = lam x for x > 0, lam al (e^x - 1) else. P: the normal distribution function.
    Over x ~ N(0, 1), with E[e^{kx}; x < 0] = e^{k^2/2} P(-k) by completing the square,
(9)  E SELU = lam [1/sqrt(2 pi) + al (sqrt(e) P(-1) - 1/2)] = 0               determines al
(10) E SELU^2 = lam^2 [1/2 + al^2 (e^2 P(-2) - 2 sqrt(e) P(-1) + 1/2)] = 1  determines lam
     so mean 0 and variance 1 are a fixed point.
(11) A layer of weights with row sum w and sum of squares t takes mean and variance of its
     inputs to (w mu, t nu), if they are independent, and then through SELU's moments, if
     their sum is normal (many inputs). At (0, 1), t = 1 the Jacobian is [[0.985 w, 0.089],
     [0.303 w, 0.783]]: centred rows, w = 0, attract with radius 0.783; w = 1 has the
     eigenvalue 1.077 and repels.
(12) PyTorch's Linear draws U(-1/sqrt(n), 1/sqrt(n)), n inputs: variance 1 / (3 n), t = 1/3.
     The second moment decays with the depth, near 0 by lam^2 (1 + al^2) / 6 = 0.70 a layer,
     but for what the bias, of variance 1 / (3 n) too, adds. SELU needs t = 1: LeCun's normal
     of variance 1 / n, not PyTorch's calculate_gain('selu') = 3/4.

Checked. (6) to (8) in exact arithmetic on all small cases listed, which proves those; the
    rest in float64 within bounds, against autograd, decimals of 400 digits or quadrature.
References. Murphy (2022), 13.3.3; Klambauer et al. (2017), Self-Normalizing Neural Networks.
"""

import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from kit import claim, close, holds, ints, jacobian, reals, refuted, same

from minidl.losses import l1, mse

U = 2.0**-53  # the relative error of one rounding in float64


def softmax(z):
    """(B, C) -> (B, C)."""
    exponentials = (z - z.max(dim=1, keepdim=True).values).exp()
    return exponentials / exponentials.sum(dim=1, keepdim=True)


def cross_entropy(z, y):
    """(B, C), (B, C) -> (B,), right of (2)."""
    return torch.logsumexp(z, dim=1) - (y * z).sum(dim=1)


def softmax_jacobian(z):
    """J of (1), (C,) -> (C, C), by the quotient rule in plain loops."""
    e, S = [math.exp(v) for v in z.tolist()], sum(math.exp(v) for v in z.tolist())
    return torch.from_numpy(np.array(
        [[((i == j) * e[i] * S - e[i] * e[j]) / S**2 for j in range(len(e))]
         for i in range(len(e))]))


def bce_with_logits(z, t):
    return z.clamp(min=0) - z * t + torch.log1p((-z.abs()).exp())


def naive_bce(z, t):
    p = 1 / (1 + (-z).exp())
    return -t * p.log() - (1 - t) * (1 - p).log()


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
    """Step (1): the Jacobian of a batched softmax by autograd is block diagonal, with blocks
    diag(p) - p p^T by the quotient rule in loops; they are symmetric, their rows sum to 0 and
    v^T J v = Var_p(v). A shift by 1000 changes nothing but the rounding of z. Softmax over the
    wrong axis and 0.1 % are refuted."""
    def check(softmax):
        for C in (2, 3, 5):
            z, v = reals(4, C, seed=C), reals(C, seed=C + 9)
            blocks = [softmax_jacobian(row) for row in z]
            close(jacobian(softmax, z), torch.block_diag(*blocks), 32 * U)
            close(softmax(z + 1000), softmax(z), 2000 * U)
            for p, J in zip(softmax(z), blocks, strict=True):
                close(J, p.diag() - torch.outer(p, p), 32 * U)
                holds(torch.equal(J, J.T) and (J.sum(dim=1).abs() <= 32 * U).all())
                close(v @ J @ v, (p * (v - p @ v)**2).sum(), 32 * U * (1 + v @ v))

    check(softmax)
    check(lambda z: z.softmax(dim=1))
    far_apart = torch.tensor([[-1000, 0, 1000]]).double()
    same(softmax(far_apart), torch.tensor([[0, 0, 1]]).double())
    refuted(check, lambda z: z.softmax(dim=0), lambda z: softmax(1.001 * z),
            lambda z: z.sigmoid(), lambda z: z.exp() / z.exp().sum())


@claim(89, "float")
def test_cross_entropy_gradient_is_p_minus_y_and_hessian_is_psd():
    """Steps (2), (3) for hard and soft targets: gradient p - y and Hessian J by autograd of
    ours and of PyTorch's loss, no eigenvalue below 0 (rounding aside). Where sum y = 2 the
    gradient is 2 p - y. Softmax twice, a mean over the classes, 0.1 % are refuted."""
    y = torch.tensor([[8, 0, 0, 0, 0], [0, 0, 0, 8, 0], [1, 2, 0, 4, 1]]).double() / 8
    z = reals(3, 5, seed=3)

    def check(loss):
        def total(z):
            return loss(z, y).sum()

        close(jacobian(total, z), (softmax(z) - y).reshape(1, 15), 32 * U)
        hessian = torch.autograd.functional.hessian(total, z).reshape(15, 15)
        close(hessian, torch.block_diag(*map(softmax_jacobian, z)), 32 * U)
        holds((torch.linalg.eigvalsh(hessian) >= -32 * U).all())

    def torchs(z, y):
        return F.cross_entropy(z, y, reduction="none")

    check(cross_entropy)
    check(torchs)
    two_labels = (y[0] + y[1])[None]
    close(jacobian(lambda z: torchs(z, two_labels), z[:1]), 2 * softmax(z[:1]) - two_labels,
          32 * U)
    refuted(check, lambda z, y: torchs(softmax(z), y), lambda z, y: torchs(z, y) / 5,
            lambda z, y: 1.001 * torchs(z, y), lambda z, y: cross_entropy(z, 1 - y),
            lambda z, y: -torchs(z, y), lambda z, y: -(y * z.log_softmax(dim=0)).sum(dim=1))


@claim(90, "float")
def test_sigmoid_inside_the_loss_is_equal_and_stable():
    """Steps (4), (5) against the left side of (4) in decimals of 400 digits (1 - s(800) needs
    350), |z| up to 800: within 8 roundings of 1 + |z|, and ours for t = 0, 1 of the loss. For
    |z| <= 3 the naive form is equal too; beyond it is refuted, as are log for log1p, a
    clamp at 100, a missing |.|, 0.1 %. The float32 numbers of (5) are reproduced."""
    def exact(z, t):
        with localcontext() as context:
            context.prec = 400
            p = 1 / (1 + (-Decimal(z)).exp())
            return float(-Decimal(t) * p.ln() - (1 - Decimal(t)) * (1 - p).ln())

    moderate, extreme = [-3.0, -0.5, 0.25, 2.0], [-800.0, -40.0, -17.0, 17.0, 40.0, 800.0]
    hard, grey = [0.0, 1.0], [0.25, 0.625]

    def check(loss, zs, ts, relative=False):
        for z, t in itertools.product(zs, ts):
            value, truth = loss(*torch.tensor([z, t]).double()).item(), exact(z, t)
            scale = truth if relative else 1 + abs(z)
            holds(abs(value - truth) <= 8 * U * scale, f"{z}, {t}: {value}, {truth}")

    check(naive_bce, moderate, hard + grey)
    check(bce_with_logits, moderate + extreme, hard + grey)
    check(F.binary_cross_entropy_with_logits, moderate + extreme, hard + grey)
    check(bce_with_logits, moderate + extreme[1:], hard, relative=True)  # e^-800 underflows
    z, t = torch.tensor([17.0], requires_grad=True), torch.zeros(1)
    holds(naive_bce(z, t).item() == math.inf)
    same(bce_with_logits(z, t), torch.tensor([17.0]))
    clamped = F.binary_cross_entropy(z.sigmoid(), t)
    holds(clamped.item() == 100 and torch.autograd.grad(clamped, z)[0].item() == 0)
    close(torch.autograd.grad(bce_with_logits(z, t).sum(), z)[0], torch.ones(1), 1e-6)
    refuted(lambda broken: check(broken, extreme, hard), naive_bce,
            lambda z, t: F.binary_cross_entropy(z.sigmoid(), t),
            lambda z, t: z.clamp(min=0) - z * t + torch.log1p((-z).exp()))
    refuted(lambda broken: check(broken, moderate, grey),
            lambda z, t: 1.001 * bce_with_logits(z, t), lambda z, t: bce_with_logits(-z, t))
    refuted(lambda broken: check(broken, extreme[1:], hard, relative=True),
            lambda z, t: z.clamp(min=0) - z * t + (1 + (-z.abs()).exp()).log())


@claim(91, "exact")
def test_l1_is_minimised_by_the_median_and_l2_by_the_mean():
    """Steps (6), (7) with minidl's losses: every multiset of up to 5 values out of 0, 60, ...,
    240 against every integer candidate from 0 to 240: all kinks and all means are among them.
    The minimisers are the closed interval of medians for L1 and the mean alone for L2."""
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
    check(lambda a, b: F.l1_loss(a, b, reduction="none")[:, 0], medians)
    check(mse, mean)
    refuted(lambda broken: check(broken, medians), mse,
            lambda a, b: F.smooth_l1_loss(a, b, beta=60.0, reduction="none")[:, 0])
    refuted(lambda broken: check(l1, broken), mean,
            lambda values: [values[len(values) // 2]],            # the upper median alone
            lambda values: [(values[0] + values[-1]) // 2])
    refuted(lambda broken: check(mse, broken), medians)


@claim(92, "expectation")
def test_denoising_optimum_is_the_conditional_mean():
    """Step (8) in Fractions on joint tables p(x, y), 4 clean values by 3 noisy ones: a step
    d = -1 or 1 of f at one y away from m costs exactly p(y) d^2, so that the loss, a parabola
    in every f(y), has its vertex at m. numpy's least squares agrees."""
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
            weight = np.sqrt(np.array(table, float)).reshape(-1, 1)  # one row per (x, y)
            one_hot, x = np.tile(np.eye(3), (4, 1)), np.repeat(np.array(clean, float), 3)
            fitted = np.linalg.lstsq(weight * one_hot, weight[:, 0] * x, rcond=None)[0]
            close(fitted, np.array(f, float), 1000 * U)

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
    """Steps (9), (10): an activation's mean and second moment under N(0, 1) by Gauss-Legendre
    quadrature, 100 nodes on each side of the kink over 12 standard deviations (its error and
    the tails are below 1e-15), are 0 and 1 with the al, lam of erfc, which are PyTorch's. The
    closed form for any N(mu, nu) is checked likewise. ReLU, ELU and 0.1 % are refuted."""
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
        close(activation(torch.tensor([1, -50]).double()), np.array([LAM, -LAM * AL]), 8 * U)

    def check_moments(moments):
        for mu, nu in itertools.product([-0.7, 0.0, 0.4, 1.5], [0.3, 1.0, 2.5]):
            exact = quadrature(F.selu, mu, nu)
            close(moments(*torch.tensor(np.array([mu, nu]))), exact, 1e-12)

    check(lambda x: LAM * torch.where(x > 0, x, AL * torch.expm1(x)))
    check(F.selu)
    check_moments(selu_moments)
    refuted(check, F.relu, F.elu, lambda x: 1.001 * F.selu(x),
            lambda x: LAM * F.elu(x, alpha=1.001 * AL))
    refuted(check_moments, lambda mu, nu: selu_moments(mu, nu.sqrt()),
            lambda mu, nu: 1.001 * selu_moments(mu, nu))


@claim(94, "float")
def test_selu_fixed_point_attracts_with_centred_weights_and_not_with_row_sum_one():
    """Step (11): 100 layers take each (mean, variance) of a 3 x 4 grid around (0, 1) to within
    1e-9 of it (0.783^100 = 2.4e-11), and the Jacobian there has radius below 1. A row sum of 1
    leaves it: from mean 0.001 to above 1. t = 1/3 and a step 0.1 % too large end elsewhere."""
    def check(step):
        fixed = torch.tensor([0, 1]).double()
        close(step(fixed), fixed, 64 * U)
        holds(torch.linalg.eigvals(jacobian(step, fixed)).abs().max() < 1)
        for mu, nu in itertools.product([-0.1, 0.0, 0.1], [0.8, 1.0, 1.25, 1.5]):
            x = torch.tensor([mu, nu]).double()
            for _ in range(100):
                x = step(x)
            close(x, fixed, 1e-9)

    check(layer(w=0, t=1))
    repelled = torch.tensor([0.001, 1]).double()
    for _ in range(100):
        repelled = layer(w=1, t=1)(repelled)
    holds(repelled[0] > 1, repelled)
    J = jacobian(layer(w=1, t=1), torch.tensor([0, 1]).double())
    close(J, np.array([[0.985, 0.089], [0.303, 0.783]]), 5e-4)    # as in (11), to 3 digits
    holds(torch.linalg.eigvals(J).abs().max() > 1.07)
    refuted(check, layer(w=1, t=1), layer(w=0, t=1 / 3),
            lambda x: 1.001 * layer(w=0, t=1)(x))


@claim(95, "statistical")
def test_default_linear_init_has_variance_one_third_and_breaks_selu():
    """Step (12), seeded: nn.Linear(300, 200) keeps within 1/sqrt(300) and has n Var = 1/3
    within five standard errors, each sqrt(0.8 / 60000) of it as E w^4 = 9/5 (E w^2)^2; six
    SELU layers of it end, within five standard errors over 20 networks, at the second moment q
    that q -> E SELU(N(0, t q + bias))^2 predicts, below 0.1. LeCun's normal stays at 1."""
    def second_moments(linear, width=256, depth=6):
        torch.manual_seed(2)
        values = []
        for _ in range(20):
            h = torch.randn(64, width)
            for _ in range(depth):
                h = F.selu(linear(width, width)(h))
            values.append(h.square().mean())
        values = torch.stack(values).double()
        return values.mean(), 5 * values.std() / 20**0.5

    def predicted(t, bias, depth=6):
        q = torch.ones(1).double()
        for _ in range(depth):
            q = selu_moments(torch.zeros(1).double(), t * q + bias)[1]
        return q[0]

    def check(linear):
        W = linear(300, 200).weight.double()
        close(300 * W.var(), torch.tensor(1).double() / 3, 5 / 3 * (0.8 / 60_000)**0.5)
        holds(W.abs().max() * 300**0.5 <= 1 + 2**-22)
        mean, five_errors = second_moments(linear)
        close(mean, predicted(t=1 / 3, bias=1 / (3 * 256)), five_errors)
        holds(mean < 0.1)

    def check_lecun(linear):
        mean, five_errors = second_moments(linear)
        close(mean, predicted(t=1, bias=0), five_errors)
        holds(linear(300, 200).weight.shape == (200, 300) and linear(300, 200).bias is None)

    def lecun(n_in, n_out, gain=1):
        made = torch.nn.Linear(n_in, n_out, bias=False)
        torch.nn.init.normal_(made.weight, std=gain / n_in**0.5)
        return made

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        check(torch.nn.Linear)
        check_lecun(lecun)
        refuted(check, lecun, lambda n_in, n_out: lecun(n_in, n_out, 3**-0.5))
        refuted(check_lecun, torch.nn.Linear, lambda n_in, n_out: lecun(
            n_in, n_out, torch.nn.init.calculate_gain("selu")))
