r"""Question 2 (a) to (d): which layers of a CNN are time invariant, and is the CNN?

Result. An additive constant and a pointwise nonlinearity are time invariant. Strided pooling
is not, for any stride s > 1. Nor is a CNN whose strides have a product s > 1, unless its
output does not depend on its input.

A system S is time invariant (TI) if S T_a = T_a S for every shift a, with (T_a x)[t] = x[t-a].
Signals are defined on all integers and are 0 outside a finite range. For images, t and a are
pairs, and space invariance is proven in the same way.

(a) Additive constant, (S x)[t] = x[t] + c. It is TI: (S T_a x)[t] = x[t-a] + c = (S x)[t-a].
It is not linear, because S 0 = c. The constant must not depend on t. With b[t] in its place
the two sides differ by b[t] - b[t-a], which is 0 for every a only if b is constant.

(b) Pointwise nonlinearity, (S x)[t] = f(x[t]) with one f for all t. It is TI: (S T_a x)[t] =
f(x[t-a]) = (S x)[t-a]. ReLU is not linear: relu(-1) + relu(1) = 1, but relu(0) = 0.

(c) Strided pooling. (S x)[t] is the maximum or the mean of x[st], ..., x[st+k-1], with s > 1
and k >= 1. It is not TI.
(1) Let P be the same pooling at stride 1. It is TI, because its window slides with x. Then
    S = D_s P, where D_s keeps every s-th sample, (D_s y)[t] = y[st].
(2) At t, D_s T_{sm} y is y[st-sm], and T_m D_s y is y[s(t-m)], the same sample. With (1), S
    T_{sm} = T_m S for every m: a shift by sm comes out as a shift by m.
(3) Suppose that S were TI. With m = 1 in (2), T_s S = S T_s = T_1 S, so S x has the period
    s-1 >= 1 for every x. Let x be the unit impulse, x[0] = 1. Then (S x)[0] is 1 for the
    maximum and 1/k for the mean, and S x is 0 outside a finite range. A signal that is 0 in
    the end and not everywhere has no period. So S is not TI, for every s > 1 and k >= 1.
(4) For some shifts not even another shift of the output helps (Zhang 2019). The maxima of the
    pairs of x = [0,0,1,1,0,0,1,1] are [0,1,0,1], those of T_1 x are [1,1,1,1].
The same holds of subsampling alone (k = 1), and of a convolution with a stride and a kernel
that is not 0.

(d) The CNN f of all these layers and convolutions.
(5) If S and R are TI, then S R T_a = S T_a R = T_a S R. So without strides f is TI at any
    depth, by (a), (b) and question 1.
(6) With strides of the product s, (2) and (5) give f T_{sm} = T_m f for every m.
(7) Let s > 1 and let f be TI. As in (3), f x has the period s-1 for every x. Outside a finite
    range f x is f 0, which does not change in time. So f x = f 0 for every x: only a network
    that ignores its input, as with all weights 0, is TI. One input with f x != f 0 shows that
    a network is not, and claim 21 has one.

Windows. A circle of N samples, with cyclic shifts, changes nothing if s divides N [used in
(2)]; of [1,2,3,4,5] every second sample is [1,3,5], of its T_2 [4,1,3]. In a window with
zeros outside, a delay moves zeros in and loses the last samples. Pointwise layers with f(0) =
0 and causal convolutions still commute with every delay, anticausal convolutions with every
advance. A kernel that reads both ways commutes with neither, at the borders (claim 14).
Repairs of (c): blurring before subsampling makes the difference smaller (Zhang 2019). Choosing
the phase by the samples themselves removes it (Chaman and Dokmanic 2021).

Check. Affine layers: all unit vectors and 0. Maxima commute with increasing maps, so all order
patterns of N numbers, {0..N-1}^N, settle every x. Whole networks: integers, evidence for (5).
"""
# sheet: S3.7a, S3.7b, S3.7c, S3.7d

import itertools
import math

import torch
import torch.nn.functional as F
from kit import D, U, claim, close, grid, holds, ints, reals, refuted, same, units, vector

