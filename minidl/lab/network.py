"""A network made fast on its device, and evaluated in batches.

    net = run.network(nn.Sequential(...))        # before the optimizer is made
    infer(net, x)                                # evaluation mode, no gradient

The network keeps its layers, weights and parts. What changes is the order of its numbers in
memory and, while it trains with bits=16, the precision of its products. On a CPU in 32 bits,
results change by rounding only. Checked in tests/test_network.py.
"""

import torch
from torch import nn

from minidl.evaluation import evaluating, to_unit
from minidl.lab import fast


def network(net, device, bits=32):
    """net on the device: images channels last, the recurrence with its gradient by hand.

    bits   16: products in bfloat16 while it trains, where the device has instructions for
           them; outputs are float32, and so is all evaluation.
    """
    for part in net.modules():
        fast.faster(part)
    net.to(device, memory_format=torch.channels_last)
    if bits == 16:
        net.register_forward_pre_hook(_in_16_bits)
        net.register_forward_hook(_out_of_16_bits, always_call=True)
    return net


_OPEN = []  # contexts of the forward passes at hand, the innermost last


def _in_16_bits(net, _):
    device = next(net.parameters()).device
    context = torch.autocast(device.type, torch.bfloat16,
                             enabled=net.training and fast.has_bfloat16(device))
    context.__enter__()
    _OPEN.append(context)


def _out_of_16_bits(net, _, output):
    _OPEN.pop().__exit__(None, None, None)
    if isinstance(output, tuple):
        return tuple(part.float() for part in output)
    return output.float() if output is not None else None  # None: the pass has failed


@torch.no_grad()
def infer(net, x, longest=None, size=1000):
    """net(x) for all x (N, ...), in evaluation mode and without gradient, `size` at a time.

    net   a network, or any function of a batch.
    x     a tensor; bytes are scaled to pixels in [0, 1]. Or Reviews: then it is net(w, n) for
          the last `longest` words of each, or for all words.
    """
    with evaluating(*([net] if isinstance(net, nn.Module) else [])):
        if not isinstance(x, torch.Tensor):
            from minidl.data.reviews import outputs  # not for images: it reads a grammar
            return outputs(net, x, longest or int(x.lengths.max()))
        return torch.cat([net(to_unit(part) if part.dtype == torch.uint8 else part)
                          for part in x.split(size)])
