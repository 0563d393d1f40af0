r"""Correlation and transposed convolution, forwards and backwards, by hand.

A convolutional layer correlates x (B, C, H, W) with w (O, C/G, k1, k2). Murphy (2022), (14.5),
(14.12), (14.15), (14.25). s is the stride, p the padding, d the dilation; x is 0 outside:

    y[b,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[b, c, i s1 + u d1 - p1, j s2 + v d2 - p2]

Neighbouring channels form G groups; o sees only the C/G channels of its group. In 1-D, H and
k1 are 1. Without b, all derivatives follow from one number, linear in each of three tensors:

    F(x, w, y) = sum_{b,o,c,i,j,u,v} y[b,o,i,j] w[o,c,u,v] x[b, c, i s1 + ..., j s2 + ...]
    Y(x, w) = dF/dy    the correlation above
    X(w, y) = dF/dx    the transposed convolution: adds y[b,o,i,j] w in the window of i, j
    W(y, x) = dF/dw    the correlation of x with y, summed over the batch
(1) If L depends on y = Y(x, w), with g = dL/dy held fixed: dL = sum g dY = dF(x, w, g), so
    dL/dx = X(w, g) and dL/dw = W(g, x).
(2) Each of the three is such an output, t = T(a, b), of the next two, a and b, in the cycle
    x, w, y, x, ... As in (1), with g = dL/dt: dL/da = A(b, g) and dL/db = B(g, a).
(3) <Y(x, w), y> = F = <x, X(w, y)>: for fixed w, X has the transposed matrix, the adjoint.
Errors: ValueError for shapes that do not fit. Checked in tests/test_conv.py, used in theory/.
"""

from collections import namedtuple
from itertools import product

import torch

# size (H, W) of x, windows (H', W') of y, kernel (k1, k2); s, p, d: one per axis; groups G
Geometry = namedtuple("Geometry", "size windows kernel stride padding dilation groups")


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """Y(x, w) + b: (B, C, H, W), (O, C/G, k1, k2), (O,) -> (B, O, H', W').

    H' = output_size(H, k1, s1, p1, d1). stride, padding, dilation: an integer or one per axis.
    """
    x, w, b = _checked(x, w, b, groups, False)
    s, p, d = map(_pair, (stride, padding, dilation))
    windows = tuple(map(output_size, x.shape[2:], w.shape[2:], s, p, d))
    g = Geometry(x.shape[2:], windows, w.shape[2:], s, p, d, groups)
    return Derivative.apply(x, w, "y", g) + b


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    """X(w, x) + b: (B, O, H', W'), (O, C/G, k1, k2), (C,) -> (B, C, H, W).

    The adjoint of conv2d with the same settings. H = transposed_size(H', k1, s1, p1, o1, d1):
    several H have the same H'; output_padding (o1, o2) chooses one.
    """
    x, w, b = _checked(x, w, b, groups, True)
    s, p, extra, d = map(_pair, (stride, padding, output_padding, dilation))
    size = tuple(map(transposed_size, x.shape[2:], w.shape[2:], s, p, extra, d))
    g = Geometry(size, x.shape[2:], w.shape[2:], s, p, d, groups)
    return Derivative.apply(w, x, "x", g) + b


def conv1d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """(B, C, N), (O, C/G, k), (O,) -> (B, O, N'): conv2d of an image of height 1."""
    return conv2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding), (1, dilation),
                  groups).squeeze(2)


def conv_transpose1d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    """(B, O, N'), (O, C/G, k), (C,) -> (B, C, N): conv_transpose2d of an image of height 1."""
    return conv_transpose2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding),
                            (0, output_padding), groups, (1, dilation)).squeeze(2)


def output_size(n, k, stride=1, padding=0, dilation=1):
    """floor((n + 2p - d(k-1) - 1) / s) + 1: how many windows of d(k-1) + 1 values fit."""
    _check_integers(**locals())
    room = n + 2 * padding - dilation * (k - 1) - 1
    if room < 0:
        raise ValueError(f"found {n + 2 * padding} values with padding, expected at least the "
                         f"{dilation * (k - 1) + 1} that the kernel reaches over")
    return room // stride + 1


def transposed_size(n, k, stride=1, padding=0, output_padding=0, dilation=1):
    """(n-1)s - 2p + d(k-1) + output_padding + 1: of output_size n if output_padding < s."""
    _check_integers(**locals())
    if output_padding >= max(stride, dilation):
        raise ValueError(f"found output_padding={output_padding} with stride={stride} and "
                         f"dilation={dilation}, expected less than the larger of the two")
    size = (n - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1
    if size < 1:
        raise ValueError(f"found padding={padding}, which leaves {size} values, expected less")
    return size


class Derivative(torch.autograd.Function):
    """T(a, b) = dF/dt for t = "x", "w" or "y": the sum F without its factor t."""
    generate_vmap_rule = True  # for torch.func

    @staticmethod
    def forward(a, b, t, g):
        halves = g.groups, -1  # O = G (O/G), C = G (C/G)
        if t == "x":
            w, y = a.unflatten(0, halves), b.unflatten(1, halves)
            return fold(torch.einsum("gocuv,bgoij->bgcuvij", w, y), g)
        if t == "w":
            y, x = a.unflatten(1, halves), unfold(b, g)
            return torch.einsum("bgoij,bgcuvij->gocuv", y, x).flatten(0, 1)
        x, w = unfold(a, g), b.unflatten(0, halves)
        return torch.einsum("bgcuvij,gocuv->bgoij", x, w).flatten(1, 2)

    @staticmethod
    def setup_context(ctx, inputs, output):
        a, b, ctx.t, ctx.geometry = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx, g):
        (a, b), (of_a, of_b) = ctx.saved_tensors, {"x": "wy", "w": "yx", "y": "xw"}[ctx.t]
        return (Derivative.apply(b, g, of_a, ctx.geometry),
                Derivative.apply(g, a, of_b, ctx.geometry), None, None)


