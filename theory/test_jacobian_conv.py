r"""Exercise 2, question 3 (c): the Jacobians of a convolution layer.

The layer correlates (Murphy 14.4, 14.12, 14.25) with stride s, padding p, dilation d:

    y_i = sum_u w_u x_{i s + u d - p},   x = 0 outside 0..n-1,   0 <= u < k,  0 <= i < m.

J[i, j] = dy_i/dx_j as in test_jacobian_fc.py; images and channels are listed row by row.

(1) x_j stands in y_i where j = i s + u d - p; since d >= 1, for one u at most. So
    dy_i/dx_j = w_u there, else 0.                                                 (m, n)
(2) s = d = 1, p = 0: that is w_{j-i}, a function of j - i. T(w) is banded Toeplitz, first row
    [w_0 .. w_{k-1} 0 .. 0]. True convolution flips: the same with w reversed.
(3) Stride: i only occurs as i s, every s-th row is left. Padding: j only as j + p, the matrix
    for n + 2p inputs without p columns on either side. Dilation: u only as u d, a kernel with
    d - 1 zeros between its weights, diagonals d apart. Circular padding adds the columns of
    what it repeats to those of the original: at s = 1 a circulant, each row the one above
    shifted. A stride beyond the kernel leaves columns of zeros, inputs that nothing reads.
(4) The layer is linear in w as well: dy_i/dw_u = x_{i s + u d - p} = U[i, u], im2col.  (m, k)
    s = d = 1: a function of i + u, constant along antidiagonals, Hankel. True convolution,
    y_t = sum_a x_{t-a} h_a = (C(x) h)_t, C(x)[t, a] = x_{t-a}, (n+k-1, k), Toeplitz, and
    C(x) h = C(h) x. Channels: d vec(y)/d vec(w) = I_O kron [U(x_1) .. U(x_C)], for a batch
    one such block below the other.
(5) 2-D: block (i, r), from row r of the image to row i of the output, is T(w[r-i, :]): a
    Toeplitz arrangement of Toeplitz blocks. J = sum_a S_a kron T(w[a, :]), S_a the matrix (1)
    of the unit kernel e_a, between rows. Murphy's (14.8) is one case; (3) holds per axis.
(6) Channels: y_o = sum_c (x_c correlated with w[o, c]), so block (o, c) is the J of w[o, c];
    groups leave the blocks between different groups zero.
(7) k = n, p = 0: one row, J = w^T, the layer is fully connected. k = 1: J of (6) is w kron I,
    one fully connected layer at every pixel.

Check.   All sides are linear in x and in w. With weights 1, 10, 100, .. and positions 1, 2, 3,
         .. an entry tells which of them it holds; elsewhere unit vectors. All (n, k, s, p, d)
         to (6, 4, 3, 2, 2). Unit steps and autograd on minidl.conv and torch; numpy; loops.
Breaks.  (2) for symmetric w holds with and without a flip, (3) for k = 1 with any d: such data
         prove nothing. What J^T is, and is not: test_conv_backward.py.
"""
# sheet: S3.8c

import itertools
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from kit import D, claim, eye, ints, kron, refuted, same, sides, units

from minidl import conv
from minidl.conv import output_size

GRID = [(n, k, s, p, d) for s, p, d in itertools.product((1, 2, 3), (0, 1, 2), (1, 2))
        for n in range(1, 7) for k in range(1, 5) if n + 2 * p > d * (k - 1)]


def conv_matrix(w, n, s=1, p=0, d=1):
    """(1): J[i, j] = w[u] where j = i s + u d - p, else 0, for w (k,): (m, n)."""
    J = torch.zeros(output_size(n, len(w), s, p, d), n, dtype=D)
    for i, u in itertools.product(range(len(J)), range(len(w))):
        if 0 <= i * s + u * d - p < n:
            J[i, i * s + u * d - p] = w[u]
    return J


def im2col(x, k, s, p, d):
    """(4): U[i, u] = x[i s + u d - p], 0 outside, for x (n,): (m, k)."""
    U = torch.zeros(output_size(len(x), k, s, p, d), k, dtype=D)
    for i, u in itertools.product(range(len(U)), range(k)):
        if 0 <= i * s + u * d - p < len(x):
            U[i, u] = x[i * s + u * d - p]
    return U


