r"""The receptive field of a unit, by the formula and by the gradient.

A unit is a layer's channel at one place (minidl/features.py). Checked in
tests/test_hw1_features.py; the formula is proven in theory/appendix/test_shapes.py.
"""

import torch
from torch import nn

from minidl.evaluation import evaluating
from minidl.features import maps, relus

POINTWISE = (nn.ReLU, nn.SELU, nn.Sigmoid, nn.Dropout, nn.Identity, nn.BatchNorm2d)


def receptive_field(layers):
    r"""The inputs that one unit sees along an axis, by layers (k, s, p, d): size, jump, start.

        size = 1 + sum_l (k_l - 1) d_l jump_{l-1},   jump_l = s_1 ... s_l,
        start = - sum_l p_l jump_{l-1}

    k kernel, s stride, p padding, d dilation. Unit o sees the inputs start + o jump ..
    start + o jump + size - 1, as far as they exist. Derived and checked against gradients in
    theory/appendix/test_shapes.py, claim 50.
    """
    size, jump, start = 1, 1, 0
    for k, s, p, d in layers:
        size += (k - 1) * d * jump
        start -= p * jump
        jump *= s
    return size, jump, start


def kernels(network, last):
    """(k, s, p, d) of every convolution and pooling from the input to the part `last`.

    The parts run in their order, kernels are square. In x + f(x) only f counts, since it sees
    all that x sees. ValueError for a layer before `last` whose units see the whole image
    (fully connected, adaptive pooling).
    """
    layers = []
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            geometry = [getattr(part, name, 1) for name in (
                "kernel_size", "stride", "padding", "dilation")]  # AvgPool2d has no dilation
            layers.append(tuple(g if isinstance(g, int) else g[0] for g in geometry))
        elif not list(part.children()) and not isinstance(part, POINTWISE):
            raise ValueError(f"{part}: expected a layer whose units see a part")
        if part is last:
            break
    return layers


def field(network, layer):
    """(size, jump, start) of what a unit of the layer sees: receptive_field."""
    return receptive_field(kernels(network, relus(network)[layer]))


def gradient_map(network, layer, at, x):
    """Mean over images and a random mixture of units of |d unit(at, at) / d pixel|: (H, W).

    Max-pooling passes the gradient to the largest of four pixels only, and a ReLU that is off
    passes none. So one image shows a part of the receptive field, and many images all of it.
    """
    x = x.clone().requires_grad_()
    with evaluating(network):  # batch statistics would tie every pixel to every unit
        unit = maps(network, x)[layer][:, :, at, at]  # (B, C)
    mixture = torch.randn(unit.shape[1], generator=torch.Generator().manual_seed(0))
    gradient, = torch.autograd.grad((unit @ mixture.to(unit)).sum(), x)
    return gradient.abs().mean(dim=(0, 1))


def by_gradient(network, layer, images, generator):
    """-> gradient_map and the formula's first pixel, for the first unit whose field is inside
    the image. The images are noise, and large enough."""
    size, jump, start = field(network, layer)
    at = -(start // jump)
    first = start + at * jump
    side = max(28, first + size + jump)  # 28: the layers behind this one need it
    x = torch.rand(images, 1, side, side, generator=generator)
    device = next(network.parameters()).device
    return gradient_map(network, layer, at, x.to(device)).cpu(), first


def support(gradient):
    """(H, W) -> (first row, last row, first column, last column) with a value other than 0."""
    rows, columns = ((gradient != 0).any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    return rows[0], rows[-1], columns[0], columns[-1]


def measured(network, images, generator):
    """Every layer's field by the formula and by the gradient on images of noise.

    -> a row a layer, name -> the gradient's map, name -> the formula's (first pixel, size).
    They agree where both have the same first and last pixel, in both directions.
    """
    rows, gradients, squares = [], {}, {}
    for layer in range(len(relus(network))):
        name, (size, jump, start) = f"conv {layer + 1}", field(network, layer)
        gradient, first = by_gradient(network, layer, images, generator)
        ends = support(gradient)
        rows.append({"layer": name, "size": size, "jump": jump, "start": start,
                     "by the gradient": ends[1] - ends[0] + 1,
                     "agree": ends == 2 * (first, first + size - 1)})
        gradients[name], squares[name] = gradient.numpy(), (first, size)
    return rows, gradients, squares
