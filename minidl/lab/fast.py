r"""What makes a network fast, for minidl/lab/network.py: layers in place of torch's, and
bfloat16. Values, shapes and weights stay torch's. Checked in tests/test_network.py.

Channels last: images of shape (B, C, H, W) that lie in memory as (B, H, W, C). A processor
reads all channels of a pixel at once if they are contiguous. If the weights have this memory
format, torch keeps it through the layers, forwards and backwards. But nn.Unflatten loses it,
and so does the backward pass of nn.Flatten. The two replacements here keep it.

bfloat16 has float32's range and 8 bits of mantissa: a rounding error of 2^-8 = 0.4% at most.
Weights, their sums over steps and losses stay in float32.
"""

import torch
from torch import nn

from minidl.recurrence import recurrence


def faster(layer):
    """Turn a layer of torch into one of these, in place, where there is one for it."""
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


def has_bfloat16(device):
    """Whether the device has instructions for products in bfloat16; without them bfloat16 is
    emulated and slower. The answer depends on the machine alone, not on a timing."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch before 2.6 has no public word for it: float32 then
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