def kernel_matrix(x, outputs, *geometry):
    """(4) with channels: I_O kron [U(x_1) .. U(x_C)] for each x (B, C, n): (B O m, O C k)."""
    rows = [torch.cat([im2col(x_c, *geometry) for x_c in example], dim=1) for example in x]
    return torch.cat([kron(eye(outputs), row) for row in rows])


def conv2d_matrix(w, size, s=(1, 1), p=(0, 0), d=(1, 1)):
    """(5): sum_a S_a kron T(w[a, :]) for w (k1, k2), size (H, W): (H' W', H W)."""
    return sum(kron(conv_matrix(e_a, size[0], s[0], p[0], d[0]),
                    conv_matrix(w_a, size[1], s[1], p[1], d[1]))
               for e_a, w_a in zip(eye(len(w)), w, strict=True))


def channel_matrix(w, n, groups=1, *geometry):
    """(6): block (o, c) is the matrix of w[o, c], for w (O, C/G, k): (O m, C n)."""
    rows = [torch.cat([conv_matrix(w_oc, n, *geometry) for w_oc in w_o], dim=1) for w_o in w]
    size = len(w) // groups
    return torch.block_diag(*[torch.cat(rows[o:o + size]) for o in range(0, len(w), size)])


def names(*shape):
    """1, 10, 100, ..: each digit of a sum counts one of them."""
    n = torch.Size(shape).numel()
    return torch.tensor([10.0**u for u in range(n)], dtype=D).reshape(shape)


def five_ways(i, *arguments):
    """dy / d arguments[i] for one channel and arguments x, w, s, p, d: by unit steps and by
    autograd on our layer, the same on torch's, and by unit steps on plain loops."""
    ours, torchs, loops = {1: (conv.conv1d, F.conv1d, conv.correlate_loops),
                           2: (conv.conv2d, F.conv2d, conv.correlate_loops_2d)}[
                               arguments[0].dim()]

    def one_channel(layer, x, w, *geometry):
        return layer(x[None, None], w[None, None], None, *geometry)[0, 0]

    def of_lists(x, w, *geometry):
        return torch.tensor(loops(x.tolist(), w.tolist(), *geometry), dtype=D)

    yield from sides(partial(one_channel, ours), arguments, i)
    yield from sides(partial(one_channel, torchs), arguments, i)
    yield next(sides(of_lists, arguments, i))


@claim(36, "exact")
def test_jacobian_of_conv1d_wrt_input_is_banded_toeplitz():
    """(2), every unit kernel and 1, 10, 100, ..; numpy's convolve, which flips, has the matrix
    of the reversed kernel; with circular padding (3), all rows are the first one, shifted. The
    flipped kernel and a shift by one are refuted."""
    def circular(x, w):
        x = torch.cat([x, x[:len(w) - 1]])
        return conv.conv1d(x[None, None], w[None, None])[0, 0]

    def check(formula):
        for n, k in [(n, k) for n, k, s, p, d in GRID if (s, p, d) == (1, 0, 1)]:
            for w in [*units(k), names(k)]:
                T = formula(w, n)
                for J in five_ways(0, ints(n), w):
                    same(J, T)
                columns = [np.convolve(e, w.numpy(), "valid") for e in np.eye(n)]
                same(torch.tensor(np.stack(columns, axis=1)), formula(w.flip(0), n))
                same(T[0], torch.cat([w, torch.zeros(n - k, dtype=D)]))
                for J in sides(circular, (ints(n), w), 0):
                    same(J, torch.stack([T[0].roll(i) for i in range(n)]), constant=n == 1)
                if len(T) > 1:
                    same(T[1:, 1:], T[:-1, :-1])

    check(conv_matrix)
    refuted(check, lambda w, n: conv_matrix(w.flip(0), n),
            lambda w, n: conv_matrix(w, n).roll(1, dims=1))


