"""The layers of a network, their output shapes and their parameters."""

import re

import torch

from minidl.evaluation import evaluating


@torch.no_grad()
def layer_rows(module, *example):
    """Rows {layer, output shape, parameters} of every layer without parts, in the order they
    run; the last row is the sum. The shapes are those of a run on `example` (1, ...), the
    network's arguments, so they cannot be wrong.
    """
    rows, hooks = [], []

    def note(layer, _, output):
        output = output[0] if isinstance(output, tuple) else output  # an RNN's states
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
    """The number of trainable parameters of a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _short(layer):
    """Torch's own words for a layer, without the defaults and with (3, 3) as 3."""
    text = re.sub(r"\((\d+), \1\)", r"\1", layer.extra_repr())
    defaults = r", eps=.*|(, )?bias=True|approximate='none'|start_dim=1, end_dim=-1"
    text = re.sub(defaults, "", text)
    return f"{type(layer).__name__}({text})"
