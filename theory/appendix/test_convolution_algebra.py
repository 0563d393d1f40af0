r"""Beyond question 1: what more follows from the definition of convolution.

Result. Convolution is commutative and associative, and delta is its identity. The Fourier
transform makes a product of it. A kernel of rank one separates into two passes. Linear layers
at stride 1 without padding are together one layer.

(h*x)[t] = sum_s h[s] x[t-s] on Z, with indices mod N on a circle; x and h end.
(1) With r = t-s the sum runs over all pairs with s + r = t, so h*x = x*h. It is the product of
    the polynomials sum_s h[s] X^s and sum_r x[r] X^r. So it is associative, and 1, delta, is
    neutral. Cross-correlation does not commute.
(2) On a circle let v_k[t] = e^{2 pi i k t / N}. As v_k[t-s] = v_k[t] v_k[-s], h * v_k = H[k]
    v_k with H[k] = sum_s h[s] e^{-2 pi i k s / N}, the Fourier transform of h: all circulants
    have the same eigenvectors.
(3) x = 1/N sum_k X[k] v_k, hence h*x = 1/N sum_k H[k] X[k] v_k, the inverse transform of H X.
(4) Signals of n and m samples have sums s + r from 0 to n+m-2. So a transform of N < n+m-1
    samples wraps, and a longer one gives the convolution on Z.
(5) A kernel a[u] b[v] sums over v first and then over u: k1 + k2 products for k1 k2. A kernel
    of rank 2 does not separate.
(6) Correlating with w1 and then with w2 is correlating with w2 * w1, by (1): one layer of the
    width k1 + k2 - 1. With zeros outside, the first output is cut before the second layer
    reads it, so at the border it is not. ReLU in between is what makes depth count.

Check. Everything in (1), (5) and (6) is linear in each argument, so unit vectors settle the
sizes listed; (2) and (3) in float64, within a bound.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from kit import D, U, claim, close, eye, holds, ints, matrix, reals, refuted, same, vector

from minidl.conv import conv1d, conv2d, convolve_loops


def full(h, x):
    """h*x of two vectors (m,), (n,) -> (n+m-1,): the layer with zeros around, h flipped."""
    return conv1d(x[None, None], h.flip(0)[None, None], padding=len(h) - 1)[0, 0]


def full_loops(h, x):
    return vector(*convolve_loops(x.tolist(), h.tolist()))


def circular(h, x):
    """(h*x)[t] = sum_s h[s] x[t-s mod N], both (N,)."""
    return sum(h[s] * x.roll(s) for s in range(len(h)))


def waves(N):
    """v[t, k] = exp(2 pi i k t/N), (N, N), a column for every k."""
    t = torch.arange(N)
    angle = 2 * np.pi / N * (torch.outer(t, t) % N).to(D)
    return torch.complex(angle.cos(), angle.sin())


def transform(x):
    """H[k] = sum_t x[t] exp(-2 pi i k t/N)."""
    return waves(len(x)).conj() @ x.to(torch.complex128)


def inverse(X):
    """x[t] = 1/N sum_k X[k] exp(2 pi i k t/N)."""
    return waves(len(X)) @ X / len(X)


@claim(3, "exact")
def test_convolution_is_commutative_associative_with_identity_delta():
    """(1) for all unit vectors of sizes 2, 3, 4. Refuted: correlation, a shift by one."""
    def check(convolve):
        for g, h, x in itertools.product(eye(2), eye(3), eye(4)):
            same(convolve(h, x), convolve(x, h))
            same(convolve(g, convolve(h, x)), convolve(convolve(g, h), x))
            same(convolve(eye(1)[0], x), x)

    check(full)
    check(full_loops)
    refuted(check, lambda h, x: full(h.flip(0), x), lambda h, x: full(h, x).roll(1))


@claim(9, "float")
def test_convolution_theorem():
    """(3), and (4): on Z it holds iff N >= n+m-1. Bound: a value of v_k is off by 14 U (two
    roundings of an angle below 2 pi, one of cos), a sum of N by N U, a product by 2 U, so a
    transform by (N+16) U |x|_1; two of them, a product, the mean, the sum in h*x: (4N+52) U
    |h|_1 |x|_1. A fast transform rounds less."""
    def check(fft, ifft):
        for N in range(2, 18):
            h, x = reals(N, seed=N), reals(N, seed=N + 50)
            y = ifft(fft(h) * fft(x))
            bound = (4 * N + 52) * U * h.abs().sum() * x.abs().sum()
            close(y, circular(h, x).to(y.dtype), bound)

    check(transform, inverse)
    check(torch.fft.fft, torch.fft.ifft)
    refuted(lambda fft: check(fft, inverse),
            lambda x: transform(x).conj(),             # the wrong sign gives the mirror image
            lambda x: 1.0005 * transform(x))           # the product is off by 0.1%
    refuted(lambda ifft: check(transform, ifft), lambda X: len(X) * inverse(X))

    def wraps_below(size):
        for n, m in itertools.product(range(2, 6), range(2, 5)):
            h, x = ints(m, low=1, seed=m), ints(n, low=1, seed=n)
            for N in range(max(n, m), n + m + 2):
                y = circular(F.pad(h, (0, N - m)), F.pad(x, (0, N - n)))
                linear = F.pad(full_loops(h, x), (0, 3))[:N]  # its first N values
                holds(torch.equal(y, linear) == (size(n, m) <= N), f"n={n} m={m} N={N}")

    wraps_below(lambda n, m: n + m - 1)
    refuted(wraps_below, lambda n, m: n + m, lambda n, m: n + m - 2, max)


@claim(10, "float")
def test_dft_diagonalises_every_circulant():
    """(2), linear in h: unit vectors, N = 2..8. Bound as in claim 9: 14 U for v_k on the left,
    where C only permutes, and (N+16) U + 14 U + 2 U on the right."""
    def check(eigenvalues):
        for N in range(2, 9):
            for h in eye(N):
                C = matrix(lambda x, h=h: circular(h, x), N).to(torch.complex128)
                close(C @ waves(N), waves(N) * eigenvalues(h), (N + 46) * U)

    check(transform)
    check(torch.fft.fft)
    refuted(check, lambda h: transform(h).conj(), lambda h: transform(h).roll(1),
            lambda h: 1.001 * transform(h))


@claim(11, "exact")
def test_2d_convolution_commutes_with_2d_shifts_and_rank_one_kernels_separate():
    """S T_a x = T_a S x for pairs a, on the torus 4 x 5: all unit images, all unit kernels 2 x
    3, all 20 shifts. (5): all unit a, b. Zero padding, a flip, a shifted kernel are refuted;
    of (5) a flip, and a sum of two products."""
    x = eye(20).view(20, 1, 4, 5)

    def check(convolution):
        for w in eye(6).view(6, 1, 1, 2, 3):
            y = torus(convolution, x, w)
            for a in itertools.product(range(4), range(5)):
                same(torus(convolution, x.roll(a, (2, 3)), w), y.roll(a, (2, 3)))
            u, v = divmod(int(w.argmax()), 3)
            same(y, x.roll((-u, -v), (2, 3)))  # one sample, moved

    def torus(convolution, x, w):  # the first row and two columns are repeated at the end
        x = torch.cat([x, x[:, :, :1]], dim=2)
        return convolution(torch.cat([x, x[..., :2]], dim=3), w)

    check(conv2d)
    check(F.conv2d)
    refuted(check, lambda x, w: conv2d(F.pad(x[:, :, :4, :5], (0, 2, 0, 1)), w),
            lambda x, w: conv2d(x, w.flip(3)), lambda x, w: conv2d(x, w.roll(1, 2)))

    def separates(kernel):
        for a, b in itertools.product([*eye(2), ints(2)], [*eye(3), ints(3, seed=1)]):
            passes = conv2d(conv2d(x, b[None, None, None]), a[None, None, :, None])
            same(conv2d(x, kernel(a, b)[None, None]), passes)

    separates(torch.outer)
    refuted(separates, lambda a, b: torch.outer(a, b.flip(0)),
            lambda a, b: torch.outer(a, b) + torch.outer(a.flip(0), b.flip(0)))


@claim(12, "exact")
def test_stacked_linear_convolutions_collapse_to_one_kernel():
    """(6) for all unit vectors x, w1, w2; with channels it is sum_m w2[o,m] * w1[m,c], on
    drawn integers, two 3 x 3 are one 5 x 5. Zero padding: two [1,1,1] on [1,1,1,1] give
    [5,8,8,5], [1,2,3,2,1] gives [6,8,8,6]. Refuted: a flip, a shift, ReLU in between."""
    def check(merge, between=lambda y: y):
        x = eye(7)[:, None]
        for k1, k2 in itertools.product(range(1, 4), range(2, 4)):
            for w1, w2 in itertools.product([*eye(k1), ints(k1)], [*eye(k2), ints(k2)]):
                y = conv1d(between(conv1d(x, w1[None, None])), w2[None, None])
                same(y, conv1d(x, merge(w2, w1)[None, None]))

    check(full)
    refuted(check, lambda w2, w1: full(w2.flip(0), w1), lambda w2, w1: full(w2, w1).roll(1))
    refuted(lambda between: check(full, between), torch.relu)
    ones, three = torch.ones(1, 1, 4, dtype=D), torch.ones(1, 1, 3, dtype=D)
    five = full(three[0, 0], three[0, 0])[None, None]
    twice = conv1d(conv1d(ones, three, padding=1), three, padding=1)
    same(torch.cat([twice, conv1d(ones, five, padding=2)])[:, 0],
         vector([5, 8, 8, 5], [6, 8, 8, 6]))

    def merges_channels(merge):
        x, w1, w2 = ints(2, 3, 6, 7), ints(4, 3, 3, 3, seed=1), ints(5, 4, 3, 3, seed=2)
        for layer in conv2d, F.conv2d:
            same(layer(layer(x, w1), w2), layer(x, merge(w2, w1)))

    def merge(w2, w1):  # w1 as 3 images of 4 channels; the flip makes correlation convolution
        return conv2d(w1.transpose(0, 1), w2.flip(2, 3), padding=2).transpose(0, 1)

    merges_channels(merge)
    refuted(merges_channels, lambda w2, w1: merge(w2.flip(2, 3), w1),
            lambda w2, w1: merge(w2.flip(1), w1))