@claim(37, "exact")
def test_stride_keeps_rows_padding_deletes_columns_dilation_spreads_diagonals():
    """(3) on the whole grid: the matrix made from T(w) is that of (1) and of all layers. No
    stride, no dilation, and columns off by one are refuted."""
    def from_toeplitz(w, n, s, p, d):
        spread = w.new_zeros(d * (len(w) - 1) + 1)
        spread[::d] = w
        return conv_matrix(spread, n + 2 * p)[::s, p:p + n]

    def check(formula):
        for n, k, s, p, d in GRID:
            J = formula(names(k), n, s, p, d)
            for found in (conv_matrix(names(k), n, s, p, d),
                          *five_ways(0, ints(n), names(k), s, p, d)):
                same(found, J, constant=not found.any())  # k = 1 may read nothing but padding

    def rows(J, w, n, *geometry):
        return J[:output_size(n, len(w), *geometry)]

    check(from_toeplitz)
    refuted(check,
            lambda w, n, s, p, d: rows(from_toeplitz(w, n, 1, p, d), w, n, s, p, d),
            lambda w, n, s, p, d: rows(from_toeplitz(w, n, s, p, 1), w, n, s, p, d),
            lambda w, n, s, p, d: from_toeplitz(w, n, s, p, d).roll(1, dims=1))


@claim(38, "exact")
def test_jacobian_wrt_kernel_is_im2col():
    """(4) on the whole grid, x = 1, 2, .., n, against all layers and torch's unfold; Hankel.
    True convolution: Toeplitz, C(x) h = C(h) x. Channels and a batch, three sizes. Refuted:
    columns reversed, padding read as an offset, no dilation; the Hankel matrix for true
    convolution; a kron that lists the channels of the output last, channels swapped."""
    def check(formula):
        for n, k, s, p, d in GRID:
            x = torch.arange(1, n + 1, dtype=D)
            U = formula(x, k, s, p, d)
            unfolded = F.unfold(x[None, None, None], (1, k), (1, d), (0, p), (1, s))[0].T
            for found in unfolded, *five_ways(1, x, ints(k), s, p, d):
                same(found, U, constant=not found.any())
            if s == d == 1 and min(U.shape) > 1:
                same(U[1:, :-1], U[:-1, 1:])

    def check_true_convolution(formula):
        for n, k in itertools.product(range(1, 6), range(1, 5)):
            x, h = ints(n), ints(k, seed=1)
            C = formula(x, k)
            for convolve in np.convolve, conv.convolve_loops:
                columns = [convolve(x.tolist(), e) for e in np.eye(k)]
                same(torch.tensor(np.stack(columns, axis=1)), C)
            same(C @ h, formula(h, n) @ x)
            if min(C.shape) > 1:
                same(C[1:, 1:], C[:-1, :-1])

    def toeplitz(x, k):
        return torch.stack([F.pad(x, (a, k - 1 - a)) for a in range(k)], dim=1)

    check(im2col)
    refuted(check, lambda x, k, s, p, d: im2col(x, k, s, p, d).flip(1),
            lambda x, k, s, p, d: im2col(F.pad(x, (0, 2 * p)), k, s, 0, d),
            lambda x, k, s, p, d: im2col(x, k, s, p, 1)[:output_size(len(x), k, s, p, d)])
    check_true_convolution(toeplitz)
    refuted(check_true_convolution, lambda x, k: im2col(x, k, 1, k - 1, 1))

    def check_channels(formula):
        for B, C, outputs, k in [(1, 2, 3, 2), (2, 3, 2, 3), (3, 1, 2, 1)]:
            x, w = ints(B, C, 6), ints(outputs, C, k, seed=1)
            for geometry in [(1, 0, 1), (2, 1, 1), (1, 2, 2)]:
                for layer in conv.conv1d, F.conv1d:
                    for J in sides(layer, (x, w, None, *geometry), 1):
                        same(J, formula(x, outputs, k, *geometry))

    check_channels(kernel_matrix)
    refuted(check_channels, lambda x, *rest: kernel_matrix(x.flip(1), *rest),
            lambda x, *rest: kernel_matrix(x.flip(0), *rest),
            lambda x, outputs, *rest: torch.cat([
                kron(kernel_matrix(example[None], 1, *rest), eye(outputs)) for example in x]))


