r"""Question 3 (c): the Jacobians of a convolution layer, with respect to x and to w.

Result. The layer with stride s, padding p and dilation d, one of each per axis, is

    y[o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[c, i s1 + u d1 - p1, j s2 + v d2 - p2]

where x is 0 outside its H x W pixels. Its Jacobians have the entries

    dy[o,i,j] / dx[c,r,q] = w[o,c,u,v] if r = i s1 + u d1 - p1 and q = j s2 + v d2 - p2
    dy[o,i,j] / dw[o,c,u,v] = x[c, i s1 + u d1 - p1, j s2 + v d2 - p2]
    dy[o,i,j] / db[o] = 1

and 0 everywhere else: for x if no pair u, v fits, for w and b if the two o differ.

A row of a Jacobian belongs to an output, a column to an input (Murphy 13.37). Images and
channels are listed row by row. Libraries correlate, Murphy (14.4), (14.12), (14.25).
(1) The layer is linear in x and in w. So an entry is the coefficient of x[c,r,q], or of
    w[o,c,u,v], in the sum above. As d >= 1, at most one pair u, v fits a pixel.

With respect to x.
(2) One axis, s = d = 1, p = 0: dy_i / dx_j = w_{j-i}, a function of j - i. The matrix T(w) is
    banded Toeplitz; its first row is w_0, ..., w_{k-1}, 0, ..., 0. True convolution flips w.
(3) Stride: i stands only in i s, so every s-th row is left. Padding: j stands only in j + p,
    so T for n + 2p inputs loses p columns on either side. Dilation: u stands only in u d, so
    the diagonals are d apart. Circular padding makes a circulant of T, each row the one above
    it shifted by s.
(4) Two axes: the block from row r of the image to row i of the output is T(w[r-i, :]). The
    matrix is a Toeplitz arrangement of Toeplitz blocks, and (3) holds for each axis. Murphy's
    4 x 9 matrix (14.8) is the case of a 2 x 2 kernel on a 3 x 3 image.
(5) Channels: the block (o, c) is the matrix of w[o,c]. Groups leave blocks of zeros between
    different groups. A batch repeats the whole matrix along the diagonal, I_B kron J.

With respect to w.
(6) The row of output i, j holds the window that it sees. For one channel this is U, the im2col
    matrix; with C channels and O outputs it is I_O kron [U(x_1), ..., U(x_C)]. The examples of
    a batch stand below each other. On one axis with s = d = 1, p = 0, U[i,u] = x_{i+u} is
    constant along antidiagonals, a Hankel matrix; of true convolution it is Toeplitz.

For back-propagation, let L depend on y and let g = dL/dy.
(7) dL/dx = J^T g. For s = d = 1, p = 0 it is the full true convolution sum_i g_i w_{j-i}.
(8) dL/dw[o,c,u,v] is the sum over the batch, i and j of g[o,i,j] times the pixel that
    w[o,c,u,v] meets there. That is the correlation of x with g, its first k1 x k2 values, with
    stride and dilation exchanged.
(9) dL/db[o] is the sum of g[o,i,j] over the batch, i and j.
A kernel as large as the image has one window: the layer is fully connected. A 1 x 1 kernel is
one fully connected layer at every pixel, J = w kron I (claim 46).

Check. Weights and pixels are 1, 4, 16, ..., so an entry tells which of them it holds: equality
is a proof for that geometry. By unit steps and by autograd, for minidl.conv and for torch.
"""
# sheet: S3.8c

import itertools
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from kit import D, claim, eye, ints, kron, refuted, same, sides, units, vector

from minidl import conv
from minidl.conv import conv2d, output_size

GRID = [(n, k, s, p, d) for s, p, d in itertools.product((1, 2, 3), (0, 1, 2), (1, 2))
        for n in range(1, 6) for k in range(1, 4) if n + 2 * p > d * (k - 1)]
GEOMETRIES = [(1, 0, 1), (2, 1, 1), ((1, 2), (1, 0), (2, 1)), ((2, 3), (0, 2), (1, 2))]
LAYERS = [((2, 3, 2, 2), 1), ((2, 2, 2, 3), 1), ((4, 1, 3, 2), 2), ((3, 1, 2, 1), 3)]  # w, G


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def windows(size, kernel, s, p, d):
    """H', W', and all (i, j, u, v, r, q): output (i, j) reads pixel (r, q) by w_uv."""
    axes = list(zip(size, kernel, *map(pair, (s, p, d)), strict=True))
    H, W = (output_size(*axis) for axis in axes)
    read = []
    for i, j, u, v in itertools.product(*map(range, (H, W, *kernel))):
        r, q = (t * s + a * d - p for t, a, (_, _, s, p, d) in zip((i, j), (u, v), axes,
                                                                  strict=True))
        if 0 <= r < size[0] and 0 <= q < size[1]:
            read.append((i, j, u, v, r, q))
    return H, W, read


