r"""The activations of the units of a convolutional network, and how selective they are.

A layer is a convolution and what follows it, up to its ReLU. Its feature maps are the inputs
of that ReLU, so that a unit which is off still has a gradient. A unit is a channel, at many
places. Checked in tests/test_hw1_features.py.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from minidl.evaluation import per_example


def relus(network):
    """The network's ReLUs in the order they run: the ends of its layers."""
    return [part for part in network.modules() if isinstance(part, nn.ReLU)]


def maps(network, x):
    """x (B, 1, H, W) -> every layer's maps (B, C, h, w), before the ReLU."""
    found = []
    hooks = [relu.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
             for relu in relus(network)]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def excitation(network, split):
    """Every layer's (N, C): each unit's activation by each image, at its most active place."""
    sizes = []

    def strongest(x, _):
        layers = [m.relu().amax(dim=(2, 3)) for m in maps(network, x)]  # -> (B, C)
        sizes[:] = [layer.shape[1] for layer in layers]
        return torch.cat(layers, dim=1)

    return per_example(strongest, split, network).split(sizes, dim=1)


def profile(excited, y, classes):
    """(N, C), (N,) -> (C, classes): a unit's mean activation by the images of each class; 0
    for a class without images."""
    n = torch.bincount(y, minlength=classes).clamp(min=1)
    return torch.stack([excited[y == c].sum(dim=0) / n[c] for c in range(classes)], dim=1)


def selectivity(profiles):
    r"""(a_max - a_rest) / (a_max + a_rest), a_rest the mean over the other classes.

    (C, classes), not negative -> (C,). 0: all classes activate the unit equally, or none does.
    1: only one class does. Morcos et al. 2018.
    """
    highest = profiles.amax(dim=1)
    rest = (profiles.sum(dim=1) - highest) / (profiles.shape[1] - 1)
    return (highest - rest) / (highest + rest).clamp(min=1e-12)


def by_class(profiles):
    """(C, classes) -> (C,): the units sorted by the class that activates them most, the most
    selective first."""
    return (10 * profiles.argmax(dim=1) - selectivity(profiles)).argsort()


def scale(activations):
    """(N, C) -> (C,): the standard deviation of each unit, never 0, to divide by."""
    return activations.std(dim=0, correction=0).clamp(min=1e-6)


@torch.no_grad()
def shown_maps(network, x, chosen):
    """x (B, 1, H, W) and maps after the ReLU, for a figure: enlarged to the size of x, each
    unit divided by its largest value. chosen: units of each layer. -> (B, 1 + units, H, W).
    """
    layers = [m[:, units].relu() for m, units in zip(maps(network, x), chosen, strict=True)]
    shares = [m / m.amax(dim=(0, 2, 3), keepdim=True).clamp(min=1e-12) for m in layers]
    return torch.cat([x, *(F.interpolate(m, x.shape[2:]) for m in shares)], dim=1)


def with_new_weights(network):
    """A copy of the network with new random weights and the initial running statistics."""
    new = copy.deepcopy(network)
    for part in new.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return new


def weights(network):
    """name -> the weights of each layer, in the order they run."""
    parts = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    return {f"{'conv' if isinstance(part, nn.Conv2d) else 'linear'} {i}": part.weight.detach()
            for i, part in enumerate(parts, 1)}
