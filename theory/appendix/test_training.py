r"""Training: Adam, momentum, weight decay, dropout, He's initialisation.

Result. Adam's first steps have the length lr. Momentum k multiplies a constant gradient by
1 / (1 - k). L2 is weight decay for SGD and not for Adam. Dropout on a linear unit is a ridge
penalty. Weights of variance 2/n keep the second moment through ReLU.

Adam. m_t = b1 m_{t-1} + (1 - b1) g_t and v_t = b2 v_{t-1} + (1 - b2) g_t^2, from 0 on. m_hat =
m_t / (1 - b1^t), v_hat = v_t / (1 - b2^t), and x_t = x_{t-1} - lr m_hat / (sqrt(v_hat) + eps).
(1) m_t = (1 - b1) sum_{i<=t} b1^{t-i} g_i, and these weights add up to 1 - b1^t.
(2) So E m_hat = E g and E v_hat = E g^2, if all g_i have one law; independence is not needed.
    For a constant gradient and eps = 0 every step is -lr sign(g). Uncorrected, the first step
    would be (1 - b1) / sqrt(1 - b2) = 3.16 times that.
(3) For c > 0, c g in place of g changes no step, if eps = 0.

Momentum. v_t = k v_{t-1} + g_t and x_t = x_{t-1} - lr v_t, with 0 <= k < 1.
(4) v_t = sum_{i<=t} k^{t-i} g_i, so in the end g_i has moved x by 1 / (1 - k) times lr g_i.

Weight decay.
(5) SGD on the loss + d/2 |x|^2 makes x - lr (g + d x) = (1 - lr d) x - lr g: it is decay.
(6) With Adam it is not, because the penalty's gradient is divided by sqrt(v_hat) like g. The
    first step at x = 4, g = 1, d = 1/2, lr = 1/8 ends in 4 - lr sign(3) = 3.875 whatever d is;
    AdamW's in (1 - 1/16) 4 - 1/8 = 3.625. With momentum it is not from the second step on.

Dropout. y_i = x_i m_i / (1 - p), where the m_i are independent and 0 with probability p.
(7) E m_i = 1 - p and Var m_i = p (1 - p), so E y_i = x_i and Var y_i = x_i^2 p / (1 - p).
(8) For a linear unit E(t - sum_i w_i y_i)^2 = (t - w . x)^2 + p / (1 - p) sum_i w_i^2 x_i^2,
    because variances of independent masks add: ridge regression. Behind a nonlinearity neither
    holds: E relu(y_1 - y_2) is not relu(x_1 - x_2).

He. z = sum_i w_i h_i over n inputs; the w_i are independent, symmetric about 0, of variance
    2/n.
(9) E z^2 = 2/n sum_i h_i^2, because mixed terms have the mean 0.
(10) E relu(z)^2 = E z^2 / 2, because z and -z are equally likely. So the second moment is kept
    through any number of layers, without a normal law; variance 1/n halves it in each.

Check. (2), (7) to (10) over all outcomes, (4) on all unit gradients, in fractions or in
numbers that float64 holds exactly; minidl's and torch's optimisers. Kingma and Ba (2015);
Loshchilov and Hutter (2019); Srivastava et al. (2014); He et al. (2015); Murphy (2022), 8.4,
13.4.
"""

import itertools
import math
from fractions import Fraction

import torch
from kit import U, claim, close, holds, ints, jacobian, reals, refuted, same, signs, vector

from minidl.optim import adam_step, sgd_momentum_step


def adam_moments(gradients, b1, b2):
    """m_hat and v_hat after the last gradient; in any arithmetic."""
    m = v = 0
    for g in gradients:
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return m / (1 - b1**len(gradients)), v / (1 - b2**len(gradients))


def minidls_adam(x, gradients, lr=0.01, eps=0.0):
    m = v = torch.zeros_like(x)
    for t, g in enumerate(gradients, start=1):
        x, m, v = adam_step(x, g, m, v, t, lr, eps=eps)
    return x


def minidls_sgd(x, gradients, lr, k):
    v = torch.zeros_like(x)
    for g in gradients:
        x, v = sgd_momentum_step(x, g, v, lr, k)
    return x


