r"""Correlation and transposed convolution, forwards and backwards, by hand.

The layer that the field calls convolution (Murphy, Probabilistic Machine Learning (2022),
(14.5), (14.12), (14.15), (14.25)) correlates x (B, C, H, W) with w (O, C/G, k1, k2):

    y[b,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[b, c, i s1 + u d1 - p1, j s2 + v d2 - p2]

(s1, s2) stride, (p1, p2) padding, (d1, d2) dilation; x is 0 outside. O and C fall into G
groups of neighbours; o sees only the C/G channels of its group. 1-D: the same, H = k1 = 1.

Derivatives. Without b, one number that is linear in each of three tensors says it all:

    F(x, w, y) = sum_{b,o,c,i,j,u,v} y[b,o,i,j] w[o,c,u,v] x[b, c, i s1 + ..., j s2 + ...]

    Y(x, w) = dF/dy    the correlation above
    X(w, y) = dF/dx    the transposed convolution: y[b,o,i,j] adds y w to the window it saw
    W(x, y) = dF/dw    the correlation of x with y, summed over the batch

(1) Let L be a function of Y(x, w), and g = dL/dY, of the shape of y.
(2) Then dL = sum g dY = dF(x, w, g), g held fixed: dL/dx = X(w, g) and dL/dw = W(x, g).
(3) F does not care which of the three is the output. With g = dL/dX of the shape of x:
    dL/dw = W(g, y) and dL/dy = Y(g, w); with g = dL/dW: dL/dx = X(g, y) and dL/dy = Y(x, g).
So Y, X and W differentiate into each other, and derivatives of every order exist.
(4) <Y(x, w), y> = F = <x, X(w, y)>: X is the adjoint of Y for fixed w, the transposed matrix.

Left out: Winograd and FFT, which round; here sums of integers in float64 are exact.
Checked in tests/test_conv.py against torch and plain loops; used all over theory/.
"""

from typing import NamedTuple

import torch


class Geometry(NamedTuple):
    """Where the kernel lies: a pair (vertical, horizontal) each, but for groups."""
    size: tuple      # (H, W) of x
    windows: tuple   # (H', W') of y
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """Y(x, w) + b: (B, C, H, W), (O, C/G, k1, k2), (O,) -> (B, O, H', W').

    H' = output_size(H, k1, s1, p1, d1). stride, padding, dilation: an integer or one per axis.
    Errors: ValueError in one sentence.
    """
    _check_dimensions(4, x, w)
    _check_channels(x, w, groups, w.shape[1] * groups)
    s, p, d = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    windows = tuple(map(output_size, x.shape[2:], w.shape[2:], s, p, d))
    g = Geometry(x.shape[2:], windows, w.shape[2:], s, p, d, groups)
    return _add_bias(Correlation.apply(x, w, g), b)


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    """X(w, x) + b: (B, O, H', W'), (O, C/G, k1, k2), (C,) -> (B, C, H, W).

    The adjoint of conv2d with the same w, stride, padding, dilation and groups. Several H have
    the same H', output_padding (o1, o2) chooses: H = transposed_size(H', k1, s1, p1, o1, d1).
    Errors: ValueError in one sentence.
    """
    _check_dimensions(4, x, w)
    _check_channels(x, w, groups, len(w))
    s, p, d = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    extra = _pair("output_padding", output_padding)
    size = tuple(map(transposed_size, x.shape[2:], w.shape[2:], s, p, extra, d))
    g = Geometry(size, x.shape[2:], w.shape[2:], s, p, d, groups)
    return _add_bias(Transposed.apply(w, x, g), b)


def conv1d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """(B, C, N), (O, C/G, k), (O,) -> (B, O, N'): conv2d of an image of height 1."""
    _check_dimensions(3, x, w)
    return conv2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding), (1, dilation),
                  groups).squeeze(2)


