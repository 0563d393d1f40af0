r"""The optima of a GAN's game and of SimCLR's loss.

Result. For fixed generator the best discriminator is D* = p / (p + q), and with it the value
of the game is -log 4 + 2 JSD(p, q). SimCLR's loss, averaged over the views, is at least log(1
+ (2N-2) e^{-N/((N-1) tau)}), and collapse costs log(2N-1).

GAN. p is the law of the data, q that of the generator, both on finitely many x; D(x) is in
(0, 1), a = logit D(x), and V(D) = sum_x p(x) log D(x) + q(x) log(1 - D(x)).
(1) Let D(x) be free at each x, and p + q > 0. Then p log D + q log(1 - D) is concave in D, and
    its derivative p/D - q/(1-D) is 0 at D* = p/(p+q). With B(D) a coin of chance D,
    V(D*) - V(D) = sum_x (p+q) KL(B(D*) || B(D)) >= 0. A network of few parameters need not
    reach D* (106).
(2) With m = (p+q)/2, V(D*) = KL(p || m) + KL(q || m) - 2 log 2 = -log 4 + 2 JSD(p, q), where
    0 <= JSD <= log 2. So it is -log 4 only if p = q, and 0 only if they have nothing in common
    (107).
(3) The generator's own term log(1 - sigmoid(a)) has the slope -sigmoid(a). That is nearly 0
    where D is sure of a fake, a far below 0. -log sigmoid(a) has the slope -sigmoid(-a): the
    same sign, and -1/2 or steeper for a <= 0 (108).

SimCLR. 2N views v_1, ..., v_2N of N images, i and i + N of the same; z = v/|v|, s_ij = z_i .
z_j, and l_i = -log(e^{s_ip/tau} / sum_{j != i} e^{s_ij/tau}) with the partner p of i.
(4) l_i = log(1 + sum_j e^{a_ij/tau}) over the 2N-2 views j of other images, a_ij = s_ij -
    s_ip.
(5) Collapse: if all z are equal, all a_ij are 0, so l_i = log(2N-1) whatever tau is. Every
    s_ij is at its maximum 1, so the gradient is 0 (109).
(6) l_i is convex and symmetric in its a_ij. By Jensen over j and then over i, the mean of the
    l_i is at least log(1 + (2N-2) e^{m/tau}), m the mean of all a_ij. Let P = sum_i s_ip <=
    2N, where |z| = 1 is used, and S the sum of the other s_ij. From 0 <= |sum_i z_i|^2 = 2N +
    P + S follows m >= -N/(N-1). Equality: partners coincide, the z sum to 0 and are equally
    far from each other, the corners of a simplex, for which N-1 dimensions are needed. A
    single l_i may be lower: the views e, -e, -e, e, -e, -e have l_1 = 0.433 at tau = 1, the
    bound is 0.638 (110).
(7) With M_i = max(0, max_j a_ij), M_i <= tau l_i <= M_i + tau log(2N-1): for tau -> 0 it is
    the hinge of the hardest negative. With A the mean of 0 and the 2N-2 numbers a_ij/tau, all
    in [-2/tau, 2/tau], Jensen and Hoeffding's lemma give 0 <= l_i - log(2N-1) - A <= 2/tau^2,
    the limit of a large tau (111).

Check. Random data in float64 are evidence, mainly for the code. The steps are the proof.
Goodfellow et al. (2014); Chen et al. (2020); Murphy (2022), 19.2.4.
"""

import math

import torch
import torch.nn.functional as F
from kit import D, U, claim, close, eye, holds, jacobian, reals, refuted, vector
from torch.distributions import Bernoulli, kl_divergence

from minidl import contrastive
from minidl.gan import discriminator_loss, non_saturating, saturating


def value(p, q, discriminator):
    """V(D) with 0 log 0 = 0: three times (n,) -> ()."""
    return (torch.xlogy(p, discriminator) + torch.xlogy(q, 1 - discriminator)).sum()


def minidls_value(p, q, discriminator):
    """The same by minidl's loss: -V is its mean over pairs of a real and a fake x."""
    chance = torch.outer(p, q)
    a = discriminator.logit().expand_as(chance)
    return -torch.where(chance > 0, chance * discriminator_loss(a.T, a), 0).sum()


def best_discriminator(p, q):
    return p / (p + q)


def jsd(p, q):
    """1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q)/2."""
    m = (p + q) / 2
    return sum(torch.xlogy(r, r) - torch.xlogy(r, m) for r in (p, q)).sum() / 2


def nt_xent(v, tau):
    """The mean of what the scripts minimise, which is under test here."""
    return contrastive.nt_xent(v, tau).mean()


def least(N, tau):
    """The bound of (6)."""
    return math.log(1 + (2 * N - 2) * math.exp(-N / ((N - 1) * tau)))