def torchs(optimiser, x, gradients, **settings):
    """x after a PyTorch optimiser was given the gradients one by one."""
    x = torch.nn.Parameter(x.clone())
    optimiser = optimiser([x], **settings)
    for x.grad in gradients:
        optimiser.step()
    return x.detach()


def torchs_adam(x, gradients, lr=0.01, eps=0.0):
    return torchs(torch.optim.Adam, x, gradients, lr=lr, eps=eps)


def masks(n, p):
    """All 2^n masks of dropout, in {0, 1}^n, each with its probability."""
    for mask in itertools.product((0, 1), repeat=n):
        yield mask, p**mask.count(0) * (1 - p)**mask.count(1)


def dropout(x, mask, p):
    return [v * m / (1 - p) for v, m in zip(x, mask, strict=True)]


def unscaled(x, mask, p):
    return [v * m for v, m in zip(x, mask, strict=True)]


def dot(a, b):
    return sum(u * v for u, v in zip(a, b, strict=True))


@claim(96, "exact")
def test_adam_bias_correction_is_exact_for_constant_gradients():
    """(2) in fractions: m_hat = g and v_hat = g^2 for every t up to 8; and over all 2^t
    sequences of gradients -1 or 3, m_hat averages to 1 and v_hat to 5. The first step of
    minidl and torch is -lr sign(g). No correction, one of m alone, one with t + 1, and 0.1%
    are refuted."""
    def check(moments):
        b1, b2 = Fraction(9, 10), Fraction(999, 1000)
        for t in range(1, 9):
            for g in (Fraction(-7, 3), Fraction(1, 1000), Fraction(5)):
                holds(moments([g] * t, b1, b2) == (g, g**2), f"t = {t}, g = {g}")
        for t in range(1, 6):
            outcomes = [moments(gradients, b1, b2) for gradients in
                        itertools.product((Fraction(-1), Fraction(3)), repeat=t)]
            means = [sum(column) / 2**t for column in zip(*outcomes, strict=True)]
            holds(means == [1, 5], f"t = {t}: {means}")

    def check_first_step(adam):
        g = vector(-1000, -0.5, 3, 1e-4)
        close(adam(0 * g, g[None]), -0.01 * g.sign(), 8 * U * 0.01)

    def uncorrected(gradients, b1, b2):
        m_hat, v_hat = adam_moments(gradients, b1, b2)
        return m_hat * (1 - b1**len(gradients)), v_hat * (1 - b2**len(gradients))

    def uncorrected_adam(x, gradients):
        m, v = uncorrected(gradients, 0.9, 0.999)
        return x - 0.01 * m / v.sqrt()

    check(adam_moments)
    check_first_step(minidls_adam)
    check_first_step(torchs_adam)
    ratio = uncorrected_adam(vector(0), vector(1)[None]) / -0.01
    close(ratio, vector(0.1 / math.sqrt(0.001)), 64 * U)
    refuted(check, uncorrected,
            lambda g, b1, b2: (adam_moments(g, b1, b2)[0], uncorrected(g, b1, b2)[1]),
            lambda g, b1, b2: adam_moments([0, *g], b1, b2))     # 0 leaves m_t, but t + 1
    refuted(check_first_step, uncorrected_adam, lambda x, g: x - 0.01 * g[0],
            lambda x, g: minidls_adam(x, g, lr=0.01001))


@claim(97, "float")
def test_adam_is_invariant_to_gradient_scale():
    """(3): 30 steps on random gradients g and on c g; bit for bit for c = 2^10, else within 30
    roundings of each step, which is below 10 lr. SGD with momentum, Adam with eps = 0.1 and
    with an eps of 0.1% of a typical gradient are refuted."""
    gradients, x = reals(30, 5, seed=1), torch.zeros(5).double()
    rounding = 30 * U * 30 * 10 * 0.01

    def check(adam):
        for c, bound in ((1024, 0.0), (1e-6, rounding), (0.3, rounding), (7e4, rounding)):
            close(adam(x, c * gradients), adam(x, gradients), bound)
        close(adam(x, gradients), torchs_adam(x, gradients), rounding)

    check(minidls_adam)
    check(torchs_adam)
    refuted(check, lambda x, g: minidls_adam(x, g, eps=0.1),
            lambda x, g: minidls_adam(x, g, eps=0.001),
            lambda x, g: minidls_sgd(x, g, 0.01, 0.9))