def conv_transpose1d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    """(B, O, N'), (O, C/G, k), (C,) -> (B, C, N): conv_transpose2d of an image of height 1."""
    _check_dimensions(3, x, w)
    return conv_transpose2d(x.unsqueeze(2), w.unsqueeze(2), b, (1, stride), (0, padding),
                            (0, output_padding), groups, (1, dilation)).squeeze(2)


def output_size(n, k, stride=1, padding=0, dilation=1):
    """floor((n + 2p - d(k-1) - 1) / s) + 1: where a kernel of reach d(k-1) + 1 can lie."""
    _check_integers(1, n=n, k=k, stride=stride, dilation=dilation)
    _check_integers(0, padding=padding)
    room = n + 2 * padding - dilation * (k - 1) - 1
    if room < 0:
        raise ValueError(f"found {n + 2 * padding} values with padding, expected at least the "
                         f"{dilation * (k - 1) + 1} that the kernel reaches over")
    return room // stride + 1


def transposed_size(n, k, stride=1, padding=0, output_padding=0, dilation=1):
    """(n-1)s - 2p + d(k-1) + output_padding + 1, one of the sizes whose output_size is n.

    That holds for output_padding < s. As in torch, output_padding < max(s, d) is accepted.
    """
    _check_integers(1, n=n, k=k, stride=stride, dilation=dilation)
    _check_integers(0, padding=padding, output_padding=output_padding)
    if output_padding >= max(stride, dilation):
        raise ValueError(f"found output_padding={output_padding}, expected less than the "
                         f"larger of stride={stride} and dilation={dilation}")
    size = (n - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1
    if size < 1:
        raise ValueError(f"found padding={padding}, which leaves {size} values, expected less")
    return size


class Correlation(torch.autograd.Function):
    """Y(x, w)[b,o,i,j] = sum_{c,u,v} w[o,c,u,v] window[b,c,u,v,i,j]; backward is (2)."""

    @staticmethod
    def forward(ctx, x, w, geometry):
        ctx.save_for_backward(x, w)
        ctx.geometry = geometry
        windows, w = unfold(x, geometry), w.unflatten(0, (geometry.groups, -1))
        return torch.einsum("bgcuvij,gocuv->bgoij", windows, w).flatten(1, 2)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return (Transposed.apply(w, g, ctx.geometry),
                KernelGradient.apply(x, g, ctx.geometry), None)


class Transposed(torch.autograd.Function):
    """X(w, y): every window gets w[o,c,u,v] y[b,o,i,j], overlaps add up; backward is (3)."""

    @staticmethod
    def forward(ctx, w, y, geometry):
        ctx.save_for_backward(w, y)
        ctx.geometry = geometry
        w, y = w.unflatten(0, (geometry.groups, -1)), y.unflatten(1, (geometry.groups, -1))
        return fold(torch.einsum("gocuv,bgoij->bgcuvij", w, y), geometry)

    @staticmethod
    def backward(ctx, g):
        w, y = ctx.saved_tensors
        return (KernelGradient.apply(g, y, ctx.geometry),
                Correlation.apply(g, w, ctx.geometry), None)


class KernelGradient(torch.autograd.Function):
    """W(x, y)[o,c,u,v] = sum_{b,i,j} y[b,o,i,j] window[b,c,u,v,i,j]; backward is (3)."""

    @staticmethod
    def forward(ctx, x, y, geometry):
        ctx.save_for_backward(x, y)
        ctx.geometry = geometry
        windows, y = unfold(x, geometry), y.unflatten(1, (geometry.groups, -1))
        return torch.einsum("bgcuvij,bgoij->gocuv", windows, y).flatten(0, 1)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return (Transposed.apply(g, y, ctx.geometry),
                Correlation.apply(x, g, ctx.geometry), None)


def unfold(x, geometry):
    """window[b,g,c,u,v,i,j] = x[b, (g,c), i s1 + u d1 - p1, j s2 + v d2 - p2]: im2col."""
    p1, p2 = geometry.padding
    padded = torch.nn.functional.pad(x, (p2, p2, p1, p1)).flatten(2)
    windows = padded[:, :, _positions(geometry).to(x.device)]
    return windows.unflatten(1, (geometry.groups, -1))  # (B, G, C/G, k1, k2, H', W')


def fold(windows, geometry):
    """The adjoint of unfold: windows are added where they were read, padding is cut."""
    (H, W), (p1, p2) = geometry.size, geometry.padding
    windows = windows.flatten(1, 2)  # (B, G, C/G, k1, k2, H', W') -> (B, C, k1, k2, H', W')
    padded = windows.new_zeros(*windows.shape[:2], (H + 2 * p1) * (W + 2 * p2))
    positions = _positions(geometry).to(windows.device).flatten()
    padded = padded.index_add(2, positions, windows.flatten(2))
    return padded.unflatten(2, (H + 2 * p1, W + 2 * p2))[:, :, p1:p1 + H, p2:p2 + W]


def _positions(geometry):
    """(k1, k2, H', W'): where (i s1 + u d1, j s2 + v d2) is in the flat padded image."""
    rows, columns = (torch.arange(k)[:, None] * d + torch.arange(n) * s for k, d, n, s in zip(
        geometry.kernel, geometry.dilation, geometry.windows, geometry.stride, strict=True))
    width = geometry.size[1] + 2 * geometry.padding[1]
    return rows[:, None, :, None] * width + columns[:, None, :]


def correlate_loops_2d(x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """conv2d of one channel as plain loops over lists of rows, of integers of any size."""
    (s1, s2), (p1, p2), (d1, d2) = stride, padding, dilation
    rows, columns = range(len(x)), range(len(x[0]))
    y = []
    for i in range(output_size(len(x), len(w), s1, p1, d1)):
        y.append([])
        for j in range(output_size(len(x[0]), len(w[0]), s2, p2, d2)):
            total = 0
            for u in range(len(w)):
                for v in range(len(w[0])):
                    r, c = i * s1 + u * d1 - p1, j * s2 + v * d2 - p2
                    if r in rows and c in columns:
                        total += w[u][v] * x[r][c]
            y[i].append(total)
    return y


def correlate_loops(x, w, stride=1, padding=0, dilation=1):
    """y[i] = sum_u w[u] x[i s + u d - p] for sequences of numbers, as a list."""
    return correlate_loops_2d([x], [w], (1, stride), (0, padding), (1, dilation))[0]


def convolve_loops(x, h):
    """True convolution y[t] = sum_s h[s] x[t-s] (Murphy (14.2)), of length n + m - 1."""
    y = [0] * (len(x) + len(h) - 1)
    for t in range(len(y)):
        for s in range(len(h)):
            if 0 <= t - s < len(x):
                y[t] += h[s] * x[t - s]
    return y


def _add_bias(y, b):
    if b is None:
        return y
    if b.shape != y.shape[1:2]:
        raise ValueError(f"found b of shape {tuple(b.shape)}, expected ({y.shape[1]},)")
    return y + b[:, None, None]


def _pair(name, value):
    if isinstance(value, int):
        return (value, value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"found {name}={value!r}, expected an integer or two")
    return tuple(value)


def _check_dimensions(dimensions, x, w):
    if x.dim() != dimensions or w.dim() != dimensions:
        raise ValueError(f"found x of shape {tuple(x.shape)} and w of shape {tuple(w.shape)}, "
                         f"expected {dimensions} dimensions each")


def _check_channels(x, w, groups, expected):
    _check_integers(1, groups=groups)
    if x.shape[1] != expected or len(w) % groups:
        raise ValueError(f"found {x.shape[1]} channels for w of shape {tuple(w.shape)}, "
                         f"expected {expected} channels and {groups} groups of equal size")


def _check_integers(least, **numbers):
    for name, value in numbers.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(f"found {name}={value!r}, expected an integer from {least}")
