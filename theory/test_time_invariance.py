r"""TI: which layers of a CNN are time/space invariant, and is the CNN?

The question (exercise 2, theoretical question 2): additive constant, pointwise nonlinearity,
strided pooling; and hence a CNN of these and convolutions. S is TI if S T_a = T_a S for all a,
(T_a x)[t] = x[t-a], on Z or, with cyclic shifts, on Z/N. With zeros outside a window only
pointwise layers with f(0) = 0 are: a constant spoils the first a samples, a kernel the border.

a) Additive constant: TI.     (S T_a x)[t] = x[t-a] + c = (S x)[t-a].
   Not linear: S 0 = c. The constant must be one: with x[t] + b[t] the two sides differ by
   b[t] - b[t-a], which is 0 for all a only if b is constant. Witness b = [0, 1].
b) Pointwise nonlinearity: TI.     (S T_a x)[t] = f(x[t-a]) = (S x)[t-a], one f for all t.
   Not linear: ReLU(-1) + ReLU(1) = 1, ReLU(0) = 0.
c) Pooling at stride 1: TI, the window slides with x. Strided pooling, s > 1: NOT TI.
   (1) S = D_s P, P the pooling at stride 1, (D_s y)[t] = y[st].
   (2) (D_s T_{sm} y)[t] = y[st - sm] = (T_m D_s y)[t]: shifts by s m come out as shifts by m,
       which is not TI yet. On Z/N it needs s | N: of [1,2,3,4,5] every second is [1,3,5], of
       its T_2 [4,1,3], no shift of the other.
   (3) If s does not divide a, then D_s T_a reads other samples than D_s, and nothing holds:
       x = [0,0,1,1,0,0,1,1], maximum of pairs: [0,1,0,1]; of T_1 x: [1,1,1,1]. No shift of
       the one is the other, so not even "up to some shift of the output" (Zhang 2019).
   So it is with averages ([2,0,0,2] -> [1,1], T_1: [2,0]) and with subsampling alone
   ([1,0,1,0] -> [1,1], T_1: [0,0]), hence with strided convolutions.
d) (4) If S T_a = T_a S and R T_a = T_a R, then S R T_a = S T_a R = T_a S R.
   So convolution + constant + nonlinearity, any depth, is TI: (4) with test_lti.py, a), b).
   With strided pooling the CNN is NOT TI: by (2), f T_{sm} = T_m f with s the product of all
   strides (on Z/N: s | N), and (3) for other shifts; with zero padding not even that at the
   border. Global pooling on top is invariant to shifts by s m. Where it makes one global
   pooling with the last one (maximum and maximum, k >= stride; mean and mean, k = stride) the
   last stride does not count: to all shifts if it was the only one.
   Repairs: to blur before subsampling makes the difference smaller (Zhang 2019), to choose the
   phase by the samples themselves removes it (Chaman and Dokmanic 2021).

What the checks prove. Linear and affine layers: all unit vectors and 0, a proof for that size.
Maximum: it commutes with increasing maps, so all order patterns of N numbers, {0..N-1}^N,
settle all x of R^N. Witnesses settle each "not". Nets: integers {-1,0,1}^N; the proof is (4).
"""
# sheet: S3.7a, S3.7b, S3.7c, S3.7d

import itertools
import math

import torch
import torch.nn.functional as F
from kit import D, claim, close, holds, ints, reals, refuted, same

from minidl.conv import conv1d

U = 2.0**-53  # the relative error of one rounding


def shift(x, a):
    """(T_a x)[t] = x[t-a], cyclic, along the last axis."""
    return torch.stack([x[..., (t - a) % x.shape[-1]] for t in range(x.shape[-1])], dim=-1)


def reconcilable(y, y_shifted):
    """Whether some shift of the output, any, turns y into y_shifted."""
    return any(torch.equal(y_shifted, shift(y, b)) for b in range(y.shape[-1]))


def points(n):
    """The unit vectors and 0, (n+1, n): they settle affine maps."""
    return F.pad(torch.eye(n, dtype=D), (0, 0, 0, 1))


