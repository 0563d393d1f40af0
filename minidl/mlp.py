r"""A multi-layer perceptron, its initial weights, and the share of its weights near 0.

A weight w is (out, in): in = fan_in is its width before, out = fan_out after. With inputs of
variance q, a layer's outputs have the variance fan_in Var(w) q. On the way back, the variance
of the gradients is multiplied by fan_out Var(w). The schemes keep one or both factors near 1.

    Xavier      Var(w) = 2 / (in + out)   both directions, for tanh     Glorot, Bengio (2010)
    He          Var(w) = 2 / in           ReLU loses half of E x^2      He et al. (2015)

Zeros fail: with ReLU no gradient passes, so all units stay identical. Torch's default has
Var(w) = 1 / (3 in), and biases that are not 0. Checked in tests/test_hw1_optimizers.py.
"""

import itertools
import math

import torch
from torch import nn

INITIALISATIONS = {  # of the weights; biases start at 0
    "Xavier": lambda w: nn.init.normal_(w, std=math.sqrt(2 / sum(w.shape))),
    "He": lambda w: nn.init.normal_(w, std=math.sqrt(2 / w.shape[1])),
    "zeros": nn.init.zeros_}


def mlp(sizes, init="", dropout=0.0, norm=False):
    """Linear, batch normalisation, ReLU, dropout for each hidden size; then a Linear.

    init: a name of INITIALISATIONS; any other means torch's default.
    """
    layers = []
    for a, b in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), nn.ReLU(),
                   *([nn.Dropout(dropout)] if dropout else [])]
    network = nn.Sequential(*layers, nn.Linear(*sizes[-2:]))
    if init in INITIALISATIONS:
        for layer in linear(network):
            INITIALISATIONS[init](layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def linear(network):
    """The layers that have weights, in order."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def share_near_0(network, threshold):
    """The share of all weights w with |w| < threshold; biases are not counted."""
    near = torch.cat([layer.weight.abs().flatten() < threshold for layer in linear(network)])
    return near.cpu().double().mean().item()