from minidl.conv import conv1d


def shift(x, a):
    """(T_a x)[t] = x[t-a], cyclic, along the last axis."""
    return torch.stack([x[..., (t - a) % x.shape[-1]] for t in range(x.shape[-1])], dim=-1)


def zero_shift(x, a):
    """(T_a x)[t] = x[t-a], 0 outside the window; what leaves it is lost. a < 0: an advance."""
    return F.pad(x, (a, -a))


def reconcilable(y, y_shifted):
    """Whether some shift of the output, any, turns y into y_shifted."""
    return any(torch.equal(y_shifted, shift(y, b)) for b in range(y.shape[-1]))


def points(n):
    """The unit vectors and 0, (n+1, n): they settle affine maps."""
    return F.pad(torch.eye(n, dtype=D), (0, 0, 0, 1))


def windows(x, k, stride):
    """(..., N) -> (..., N/s, k): x[st], ..., x[st+k-1], indices mod N."""
    N = x.shape[-1]
    return x[..., (torch.arange(0, N, stride)[:, None] + torch.arange(k)) % N]


def max_pool(x, k=2, stride=2):
    return windows(x, k, stride).amax(dim=-1)


def mean_pool(x, k=2, stride=2):
    return windows(x, k, stride).sum(dim=-1) / k


def max_pool_torch(x, k=2, stride=2):
    return F.max_pool1d(F.pad(x, (0, k - 1), mode="circular"), k, stride)


def mean_pool_torch(x, k=2, stride=2):
    return F.avg_pool1d(F.pad(x, (0, k - 1), mode="circular"), k, stride)


def circular_conv(x, w, b=None, stride=1, convolution=conv1d):
    """(B, C, N), (O, C, k), (O,) -> (B, O, N/s): correlation with indices mod N."""
    return convolution(F.pad(x, (0, w.shape[2] - 1), mode="circular"), w, b, stride)


def zero_padded_conv(x, w, b=None):
    return conv1d(F.pad(x, (0, w.shape[2] - 1)), w, b)


@claim(13, "exact", "2 (a)")
def test_additive_constant_is_TI_iff_it_is_constant_and_is_not_linear():
    """S T_a x - T_a S x = b - T_a b, for every x. All b in {0,1,2}^N, N = 2..4: all a or none.
    [0,1,0,1] is not TI, although it commutes with T_2: every a is asked for. S 0 = b."""
    def check(add):
        for N in range(2, 5):
            x = points(N)
            for b in grid((0, 1, 2), N):
                commutes = all(torch.equal(add(shift(x, a), b), shift(add(x, b), a))
                               for a in range(1, N))
                holds(commutes == (b == b[0]).all().item(), f"b = {b.tolist()}")
                same(add(x, b) - x, b.expand(N + 1, N), constant=True)

    check(torch.add)
    check(lambda x, b: F.linear(x, torch.eye(len(b), dtype=D), b))
    refuted(check, lambda x, b: x + b[0], lambda x, b: x * b, lambda x, b: x + b.flip(0),
            lambda x, b: x)


@claim(14, "exact", "2 (d)")
def test_with_zeros_outside_causal_layers_commute_with_delays_and_with_no_advance():
    """All unit kernels of width 3 that read x[t+u], u = -2..2, and x + c at all shifts in a
    window of 6: delays commute iff u <= 0, advances iff u >= 0; a constant with neither."""
    def check(layer):
        x = points(6)
        for w in units(5):
            u = int(w.argmax()) - 2
            for a in range(1, 6):
                for late, commutes in ((a, u <= 0), (-a, u >= 0)):
                    found = torch.equal(layer(zero_shift(x, late), w),
                                        zero_shift(layer(x, w), late))
                    holds(found == commutes, f"reads x[t+{u}], shift {late}: {found}")

    def layer(x, w, convolution=conv1d):
        return convolution(x[:, None], w[None, None], padding=2)[:, 0]

    check(layer)
    check(lambda x, w: layer(x, w, F.conv1d).relu())
    refuted(check, lambda x, w: layer(x, w) + 1, lambda x, w: layer(x, w.flip(0)),
            lambda x, w: circular_conv(x[:, None], w[None, None])[:, 0])


