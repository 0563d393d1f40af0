"""What a network is made of: its layers, their shapes, their fields, its parameters."""

import re

import torch
from torch import nn

from minidl.losses import evaluating

POINTWISE = (nn.ReLU, nn.SELU, nn.Sigmoid, nn.Dropout, nn.Identity, nn.BatchNorm2d)


@torch.no_grad()
def layer_rows(module, *example):
    """Rows {layer, output shape, parameters} of every layer without parts, in the order they
    run, by sending `example` (1, ...), all that it is called with, through; the last row is
    the sum.

    The shapes come out of the run, not out of a comment, so they cannot lie.
    """
    rows, hooks = [], []

    def note(layer, _, output):
        shape = " x ".join(map(str, output.shape[1:]))  # without the batch dimension
        rows.append({"layer": _short(layer), "output shape": f"B x {shape}",
                     "parameters": parameter_count(layer)})

    for layer in module.modules():
        if not list(layer.children()):
            hooks.append(layer.register_forward_hook(note))
    try:
        with evaluating(module):
            module(*example)
    finally:
        for hook in hooks:
            hook.remove()
    total = parameter_count(module)
    return [*rows, {"layer": "sum", "output shape": "", "parameters": total}]


def parameter_count(module):
    """The number of trainable numbers in a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def receptive_field(layers):
    r"""What one unit sees, along an axis, through layers (k, s, p, d): -> size, jump, start.

        size = 1 + sum_l (k_l - 1) d_l jump_{l-1},   jump_l = s_1 ... s_l,
        start = - sum_l p_l jump_{l-1}

    k kernel, s stride, p padding, d dilation. Unit o sees the inputs start + o jump ..
    start + o jump + size - 1, as far as there are such. Derived and checked against gradients
    in theory/test_shapes.py, claim 50.
    """
    size, jump, start = 1, 1, 0
    for k, s, p, d in layers:
        size += (k - 1) * d * jump
        start -= p * jump
        jump *= s
    return size, jump, start


def kernels(network, last):
    """(k, s, p, d) of every convolution and pooling from the input to the part `last`.

    The parts run in their order. Beside x + f(x) the f counts: it sees what x sees, and more.
    Errors: ValueError where `last` is no part, for a kernel that is no square, and for a layer
    before it whose units see everything (fully connected, adaptive pooling).
    """
    layers = []
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            geometry = [getattr(part, name, 1) for name in (
                "kernel_size", "stride", "padding", "dilation")]  # AvgPool2d has no dilation
            pairs = {2 * (g,) if isinstance(g, int) else g for g in geometry}
            if any(isinstance(g, str) or g[0] != g[1] for g in pairs):
                raise ValueError(f"{_short(part)}: expected a square kernel and numbers")
            layers.append(tuple(g if isinstance(g, int) else g[0] for g in geometry))
        elif not list(part.children()) and not isinstance(part, POINTWISE):
            raise ValueError(f"{_short(part)}: expected a layer whose units see a part")
        if part is last:
            return layers
    raise ValueError(f"{_short(last)} is no part of the network")


def _short(layer):
    """Torch's own words for a layer, without the defaults and with (3, 3) as 3."""
    text = re.sub(r"\((\d+), \1\)", r"\1", layer.extra_repr())
    defaults = r", eps=.*|(, )?bias=True|approximate='none'|start_dim=1, end_dim=-1"
    text = re.sub(defaults, "", text)
    return f"{type(layer).__name__}({text})"
