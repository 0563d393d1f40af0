r"""Exercise 2, question 3 (c), continued: the transposed Jacobians of a convolution.

y_i = sum_u w_u x_{i s + u d - p} has J[i, j] = dy_i/dx_j = w_u where j = i s + u d - p, and
U[i, u] = dy_i/dw_u = x_{i s + u d - p}: test_jacobian_conv.py. L is a loss, g = dL/dy.

(1) dL/dx = J^T g, (J^T g)_j = sum of w_u g_i over all (i, u) with i s + u d - p = j: each g_i
    adds g_i w to the window that y_i came from, the transposed convolution (Murphy 14.4.2). It
    takes the array w as it is: (O, C/G, k) leads from C channels to O forwards, and from O to
    C here.
(2) It is a correlation too, with w reversed: s - 1 zeros between the g_i; d(k-1) - p zeros on
    both sides; on the right (n + 2p - d(k-1) - 1) mod s more, output_padding, for the inputs
    behind the last window. Then weight k-1-u of the reversed kernel, w_u, lies on g_i exactly
    where i s + u d - p = j. s = d = 1, p = 0: sum_i g_i w_{j-i}, full true convolution.
(3) dL/dw = U^T g, (U^T g)_u = sum_i g_i x_{u d + i s - p}: x correlated with g, where stride
    and dilation have changed places; its first k values. The examples share w, so dL/dw adds
    over the batch, in the place where y adds over input channels.
(4) unfold lists the windows of x, fold adds each window where it was read: (1) with all unit
    kernels, so fold is unfold transposed. fold(unfold(x))_j is x_j times the windows over j.
(5) (J x) . y = x . (J^T y) for all x, y: the transpose is the adjoint. It is no inverse: for
    m < n some x is lost in J, and where windows overlap J^T J adds.

Check.   Everything is linear in x, in w and in g. Weights are 1, 10, 100, .., the rest unit
         vectors. All (n, k, s, p, d) to (6, 4, 3, 2, 2). minidl.conv, torch, numpy, loops.
Breaks.  "Deconvolution" is the wrong word: x = (1, -1, 1, -1) under w = (1, 1) gives 0, from
         which nothing comes back. J^T J = I does hold where patches lie side by side and the
         kernels are an orthonormal basis of them (claim 43, up to the factor 25).
"""
# sheet: S3.8c

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from kit import D, claim, eye, holds, ints, matrix, refuted, same, sides, units
from test_jacobian_conv import GRID, channel_matrix, conv_matrix, names

from minidl import conv
from minidl.conv import Geometry, output_size, unfold


def stuffed(g, w, b, stride, padding, output_padding, groups, dilation):
    """(2) for one channel, b and groups left out: (1, 1, m), (1, 1, k) -> (1, 1, n)."""
    spread = torch.zeros(1, 1, stride * (g.shape[2] - 1) + 1, dtype=D)
    spread[:, :, ::stride] = g
    room = dilation * (w.shape[2] - 1) - padding
    spread = F.pad(spread, (room, room + output_padding))  # cuts where room < 0
    return conv.conv1d(spread, w.flip(2), dilation=dilation)


def kernel_gradient(x, g, k, s, p, d):
    """(3): (B, C, n), (B, O, m) -> (O, C, k), by a correlation that adds over B."""
    dw = conv.conv1d(x.transpose(0, 1), g.transpose(0, 1), None, d, p, s)  # (C, O, k or more)
    return dw[:, :, :k].transpose(0, 1)