def input_jacobian(w, size, s=1, p=0, d=1, groups=1):
    """dy/dx for w (O, C/G, k1, k2), size (H, W): (O H' W', C H W)."""
    H, W, read = windows(size, w.shape[2:], s, p, d)
    blocks = []
    for w_g in w.chunk(groups):
        J = torch.zeros(len(w_g), H, W, w.shape[1], *size, dtype=D)
        for i, j, u, v, r, q in read:
            J[:, i, j, :, r, q] = w_g[:, :, u, v]
        blocks.append(J.reshape(len(w_g) * H * W, -1))
    return torch.block_diag(*blocks)


def kernel_jacobian(x, outputs, kernel, s=1, p=0, d=1):
    """dy/dw for x (B, C, H, W): I_O kron [U(x_1) .. U(x_C)] each, (B O H' W', O C k1 k2)."""
    H, W, read = windows(x.shape[2:], kernel, s, p, d)
    U = torch.zeros(len(x), H, W, x.shape[1], *kernel, dtype=D)
    for i, j, u, v, r, q in read:
        U[:, i, j, :, u, v] = x[:, :, r, q]
    return torch.cat([kron(eye(outputs), block.reshape(H * W, -1)) for block in U])


def conv_matrix(w, n, s=1, p=0, d=1):
    """dy/dx of one axis, w (k,): (m, n)."""
    return input_jacobian(w[None, None, None], (1, n), (1, s), (0, p), (1, d))


def im2col(x, k, s=1, p=0, d=1):
    """dy/dw of one axis, x (n,): (m, k)."""
    return kernel_jacobian(x[None, None, None], 1, (1, k), (1, s), (0, p), (1, d))


def names(*shape):
    """1, 4, 16, ...: the sum of a few of them tells which they are."""
    n = torch.Size(shape).numel()
    return vector(*(4.0**u for u in range(n))).reshape(shape)


def three_ways(i, x, w, *geometry):
    """dy / d (x, w)[i] on one axis: unit steps on ours and on loops, torch's autograd."""
    def one_channel(layer, x, w):
        return layer(x[None, None], w[None, None], None, *geometry)[0, 0]

    def loops(x, w):
        return vector(*conv.correlate_loops(x.tolist(), w.tolist(), *geometry))

    yield next(sides(partial(one_channel, conv.conv1d), (x, w), i))
    yield next(sides(loops, (x, w), i))
    yield list(sides(partial(one_channel, F.conv1d), (x, w), i))[1]


@claim(36, "exact", "3 (c)")
def test_jacobian_of_conv1d_wrt_input_is_banded_toeplitz():
    """(2), every size to (5, 3); numpy's convolve, which flips, has the matrix of the reversed
    kernel; with circular padding all rows are the first one, shifted."""
    def circular(x, w):
        x = torch.cat([x, x[:len(w) - 1]])
        return conv.conv1d(x[None, None], w[None, None])[0, 0]

    def check(formula):
        for n, k in [(n, k) for n, k, *geometry in GRID if geometry == [1, 0, 1]]:
            w = names(k)
            T = formula(w, n)
            for J in three_ways(0, ints(n), w):
                same(J, T)
            columns = [np.convolve(e, w.numpy(), "valid") for e in np.eye(n)]
            same(torch.tensor(np.stack(columns, axis=1)), formula(w.flip(0), n))
            same(T[0], torch.cat([w, torch.zeros(n - k, dtype=D)]))
            for J in sides(circular, (ints(n), w), 0):
                same(J, torch.stack([T[0].roll(i) for i in range(n)]), constant=n == 1)

    check(conv_matrix)
    refuted(check, lambda w, n: conv_matrix(w.flip(0), n),
            lambda w, n: conv_matrix(w, n).roll(1, dims=1))


@claim(37, "exact", "3 (c)")
def test_stride_keeps_rows_padding_deletes_columns_dilation_spreads_diagonals():
    """(3) on the whole grid: what is made of T(w) is the matrix of all layers. Refuted: no
    stride, no dilation, columns off by one."""
    def from_toeplitz(w, n, s, p, d):
        spread = w.new_zeros(d * (len(w) - 1) + 1)
        spread[::d] = w
        return conv_matrix(spread, n + 2 * p)[::s, p:p + n]

    def check(formula):
        for n, k, s, p, d in GRID:
            J = formula(names(k), n, s, p, d)
            for found in three_ways(0, ints(n), names(k), s, p, d):
                same(found, J, constant=not found.any())  # k = 1 may read nothing but padding

    def rows(J, w, n, *geometry):
        return J[:output_size(n, len(w), *geometry)]

    check(conv_matrix)
    check(from_toeplitz)
    refuted(check,
            lambda w, n, s, p, d: rows(from_toeplitz(w, n, 1, p, d), w, n, s, p, d),
            lambda w, n, s, p, d: rows(from_toeplitz(w, n, s, p, 1), w, n, s, p, d),
            lambda w, n, s, p, d: from_toeplitz(w, n, s, p, d).roll(1, dims=1))