@claim(39, "exact")
def test_jacobian_of_conv2d_is_doubly_block_toeplitz():
    """(5): Murphy's (14.8) entry by entry; three sizes under six kernels in three geometries;
    the blocks read off; J of a kernel of rank one. Images listed by columns, a transposed and
    a flipped kernel are refuted."""
    book = [[1, 2, 0, 3, 4, 0, 0, 0, 0],
            [0, 1, 2, 0, 3, 4, 0, 0, 0],
            [0, 0, 0, 1, 2, 0, 3, 4, 0],
            [0, 0, 0, 0, 1, 2, 0, 3, 4]]
    plain = ((1, 1), (0, 0), (1, 1))
    geometries = plain, ((1, 2), (1, 0), (2, 1)), ((2, 3), (0, 2), (1, 2))

    def check(formula):
        same(formula(torch.tensor([[1, 2], [3, 4]], dtype=D), (3, 3)),
             torch.tensor(book, dtype=D))
        for size, k1, k2, (s, p, d) in itertools.product(
                [(3, 3), (3, 4), (5, 4)], (1, 2, 3), (1, 2), geometries):
            J = formula(names(k1, k2), size, s, p, d)
            for found in five_ways(0, ints(*size), names(k1, k2), s, p, d):
                same(found, J)
        (H, W), w = (5, 4), names(3, 2)
        blocks = formula(w, (H, W)).reshape(H - 2, W - 1, H, W)
        for i, r in itertools.product(range(H - 2), range(H)):
            inside = 0 <= r - i < 3
            same(blocks[i, :, r], conv_matrix(w[r - i] if inside else 0 * w[0], W),
                 constant=not inside)
        column, row = ints(3, seed=1), ints(2, seed=2)
        same(formula(torch.outer(column, row), (H, W)),
             kron(conv_matrix(column, H), conv_matrix(row, W)))

    check(conv2d_matrix)
    refuted(check, lambda w, size, *rest: conv2d_matrix(w.T, size[::-1], *rest),
            lambda w, size, *rest: conv2d_matrix(w.T, size, *rest),
            lambda w, size, *rest: conv2d_matrix(w.flip(0), size, *rest))


@claim(40, "exact")
def test_multichannel_jacobian_is_a_block_matrix():
    """(6) with 1, 2, 3 groups, ours and torch's, by unit steps and autograd; (7): a 1x1 kernel
    has w kron I. Swapped channels, interleaved groups and a flip are refuted."""
    def check(formula):
        for shape, G in [((3, 3, 2), 1), ((2, 3, 4), 1), ((4, 3, 2), 2), ((6, 1, 3), 3)]:
            w, x = ints(*shape), ints(1, shape[1] * G, 5)
            for geometry in [(1, 0, 1), (2, 1, 1), (1, 2, 2)]:
                for layer in conv.conv1d, F.conv1d:
                    for J in sides(layer, (x, w, None, *geometry, G), 0):
                        same(J, formula(w, 5, G, *geometry))
        w = ints(2, 3, 1)
        same(formula(w, 4), kron(w[:, :, 0], eye(4)))

    def interleaved(w, n, G=1, *rest):
        w = w.unflatten(0, (-1, G)).transpose(0, 1).flatten(0, 1)
        return channel_matrix(w, n, G, *rest)

    check(channel_matrix)
    refuted(check, interleaved, lambda w, *rest: channel_matrix(w.transpose(0, 1), *rest),
            lambda w, *rest: channel_matrix(w.flip(2), *rest))


@claim(46, "exact")
def test_conv_is_fc_when_kernel_covers_input_and_1x1_conv_is_fc_per_pixel():
    """(7) on all unit images: a kernel of the image's size is F.linear with w.flatten(1) on
    x.flatten(1), a kernel of one pixel is F.linear at every pixel. Kernels listed by columns,
    flipped or with the channels last, and swapped channels, are refuted."""
    x = torch.cat([units(2, 3, 5), ints(1, 2, 3, 5)])
    w, b, W, c = ints(4, 2, 3, 5), ints(4, seed=1), ints(2, 2, seed=2), ints(2, seed=3)

    def check_covering(as_matrix):
        for layer in conv.conv2d, F.conv2d:
            same(layer(x, w, b).flatten(1), F.linear(x.flatten(1), as_matrix(w), b))

    def check_pixel(as_kernel):
        for layer in conv.conv2d, F.conv2d:
            same(layer(x, as_kernel(W), c).movedim(1, 3), F.linear(x.movedim(1, 3), W, c))

    check_covering(lambda w: w.flatten(1))
    refuted(check_covering, lambda w: w.transpose(2, 3).flatten(1),
            lambda w: w.flip(2, 3).flatten(1), lambda w: w.movedim(1, 3).flatten(1))
    check_pixel(lambda W: W[:, :, None, None])
    refuted(check_pixel, lambda W: W.T[:, :, None, None])