@claim(41, "exact")
def test_transposed_convolution_is_the_transposed_jacobian():
    """(1) and (2) on the whole grid: ours, torch's and the correlation of (2); channels and
    groups for the first two. Refuted: no flip, padding off by one, output_padding on the left;
    swapped channels."""
    def check(layer):
        for n, k, s, p, d in GRID:
            J, extra = conv_matrix(names(k), n, s, p, d), (n + 2 * p - d * (k - 1) - 1) % s
            g, w = ints(1, 1, len(J)), names(1, 1, k)
            found = next(sides(layer, (g, w, None, s, p, extra, 1, d), 0))
            same(found, J.T, constant=not J.any())
            holds(not layer(0 * g, w, None, s, p, extra, 1, d).any(), "0 does not give 0")

    def check_channels(layer):
        for shape, G in [((3, 3, 2), 1), ((2, 3, 4), 1), ((4, 3, 2), 2), ((6, 1, 3), 3)]:
            w, n, k = ints(*shape), 6, shape[2]
            J = channel_matrix(w, n, G, 2, 1, 1)
            g = ints(1, len(w), output_size(n, k, 2, 1, 1))
            for found in sides(layer, (g, w, None, 2, 1, (n - k) % 2, G), 0):
                same(found, J.T)

    for layer in conv.conv_transpose1d, F.conv_transpose1d:
        check(layer)
        check_channels(layer)
    check(stuffed)
    refuted(check, lambda g, w, *rest: stuffed(g, w.flip(2), *rest),
            lambda g, w, *rest: stuffed(g, w, *rest).roll(1, 2),
            lambda g, w, b, s, p, extra, *rest: F.pad(
                stuffed(g, w, b, s, p, 0, *rest), (extra, 0)))
    refuted(check_channels,
            lambda g, w, *rest: F.conv_transpose1d(g, w.transpose(0, 1), *rest))


@claim(42, "exact")
def test_adjoint_identity_Ax_y_equals_x_ATy():
    """(5) in 2-D, all pairs of unit vectors and so all x, y: both inner products, no matrix is
    transposed. A missing flip, a shift by one and the average of overlaps are refuted."""
    def check(backward):
        for forward in conv.conv2d, F.conv2d:
            for shape, G in [((3, 2, 2, 3), 1), ((4, 1, 3, 2), 2)]:
                w, x = ints(*shape), units(shape[1] * G, 6, 5)
                Ax = forward(x, w, None, (1, 2), (1, 0), (2, 1), G)
                y = units(*Ax.shape[1:])
                ATy = backward(y, w, None, (1, 2), (1, 0), (0, (5 - shape[3]) % 2), G, (2, 1))
                same((Ax[:, None] * y).sum((2, 3, 4)), (x[:, None] * ATy).sum((2, 3, 4)))

    check(conv.conv_transpose2d)
    check(F.conv_transpose2d)
    refuted(check, lambda y, w, *rest: conv.conv_transpose2d(y, w.flip(2, 3), *rest),
            lambda y, w, *rest: conv.conv_transpose2d(y, w, *rest).roll(1, 3),
            lambda y, w, *rest: conv.conv_transpose2d(y, w, *rest) / 2)


@claim(43, "witness")
def test_transposed_convolution_is_not_the_inverse():
    """w = (1, 1) on 4 values: J^T J is not even a multiple of I, and J (1, -1, 1, -1) = 0. The
    controls are kernels for which it is one: (1); and (3, 4), (-4, 3) on patches side by side,
    J^T J = 25 I."""
    pairs = ((conv.conv1d, conv.conv_transpose1d), (F.conv1d, F.conv_transpose1d))

    def there_and_back(there, back, w, s):
        return matrix(lambda x: back(there(x[None, None], w, stride=s), w, stride=s), 4)

    def check(kernels, s):
        w = torch.tensor(kernels, dtype=D)[:, None]
        for there, back in pairs:
            JTJ = there_and_back(there, back, w, s)
            holds(not torch.equal(JTJ, JTJ[0, 0] * eye(4)), "J^T J is a multiple of I")

    check([[1, 1]], s=1)
    refuted(partial(check, s=1), [[1]])
    refuted(partial(check, s=2), [[3, 4], [-4, 3]])
    w, lost = torch.ones(1, 1, 2, dtype=D), torch.tensor([[[1, -1, 1, -1]]], dtype=D)
    for there, back in pairs:
        same(there_and_back(there, back, w, 1), torch.tensor(
            [[1, 1, 0, 0], [1, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 1]], dtype=D))
        same(there(lost, w), torch.zeros(1, 1, 3, dtype=D), constant=True)