def unfold(x, geometry):
    """window[b,g,c,u,v,i,j] = x[b, (g,c), i s1 + u d1 - p1, j s2 + v d2 - p2]: im2col."""
    p1, p2 = geometry.padding
    padded = torch.nn.functional.pad(x, (p2, p2, p1, p1)).flatten(2)
    windows = padded[:, :, _positions(geometry, x.device)]
    return windows.unflatten(1, (geometry.groups, -1))  # (B, G, C/G, k1, k2, H', W')


def fold(windows, geometry):
    """The adjoint of unfold: windows are added where they were read, padding is cut."""
    (H, W), (p1, p2) = geometry.size, geometry.padding
    windows = windows.flatten(1, 2)  # (B, G, C/G, k1, k2, H', W') -> (B, C, k1, k2, H', W')
    padded = windows.new_zeros(*windows.shape[:2], (H + 2 * p1) * (W + 2 * p2))
    positions = _positions(geometry, windows.device).flatten()
    padded = padded.index_add(2, positions, windows.flatten(2)).unflatten(2, (H + 2 * p1, -1))
    return padded[:, :, p1:p1 + H, p2:p2 + W]


def _positions(geometry, device):
    """(k1, k2, H', W'): where (i s1 + u d1, j s2 + v d2) is in the flat padded image."""
    rows, columns = (torch.arange(k)[:, None] * d + torch.arange(n) * s for k, d, n, s in zip(
        geometry.kernel, geometry.dilation, geometry.windows, geometry.stride, strict=True))
    width = geometry.size[1] + 2 * geometry.padding[1]
    return (rows[:, None, :, None] * width + columns[:, None, :]).to(device)


def correlate_loops_2d(x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """conv2d of one channel in plain loops: lists of rows, also of integers of any size."""
    (s1, s2), (p1, p2), (d1, d2) = stride, padding, dilation
    columns = output_size(len(x[0]), len(w[0]), s2, p2, d2)
    y = [[0] * columns for _ in range(output_size(len(x), len(w), s1, p1, d1))]
    for i, j, u, v in product(*map(range, (len(y), columns, len(w), len(w[0])))):
        r, c = i * s1 + u * d1 - p1, j * s2 + v * d2 - p2
        if 0 <= r < len(x) and 0 <= c < len(x[0]):
            y[i][j] += w[u][v] * x[r][c]
    return y


def correlate_loops(x, w, stride=1, padding=0, dilation=1):
    """y[i] = sum_u w[u] x[i s + u d - p] for sequences of numbers, as a list."""
    return correlate_loops_2d([x], [w], (1, stride), (0, padding), (1, dilation))[0]


def convolve_loops(x, h):
    """True convolution y[t] = sum_s h[s] x[t-s] (Murphy (14.2)), of length n + m - 1."""
    y = [0] * (len(x) + len(h) - 1)
    for r, s in product(range(len(x)), range(len(h))):
        y[r + s] += h[s] * x[r]
    return y


def _checked(x, w, b, groups, transposed):
    """x, w, b (zeros if None) of one type; under torch.autocast, the one of F.conv2d."""
    _check_integers(groups=groups)
    if x.dim() != 4 or w.dim() != 4:
        raise ValueError(f"found x {tuple(x.shape)}, w {tuple(w.shape)}, expected 4 axes each")
    channels = w.shape[1] * groups, len(w)
    inputs, outputs = reversed(channels) if transposed else channels
    b = x.new_zeros(outputs) if b is None else b
    if x.shape[1] != inputs or b.shape != (outputs,) or len(w) % groups:
        raise ValueError(f"found {x.shape[1]} channels, b of shape {tuple(b.shape)}, expected "
                         f"{inputs}, ({outputs},) and {groups} groups: w is {tuple(w.shape)}")
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, w, b = (v if v.dtype == torch.float64 else v.to(kind) for v in (x, w, b))
    if not x.dtype == w.dtype == b.dtype:
        raise ValueError(f"found {x.dtype}, {w.dtype} and {b.dtype}, expected one type")
    return x, w, b[:, None, None]


def _pair(value):
    two = isinstance(value, (tuple, list)) and len(value) == 2  # else output_size refuses it
    return tuple(value) if two else (value, value)


def _check_integers(**numbers):
    for name, value in numbers.items():
        least = 0 if "padding" in name else 1
        if not hasattr(value, "__index__") or value < least:
            raise ValueError(f"found {name}={value!r}, expected an integer from {least}")
