r"""The algebra of convolution: what more follows from its definition.

(h*x)[t] = sum_s h[s] x[t-s] on Z, indices mod N on Z/N. The question of exercise 2, that it is
linear and time invariant, is answered in test_lti.py; this goes beyond it.

Derivation.
(1) With r = t-s the sum runs over all pairs s+r = t: h*x = x*h. It is the product of the
    polynomials sum_s h[s] X^s and sum_r x[r] X^r, so associative, with 1 (delta) neutral.
(2) On Z/N let v_k[t] = exp(2 pi i k t/N). Then (h*v_k)[t] = sum_s h[s] v_k[t] v_k[-s]
    = H[k] v_k[t] with H[k] = sum_s h[s] exp(-2 pi i k s/N) = fft(h)[k]: used is v_k[t-s] =
    v_k[t] v_k[-s], and that v_k has period N. So all circulants have the same eigenvectors.
(3) x = 1/N sum_k X[k] v_k, hence h*x = 1/N sum_k H[k] X[k] v_k = ifft(fft(h) fft(x)).
(4) Signals of n and of m samples give sums s+r in 0..n+m-2. If N < n+m-1, one wraps.
(5) A kernel a[u] b[v] sums over v first, then over u: two passes, k1+k2 products, not k1 k2.
(6) Correlating with w1, then with w2 is correlating with w2*w1, by (1): linear layers in a row
    at stride 1 are one layer, of width k1+k2-1, on Z, on Z/N and without padding. With zeros
    outside the first layer's output is cut before the second reads it, so not at the border.
    ReLU in between is what makes depth count.

Breaks: cross-correlation does not commute (claim 3, a witness), a shorter transform wraps
(claim 9), a kernel of rank 2 is no product (claim 11), ReLU keeps layers apart (claim 12).
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from kit import D, claim, close, holds, ints, matrix, reals, refuted, same

from minidl.conv import conv1d, conv2d, convolve_loops, correlate_loops_2d

U = 2.0**-53  # the relative error of one rounding


def full(h, x):
    """h*x of two vectors (m,), (n,) -> (n+m-1,): the layer with zeros around, h flipped."""
    return conv1d(x[None, None], h.flip(0)[None, None], padding=len(h) - 1)[0, 0]


def full_loops(h, x):
    return torch.tensor(convolve_loops(x.tolist(), h.tolist()), dtype=D)


def full_numpy(h, x):
    return torch.from_numpy(np.convolve(x.numpy(), h.numpy()))


def circular(h, x):
    """(h*x)[t] = sum_s h[s] x[t-s mod N], both (N,)."""
    return sum(h[s] * x.roll(s) for s in range(len(h)))


def waves(N):
    """v[t, k] = exp(2 pi i k t/N), (N, N), a column for every k."""
    t = torch.arange(N)
    angle = 2 * np.pi / N * (torch.outer(t, t) % N).to(D)
    return torch.complex(angle.cos(), angle.sin())


def transform(x):
    """fft(x)[k] = sum_t x[t] exp(-2 pi i k t/N)."""
    return waves(len(x)).conj() @ x.to(torch.complex128)


def inverse(X):
    """x[t] = 1/N sum_k X[k] exp(2 pi i k t/N)."""
    return waves(len(X)) @ X / len(X)


def basis(n):
    return torch.eye(n, dtype=D)


@claim(3, "exact")
def test_convolution_is_commutative_associative_with_identity_delta():
    """h*x = x*h, g*(h*x) = (g*h)*x, delta*x = x for all unit vectors of sizes 2, 3, 4.

    Each side is linear in each argument. Cross-correlation does not commute.
    """
    def check(convolve):
        for g, h, x in itertools.product(basis(2), basis(3), basis(4)):
            same(convolve(h, x), convolve(x, h))
            same(convolve(g, convolve(h, x)), convolve(convolve(g, h), x))
            same(convolve(basis(1)[0], x), x)

    check(full)
    check(full_loops)
    check(full_numpy)
    refuted(check, lambda h, x: full(h.flip(0), x), lambda h, x: full(h, x).roll(1))
    h, x = basis(2)  # the witness: correlations of x with h and of h with x
    same(full(h.flip(0), x), basis(3)[2])
    same(full(x.flip(0), h), basis(3)[0])


@claim(9, "float")
def test_convolution_theorem():
    """h*x on Z/N is ifft(fft(h) fft(x)). On Z it is that of the padded signals iff N >= n+m-1.

    Bound, u = 2^-53: a value of v_k is off by 14 u (two roundings of an angle below 2 pi, one
    of cos), a sum of N by N u, a product by 2 u: a transform by (N+16) u |x|_1. Two of them, a
    product, the mean, the sum in h*x: (4N+52) u |h|_1 |x|_1. A fast transform rounds less.
    """
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
            lambda x: 1.0005 * transform(x))           # the product is off by 0.1 %
    refuted(lambda ifft: check(transform, ifft),
            lambda X: len(X) * inverse(X),             # 1/N forgotten
            lambda X: transform(X) / len(X))

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
    """C v_k = fft(h)[k] v_k, where C x = h*x: other h, other eigenvalues, the same v_k.

    Both sides are linear in h: the unit vectors, N = 2..8, suffice. Bound as in claim 9: 14 u
    for v_k on the left, where C only permutes, and (N+16) u + 14 u + 2 u on the right.
    """
    def check(eigenvalues, convolve=circular):
        for N in range(2, 9):
            for h in basis(N):
                C = matrix(lambda x, h=h: convolve(h, x), N).to(torch.complex128)
                close(C @ waves(N), waves(N) * eigenvalues(h), (N + 46) * U)

    def convolve_layer(h, x):
        return F.conv1d(torch.cat([x[1:], x])[None, None], h.flip(0)[None, None])[0, 0]

    check(transform)
    check(torch.fft.fft, convolve_layer)
    refuted(check, lambda h: transform(h).conj(), lambda h: transform(h).roll(1),
            lambda h: 1.001 * transform(h))


@claim(11, "exact")
def test_2d_convolution_commutes_with_2d_shifts_and_rank_one_kernels_separate():
    """S T_a x = T_a S x for pairs a, on the torus 4 x 5; w[u,v] = a[u] b[v] is two passes.

    All unit images, and all unit kernels 2 x 3, with all 20 shifts; all unit a, b. A layer of
    another size, kernel or axis order fails; a sum of two products is no product.
    """
    x = basis(20).view(20, 1, 4, 5)

    def check(convolution):
        for u, v in itertools.product(range(2), range(3)):
            w = torch.zeros(1, 1, 2, 3, dtype=D)
            w[0, 0, u, v] = 1
            for a in itertools.product(range(4), range(5)):
                y = torus(convolution, x.roll(a, (2, 3)), w)
                same(y, torus(convolution, x, w).roll(a, (2, 3)))
            same(torus(convolution, x, w), x.roll((-u, -v), (2, 3)))  # one sample, moved

    def torus(convolution, x, w):  # the first row and two columns are repeated at the end
        x = torch.cat([x, x[:, :, :1]], dim=2)
        return convolution(torch.cat([x, x[..., :2]], dim=3), w)

    def loops(x, w):
        w = w[0, 0].tolist()
        return torch.tensor([[correlate_loops_2d(c.tolist(), w)] for c in x[:, 0]], dtype=D)

    def zero_padding(x, w):
        return conv2d(F.pad(x[:, :, :4, :5], (0, 2, 0, 1)), w)

    for convolution in (conv2d, F.conv2d, loops):
        check(convolution)
    refuted(check, zero_padding, lambda x, w: conv2d(x, w.flip(3)),
            lambda x, w: conv2d(x, w.roll(1, 2)))

    def separates(kernel):
        for a, b in itertools.product([*basis(2), ints(2)], [*basis(3), ints(3, seed=1)]):
            w = kernel(a, b)[None, None]
            passes = conv2d(conv2d(x, b[None, None, None]), a[None, None, :, None])
            same(conv2d(x, w), passes)

    separates(torch.outer)
    refuted(separates, lambda a, b: torch.outer(a, b.flip(0)),
            lambda a, b: torch.outer(a, b) + torch.outer(a.flip(0), b.flip(0)))


@claim(12, "exact")
def test_stacked_linear_convolutions_collapse_to_one_kernel():
    """w2 after w1 is one layer with the kernel w2*w1, k1+k2-1 wide; two 3 x 3 are one 5 x 5.

    Trilinear: all unit vectors x, w1, w2. With channels it is sum_m w2[o,m] * w1[m,c]. Zero
    padding is refuted: two [1,1,1] on [1,1,1,1] give [5,8,8,5], [1,2,3,2,1] gives [6,8,8,6].
    """
    def check(merge, between=lambda y: y, convolution=conv1d):
        x = basis(7)[:, None]
        for k1, k2 in itertools.product(range(1, 4), range(2, 4)):
            for w1, w2 in itertools.product([*basis(k1), ints(k1)], [*basis(k2), ints(k2)]):
                y = convolution(between(convolution(x, w1[None, None])), w2[None, None])
                same(y, convolution(x, merge(w2, w1)[None, None]))

    check(full)
    check(full_loops, convolution=F.conv1d)
    refuted(check, lambda w2, w1: full(w2.flip(0), w1), lambda w2, w1: full(w2, w1).roll(1))
    refuted(lambda between: check(full, between), torch.relu)
    ones = torch.ones(1, 1, 4, dtype=D)
    three, five = torch.ones(1, 1, 3, dtype=D), full(*torch.ones(2, 3, dtype=D))[None, None]
    twice = conv1d(conv1d(ones, three, padding=1), three, padding=1)
    same(torch.cat([twice, conv1d(ones, five, padding=2)])[:, 0],
         torch.tensor([[5, 8, 8, 5], [6, 8, 8, 6]], dtype=D))

    def merges_channels(merge, convolution=conv2d):
        x, w1, w2 = ints(2, 3, 6, 7), ints(4, 3, 3, 3, seed=1), ints(5, 4, 3, 3, seed=2)
        merged = merge(w2, w1)
        holds(merged.shape == (5, 3, 5, 5), tuple(merged.shape))
        same(convolution(convolution(x, w1), w2), convolution(x, merged))

    def merge(w2, w1):  # w1 as 3 images of 4 channels; the flip makes correlation convolution
        return conv2d(w1.transpose(0, 1), w2.flip(2, 3), padding=2).transpose(0, 1)

    merges_channels(merge)
    merges_channels(merge, F.conv2d)
    refuted(merges_channels, lambda w2, w1: merge(w2.flip(2, 3), w1),
            lambda w2, w1: merge(w2.flip(1), w1))
