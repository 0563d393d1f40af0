r"""Beyond question 2: which of the other layers are time invariant, and two traps for tests.

Result. Global pooling turns time invariance into S T_a = S. A fully connected layer is TI only
if its matrix is circulant. Batch norm is TI in evaluation; layer norm with a scale per
position and zero padding are not. Transposed convolution multiplies shifts by its stride.

S is TI if S T_a = T_a S with (T_a x)[t] = x[t-a], as in test_time_invariance.py.
(1) Global pooling: sum and maximum over all t do not change if t is permuted, so P T_a = P on
    a circle, and after a TI network f, P f T_a = P T_a f = P f. After pooling with stride s it
    holds for a = s m. It holds for every a where the two together are one global pooling: a
    maximum of maxima with k >= s, or a mean of means with k a multiple of s, since then every
    sample is in k/s windows.
(2) Fully connected, y = W x: T_1 W = W T_1 says W[t-1,u] = W[t,u+1], so W[t,u] = h[t-u], a
    circulant matrix, which is a convolution. W with W[0,0] = 1 and 0 elsewhere is not TI.
(3) Batch norm. In evaluation it is one affine map per channel: TI. In training mean and
    variance do not change if t is permuted: TI for cyclic shifts. A shift that moves zeros in
    changes them: x = [1,3] gives [-1,1], T_1 x = [0,1] gives [-1,1] as well.
(4) Layer norm over t with a scale per position is not TI: for x = [-1,1] and the scale [1,2],
    S x = [-1,2], S T_1 x = [1,-2] and T_1 S x = [2,-1].
(5) Zero padding makes position visible: of all ones, w = [1,1,1] makes [2,3,3,2]. With N-1
    layers of [1,1,0] no two positions look alike.
(6) Transposed convolution, y[s i + u] += w[u] x[i]: S T_a = T_{s a} S.
(7) Dropout with its mask is a scale per position, not TI. As a law it is, because a shifted
    mask is as likely. Positions added to x, or beside it as a channel, are not TI on purpose.
(8) A trap for tests: with a dilation d >= N the side taps of a "same" layer read only padding.
    The layer is pointwise, and passes any test of time invariance.

Check. Unit vectors and all cases of the sizes listed; batch norm in float64 within a bound.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from kit import D, U, claim, close, eye, grid, holds, ints, reals, refuted, same, vector
from test_time_invariance import circular_conv, max_pool, mean_pool, points, shift, zero_shift

from minidl.conv import conv1d, conv_transpose1d


@claim(22, "integers")
def test_global_pooling_turns_equivariance_into_invariance():
    """(1), P f T_a = P f on all of {-1,0,1}^6, all a, f a convolution + constant + ReLU, then
    pooling of stride 2 with k = 2, 3, 4. After two of them, with a convolution in between, for
    even a: {-1,0,1}^8. Refuted: a fully connected head, one sample, the maximum of a part."""
    w, b, x = ints(3, 1, 2, seed=1), ints(3, seed=2), grid((-1, 0, 1), 6)[:, None]

    def check(head, period=1, pool=lambda y: y, x=x):
        def f(x):
            return head(pool(circular_conv(x, w, b).relu()))
        for a in range(1, x.shape[-1]):
            if a % period == 0:
                same(f(shift(x, a)), f(x))
            else:
                holds(not torch.equal(f(shift(x, a)), f(x)), f"shift {a}")

    def total(y):  # of k y, so that a mean of 3 or 4 integers does not round
        return y.sum(dim=2)

    def global_max(y):
        return y.amax(dim=2)

    def head(y):
        return F.linear(y.flatten(1), ints(2, y[0].numel(), seed=3))

    for pool in (total, global_max, lambda y: F.adaptive_max_pool1d(y, 1)):
        check(pool)
    for k, of_means in ((2, 1), (3, 2), (4, 1)):
        check(total, of_means, lambda y, k=k: k * mean_pool(y, k))
        check(global_max, 1, lambda y, k=k: max_pool(y, k))
        check(total, 2, lambda y, k=k: max_pool(y, k))
    check(total, 2, lambda y: y[..., ::2])
    longer, w_2, b_2 = grid((-1, 0, 1), 8)[:, None], ints(2, 3, 2, seed=4), ints(2, seed=5)
    check(global_max, 2, lambda y: max_pool(circular_conv(max_pool(y), w_2, b_2).relu()),
          longer)
    refuted(check, head, lambda y: y[..., 0], lambda y: global_max(y[..., 1:]))
    refuted(lambda period: check(total, period, max_pool), 1, 3)


@claim(23, "exact")
def test_fully_connected_is_linear_but_TI_iff_circulant():
    """(2): all W in {0,1}^(3 x 3), all unit vectors, W T_1 = T_1 W iff W[t,u] depends on t-u
    mod 3; T_1 generates all shifts. Then the witness."""
    def check(fc):
        x = eye(3)
        for W in grid((0, 1), 9).view(-1, 3, 3):
            commutes = torch.equal(fc(shift(x, 1), W), shift(fc(x, W), 1))
            circulant = all(W[t, u] == W[(t + 1) % 3, (u + 1) % 3]
                            for t, u in itertools.product(range(3), repeat=2))
            holds(commutes == circulant, f"W = {W.tolist()}")
            same(fc(x, W), W.T, constant=True)  # row j: the image of e_j, column j of W
        e_0, W = vector(1, 0)[None], vector([1, 0], [0, 0])
        same(fc(shift(e_0, 1), W), vector(0, 0)[None], constant=True)
        same(shift(fc(e_0, W), 1), vector(0, 1)[None])

    def circulant_part(x, W):  # the mean of W over its diagonals
        return sum(F.linear(x, W.roll((i, i), (0, 1))) for i in range(len(W))) / len(W)

    check(F.linear)
    check(lambda x, W: torch.stack([sum(W[:, j] * row[j] for j in range(len(row)))
                                    for row in x]))
    refuted(check, circulant_part, lambda x, W: x @ W, lambda x, W: F.linear(x, W) + 1)


@claim(24, "float")
def test_batchnorm_eval_is_TI_and_train_only_for_cyclic_shifts():
    """(3). Bound, n = B N numbers a channel, m the largest, s their deviation: the mean is off
    by n U m, the numerator by (n+2) U m, the variance by (n+4+2(n+2) m/s) U of itself, its
    root by half of that: the quotient, 2 m/s at most, by (4n+13) U (m/s)^2, since m >= s. Both
    sides: twice that, times the scale. Evaluation rounds less."""
    x, mean, var = reals(2, 3, 7), reals(3, seed=1), reals(3, seed=2)**2
    scale, offset = reals(3, seed=3), reals(3, seed=4)
    m, s = x.abs().amax(dim=(0, 2)), x.std(dim=(0, 2), correction=0)
    bound = 2 * (4 * 14 + 13) * U * (m / s)**2 * scale.abs() + 4 * U * offset.abs()

    def check(norm, training, shift=shift):
        for a in range(1, 7):
            close(norm(shift(x, a), training), shift(norm(x, training), a),
                  bound[:, None].expand(2, 3, 7))

    def torchs(x, training):
        statistics = (None, None) if training else (mean, var)
        return F.batch_norm(x, *statistics, scale, offset, training)

    def louder_at_0(x, training):
        return torchs(x, training) * 1.001 ** (torch.arange(7) == 0)

    for training in (True, False):
        check(torchs, training)
        refuted(lambda norm, training=training: check(norm, training), louder_at_0)
    refuted(lambda shift: check(torchs, True, shift), zero_shift)
    x = vector(1, 3)[None, None]  # the witness: batch 1, 1 channel
    for moved, expected in ((x, [-1, 1]), (zero_shift(x, 1), [-1, 1])):
        same(F.batch_norm(moved, None, None, training=True, eps=1e-300),
             vector(*expected)[None, None])


@claim(25, "witness")
def test_layernorm_with_per_position_affine_is_not_TI():
    """(4) by hand, and (7) by all masks of three samples, p = 1/2: TI as a law, by no mask
    that drops some and keeps some."""
    def check(norm):
        x, scale, offset = vector(-1, 1)[None], vector(1, 2), vector(0, 0)
        same(norm(x, scale, offset), vector(-1, 2)[None])
        same(norm(shift(x, 1), scale, offset), vector(1, -2)[None])
        same(shift(norm(x, scale, offset), 1), vector(2, -1)[None])

    def torchs(x, scale, offset):
        return F.layer_norm(x, x.shape[1:], scale, offset, eps=0)

    def check_dropout(masks):
        x = vector(1, 2, 4)
        holds(sorted((2 * masks * shift(x, 1)).tolist())
              == sorted(shift(2 * masks * x, 1).tolist()))

    check(torchs)
    check(lambda x, scale, offset: x / x.std(correction=0) * scale + offset)  # its mean is 0
    refuted(check, lambda x, scale, offset: torchs(x, scale.mean() + 0 * scale, offset),
            lambda x, scale, offset: torchs(x, scale.flip(0), offset))
    masks = grid((0, 1), 3)
    check_dropout(masks)
    refuted(check_dropout, *masks[1:-1, None])


@claim(26, "witness")
def test_zero_padding_lets_a_cnn_see_absolute_position():
    """(5). By hand: L layers of [1,1,0], which add the left neighbour: sum_{j <= t} (L over
    j). Circular padding, a reflection and a repetition show nothing."""
    def check(padded):
        ones = torch.ones(1, 1, 4, dtype=D)
        same(padded(ones, vector(1, 1, 1)[None, None])[0, 0], vector(2, 3, 3, 2))
        for N in range(3, 8):
            y = torch.ones(1, 1, N, dtype=D)
            for _ in range(N - 1):
                y = padded(y, vector(1, 1, 0)[None, None])
            by_hand = [sum(math.comb(N - 1, j) for j in range(t + 1)) for t in range(N)]
            same(y[0, 0], vector(*by_hand))

    def padding(mode):
        return lambda x, w: conv1d(F.pad(x, (1, 1), mode=mode), w)

    check(lambda x, w: conv1d(x, w, padding=1))
    check(lambda x, w: F.conv1d(x, w, padding=1))
    refuted(check, padding("circular"), padding("reflect"), padding("replicate"))


@claim(27, "exact")
def test_transposed_convolution_multiplies_shifts_by_the_stride():
    """(6) on Z: with a zeros put before x, s a zeros come before S x. All pairs of unit
    vectors, sizes to 4 and 3, s = 1..3, a = 1..3. Padding cuts the ends of S x: refuted."""
    def check(layer):
        for n, k, s, a in itertools.product(range(2, 5), range(2, 4), (1, 2, 3), (1, 2, 3)):
            x = points(n)
            for w in eye(k):
                same(layer(F.pad(x, (a, 0)), w, s), F.pad(layer(x, w, s), (s * a, 0)))

    def layer(x, w, s, transposed=conv_transpose1d, padding=0):
        return transposed(x[:, None], w[None, None], None, s, padding)[:, 0]

    check(layer)
    check(lambda x, w, s: layer(x, w, s, F.conv_transpose1d))
    refuted(check, lambda x, w, s: layer(x, w, 1),
            lambda x, w, s: layer(x, w, s, padding=1) if len(w) > 2 else layer(x, w, s))


@claim(28, "exact")
def test_dilation_wider_than_the_input_is_a_pointwise_layer():
    """(8): S x = w[1] x iff d >= N, for "same" layers of width 3, and only then S T_a = T_a S
    if T_a moves zeros in. All unit vectors x, N = 2..6, d = 1..8: test TI with d < N."""
    w = vector(3, 5, 7)

    def check(layer):
        for N, d in itertools.product(range(2, 7), range(1, 9)):
            x = points(N)
            pointwise = torch.equal(layer(x, d), 5 * x)
            commutes = all(torch.equal(layer(zero_shift(x, a), d), zero_shift(layer(x, d), a))
                           for a in range(1, N))
            holds(pointwise == commutes == (d >= N), f"N = {N}, d = {d}")

    def layer(x, d, convolution=conv1d):
        return convolution(x[:, None], w[None, None], None, 1, d, d)[:, 0]

    check(layer)
    check(lambda x, d: layer(x, d, F.conv1d))
    refuted(check, lambda x, d: layer(x, 1), lambda x, d: layer(x, d + 1))
