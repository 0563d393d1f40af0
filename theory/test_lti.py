r"""Question 1: a convolution with any filter h is linear and time/space invariant.

Result. For every filter h and every shift a, h * (T_a x) = T_a (h * x).

A system S is time invariant (TI) if S T_a = T_a S for every shift a, with (T_a x)[t] = x[t-a].
So a delayed input gives the same output, delayed. Deep learning calls this equivariance, and
calls S T_a = S invariance. The convolution is (h*x)[t] = sum_s h[s] x[t-s], Murphy (14.2), on
all integers Z. The signal x is 0 outside a finite range, or the sums converge absolutely.

Proof.
(1) (h * T_a x)[t] = sum_s h[s] (T_a x)[t-s]     by the definition of the convolution
(2)                = sum_s h[s] x[(t-a)-s]       by the definition of T_a
(3)                = (h*x)[t-a]                  the definition of the convolution, at t-a
                   = (T_a (h*x))[t]              by the definition of T_a
(4) It is linear: h * (u x + v y) = u (h*x) + v (h*y), because the sum distributes.

Two hypotheses were used. In (2) the index t-a-s exists, because Z has no border; and h[s] does
not depend on t. Nothing else is asked of h. For images, t, s and a are pairs. The proof is the
same, so a 2-D convolution is space invariant. Libraries call cross-correlation a convolution,
Murphy (14.3). It has x[t+s] in place of x[t-s], and the same proof.

Converse. Every linear and time invariant S is a convolution on the signals of finite support.
(5) Such an x is a finite sum, x = sum_s x[s] T_s delta, with the unit impulse delta. As S is
    linear and TI, S x = sum_s x[s] T_s (S delta) = (S delta) * x. So h = S delta.
Finite support is used: linearity says nothing of infinite sums, for which S has to be
continuous as well.

Finite windows. Step (2) needs samples that a window of N does not have.
(6) Circular convolution, indices mod N: (2) holds, T_a is the cyclic shift (claim 4).
(7) Valid convolution, output only where h fits: (2) holds for cropping. S(x[a:]) = (S x)[a:],
    because the window moves with the signal (claim 5).
(8) Same convolution, zeros outside and the output cut to N: (2) fails near the border, because
    the zeros do not move. With w = [1,1,1] and x = [1,0,0], T_1 S x = [0,1,1], but S T_1 x =
    [1,1,1] (claim 6).

Check. Both sides of the result are bilinear in h and x (claim 2). So equality on all pairs of
unit vectors, in integers without rounding, proves it for all h and x of that size. (1) to (4)
prove it for all sizes at once.
"""
# sheet: S3.6

import itertools
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from kit import claim, eye, holds, ints, matrix, refuted, same, vector

from minidl.conv import conv1d, convolve_loops, correlate_loops


def on_Z(h, x):
    """(h*x)[t] = sum_s h[s] x[t-s]. A signal is {index: value}: no border exists."""
    reached = {s + t for s in h for t in x}
    return {t: sum(h[s] * x.get(t - s, 0) for s in h) for t in reached}


def circular(h, x):
    """(h*x)[t] = sum_s h[s] x[(t-s) mod N], h (N,), x (B, N) -> (B, N)."""
    N = len(h)
    return torch.stack([sum(h[s] * x[:, (t - s) % N] for s in range(N)) for t in range(N)], 1)


def layer(h, x, convolution=conv1d, padding=0):
    """A library's layer, which correlates, with h flipped: h (k,), x (B, N) -> (B, N')."""
    return convolution(x[:, None], h.flip(0)[None, None], padding=padding)[:, 0]


def circular_layer(h, x, convolution=conv1d):
    """N-1 samples of the end are put in front."""
    return layer(h, torch.cat([x[:, 1:], x], dim=1), convolution)


@claim(1, "exact", "1")
def test_convolution_commutes_with_every_shift_on_Z():
    """h * T_a x = T_a (h*x) for all pairs of unit impulses in -3..3 and all shifts in -4..4.
    The signals live on Z, so that (2) is exactly what is tested. An impulse at i, convolved
    with one at j, is one at i+j. Refuted: an h that depends on t, and a border."""
    def shift(x, a):
        return {t + a: value for t, value in x.items()}

    def window(x):  # wide enough for every support that occurs
        return vector(*(x.get(t, 0) for t in range(-12, 13)))

    def check(convolve):
        for i, j, a in itertools.product(range(-3, 4), range(-3, 4), range(-4, 5)):
            h, x = {i: 1}, {j: 1}
            same(window(convolve(h, shift(x, a))), window(shift(convolve(h, x), a)))
            same(window(convolve(h, x)), window({i + j: 1}))

    check(on_Z)
    refuted(check, lambda h, x: {t: y * (2 if t == 2 else 1) for t, y in on_Z(h, x).items()},
            lambda h, x: {max(t, -4): y for t, y in on_Z(h, x).items()})