@claim(98, "exact")
def test_momentum_unrolls_to_a_geometric_sum():
    """(4): x_T is linear in the gradients, so unit gradients at every i <= T <= 8 settle it
    for k = 0, 1/2, 3/4 and lr = 1/4, bit for bit as these are dyadic. Dampened, averaged (a
    factor 1 - k) and Nesterov's momentum are refuted, and k off by 0.1%."""
    def check(sgd):
        for k, T in itertools.product((0.0, 0.5, 0.75), range(1, 9)):
            for i in range(1, T + 1):
                unit = [vector(i == t, 2 * (i == t)) for t in range(1, T + 1)]
                moved = (1 - k**(T - i + 1)) / (1 - k)             # of each v_t, i <= t <= T
                x = vector(3, -1)
                same(sgd(x, unit, 0.25, k), x - 0.25 * moved * unit[i - 1])

    def torchs_sgd(x, gradients, lr, k, **settings):
        return torchs(torch.optim.SGD, x, gradients, lr=lr, momentum=k, **settings)

    check(minidls_sgd)
    check(torchs_sgd)
    refuted(check, lambda x, g, lr, k: torchs_sgd(x, g, lr, k, dampening=k),
            lambda x, g, lr, k: torchs_sgd(x, g, lr, k, nesterov=k > 0),
            lambda x, g, lr, k: minidls_sgd(x, g, lr * (1 - k), k),
            lambda x, g, lr, k: minidls_sgd(x, g, lr, 1.001 * k))


@claim(99, "integers")
def test_l2_equals_weight_decay_for_sgd_but_not_for_adam():
    """(5): five steps of torch's SGD with weight_decay, and of ours with the penalty's
    gradient by autograd, against decay written out, bit for bit. (6): the witness x = 4 by
    torch's Adam and AdamW. Adam, momentum, a penalty without its half and an L1 penalty are
    refuted."""
    x, gradients, lr, d = ints(4, seed=1), ints(5, 4, seed=2), 0.125, 0.5

    def check(l2, k=0.0, steps=5):
        decayed, v = x, 0
        for g in gradients[:steps]:
            v = k * v + g
            decayed = (1 - lr * d) * decayed - lr * v
        same(l2(x, gradients[:steps]), decayed)

    def ours(x, gradients, penalty=lambda x: d / 2 * (x**2).sum()):
        for g in gradients:
            x = x - lr * (g + jacobian(penalty, x)[0])
        return x

    def torchs_l2(optimiser, **settings):
        return lambda x, gradients: torchs(optimiser, x, gradients, lr=lr, weight_decay=d,
                                           **settings)

    check(ours)
    check(torchs_l2(torch.optim.SGD))
    for optimiser, expected in ((torch.optim.Adam, 3.875), (torch.optim.AdamW, 3.625)):
        found = torchs_l2(optimiser, eps=0.0)(vector(4), vector(1)[None])
        close(found, vector(expected), 8 * U * 4)
    with_momentum = torchs_l2(torch.optim.SGD, momentum=0.5)
    check(with_momentum, k=0.5, steps=1)
    refuted(lambda l2: check(l2, k=0.5, steps=2), with_momentum)
    refuted(check, torchs_l2(torch.optim.Adam),
            lambda x, gradients: ours(x, gradients, penalty=lambda x: d * (x**2).sum()),
            lambda x, gradients: ours(x, gradients, penalty=lambda x: d / 2 * x.abs().sum()))