@claim(44, "exact")
def test_input_gradient_is_full_convolution_and_weight_gradient_is_valid_correlation():
    """Against autograd of ours and torch's. (2), s = d = 1, p = 0: each unit g is an example.
    (3), the whole grid: each unit x and each unit g is a channel of its own; and a batch.
    Refuted: no flip; a flip, stride and dilation not exchanged, the mean of a batch."""
    def check_input(rule):
        for n, k in [(n, k) for n, k, s, p, d in GRID if (s, p, d) == (1, 0, 1)]:
            w, g = names(k), eye(n - k + 1)
            expected = torch.tensor([list(rule(e, w.tolist())) for e in g.tolist()])
            for layer in conv.conv1d, F.conv1d:
                x = ints(len(g), 1, n).requires_grad_()
                dx, = torch.autograd.grad(layer(x, w[None, None]), x, g[:, None])
                same(dx[:, 0], expected.to(D))

    def check_kernel(rule):
        for n, k, s, p, d in GRID:
            m = output_size(n, k, s, p, d)
            for x, g in (eye(n)[None], eye(m)[None]), (ints(2, 3, n), ints(2, 4, m, seed=1)):
                expected = rule(x, g, k, s, p, d)
                for layer in conv.conv1d, F.conv1d:
                    w = ints(g.shape[1], x.shape[1], k).requires_grad_()
                    dw, = torch.autograd.grad(layer(x, w, None, s, p, d), w, g)
                    same(dw, expected, constant=not dw.any())

    check_input(np.convolve)
    check_input(conv.convolve_loops)
    refuted(check_input, partial(np.correlate, mode="full"))
    check_kernel(kernel_gradient)
    refuted(check_kernel, lambda x, g, k, *rest: kernel_gradient(x, g, k, *rest).flip(2),
            lambda x, g, k, s, p, d: kernel_gradient(x, g, k, 1, p, d),
            lambda x, g, k, *rest: kernel_gradient(x, g, k, *rest) / len(x))


@claim(45, "exact")
def test_fold_is_the_adjoint_of_unfold_and_counts_overlaps():
    """The matrix of fold is that of unfold transposed, ours and torch's, and fold(unfold(x))
    is x times the windows over each pixel, counted by loops. A fold that overwrites and one
    that averages are refuted."""
    geometries = [Geometry((3, 4), (2, 3), (2, 2), (1, 1), (0, 0), (1, 1), 1),
                  Geometry((4, 5), (4, 3), (3, 2), (1, 2), (1, 1), (1, 2), 1),
                  Geometry((5, 3), (3, 2), (2, 1), (2, 2), (1, 0), (2, 1), 1)]

    def torchs(windows, g):
        return F.fold(windows.reshape(1, -1, g.windows[0] * g.windows[1]), g.size, g.kernel,
                      g.dilation, g.padding, g.stride)

    def windows_over(g, axis):
        n, m, k, s, p, d = [sizes[axis] for sizes in g[:6]]
        return torch.tensor([sum(i * s + u * d - p == j for i in range(m) for u in range(k))
                             for j in range(n)], dtype=D)

    def check(fold):
        for g in geometries:
            x = ints(1, 1, *g.size)
            U = next(sides(unfold, (x, g), 0))
            same(next(sides(F.unfold, (x, g.kernel, g.dilation, g.padding, g.stride), 0)), U)
            same(next(sides(fold, (unfold(x, g), g), 0)), U.T)
            counts = torch.outer(windows_over(g, 0), windows_over(g, 1))
            same(fold(unfold(x, g), g), counts * x)

    def overwriting(windows, g):
        H, W = g.size
        pixels = unfold(torch.arange(1, H * W + 1).reshape(1, 1, H, W), g)
        x = torch.zeros(H * W + 1, dtype=D)
        x[pixels.flatten()] = windows.flatten()  # the padding is pixel 0
        return x[1:].reshape(1, 1, H, W)

    def averaging(windows, g):
        return conv.fold(windows, g) / conv.fold(torch.ones_like(windows), g).clamp(min=1)

    check(conv.fold)
    check(torchs)
    refuted(check, overwriting, averaging)