def bound(v, tau):
    """Rounding of NT-Xent: s_ij / tau is off by dims + 8 roundings, the mean of 2N terms by 2N
    + 8; the logarithm of a sum of exponentials passes on no more than the largest error."""
    n, dims = v.shape
    return 2 * U * ((dims + 8) / tau + (n + 8) * (math.log(n) + 2 / tau))


def distributions(n=7):
    """Pairs p, q (n,): three random ones, and one with zeros in either."""
    for seed in range(4):
        p, q = reals(2, n, seed=seed).exp()
        if seed == 3:
            p[0], q[1], q[2] = 0, 0, 0
        yield p / p.sum(), q / q.sum()


@claim(106, "float")
def test_optimal_discriminator_is_p_over_p_plus_q():
    """The identity of (1) for random D, with torch's KL: of no other D* is it true. V as
    above and by minidl's loss. Refuted: q for p, 0.1%, p alone, 1/2; a loss of the real alone,
    of exchanged roles. Bound: 16 n roundings of logarithms up to 7."""
    def check(best, value=value):
        for p, q in distributions():
            found = best(p, q)
            for seed in range(3):
                other = reals(len(p), seed=seed).sigmoid()
                gap = ((p + q) * kl_divergence(Bernoulli(found), Bernoulli(other))).sum()
                close(value(p, q, found) - value(p, q, other), gap, 16 * len(p) * 7 * U)

    check(best_discriminator)
    check(best_discriminator, minidls_value)
    refuted(lambda value: check(best_discriminator, value),
            lambda p, q, d: torch.xlogy(p, d).sum(), lambda p, q, d: minidls_value(q, p, d))
    refuted(check,
            lambda p, q: best_discriminator(q, p),
            lambda p, q: 0.999 * best_discriminator(p, q),
            lambda p, q: p,
            lambda p, q: 0 * p + 0.5)


