r"""TI beyond the question: the other layers of a CNN, and two traps.

S is TI if S T_a = T_a S (test_time_invariance.py, whose layers are used here).

(1) Global pooling: sum and maximum over all t do not change if t is permuted, so P T_a = P on
    Z/N, and after a TI net f: P f T_a = P T_a f = P f. Equivariance becomes invariance.
    A fully connected head has a weight for each t: it does not.
(2) Fully connected, y = W x: linear. T_1 W = W T_1 reads W[t-1,u] = W[t,u+1], that is
    W[t,u] = h[t-u]: TI iff W is circulant, a convolution. W = [[1,0],[0,0]] is not.
(3) Batch norm. Evaluation: one affine map per channel, pointwise, TI. Training: mean and
    variance over batch and time do not change if t is permuted: TI for cyclic shifts. If the
    shift moves zeros in, they do change: x = [1,3] -> [-1,1], T_1 x = [0,1] -> [-1,1] as well,
    where T_1 S x = [0,-1].
(4) Layer norm over t with a scale per position is not TI, as a bias per position is not:
    x = [-1,1], scale [1,2]: S x = [-1,2], S T_1 x = [1,-2], T_1 S x = [2,-1].
(5) Zero padding makes position visible: all ones in, w = [1,1,1]: [2,3,3,2] out. N-1 layers of
    [1,1,0] tell all N positions apart: each layer hands the distance to the border on by one.
(6) Transposed convolution at stride s, y[si+u] += w[u] x[i]: x[i-a] lands sa further,
    S T_a = T_sa S. Shifts are multiplied where strided convolution divides them.
(7) Dropout in training: with its mask it is a scale per position and not TI; as a law it is,
    since a shifted mask is as likely. In evaluation it does nothing. Positions that are added
    to x, or stand beside it as a channel, are a bias per position: not TI, on purpose.
(8) A trap for tests: if the dilation d is N or more, the side taps of a 'same' layer read only
    padding, S x = w[centre] x is pointwise, and the layer passes any test of TI.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from kit import D, claim, close, holds, ints, reals, refuted, same
from test_time_invariance import (
    circular_conv,
    grid,
    max_pool,
    mean_pool,
    points,
    shift,
    vector,
)

from minidl.conv import conv1d, conv_transpose1d

U = 2.0**-53  # the relative error of one rounding


def zero_shift(x, a):
    """(T_a x)[t] = x[t-a], where x is 0 before its start; what leaves the window is lost."""
    return torch.cat([torch.zeros_like(x[..., :a]), x[..., :x.shape[-1] - a]], dim=-1)


@claim(22, "exact")
def test_global_pooling_turns_equivariance_into_invariance():
    """P f T_a = P f on all of {-1,0,1}^6, all a, f a convolution + constant + ReLU.

    After pooling of stride 2: for even a, by (d) of the question, and for odd a only where the
    two make one global pooling, the maximum of maxima and the mean of means. After two, with
    a convolution between, only the last one's stride does not count: {-1,0,1}^8, for even a.
    """
    w, b, x = ints(3, 1, 2, seed=1), ints(3, seed=2), grid((-1, 0, 1), 6)[:, None]

    def check(head, period=1, pool=lambda y: y, x=x):
        def f(x):
            return head(pool(circular_conv(x, w, b).relu()))
        for a in range(1, x.shape[-1]):
            if a % period == 0:
                same(f(shift(x, a)), f(x))
            else:
                holds(not torch.equal(f(shift(x, a)), f(x)), f"shift {a}")

    def global_mean(y):
        return y.sum(dim=2) / y.shape[2]

    def head(y):
        return F.linear(y.flatten(1), ints(2, y[0].numel(), seed=3))

    def global_max(y):
        return y.amax(dim=2)

    for pool in (global_mean, global_max, lambda y: F.adaptive_max_pool1d(y, 1),
                 lambda y: F.adaptive_avg_pool1d(y, 1)):
        check(pool)
    for pool, period in ((max_pool, 2), (mean_pool, 1), (lambda y: y[..., ::2], 2)):
        check(global_mean, period, pool)
    for pool, period in ((max_pool, 1), (mean_pool, 2), (lambda y: y[..., ::2], 2)):
        check(global_max, period, pool)
    longer, w_2, b_2 = grid((-1, 0, 1), 8)[:, None], ints(2, 3, 2, seed=4), ints(2, seed=5)
    for last, pool in ((global_max, max_pool), (global_mean, mean_pool)):
        check(last, 2, lambda y, p=pool: p(circular_conv(p(y), w_2, b_2).relu()), longer)
    same(global_mean(x), F.adaptive_avg_pool1d(x, 1)[..., 0])
    refuted(check, head, lambda y: y[..., 0], lambda y: global_max(y[..., 1:]))
    refuted(lambda period: check(global_mean, period, max_pool), 1, 3)


@claim(23, "exact")
def test_fully_connected_is_linear_but_TI_iff_circulant():
    """All W in {0,1}^(3 x 3), all unit vectors: W T_1 = T_1 W iff W[t,u] depends on t-u mod 3.

    T_1 generates all shifts. Then the witness of (2).
    """
    def check(fc):
        x = torch.eye(3, dtype=D)
        for W in grid((0, 1), 9).view(-1, 3, 3):
            commutes = torch.equal(fc(shift(x, 1), W), shift(fc(x, W), 1))
            circulant = all(W[t, u] == W[(t + 1) % 3, (u + 1) % 3]
                            for t, u in itertools.product(range(3), repeat=2))
            holds(commutes == circulant, f"W = {W.tolist()}")
            same(fc(x, W), W.T, constant=True)  # row j: the image of e_j, column j of W
        x, y, W = ints(4, 3, seed=1), ints(4, 3, seed=2), ints(5, 3, seed=3)
        same(fc(2 * x - 3 * y, W), 2 * fc(x, W) - 3 * fc(y, W))
        e_0, W = vector(1, 0)[None], torch.tensor([[1, 0], [0, 0]], dtype=D)
        same(fc(shift(e_0, 1), W), vector(0, 0)[None], constant=True)
        same(shift(fc(e_0, W), 1), vector(0, 1)[None])

    def loops(x, W):
        return torch.stack([sum(W[:, j] * row[j] for j in range(len(row))) for row in x])

    def circulant_part(x, W):  # the mean of W over its diagonals
        return sum(F.linear(x, W.roll((i, i), (0, 1))) for i in range(len(W))) / len(W)

    check(loops)
    check(F.linear)
    refuted(check, circulant_part, lambda x, W: x @ W if len(W) == 3 else x @ W.T,
            lambda x, W: F.linear(x, W) + 1)


@claim(24, "float")
def test_batchnorm_eval_is_TI_and_train_only_for_cyclic_shifts():
    """(3). Bound, n = B N numbers a channel, m the largest, s their deviation, u = 2^-53.

    The mean is off by n u m, the numerator by (n+2) u m, the variance by (n+4+2(n+2) m/s) u of
    itself, its root by half of that: the quotient, 2 m/s at most, by (4n+13) u (m/s)^2, since
    m >= s. Both sides: twice that, times the scale. Evaluation rounds less.
    """
    x, mean, var = reals(2, 3, 7), reals(3, seed=1), reals(3, seed=2)**2
    scale, offset = reals(3, seed=3), reals(3, seed=4)
    m, s = x.abs().amax(dim=(0, 2)), x.std(dim=(0, 2), correction=0)
    bound = 2 * (4 * 14 + 13) * U * (m / s)**2 * scale.abs() + 4 * U * offset.abs()
    bound = bound[:, None].expand(2, 3, 7)

    def check(norm, training):
        for a in range(1, 7):
            close(norm(shift(x, a), training), shift(norm(x, training), a), bound)

    def ours(x, training):
        use_mean = x.mean(dim=(0, 2)) if training else mean
        use_var = x.var(dim=(0, 2), correction=0) if training else var
        unit = (x - use_mean[:, None]) / (use_var[:, None] + 1e-5).sqrt()
        return unit * scale[:, None] + offset[:, None]

    def torchs(x, training):
        statistics = (None, None) if training else (mean, var)
        return F.batch_norm(x, *statistics, scale, offset, training)

    def at(x, t):
        return (torch.arange(x.shape[2]) == t).to(D)

    for norm in (ours, torchs):
        for training in (True, False):
            check(norm, training)
    close(ours(x, True), torchs(x, True), bound)
    refuted(lambda norm: check(norm, True),
            lambda x, training: ours(x, training) * 1.001 ** at(x, 0),
            lambda x, training: (x - x[..., :6].mean(dim=(0, 2))[:, None]) / x.std())
    refuted(lambda norm: check(norm, False), lambda x, _: ours(x, False) * 1.001 ** at(x, 0))

    def not_with_zeros(norm):  # the witness: batch 1, 1 channel
        x = vector(1, 3)[None, None]
        same(norm(x), vector(-1, 1)[None, None])
        same(norm(zero_shift(x, 1)), vector(-1, 1)[None, None])
        same(zero_shift(norm(x), 1), vector(0, -1)[None, None])

    not_with_zeros(lambda x: F.batch_norm(x, None, None, training=True, eps=1e-300))
    not_with_zeros(lambda x: (x - x.mean()) / x.std(correction=0))
    refuted(not_with_zeros, lambda x: x - 2, lambda x: x - x.mean())


@claim(25, "witness")
def test_layernorm_with_per_position_affine_is_not_TI():
    """(4), redone by hand: mean 0 and variance 1 before and after the shift; and once with
    mean 5 and variance 4: (1 - 5)/2 = -2, (6 - 5)/2 = 1/2. And (7) by all masks of three
    samples, p = 1/2: TI as a law, by no mask that drops some and keeps some.
    """
    def check(norm):
        x, scale, offset = vector(-1, 1)[None], vector(1, 2), vector(0, 0)
        same(norm(x, scale, offset), vector(-1, 2)[None])
        same(norm(shift(x, 1), scale, offset), vector(1, -2)[None])
        same(shift(norm(x, scale, offset), 1), vector(2, -1)[None])
        same(norm(x, 0 * scale, scale), vector(1, 2)[None])
        x, scale = vector(1, 6, 6, 6, 6)[None], vector(1, 2, 3, 4, 5)
        same(norm(x, scale, 0 * scale), vector(-2, 1, 1.5, 2, 2.5)[None])

    def ours(x, scale, offset):
        unit = (x - x.mean(dim=1)[:, None]) / x.std(dim=1, correction=0)[:, None]
        return unit * scale + offset

    check(ours)
    check(lambda x, scale, offset: F.layer_norm(x, x.shape[1:], scale, offset, eps=0))

    def check_dropout(masks):
        x = vector(1, 2, 4)
        holds(sorted((2 * masks * shift(x, 1)).tolist())
              == sorted(shift(2 * masks * x, 1).tolist()))

    masks = grid((0, 1), 3)
    check_dropout(masks)
    refuted(check_dropout, *masks[1:-1, None])
    refuted(check, lambda x, scale, offset: ours(x, scale.mean(), offset),  # one for all: TI
            lambda x, scale, offset: ours(x, scale, 0),
            lambda x, scale, offset: x.sign() * scale + offset.flip(0))


@claim(26, "witness")
def test_zero_padding_lets_a_cnn_see_absolute_position():
    """(5): a constant in, no constant out; circular, the net sees nothing.

    By hand: L layers of [1,1,0], which add the left neighbour: sum_{j <= t} (L over j).
    """
    def check(padded):
        ones = torch.ones(1, 1, 4, dtype=D)
        same(padded(ones, vector(1, 1, 1)[None, None])[0, 0], vector(2, 3, 3, 2))
        for N in range(3, 8):
            y = torch.ones(1, 1, N, dtype=D)
            for _ in range(N - 1):
                y = padded(y, vector(1, 1, 0)[None, None])
            by_hand = [sum(math.comb(N - 1, j) for j in range(t + 1)) for t in range(N)]
            same(y[0, 0], vector(*by_hand))
            holds(len(set(by_hand)) == N, "two positions look alike")

    def padding(mode):
        return lambda x, w: conv1d(F.pad(x, (1, 1), mode=mode), w)

    check(lambda x, w: conv1d(x, w, padding=1))
    check(lambda x, w: F.conv1d(x, w, padding=1))
    refuted(check, padding("circular"), padding("reflect"), padding("replicate"))


@claim(27, "exact")
def test_transposed_convolution_multiplies_shifts_by_the_stride():
    """S T_a = T_sa S on Z: with a zeros put before x, s a zeros come before S x.

    All pairs of unit vectors, sizes to 4 and 3, s = 1..3, a = 1..3. Padding p cuts p values
    off both ends of S x: then only the inner part moves.
    """
    def check(layer):
        for n, k, s, a in itertools.product(range(2, 5), range(2, 4), (1, 2, 3), (1, 2, 3)):
            x = points(n)
            for w in torch.eye(k, dtype=D):
                same(layer(F.pad(x, (a, 0)), w, s), F.pad(layer(x, w, s), (s * a, 0)))
                same(layer(x, w, s), loops(x, w, s))

    def loops(x, w, s):
        y = torch.zeros(len(x), (x.shape[1] - 1) * s + len(w), dtype=D)
        for i, u in itertools.product(range(x.shape[1]), range(len(w))):
            y[:, i * s + u] += w[u] * x[:, i]
        return y

    def layer(x, w, s, transposed=conv_transpose1d, padding=0):
        return transposed(x[:, None], w[None, None], None, s, padding)[:, 0]

    check(layer)
    check(lambda x, w, s: layer(x, w, s, F.conv_transpose1d))
    refuted(check, lambda x, w, s: layer(x, w, 1), lambda x, w, s: layer(x, w.flip(0), s),
            lambda x, w, s: layer(x, w, s, padding=1) if len(w) > 2 else layer(x, w, s))


@claim(28, "exact")
def test_dilation_wider_than_the_input_is_a_pointwise_layer():
    """(8): S x = w[1] x iff d >= N, for 'same' layers of width 3, and only then S T_a = T_a S
    if T_a moves zeros in. All unit vectors x, N = 2..6, d = 1..8: test TI with d < N.
    """
    w = vector(3, 5, 7)

    def check(layer):
        for N, d in itertools.product(range(2, 7), range(1, 9)):
            x = points(N)
            pointwise = torch.equal(layer(x, d), 5 * x)
            commutes = all(torch.equal(layer(zero_shift(x, a), d), zero_shift(layer(x, d), a))
                           for a in range(1, N))
            holds(pointwise == (d >= N), f"N = {N}, d = {d}: pointwise is {pointwise}")
            holds(commutes == (d >= N), f"N = {N}, d = {d}: commutes is {commutes}")

    def layer(x, d, convolution=conv1d):
        return convolution(x[:, None], w[None, None], None, 1, d, d)[:, 0]

    def circular(x, d):
        return 3 * shift(x, d) + 5 * x + 7 * shift(x, -d)

    check(layer)
    check(lambda x, d: layer(x, d, F.conv1d))
    refuted(check, lambda x, d: layer(x, 1), lambda x, d: layer(x, d + 1), circular)