@claim(38, "exact", "3 (c)")
def test_jacobian_wrt_kernel_is_im2col():
    """(6) on the whole grid; Hankel. True convolution: C(x) is Toeplitz, C(x) h = C(h) x.
    Refuted: columns reversed, padding read as an offset, no dilation; Hankel for Toeplitz."""
    def check(formula):
        for n, k, s, p, d in GRID:
            U = formula(names(n), k, s, p, d)
            for found in three_ways(1, names(n), ints(k), s, p, d):
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

    def toeplitz(x, k):
        return torch.stack([F.pad(x, (a, k - 1 - a)) for a in range(k)], dim=1)

    check(im2col)
    refuted(check, lambda x, k, s, p, d: im2col(x, k, s, p, d).flip(1),
            lambda x, k, s, p, d: im2col(F.pad(x, (0, 2 * p)), k, s, 0, d),
            lambda x, k, s, p, d: im2col(x, k, s, p)[:output_size(len(x), k, s, p, d)])
    check_true_convolution(toeplitz)
    refuted(check_true_convolution, lambda x, k: im2col(x, k, 1, k - 1))


@claim(39, "exact", "3 (c)")
def test_jacobian_of_conv2d_is_doubly_block_toeplitz():
    """(4): Murphy's (14.8) entry by entry, the blocks read off, and the sum over the kernel's
    rows of S_a kron T(w[a, :]). Refuted: images listed by columns, transposed or flipped w."""
    book = vector([1, 2, 0, 3, 4, 0, 0, 0, 0],
                  [0, 1, 2, 0, 3, 4, 0, 0, 0],
                  [0, 0, 0, 1, 2, 0, 3, 4, 0],
                  [0, 0, 0, 0, 1, 2, 0, 3, 4])

    def check(formula):
        same(formula(vector([1, 2], [3, 4]), (3, 3)), book)
        (H, W), w = (5, 4), names(3, 2)
        J = formula(w, (H, W))
        for i, r in itertools.product(range(H - 2), range(H)):
            inside = 0 <= r - i < 3
            same(J.reshape(H - 2, W - 1, H, W)[i, :, r],
                 conv_matrix(w[r - i] if inside else 0 * w[0], W), constant=not inside)
        same(J, sum(kron(conv_matrix(e, H), conv_matrix(row, W))
                    for e, row in zip(eye(3), w, strict=True)))

    def layers(layer):
        return lambda w, size: next(sides(
            lambda x: layer(x[None, None], w[None, None])[0, 0], (ints(*size),), 0))

    def matrix_of(w, size):
        return input_jacobian(w[None, None], size)

    for formula in (matrix_of, layers(conv2d), layers(F.conv2d)):
        check(formula)
    refuted(check, lambda w, size: matrix_of(w.T, size[::-1]),
            lambda w, size: matrix_of(w.T, size), lambda w, size: matrix_of(w.flip(0), size))


@claim(40, "exact", "3 (c)")
def test_jacobians_of_the_layer_with_channels_wrt_x_and_w():
    """The result, (5) and (6): square and other kernels, 1 to 3 groups, four geometries; for w
    a batch of two. Refuted: a transposed kernel, a flip, exchanged channels, interleaved
    groups, exchanged axes; for w the batch, the channels or the outputs in another order."""
    def check_x(formula):
        for (shape, G), geometry in itertools.product(LAYERS, GEOMETRIES):
            w, x = names(*shape), ints(1, shape[1] * G, 4, 5)
            for layer in conv2d, F.conv2d:
                for J in sides(layer, (x, w, None, *geometry, G), 0):
                    same(J, formula(w, (4, 5), *geometry, G))

    def check_w(formula):
        x = names(2, 3, 4)
        x = torch.stack([x, x.flip(0, 1)])
        for kernel, geometry in itertools.product([(2, 2), (2, 3), (3, 2)], GEOMETRIES):
            for layer in conv2d, F.conv2d:
                for J in sides(layer, (x, ints(3, 2, *kernel), None, *geometry), 1):
                    same(J, formula(x, 3, kernel, *geometry))

    def interleaved(w, size, s, p, d, G):
        return input_jacobian(w.unflatten(0, (-1, G)).transpose(0, 1).flatten(0, 1), size, s,
                              p, d, G)

    check_x(input_jacobian)
    refuted(check_x, interleaved,
            lambda w, *rest: input_jacobian(w.mT if w.shape[2] == w.shape[3] else w, *rest),
            lambda w, *rest: input_jacobian(w.flip(3), *rest),
            lambda w, *rest: input_jacobian(w.flip(1), *rest),
            lambda w, size, *rest: input_jacobian(w.mT, size[::-1], *rest))
    check_w(kernel_jacobian)
    refuted(check_w, lambda x, *rest: kernel_jacobian(x.flip(0), *rest),
            lambda x, *rest: kernel_jacobian(x.flip(1), *rest),
            lambda x, outputs, *rest: torch.cat([
                kron(kernel_jacobian(one[None], 1, *rest), eye(outputs)) for one in x]),
            lambda x, outputs, kernel, *rest: kernel_jacobian(x, outputs, kernel, *rest)
            .unflatten(1, (-1, *kernel)).transpose(2, 3).flatten(1))