def grid(values, n):
    """All vectors with entries among the values, (len(values)^n, n)."""
    return torch.tensor(list(itertools.product(values, repeat=n)), dtype=D)


def vector(*numbers):
    return torch.tensor(numbers, dtype=D)


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


def circular_conv(x, w, b=None, convolution=conv1d):
    """(B, C, N), (O, C, k), (O,) -> (B, O, N): correlation with indices mod N."""
    return convolution(F.pad(x, (0, w.shape[2] - 1), mode="circular"), w, b)


@claim(13, "exact")
def test_additive_constant_is_TI_but_not_linear():
    """All unit vectors, 0 and all shifts: S is affine, so this settles TI. S x - x = c, not 0,
    for x = 0 as well: not linear.
    """
    def check(layer):
        for N in range(2, 7):
            x = points(N)
            for a in range(1, N):
                same(layer(shift(x, a), 3.0), shift(layer(x, 3.0), a))
            same(layer(x, 3.0) - x, torch.full((N + 1, N), 3.0, dtype=D), constant=True)

    def with_torch(x, c):
        return F.conv1d(x[:, None], torch.ones(1, 1, 1, dtype=D), vector(c))[:, 0]

    check(lambda x, c: x + c)
    check(with_torch)
    refuted(check,
            lambda x, c: x + c * torch.arange(x.shape[1]),    # a ramp
            lambda x, c: x * c,                               # linear
            lambda x, c: x)


@claim(14, "exact")
def test_per_position_bias_is_TI_iff_constant():
    """S T_a x - T_a S x = b - T_a b, for every x. All b in {0,1,2}^N, N = 2..4: all a or none.

    [0,1,0,1] is not TI, although it commutes with T_2: every a is asked for.
    """
    def check(add):
        for N in range(2, 5):
            x = points(N)
            for b in grid((0, 1, 2), N):
                commutes = all(torch.equal(add(shift(x, a), b), shift(add(x, b), a))
                               for a in range(1, N))
                holds(commutes == (b == b[0]).all().item(), f"b = {b.tolist()}")
                same(add(x, b) - x, b.expand(N + 1, N), constant=True)
        x, b = vector(0, 0), vector(0, 1)  # the witness
        same(shift(add(x, b), 1), vector(1, 0))
        same(add(shift(x, 1), b), vector(0, 1))

    check(torch.add)
    check(lambda x, b: F.linear(x, torch.eye(len(b), dtype=D), b))
    refuted(check, lambda x, b: x + b[0], lambda x, b: x * b, lambda x, b: x + b.flip(0))


@claim(15, "float")
def test_pointwise_nonlinearity_is_TI_but_not_linear():
    """f(T_a x) = T_a f(x), exactly for ReLU, to 4 ulp for the others: a library may compute
    exp in blocks of numbers, with another rounding in the last block. Not linear: f(-1) + f(1)
    is not f(0), or (tanh is odd) f(2) is not 2 f(1).
    """
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

    def relu(x):
        return x * (x > 0)

    def selu(x, scale=1.0507009873554805, alpha=1.6732632423543772):
        return scale * torch.where(x > 0, x, alpha * (x.exp() - 1))

    def sigmoid(x):
        return 1 / (1 + (-x).exp())

    def at(x, t):  # 1 at position t, else 0
        return (torch.arange(x.shape[1]) == t).to(D)

    for f in (relu, torch.relu):
        check(f, ulps=0)
    for f in (selu, F.selu, sigmoid, torch.sigmoid, torch.tanh):
        check(f, ulps=4)
    x = reals(2, 7)
    same(relu(x), torch.relu(x))
    close(selu(x), F.selu(x), 8 * U * (1 + x.abs()))  # e^x - 1 loses an ulp of 1
    close(sigmoid(x), torch.sigmoid(x), 8 * U)
    refuted(lambda f: check(f, ulps=0), lambda x: relu(x - at(x, 3)), lambda x: 3 * x)
    refuted(lambda f: check(f, ulps=4), lambda x: x.tanh() * 1.001 ** at(x, 0),
            lambda x: x.softmax(dim=1).cumsum(dim=1))


