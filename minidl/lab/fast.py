r"""What makes a network fast, for minidl/lab/network.py: layers in place of torch's, bfloat16,
CUDA graphs. Values, shapes and weights stay torch's. Checked in tests/test_network.py.

Channels last: images of shape (B, C, H, W) that lie in memory as (B, H, W, C). A processor
takes all channels of a pixel at once where they lie side by side. torch hands the order on
from layer to layer, forwards and, by the gradient, backwards; the weights begin it.
nn.Unflatten loses it, and so does the way back through nn.Flatten: these two keep it.

bfloat16 has float32's range and 8 bits of mantissa: a rounding error of 2^-8 = 0.4% at most.
Weights, their sums over steps and losses stay in float32.
"""

import copy

import torch
from torch import nn
from torch.func import functional_call

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


def has_bfloat16(device):
    """Whether the device has instructions of its own for products in bfloat16; without them
    they are emulated and slower. It depends on the machine alone, not on a timing."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch before 2.6 has no public word for it: float32 then
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def recorded(network, x):
    """-> f(x), which is network(x), its two passes as CUDA graphs: a launch each.

    A small network on a GPU waits for Python: some hundred launches a step, each of which
    takes the processor longer than the GPU. They are recorded once, for batches of x's shape,
    and replayed. Recording runs the network; weights, running statistics, the generators and
    the modes are put back, also where it fails (RuntimeError): it does not count as training.
    """
    weights = dict(network.named_parameters())
    state = copy.deepcopy(network.state_dict())
    modes = [(part, part.training) for part in network.modules()]
    cache = torch.is_autocast_cache_enabled()

    def pass_of(x, *values):  # weights as arguments: the network itself stays as it is
        return functional_call(network, dict(zip(weights, values, strict=True)), (x,))

    try:
        if not network.training:  # else each part in its own mode
            network.train()
        # no copies of the weights in 16 bits are kept: a replay would use old ones
        torch.set_autocast_cache_enabled(False)
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            replay = torch.cuda.make_graphed_callables(
                pass_of, (x.clone(), *weights.values()))
    finally:
        torch.set_autocast_cache_enabled(cache)
        network.load_state_dict(state)
        network.zero_grad()
        for part, training in modes:
            part.training = training
    return lambda x_now: replay(x_now, *weights.values())