@claim(2, "symbolic", "1")
def test_convolution_is_bilinear_as_a_polynomial_identity():
    """(h*x)[t] is the polynomial sum_j h_j x_{t-j}: each monomial has one h and one x, once.
    Kronecker's substitution: the variables, x first, become B^1, B^3, B^9, ... A monomial
    without a third power is then B^e, where e to the base 3 shows its powers; and one value to
    the base B shows the coefficients of all of them, if these are integers in 0..B-1."""
    B = 1000

    def check(convolve):
        for n, m in itertools.product(range(1, 5), range(1, 4)):
            x = [B**(3**i) for i in range(n)]
            h = [B**(3**(n + j)) for j in range(m)]
            y = convolve(x, h)
            holds(len(y) == n + m - 1, f"{len(y)} values of {n} and {m}")
            for t in range(n + m - 1):
                pairs = [(t - j, j) for j in range(m) if 0 <= t - j < n]
                expected = dict.fromkeys([3**i + 3**(n + j) for i, j in pairs], 1)
                holds(digits(y[t]) == expected, f"y[{t}]: {digits(y[t])}, not {expected}")

    def digits(number):  # {exponent: digit} to the base B
        found, exponent = {}, 0
        while number:
            number, digit = divmod(number, B)
            found.update({exponent: digit} if digit else {})
            exponent += 1
        return found

    def by_definition(x, h):
        y = on_Z(dict(enumerate(h)), dict(enumerate(x)))
        return [y[t] for t in sorted(y)]

    check(by_definition)
    check(convolve_loops)
    check(lambda x, h: correlate_loops(x, h[::-1], padding=len(h) - 1))
    check(lambda x, h: np.convolve(x, h).tolist())  # beyond 64 bits in Python's integers
    refuted(check,
            lambda x, h: convolve_loops(x, h[::-1]),               # flipped
            lambda x, h: convolve_loops([v * v for v in x], h),    # x squared: not linear
            lambda x, h: [2 * y for y in convolve_loops(x, h)],    # each term twice
            lambda x, h: convolve_loops(x, [*h[:-1], h[-1] + 1]))  # affine in h


@claim(4, "exact", "1")
def test_circular_convolution_commutes_with_cyclic_shifts():
    """(6), for all pairs of unit vectors, all a, all N = 2..8; and it is sum_s h[s] T_s x. A
    shorter h is one with zeros at the end. Zero padding and a flip are refuted."""
    def check(convolve):
        for N in range(2, 9):
            x = eye(N)  # all unit vectors as a batch
            for s, h in enumerate(eye(N)):
                for a in range(1, N):
                    same(convolve(h, x.roll(a, 1)), convolve(h, x).roll(a, 1))
                same(convolve(h, x), x.roll(s, 1))

    check(circular)
    check(circular_layer)
    check(lambda h, x: circular_layer(h, x, F.conv1d))
    refuted(check, lambda h, x: layer(h, x, padding=len(h) - 1)[:, :len(h)],
            lambda h, x: circular(h.flip(0), x))


