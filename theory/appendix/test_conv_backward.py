r"""Beyond question 3 (c): the transposed Jacobian of a convolution is a layer of its own.

Result. The transposed convolution, which decoders use, is the transpose J^T of a convolution's
Jacobian J. It is the adjoint of the layer, and in general not its inverse.

In one dimension y_i = sum_u w_u x_{i s + u d - p} has J[i, j] = w_u where j = i s + u d - p
(test_jacobian_conv.py). Let g have the shape of y.
(1) Entry j of J^T g is the sum of w_u g_i over all i, u with i s + u d - p = j. So g_i adds
    g_i w to the window that y_i was computed from: the transposed convolution (Murphy 14.4.2).
    It takes the array w as it is, which leads from C to O channels forwards and from O to C
    here.
(2) It is a correlation as well, with w reversed: put s - 1 zeros between the g_i and d(k-1) -
    p zeros on both sides. The inputs behind the last window need (n + 2p - d(k-1) - 1) mod s
    more zeros on the right, the output_padding. Then w_u meets g_i exactly where i s + u d - p
    = j.
(3) (J x) . y = x . (J^T y) for all x and y, so the transpose is the adjoint.
(4) unfold lists the windows of x, and fold adds each window where it was read. That is (1) for
    all unit kernels at once, so fold is unfold transposed, and fold(unfold(x))_j is x_j times
    the number of windows over j.
(5) It is not an inverse. For m < n some x is lost in J, and where windows overlap J^T J adds.
    x = [1,-1,1,-1] under w = [1,1] gives 0, from which nothing comes back. "Deconvolution" is
    the wrong word. Only where patches lie side by side and the kernels are an orthonormal
    basis of them, J^T J = I (claim 43, up to the factor 25).

Check. Everything is linear in x, w and g: weights name themselves, the rest are unit vectors.
"""

import itertools
from functools import partial

import torch
import torch.nn.functional as F
from kit import D, claim, eye, holds, ints, matrix, refuted, same, sides, units, vector
from test_jacobian_conv import GRID, conv_matrix, input_jacobian, names

from minidl import conv
from minidl.conv import Geometry, unfold


def stuffed(g, w, b, stride, padding, output_padding, groups, dilation):
    """(2) for one channel, b and groups left out: (1, 1, m), (1, 1, k) -> (1, 1, n)."""
    spread = torch.zeros(1, 1, stride * (g.shape[2] - 1) + 1, dtype=D)
    spread[:, :, ::stride] = g
    room = dilation * (w.shape[2] - 1) - padding
    spread = F.pad(spread, (room, room + output_padding))  # cuts where room < 0
    return conv.conv1d(spread, w.flip(2), dilation=dilation)


@claim(41, "exact")
def test_transposed_convolution_is_the_transposed_jacobian():
    """(1), (2) on the whole grid: ours, torch's and the correlation of (2). Refuted: no flip,
    padding off by one, output_padding on the left."""
    def check(layer):
        for n, k, s, p, d in GRID:
            J, extra = conv_matrix(names(k), n, s, p, d), (n + 2 * p - d * (k - 1) - 1) % s
            g, w = ints(1, 1, len(J)), names(1, 1, k)
            found = next(sides(layer, (g, w, None, s, p, extra, 1, d), 0))
            same(found, J.T, constant=not J.any())
            holds(not layer(0 * g, w, None, s, p, extra, 1, d).any(), "0 does not give 0")

    for layer in conv.conv_transpose1d, F.conv_transpose1d, stuffed:
        check(layer)
    refuted(check, lambda g, w, *rest: stuffed(g, w.flip(2), *rest),
            lambda g, w, *rest: stuffed(g, w, *rest).roll(1, 2),
            lambda g, w, b, s, p, extra, *rest: F.pad(
                stuffed(g, w, b, s, p, 0, *rest), (extra, 0)))