@claim(100, "expectation")
def test_inverted_dropout_preserves_the_mean():
    """(7) over all 2^n masks, n <= 6, in fractions. torch's dropout gives 0 or x / (1 - p),
    and x in evaluation. No rescaling, 1/p and 0.1% are refuted; and behind relu, (8)."""
    def check(dropout):
        for n, p in itertools.product(range(1, 7), (Fraction(1, 5), Fraction(1, 2))):
            x = [Fraction(k * k - 5, 3) for k in range(n)]
            outcomes = [(dropout(x, mask, p), q) for mask, q in masks(n, p)]
            for i in range(n):
                holds(sum(q * y[i] for y, q in outcomes) == x[i], f"n = {n}, p = {p}, i = {i}")
                holds(sum(q * (y[i] - x[i])**2 for y, q in outcomes) == x[i]**2 * p / (1 - p))

    check(dropout)
    x = ints(50, low=1, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = torch.nn.functional.dropout(x, 0.5)
    same(y, torch.where(y == 0, 0, 2 * x))
    same(torch.nn.functional.dropout(x, 0.5, training=False), x)
    mean = sum(q * max(0, dot(dropout((1, 1), mask, Fraction(1, 2)), (1, -1)))
               for mask, q in masks(2, Fraction(1, 2)))
    holds(mean == Fraction(1, 2), mean)                          # but relu(1 - 1) = 0
    refuted(check, unscaled, lambda x, mask, p: dropout(x, mask, 1 - p),
            lambda x, mask, p: [Fraction(1001, 1000) * v for v in dropout(x, mask, p)])


@claim(101, "expectation")
def test_dropout_on_a_linear_unit_is_a_ridge_penalty():
    """(8) over all masks in fractions, n <= 5. A missing or inverted factor, a penalty without
    x, dropout without rescaling and 0.1% are refuted."""
    def check(penalty, dropout=dropout):
        for n, p in itertools.product(range(1, 6), (Fraction(1, 5), Fraction(1, 2))):
            w, x, t = [Fraction(k - 2, 3) for k in range(n)], range(2, n + 2), Fraction(7, 2)
            error = sum(q * (t - dot(w, dropout(x, mask, p)))**2 for mask, q in masks(n, p))
            holds(error == (t - dot(w, x))**2 + penalty(w, x, p), (n, p))

    def ridge(w, x, p):
        return p / (1 - p) * sum(u**2 * v**2 for u, v in zip(w, x, strict=True))

    check(ridge)
    refuted(check, lambda w, x, p: 0, lambda w, x, p: ridge(w, x, 1 - p),
            lambda w, x, p: p / (1 - p) * dot(w, w), lambda w, x, p: p * ridge(w, x, p),
            lambda w, x, p: Fraction(1001, 1000) * ridge(w, x, p))
    refuted(lambda broken: check(ridge, broken), unscaled)


@claim(102, "float")
def test_he_init_preserves_the_second_moment_through_relu():
    """(9), (10): weights gain / sqrt(n) times random signs, all of them: one layer, n = 1..8,
    and two layers 4 -> 2 -> 1. torch's kaiming_uniform_ has this variance. Xavier's gain 1,
    weights of mean 1, another nonlinearity and 0.1% are refuted."""
    def check(gain2, relu=torch.relu, rows=signs):
        for n in range(1, 9):
            h = ints(n, low=1, seed=n)
            z = rows(n) @ h                                        # (2^n,), without the scale
            close(gain2 / n * relu(z).square().mean(), h.square().mean(), 8 * U * 81)
        h = ints(4, low=1, seed=9)
        first = rows(8).reshape(-1, 2, 4) @ h                      # (2^8, 2)
        second = relu(first) @ rows(2).T                           # (2^8, 2^2)
        close(gain2 / 4 * gain2 / 2 * relu(second).square().mean(), h.square().mean(),
              16 * U * 81)

    check(torch.nn.init.calculate_gain("relu")**2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        W = torch.nn.init.kaiming_uniform_(torch.empty(500, 24), nonlinearity="relu")
    b = W.abs().max().double()                                     # variance b^2 / 3 = 2 / 24
    close(b**2 / 3, vector(2 / 24)[0], 1e-3 * 2 / 24)
    refuted(check, 1.0, 2 * 1.001)
    refuted(lambda relu: check(2.0, relu), lambda z: z, torch.abs, torch.sigmoid)
    refuted(lambda rows: check(2.0, rows=rows), lambda n: signs(n) + 1)