@claim(5, "exact", "1")
def test_valid_convolution_commutes_with_cropping():
    """(7): S(x[a:]) = (S x)[a:] and S(x[:-a]) = (S x)[:-a] while h fits. All unit vectors x
    and h, all sizes up to 7 and 3, all a. Outputs padded with zeros fail."""
    def check(valid):
        for n, k in itertools.product(range(3, 8), range(1, 4)):
            x = eye(n)
            for s, h in enumerate(eye(k)):
                for a in range(1, n - k + 1):
                    same(valid(h, x[:, a:]), valid(h, x)[:, a:])
                    same(valid(h, x[:, :-a]), valid(h, x)[:, :-a])
                same(valid(h, x), x[:, k - 1 - s:n - s])

    check(layer)
    check(lambda h, x: layer(h, x, F.conv1d))
    refuted(check, lambda h, x: layer(h, x, padding=len(h) // 2),
            lambda h, x: F.pad(layer(h, x), (len(h) - 1, 0)))


@claim(6, "exact", "1")
def test_zero_padding_breaks_shift_equivariance_near_the_border_only():
    """The witness of (8); then where S T_a and T_a S differ, for stacks of layers. T_a
    moves zeros in. Let r be the sum of the radii (k-1)/2, r_1 the first layer's. Without
    biases the two differ in [a-r, a+r-r_1) and [N-r, N) at most: elsewhere t sees no
    border. With positive kernels and unit vectors they differ all over these strips (N =
    17), with ReLU in between. A bias spoils all of [0, a). Refuted: circular padding, a
    bias, a larger radius."""
    def shift(x, a):
        return F.pad(x[:, :-a], (a, 0))

    def check(layer):
        w, x = vector(1, 1, 1), eye(3)[:1]
        same(shift(layer(w, x), 1), vector(0, 1, 1)[None])
        same(layer(w, shift(x, 1)), vector(1, 1, 1)[None], constant=True)
        N, t = 17, torch.arange(17)
        for widths in ((3,), (5,), (3, 5), (5, 3), (3, 3, 5)):
            r, r_1 = sum(k // 2 for k in widths), widths[0] // 2
            for a in range(1, 5):
                strips = ((t >= a - r) & (t < a + r - r_1)) | (t >= N - r)
                kernels = [ints(k, low=1) for k in widths]
                same(differ(layer, eye(N), kernels, a), strips)

    def differ(layer, x, kernels, a):  # (N,): where any of the inputs makes a difference
        def stack(x):
            for w in kernels:
                x = layer(w, x).relu()
            return x
        return (stack(shift(x, a)) != shift(stack(x), a)).any(dim=0)

    def zero_padded(w, x, convolution=conv1d):
        return layer(w.flip(0), x, convolution, padding=len(w) // 2)

    def circularly_padded(w, x):
        r = len(w) // 2
        return layer(w.flip(0), torch.cat([x[:, -r:], x, x[:, :r]], dim=1))

    check(zero_padded)
    check(lambda w, x: zero_padded(w, x, F.conv1d))
    refuted(check, circularly_padded, lambda w, x: zero_padded(w, x) + (len(w) > 3),
            lambda w, x: zero_padded(F.pad(w, (1, 1), value=len(w) > 3), x))


@claim(7, "exact", "1")
def test_linear_shift_equivariant_maps_are_exactly_convolutions():
    """(5) on a circle: the matrices that commute with the cyclic shift P are the circulants, N
    = 2..6. M -> P M - M P is linear on R^(N x N). Its rank, in fractions, is N^2 - N, so its
    kernel has dimension N. The N circulants P^s are independent and lie in it: they span it.
    Refuted: a reflection, the shift with zeros."""
    def check(shift):  # shift: (N, ...) -> (N, ...)
        for N in range(2, 7):
            P = shift(eye(N))
            commutator = matrix(lambda m, P=P, N=N: P @ m.view(N, N) - m.view(N, N) @ P, N * N)
            holds(rank(commutator) == N * N - N, f"{rank(commutator)} for N = {N}")
            circulants = torch.stack([eye(N).roll(s, 0).flatten() for s in range(N)])
            holds(rank(circulants) == N and not (commutator @ circulants.T).any())

    def rank(A):
        """Gauss elimination in fractions."""
        rows, found = [list(map(Fraction, row)) for row in A.tolist()], 0
        for column in range(A.shape[1]):
            pivot = next((i for i in range(found, len(rows)) if rows[i][column]), None)
            if pivot is None:
                continue
            rows[found], rows[pivot] = rows[pivot], rows[found]
            for i in range(found + 1, len(rows)):
                factor = rows[i][column] / rows[found][column]
                rows[i] = [v - factor * p for v, p in zip(rows[i], rows[found], strict=True)]
            found += 1
        return found

    check(lambda x: x.roll(1, 0))
    refuted(check, lambda x: x.flip(0),
            lambda x: torch.cat([torch.zeros_like(x[:1]), x[:-1]]))


@claim(8, "exact", "1")
def test_cross_correlation_is_convolution_with_the_flipped_kernel():
    """Murphy's (14.3) with w is (14.2) with h[s] = w[k-1-s], on all pairs of unit vectors. A
    symmetric kernel cannot tell the two apart: a test that uses one checks no flip."""
    def check(correlate, kernels=eye):
        for n, k in itertools.product(range(4, 7), range(2, 5)):
            for w in kernels(k):
                same(torch.stack([correlate(x, w) for x in eye(n)]),
                     torch.stack([convolve(x, w.flip(0)) for x in eye(n)]))

    def convolve(x, h):
        return vector(*convolve_loops(x.tolist(), h.tolist())[len(h) - 1:len(x)])

    def by_layer(x, w, convolution=conv1d):
        return convolution(x[None, None], w[None, None])[0, 0]

    check(by_layer)
    check(lambda x, w: by_layer(x, w, F.conv1d))
    check(lambda x, w: torch.from_numpy(np.correlate(x.numpy(), w.numpy())))
    check(lambda x, w: vector(*correlate_loops(x.tolist(), w.tolist())))
    refuted(check, convolve, lambda x, w: by_layer(x, w.roll(1)))
    check(convolve, lambda k: eye(k) + eye(k).flip(1))  # symmetric: it passes