@claim(16, "exact")
def test_stride_one_pooling_is_TI():
    """All order patterns of N = 2..4 numbers (maximum) and unit vectors (mean), all k, all a.

    Padding with -inf, as libraries do, or pooling blocks and repeating each, is not TI.
    """
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


@claim(17, "witness")
def test_strided_max_pooling_is_not_TI():
    """x of (3): [0,1,0,1], of T_1 x: [1,1,1,1]; no shift of the output makes them equal.

    Choosing the better of the two phases (adaptive polyphase sampling) does repair this.
    """
    def check(pool):
        x = vector(0, 0, 1, 1, 0, 0, 1, 1)[None]
        y, y_shifted = pool(x), pool(shift(x, 1))
        holds(not reconcilable(y, y_shifted), "a shift of the output reconciles them")
        same(y, vector(0, 1, 0, 1)[None])
        same(y_shifted, vector(1, 1, 1, 1)[None], constant=True)

    def adaptive(x):
        return max(max_pool(x), max_pool(shift(x, -1)), key=torch.sum)

    check(max_pool)
    check(max_pool_torch)
    refuted(check, adaptive, mean_pool, lambda x: max_pool(x, stride=1))


@claim(18, "witness")
def test_strided_average_pooling_and_subsampling_are_not_TI():
    """Means of pairs: [2,0,0,2] -> [1,1], T_1: [2,2,0,0] -> [2,0]. Every other sample:
    [1,0,1,0] -> [1,1], T_1: [0,1,0,1] -> [0,0]. Both are strided convolutions: linear, not TI.
    """
    def check(mean, sample):
        x = vector(2, 0, 0, 2)[None]
        holds(not reconcilable(mean(x), mean(shift(x, 1))))
        same(mean(x), vector(1, 1)[None], constant=True)
        same(mean(shift(x, 1)), vector(2, 0)[None])
        x = vector(1, 0, 1, 0)[None]
        holds(not reconcilable(sample(x), sample(shift(x, 1))))
        same(torch.cat([sample(x), sample(shift(x, 1))]), vector(1, 1, 0, 0).view(2, 2))

    def strided_conv(w):
        return lambda x: conv1d(x[:, None], vector(*w)[None, None], stride=2)[:, 0]

    check(mean_pool, lambda x: x[:, ::2])
    check(mean_pool_torch, lambda x: F.conv1d(x[:, None], torch.ones(1, 1, 1, dtype=D),
                                              stride=2)[:, 0])
    check(strided_conv([0.5, 0.5]), strided_conv([1]))
    refuted(lambda mean: check(mean, strided_conv([1])),
            max_pool, lambda x: mean_pool(x, stride=1))
    refuted(lambda sample: check(mean_pool, sample),
            strided_conv([1, 1]), lambda x: max(x[:, ::2], x[:, 1::2], key=torch.sum))