@claim(42, "exact")
def test_adjoint_identity_Ax_y_equals_x_ATy():
    """(3) for images with channels and groups, all pairs of unit x and y, weights that name
    themselves; and as a matrix. Refuted: no flip, a shift by one, exchanged channels."""
    cases = [((3, 2, 2, 2), 1), ((2, 3, 2, 2), 1), ((4, 1, 3, 2), 2), ((3, 1, 1, 3), 3)]

    def check(backward):
        for (shape, G), forward in itertools.product(cases, (conv.conv2d, F.conv2d)):
            w, x = names(*shape), units(shape[1] * G, 6, 5)
            Ax = forward(x, w, None, (1, 2), (1, 0), (2, 1), G)
            y = units(*Ax.shape[1:])
            ATy = backward(y, w, None, (1, 2), (1, 0), (0, (5 - shape[3]) % 2), G, (2, 1))
            same((Ax[:, None] * y).sum((2, 3, 4)), (x[:, None] * ATy).sum((2, 3, 4)))
            same(ATy.flatten(1), input_jacobian(w, (6, 5), (1, 2), (1, 0), (2, 1), G))

    check(conv.conv_transpose2d)
    check(F.conv_transpose2d)
    refuted(check, lambda y, w, *rest: conv.conv_transpose2d(y, w.flip(2, 3), *rest),
            lambda y, w, *rest: conv.conv_transpose2d(y, w, *rest).roll(1, 3),
            lambda y, w, *rest: conv.conv_transpose2d(y, w.flip(1), *rest),
            lambda y, w, *rest: conv.conv_transpose2d(y, w.flip(0), *rest))


@claim(43, "witness")
def test_transposed_convolution_is_not_the_inverse():
    """(5): w = (1, 1) on 4 values. The controls are kernels for which J^T J is a multiple of
    I: (1); and (3, 4), (-4, 3) on patches side by side, J^T J = 25 I."""
    pairs = ((conv.conv1d, conv.conv_transpose1d), (F.conv1d, F.conv_transpose1d))

    def there_and_back(there, back, w, s):
        return matrix(lambda x: back(there(x[None, None], w, stride=s), w, stride=s), 4)

    def check(kernels, s):
        for there, back in pairs:
            JTJ = there_and_back(there, back, vector(*kernels)[:, None], s)
            holds(not torch.equal(JTJ, JTJ[0, 0] * eye(4)), "J^T J is a multiple of I")

    check([[1, 1]], s=1)
    refuted(partial(check, s=1), [[1]])
    refuted(partial(check, s=2), [[3, 4], [-4, 3]])
    w, lost = vector(1, 1)[None, None], vector(1, -1, 1, -1)[None, None]
    for there, back in pairs:
        same(there_and_back(there, back, w, 1),
             vector([1, 1, 0, 0], [1, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 1]))
        same(there(lost, w), torch.zeros(1, 1, 3, dtype=D), constant=True)


@claim(45, "exact")
def test_fold_is_the_adjoint_of_unfold_and_counts_overlaps():
    """(4): the matrix of fold is that of unfold transposed, ours and torch's; the overlaps are
    counted by loops. A fold that overwrites and one that averages are refuted."""
    geometries = [Geometry((3, 4), (2, 3), (2, 2), (1, 1), (0, 0), (1, 1), 1),
                  Geometry((4, 5), (4, 3), (3, 2), (1, 2), (1, 1), (1, 2), 1),
                  Geometry((5, 3), (3, 2), (2, 1), (2, 2), (1, 0), (2, 1), 1)]

    def torchs(windows, g):
        return F.fold(windows.reshape(1, -1, g.windows[0] * g.windows[1]), g.size, g.kernel,
                      g.dilation, g.padding, g.stride)

    def windows_over(g, axis):
        n, m, k, s, p, d = [sizes[axis] for sizes in g[:6]]
        return vector(*(sum(i * s + u * d - p == j for i in range(m) for u in range(k))
                        for j in range(n)))

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