@claim(15, "float", "2 (b)")
def test_pointwise_nonlinearity_is_TI_but_not_linear():
    """f(T_a x) = T_a f(x), exactly for ReLU, to 4 ulp for the others: a library may compute
    exp in blocks of numbers, with another rounding in the last block. Not linear: f(-1) + f(1)
    is not f(0), or (tanh is odd) f(2) is not 2 f(1)."""
    def check(f, ulps):
        x = reals(2, 7)
        for a in range(1, 7):
            left, right = f(shift(x, a)), shift(f(x), a)
            if ulps:
                close(left, right, ulps * 2 * U * right.abs())
            else:
                same(left, right)
        minus, zero, one, two = f(vector(-1, 0, 1, 2)[:, None])[:, 0]
        holds(minus + one != zero or two != 2 * one, "linear")

    def at(x, t):  # 1 at position t, else 0
        return (torch.arange(x.shape[1]) == t).to(D)

    check(torch.relu, ulps=0)
    check(lambda x: x * (x > 0), ulps=0)
    for f in (F.selu, torch.sigmoid, torch.tanh):
        check(f, ulps=4)
    refuted(lambda f: check(f, ulps=0), lambda x: (x - at(x, 3)).relu(), lambda x: 3 * x)
    refuted(lambda f: check(f, ulps=4), lambda x: x.tanh() * 1.001 ** at(x, 0),
            lambda x: x.softmax(dim=1).cumsum(dim=1))


