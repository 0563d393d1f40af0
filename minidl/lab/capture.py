r"""A network's two passes as CUDA graphs: a launch each, instead of one for every layer.

A small network on a GPU waits for Python: some hundred launches a step, each of which takes
the processor longer than the GPU. torch.cuda.make_graphed_callables records the launches of
the forward and of the backward pass once and replays them. Loss, optimizer and loop stay as
they are, in sight:

    forward = captured(network, x, precision)    # x: a training batch; all have its shape
    for x, y in batches(...): loss = f(forward(x), y); ...

On a CPU it is the network itself. Checked in tests/test_capture.py; what only a GPU can tell
is skipped without one.
"""

import copy

import torch
from torch.func import functional_call

from minidl.lab.precision import autocast


def captured(network, x, precision="float32"):
    """-> f(x), which is network(x), by replay in training for batches of the shape of x.

    Each replay overwrites the output of the last: one pass forwards, one backwards, as in a
    training step. Where a GPU cannot record the network, a line says so; f is the network.
    """
    if not x.is_cuda:
        return network
    try:
        return recorded(network, x, precision)
    except RuntimeError as error:
        print(f"No CUDA graph of this network, so every layer is launched: {error}")
        return network


def recorded(network, x, precision):
    """`captured` on a GPU. Recording runs the network; weights, running statistics, the
    generators and the modes are put back, also where it fails: it does not count as training.
    """
    weights = dict(network.named_parameters())
    state = copy.deepcopy(network.state_dict())
    modes = [(part, part.training) for part in network.modules()]

    def pass_of(x, *values):  # weights as arguments: the network itself stays as it is
        return functional_call(network, dict(zip(weights, values, strict=True)), (x,))

    devices = [x.device] if x.is_cuda else []
    try:
        if not network.training:  # else each part in its own mode
            network.train()
        with torch.random.fork_rng(devices), autocast(x.device, precision):
            # autocast must not keep its copies of the weights: a replay would use old ones
            torch.set_autocast_cache_enabled(False)
            replay = torch.cuda.make_graphed_callables(
                pass_of, (x.clone(), *weights.values()))
    finally:
        network.load_state_dict(state)
        network.zero_grad()
        for part, training in modes:
            part.training = training

    def forward(x_now):
        if network.training and x_now.shape == x.shape:
            return replay(x_now, *weights.values())
        return network(x_now)

    return forward