def kernel_gradient(x, g, kernel, s, p, d):
    """(8): (B, C, H, W), (B, O, H', W') -> (O, C, k1, k2): a correlation adds over B."""
    dw = conv2d(x.transpose(0, 1), g.transpose(0, 1), None, d, p, s)
    return dw[:, :, :kernel[0], :kernel[1]].transpose(0, 1)


@claim(44, "exact", "3 (c)")
def test_gradients_are_full_convolution_and_correlation_with_g():
    """(7)-(9) against autograd of ours and torch's. (8) on all pairs of a unit image and a
    unit g, each a channel of its own, and on a batch. Refuted: no flip; a transposed square
    kernel, a flip, stride and dilation not exchanged, the mean of a batch."""
    def check_input(rule):
        for n, k in [(n, k) for n, k, *geometry in GRID if geometry == [1, 0, 1]]:
            w, g = names(k), eye(n - k + 1)
            for layer in conv.conv1d, F.conv1d:
                x = ints(len(g), 1, n).requires_grad_()
                dx, = torch.autograd.grad(layer(x, w[None, None]), x, g[:, None])
                same(dx[:, 0], vector(*(list(rule(e, w.tolist())) for e in g.tolist())))
                same(dx[:, 0], g @ conv_matrix(w, n))

    def check_kernel(rule):
        for kernel, geometry in itertools.product([(2, 2), (3, 2)], GEOMETRIES):
            H, W, _ = windows((4, 5), kernel, *geometry)
            for x, g in ((units(4, 5)[None], units(H, W)[None]),
                         (ints(2, 3, 4, 5), ints(2, 4, H, W, seed=1))):
                for layer in conv2d, F.conv2d:
                    w = ints(g.shape[1], x.shape[1], *kernel).requires_grad_()
                    b = ints(g.shape[1], seed=2).requires_grad_()
                    dw, db = torch.autograd.grad(layer(x, w, b, *geometry), (w, b), g)
                    same(dw, rule(x, g, kernel, *geometry))
                    same(db, g.sum((0, 2, 3)), constant=True)

    check_input(np.convolve)
    check_input(conv.convolve_loops)
    refuted(check_input, partial(np.correlate, mode="full"))
    check_kernel(kernel_gradient)
    refuted(check_kernel, lambda x, g, *rest: kernel_gradient(x, g, *rest).flip(2),
            lambda x, g, kernel, s, p, d: kernel_gradient(x, g, kernel, 1, p, d),
            lambda x, g, *rest: kernel_gradient(x, g, *rest) / len(x),
            lambda x, g, kernel, *rest: kernel_gradient(x, g, kernel, *rest).mT
            if kernel == (2, 2) else kernel_gradient(x, g, kernel, *rest))


@claim(46, "exact", "3 (c)")
def test_conv_is_fc_when_kernel_covers_input_and_1x1_conv_is_fc_per_pixel():
    """On all unit images, with weights that name themselves: a kernel of the image's size is
    F.linear with w.flatten(1) on x.flatten(1), one of a pixel F.linear at every pixel.
    Refuted: kernels listed by columns, flipped, channels last, exchanged channels."""
    x, b = units(2, 3, 4), ints(1)
    w, W, c = names(1, 2, 3, 4), names(3, 2), ints(3, seed=3)

    def check_covering(as_matrix):
        for layer in conv2d, F.conv2d:
            same(layer(x, w, b).flatten(1), F.linear(x.flatten(1), as_matrix(w), b))

    def check_pixel(as_kernel):
        for layer in conv2d, F.conv2d:
            same(layer(x, as_kernel(W), c).movedim(1, 3), F.linear(x.movedim(1, 3), W, c))

    check_covering(lambda w: w.flatten(1))
    refuted(check_covering, lambda w: w.mT.flatten(1), lambda w: w.flip(2, 3).flatten(1),
            lambda w: w.movedim(1, 3).flatten(1))
    check_pixel(lambda W: W[:, :, None, None])
    refuted(check_pixel, lambda W: W.flip(1)[:, :, None, None])
    same(input_jacobian(W[:, :, None, None], (2, 3)), kron(W, eye(6)))