@claim(16, "exact", "2 (c)")
def test_stride_one_pooling_is_TI():
    """(1): all order patterns of N = 2..4 numbers (maximum) and unit vectors (mean), all k and
    a. Padding with -inf, as libraries do, or pooling blocks and repeating each, is not TI."""
    def check(pool, points):
        for N in range(2, 5):
            x = points(N)
            for k, a in itertools.product(range(1, N + 1), range(1, N)):
                same(pool(shift(x, a), k, 1), shift(pool(x, k, 1), a))

    def patterns(N):
        return grid(range(N), N)

    for pool in (max_pool, max_pool_torch):
        check(pool, patterns)
    for pool in (mean_pool, mean_pool_torch):
        check(pool, points)
    same(max_pool(patterns(4), 3, 1), max_pool_torch(patterns(4), 3, 1))
    same(mean_pool(points(5), 3, 1), mean_pool_torch(points(5), 3, 1))
    refuted(lambda pool: check(pool, patterns),
            lambda x, k, _: F.max_pool1d(x, k, 1, padding=k // 2)[:, :x.shape[1]],
            lambda x, k, _: max_pool(x, k, k).repeat_interleave(k, 1)[:, :x.shape[1]])


@claim(17, "exact", "2 (c)")
def test_strided_pooling_is_not_TI_for_any_stride():
    """(3) at s = 2..6, k = 1..6, for an impulse far from the ends of its window: S T_s x is
    T_1 S x, so it is not T_s S x. Maximum, mean, subsampling, strided convolution."""
    def check(pool):
        for s, k in itertools.product(range(2, 7), range(1, 7)):
            x = vector(*[t == 8 * s for t in range(16 * s + k - 1)])[None]
            y, late = pool(x, k, s), pool(shift(x, s), k, s)
            holds(y.any() and torch.equal(late, shift(y, 1)), f"s = {s}, k = {k}: not T_1 S")
            holds(not torch.equal(late, shift(y, s)), f"s = {s}, k = {k}: T_s S")

    def strided(x, k, s):  # a mean without its 1/k
        return conv1d(x[:, None], torch.ones(1, 1, k, dtype=D), stride=s)[:, 0]

    for pool in (F.max_pool1d, F.avg_pool1d, strided,
                 lambda x, k, s: x[:, ::s], lambda x, k, s: x.unfold(1, k, s).amax(dim=2)):
        check(pool)
    refuted(check, lambda x, k, s: F.max_pool1d(x, k, 1), lambda x, k, s: x,
            lambda x, k, s: F.max_pool1d(x, k, s + 1), lambda x, k, s: 0 * strided(x, k, s))


@claim(18, "witness", "2 (c)")
def test_no_shift_of_the_output_reconciles_strided_pooling():
    """Maxima of pairs, (4). Means of pairs: [2,0,0,2] -> [1,1], T_1: [2,2,0,0] -> [2,0]. Every
    other sample: [1,0,1,0] -> [1,1], T_1: [0,1,0,1] -> [0,0]. Choosing the better of the two
    phases (adaptive polyphase sampling) does repair it."""
    def check(pool, x, y, y_shifted):
        x = vector(*x)[None]
        holds(not reconcilable(pool(x), pool(shift(x, 1))), "a shift of the output does it")
        same(pool(x), vector(*y)[None], constant=True)
        same(pool(shift(x, 1)), vector(*y_shifted)[None], constant=True)

    def strided(*w):
        return lambda x: conv1d(x[:, None], vector(*w)[None, None], stride=2)[:, 0]

    def adaptive(x):
        return max(max_pool(x), max_pool(shift(x, -1)), key=torch.sum)

    maximum = (0, 0, 1, 1, 0, 0, 1, 1), (0, 1, 0, 1), (1, 1, 1, 1)
    mean, sample = ((2, 0, 0, 2), (1, 1), (2, 0)), ((1, 0, 1, 0), (1, 1), (0, 0))
    for pools, numbers in (((max_pool, max_pool_torch), maximum),
                           ((mean_pool, mean_pool_torch, strided(0.5, 0.5)), mean),
                           ((lambda x: x[:, ::2], strided(1)), sample)):
        for pool in pools:
            check(pool, *numbers)
    refuted(lambda pool: check(pool, *maximum), adaptive, mean_pool,
            lambda x: max_pool(x, stride=1))
    refuted(lambda pool: check(pool, *mean), max_pool, lambda x: mean_pool(x, stride=1))
    refuted(lambda pool: check(pool, *sample), strided(1, 1))


@claim(19, "exact", "2 (c)")
def test_strided_layers_commute_exactly_with_multiples_of_the_stride():
    """(2): S T_a x = T_(a/s) S x if s | a; else no T_b does it. N = 12, s = 3, 2, 1, all a;
    where s does not divide N, not even for a = s. Linear layers: all unit vectors. Maxima: all
    order patterns of N = 4, s = 2; N = 12 on 200 permutations, evidence."""
    def check(layer, x, period=lambda s: s):
        for s in (3, 2, 1):
            for a in range(1, x.shape[1]):
                y, y_shifted = layer(x, s), layer(shift(x, a), s)
                if a % period(s) == 0:
                    same(y_shifted, shift(y, a // period(s)))
                else:
                    holds(not reconcilable(y, y_shifted), f"stride {s}, shift {a}")

    k, w = 3, vector(2, -3, 5)[None, None]

    def conv(x, s, convolution=conv1d):
        return circular_conv(x[:, None], w, None, s, convolution)[:, 0]

    x = vector(1, 2, 3, 4, 5)[None]
    holds(not reconcilable(x[:, ::2], shift(x, 2)[:, ::2]), "2 does not divide 5")
    y = reals(2, 3, 7)
    holds(all(reconcilable(y, shift(y, b)) for b in range(7)), "a shift is not found")
    permutations = torch.stack([reals(12, seed=i).argsort() for i in range(200)]).to(D)
    for layer in (conv, lambda x, s: conv(x, s, F.conv1d), lambda x, s: x[:, ::s],
                  lambda x, s: mean_pool(x, k, s), lambda x, s: mean_pool_torch(x, k, s)):
        check(layer, units(12))
    for pool in (max_pool, max_pool_torch):
        check(lambda x, s, pool=pool: pool(x, k, s), permutations)
        x = grid(range(4), 4)
        same(pool(shift(x, 2), k, 2), shift(pool(x, k, 2), 1))
    refuted(lambda layer: check(layer, units(12)),
            lambda x, s: conv1d(x[:, None], w, None, s, padding=1)[:, 0],
            lambda x, s: conv(x, 1)[:, ::s].flip(1),
            lambda x, s: conv(x, 1)[:, :12 // s])        # the stride ignored, then cut
    refuted(lambda period: check(conv, units(12), period),
            lambda s: 1, lambda s: 2 * s)                # every shift; too few shifts


@claim(20, "integers", "2 (d)")
def test_composition_of_TI_layers_is_TI():
    """(5), three times convolution + constant + ReLU: f T_a = T_a f on all of {-1,0,1}^5, all
    a. One foreign layer spoils it."""
    weights = [ints(2, 1, 2), ints(3, 2, 3, seed=1), ints(2, 3, 2, seed=2)]
    biases = [ints(2, seed=3), ints(3, seed=4), ints(2, seed=5)]

    def check(layer):
        def net(x):
            for w, b in zip(weights, biases, strict=True):
                x = layer(x, w, b).relu()
            return x
        x = grid((-1, 0, 1), 5)[:, None]
        for a in range(1, 5):
            same(net(shift(x, a)), shift(net(x), a))

    def ramp_at_depth_two(x, w, b):
        return circular_conv(x, w, b) + (torch.arange(5) if x.shape[1] == 2 else 0)

    def stride_at_depth_two(x, w, b):
        s = x.shape[1] if x.shape[1] == 2 else 1
        return circular_conv(x, w, b)[..., ::s].repeat_interleave(s, 2)[..., :5]

    check(circular_conv)
    check(lambda x, w, b: circular_conv(x, w, b, convolution=F.conv1d))
    refuted(check, zero_padded_conv, ramp_at_depth_two, stride_at_depth_two)


@claim(21, "integers", "2 (d)")
def test_cnn_with_pooling_is_TI_only_for_multiples_of_the_total_stride():
    """(6), strides 2 and 4: f T_8m = T_m f, and for other a no T_b f is f T_a (N = 24). (7):
    f x is not f 0, and f T_8 is not T_8 f. Two poolings 2/2 by hand: [0,0,0,0,1,1,1,1] gives
    [0,1]; its T_2, a multiple of each stride, [1,1]; its T_4 [1,0]. Zero kernels are TI."""
    strides = (2, 4)
    weights = [ints(3, 1, 2, seed=1), ints(2, 3, 3, seed=2)]
    biases = [ints(3, seed=3), ints(2, seed=4)]

    def network(x, pool, conv=circular_conv, scale=1):
        for w, b, s in zip(weights, biases, strides, strict=True):
            x = pool(conv(x, scale * w, b).relu(), s, s)
        return x

    def check(pool, conv=circular_conv, total=math.prod):
        x = ints(5, 1, 24, seed=5)
        y = network(x, pool, conv)
        for a in range(1, 24):
            y_shifted = network(shift(x, a), pool, conv)
            if a % total(strides) == 0:
                same(y_shifted, shift(y, a // total(strides)))
            else:
                holds(not reconcilable(y, y_shifted), f"shift {a}")
        holds(not torch.equal(y, network(0 * x, pool, conv)))
        holds(not torch.equal(network(shift(x, 8), pool, conv), shift(y, 8)))
        x = vector(0, 0, 0, 0, 1, 1, 1, 1)[None]
        for a, expected in ((0, (0, 1)), (2, (1, 1)), (4, (1, 0))):
            y = pool(pool(shift(x, a), 2, 2), 2, 2)
            same(y, vector(*expected)[None], constant=True)

    check(max_pool)
    check(max_pool_torch, lambda x, w, b: circular_conv(x, w, b, convolution=F.conv1d))
    x = ints(5, 1, 24, seed=5)
    for a in range(24):
        same(network(shift(x, a), max_pool, scale=0), shift(network(x, max_pool, scale=0), a))
    refuted(lambda total: check(max_pool, total=total), sum, max, lambda s: math.lcm(*s))
    refuted(lambda conv: check(max_pool, conv), zero_padded_conv)
    refuted(check, lambda x, k, s: max_pool(x, k, 1)[..., :x.shape[-1] // s])
