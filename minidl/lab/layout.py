r"""Channels last: images of shape (B, C, H, W) that lie in memory as (B, H, W, C).

A processor takes all channels of a pixel at once where they lie side by side. torch hands the
order on from layer to layer, forwards and, by the gradient, backwards; weights begin it
(`module.to(memory_format=torch.channels_last)`). nn.Unflatten loses it, and so does the way
back through nn.Flatten, before which every layer then has inputs in one order and gradients in
the other. tests/bench_precision.py tells what that costs exercise 2's autoencoder. These two
keep it. Shapes, and which number stands where in them, are torch's.
"""

import torch
from torch import nn

from minidl.recurrence import recurrence


def faster(layer):
    """Make a layer of torch one of these, in place, where one can stand for it."""
    kind = type(layer)
    if kind is nn.Flatten and layer.start_dim == 1:
        layer.__class__ = Flatten
    elif kind is nn.Unflatten:
        layer.__class__ = Unflatten
    elif (kind is nn.RNN and layer.num_layers == 1 and layer.nonlinearity == "tanh"
          and layer.bias and not layer.batch_first and not layer.bidirectional):
        layer.__class__ = RNN


class RNN(nn.RNN):
    """x (T, B, d) -> h (T, B, h), h_T (1, B, h), its gradient by minidl/recurrence.py."""

    def forward(self, x):
        a = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        h = recurrence(a, self.weight_hh_l0)
        return h, h[-1:]


class Flatten(nn.Flatten):
    def forward(self, x):
        return super().forward(_Kept.apply(x))


class Unflatten(nn.Unflatten):
    def forward(self, x):
        return super().forward(x).contiguous(memory_format=torch.channels_last)


class _Kept(torch.autograd.Function):
    """x -> x, and its gradient channels last."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return g.contiguous(memory_format=torch.channels_last)