@claim(107, "float")
def test_gan_value_is_minus_log4_plus_twice_jsd():
    """V(D*), by minidl's loss too, is (2), and the entropies' form of it; p = q gives -log 4,
    nothing in common 0. Refuted: log 2, one JSD, KL(p || q) for it, 0.1%. Bound as in 106."""
    def check(formula):
        for p, q in distributions():
            close(formula(p, q), value(p, q, best_discriminator(p, q)), 16 * len(p) * 7 * U)
            holds((formula(p, p) + math.log(4)).abs() <= 16 * len(p) * 7 * U)
        apart = vector([0.25, 0.75, 0, 0], [0, 0, 0.125, 0.875])
        holds(formula(*apart).abs() <= 16 * 4 * 7 * U)

    def by_entropies(p, q):
        entropy = [torch.special.entr(r).sum() for r in ((p + q) / 2, p, q)]
        return 2 * entropy[0] - entropy[1] - entropy[2] - math.log(4)

    check(lambda *pair: -math.log(4) + 2 * jsd(*pair))
    check(by_entropies)
    check(lambda p, q: minidls_value(p, q, best_discriminator(p, q)))
    refuted(check,
            lambda p, q: -math.log(2) + 2 * jsd(p, q),
            lambda p, q: -math.log(4) + jsd(p, q),
            lambda p, q: -math.log(4) + 2 * (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(),
            lambda p, q: -math.log(4) + 2 * 1.001 * jsd(p, q))


@claim(108, "float")
def test_saturating_gradient_vanishes_and_non_saturating_does_not():
    """(3): the slopes by autograd, the losses against torch's binary cross-entropy, a from -30
    to 30. Bound: a few roundings of the slope. Refuted: one for the other, signs, 0.1%."""
    a = torch.linspace(-30, 30, 61, dtype=D)

    def slope(loss):
        return jacobian(loss, a).diagonal()

    def check(flat, steep):
        close(slope(flat), -a.sigmoid(), 8 * U * a.sigmoid())
        close(slope(steep), -(-a).sigmoid(), 8 * U * (-a).sigmoid())
        holds((slope(flat).abs() <= a.exp()).all() and (slope(steep)[a <= 0] <= -0.5).all())
        for label, loss in ((0, -flat(a)), (1, steep(a))):
            close(loss, F.binary_cross_entropy_with_logits(a, 0 * a + label, reduction="none"),
                  4 * 30 * U)

    check(saturating, non_saturating)
    refuted(lambda flat: check(flat, non_saturating), non_saturating,
            lambda a: -saturating(a), lambda a: 1.001 * saturating(a))
    refuted(lambda steep: check(saturating, steep), saturating,
            lambda a: -non_saturating(a), lambda a: 0.999 * non_saturating(a))


def views(N, dims, seed):
    """2N views: any, or two equal ones of each picture, of any length."""
    v = reals(2 * N, dims, seed=seed)
    return v if seed % 2 else torch.cat([v[:N], 2 * v[:N]])


@claim(109, "float")
def test_nt_xent_collapse_costs_log_2N_minus_1_and_is_stationary():
    """(5) for 2 to 5 pictures, four tau, views of one direction and any length; pairs that
    agree cost less. Refuted: i itself in its sum, its partner not, sum for mean, 0.1%."""
    def check(loss):
        for N in range(2, 6):
            v = reals(3, seed=N) * (1 + torch.arange(2 * N, dtype=D))[:, None]
            for tau in (0.1, 0.5, 1.0, 3.0):
                close(loss(v, tau), torch.tensor(math.log(2 * N - 1), dtype=D), bound(v, tau))
                gradient = jacobian(lambda v, tau=tau: loss(v, tau), v)
                holds(gradient.abs().max() <= 8 * N * bound(v, tau) / v.norm(dim=1).min())
            holds(loss(views(N, 3, seed=0), 0.5) < loss(v, 0.5))

    def with_itself(v, tau):
        z = F.normalize(v)
        return F.cross_entropy(z @ z.T / tau, torch.arange(len(v)).roll(len(v) // 2))

    check(nt_xent)
    refuted(check, with_itself,
            lambda v, tau: nt_xent(v, tau).expm1().log(),  # without the 1 of (4)
            lambda v, tau: len(v) * nt_xent(v, tau),
            lambda v, tau: 1.001 * nt_xent(v, tau))


@claim(110, "float")
def test_nt_xent_lower_bound_is_reached_by_the_simplex():
    """(6): equality at the N corners, nothing below among random views; a descent of 4
    pictures ends within 0.01 of it in 3 dimensions, not within 0.05 in 2; the views of
    (6) by hand. Refuted: exponent 1/tau, a simplex of 2N corners, N negatives, 0.1%."""
    def check(smallest):
        for N in range(2, 6):
            corners = eye(N) - 1 / N
            for tau in (0.1, 0.5, 1.0, 3.0):
                v, expected = torch.cat([corners, 2 * corners]), smallest(N, tau)
                close(nt_xent(v, tau), vector(expected)[0], bound(v, tau))
                for seed in range(6):
                    v = views(N, 1 + seed, seed)
                    holds(nt_xent(v, tau) >= expected - bound(v, tau))

    def descend(v, tau, steps=150):
        for _ in range(steps):
            v = v - jacobian(lambda v: nt_xent(v, tau), v).reshape(v.shape)
        return nt_xent(v, tau)

    check(least)
    refuted(check,
            lambda N, tau: math.log(1 + (2 * N - 2) * math.exp(-1 / tau)),
            lambda N, tau: math.log(1 + (2 * N - 2) * math.exp(-2 * N / ((2 * N - 1) * tau))),
            lambda N, tau: math.log(1 + N * math.exp(-N / ((N - 1) * tau))),
            lambda N, tau: 1.001 * least(N, tau))
    e = vector(1, -1, -1, 1, -1, -1)[:, None]
    one = contrastive.nt_xent(e, 1)[0]
    close(one, vector(math.log(1 + 4 * math.exp(-2)))[0], bound(e, 1))
    holds(one < 0.434 < 0.637 < least(3, 1) <= nt_xent(e, 1))
    holds(least(4, 1) <= descend(reals(8, 3, seed=1), 1) < least(4, 1) + 0.01)
    holds(descend(reals(8, 2, seed=1), 1) > least(4, 1) + 0.05)


@claim(111, "float")
def test_nt_xent_limits_in_temperature_and_scale_invariance():
    """Both pairs of inequalities of (7) for tau from 0.01 to 10,000; lengths of views change
    nothing. Refuted: views not normalised, tau as a factor, 0.1% more."""
    def check(loss):
        for seed, N in ((1, 3), (2, 5), (3, 4)):
            v = views(N, 4, seed)
            z = v / v.norm(dim=1, keepdim=True)
            s = z @ z.T
            partner = s.roll(N, dims=1).diagonal()[:, None]
            pictures = torch.arange(2 * N) % N
            a = (s - partner)[pictures[:, None] != pictures].reshape(2 * N, -1)
            hinge = a.amax(dim=1).clamp(min=0).mean()
            for tau in (0.01, 0.1, 1.0, 100.0, 10_000.0):
                found, slack = loss(v, tau), bound(v, tau)
                holds(-slack <= found - hinge / tau <= math.log(2 * N - 1) + slack)
                mean = a.sum(dim=1).mean() / (2 * N - 1)
                rest = found - math.log(2 * N - 1) - mean / tau
                holds(-slack <= rest <= 2 / tau**2 + slack)
                lengths = reals(2 * N, 1, seed=7).exp()
                close(loss(lengths * v, tau), found, 2 * slack)

    check(nt_xent)
    refuted(check,
            lambda v, tau: contrastive.classify_partners(v, tau).mean(),
            lambda v, tau: nt_xent(v, 1 / tau),
            lambda v, tau: 1.001 * nt_xent(v, tau))