@claim(19, "exact")
def test_strided_layers_commute_exactly_with_multiples_of_the_stride():
    """S T_a x = T_(a/s) S x if s | a; else no T_b does it. N = 12, s = 3, 2, 1, all a. And
    where s does not divide N, not even for a = s: the witness of (2).

    Linear layers on all unit vectors. Maxima: all order patterns for N = 4, s = 2; N = 12 on
    200 permutations, evidence. "No T_b" is a witness each time, on data without ties.
    """
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
        x = F.pad(x[:, None], (0, k - 1), mode="circular")
        return convolution(x, w, None, s)[:, 0]

    def zero_padded(x, s):
        return conv1d(x[:, None], w, None, s, padding=1)[:, 0]

    x = vector(1, 2, 3, 4, 5)[None]
    same(x[:, ::2], vector(1, 3, 5)[None])
    same(shift(x, 2)[:, ::2], vector(4, 1, 3)[None])
    holds(not reconcilable(x[:, ::2], shift(x, 2)[:, ::2]), "2 does not divide 5")
    y = reals(2, 3, 7)
    holds(all(reconcilable(y, shift(y, b)) for b in range(7)), "a shift is not found")
    unit_vectors = points(12)[:-1]
    permutations = torch.stack([reals(12, seed=i).argsort() for i in range(200)]).to(D)
    for layer in (conv, lambda x, s: conv(x, s, F.conv1d), lambda x, s: x[:, ::s],
                  lambda x, s: mean_pool(x, k, s), lambda x, s: mean_pool_torch(x, k, s)):
        check(layer, unit_vectors)
    for pool in (max_pool, max_pool_torch):
        check(lambda x, s, pool=pool: pool(x, k, s), permutations)
        x = grid(range(4), 4)
        same(pool(shift(x, 2), k, 2), shift(pool(x, k, 2), 1))
    refuted(lambda layer: check(layer, unit_vectors), zero_padded,
            lambda x, s: conv(x, 1)[:, ::s].flip(1),
            lambda x, s: conv(x, 1)[:, :12 // s])        # the stride ignored, then cut
    refuted(lambda period: check(conv, unit_vectors, period),
            lambda s: 1, lambda s: 2 * s)                # every shift; too few shifts


@claim(20, "exact")
def test_composition_of_TI_layers_is_TI():
    """Three times convolution + constant + ReLU: f T_a = T_a f on all of {-1,0,1}^5, all a.

    That settles these inputs; all others are settled by (4). One foreign layer spoils it.
    """
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

    def zero_padding(x, w, b):
        return conv1d(F.pad(x, (0, w.shape[2] - 1)), w, b)

    def ramp_at_depth_two(x, w, b):
        return circular_conv(x, w, b) + (torch.arange(5) if x.shape[1] == 2 else 0)

    def stride_at_depth_two(x, w, b):
        s = x.shape[1] if x.shape[1] == 2 else 1
        return circular_conv(x, w, b)[..., ::s].repeat_interleave(s, 2)[..., :5]

    check(circular_conv)
    check(lambda x, w, b: circular_conv(x, w, b, F.conv1d))
    refuted(check, zero_padding, ramp_at_depth_two, stride_at_depth_two)


@claim(21, "exact")
def test_cnn_with_pooling_is_TI_only_for_multiples_of_the_total_stride():
    """Strides 2 and 4: f T_8m = T_m f, and for other a no T_b f is f T_a (integers, N = 24).

    Witness, two poolings 2/2: x = [0,0,0,0,1,1,1,1] gives [0,1]; T_2 x, a multiple of each
    stride, gives [1,1]; T_4 x gives [1,0] = T_1 [0,1].
    """
    strides = (2, 4)
    weights = [ints(3, 1, 2, seed=1), ints(2, 3, 3, seed=2)]
    biases = [ints(3, seed=3), ints(2, seed=4)]

    def check(pool, conv=circular_conv, total=math.prod):
        def net(x):
            for w, b, s in zip(weights, biases, strides, strict=True):
                x = pool(conv(x, w, b).relu(), s, s)
            return x
        x = ints(5, 1, 24, seed=5)
        for a in range(1, 24):
            y, y_shifted = net(x), net(shift(x, a))
            if a % total(strides) == 0:
                same(y_shifted, shift(y, a // total(strides)))
            else:
                holds(not reconcilable(y, y_shifted), f"shift {a}")
        x = vector(0, 0, 0, 0, 1, 1, 1, 1)[None]
        for a, expected in ((0, (0, 1)), (2, (1, 1)), (4, (1, 0))):
            y = pool(pool(shift(x, a), 2, 2), 2, 2)
            same(y, vector(*expected)[None], constant=True)

    def zero_padding(x, w, b):
        return conv1d(F.pad(x, (0, w.shape[2] - 1)), w, b)

    check(max_pool)
    check(max_pool_torch, lambda x, w, b: circular_conv(x, w, b, F.conv1d))
    refuted(lambda total: check(max_pool, total=total), sum, max, lambda s: math.lcm(*s))
    refuted(lambda conv: check(max_pool, conv), zero_padding)
    refuted(check, lambda x, k, s: max_pool(x, k, 1)[..., :x.shape[-1] // s])
