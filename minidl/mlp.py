r"""A multi-layer perceptron, how its weights begin, and how many of them end near 0.

A weight w is (out, in): in = fan_in is its width before, out = fan_out after. With inputs of
variance q, a layer's outputs have the variance in Var(w) q, and its gradients on the way back
out Var(w) times theirs: to keep both at one size is what the schemes are for.

    Xavier      Var(w) = 2 / (in + out)   both directions, for tanh     Glorot, Bengio (2010)
    He          Var(w) = 2 / in           ReLU loses half of E x^2      He et al. (2015)
    orthogonal  w w^T = 2 I               (in >= out)                   Saxe et al. (2014)

Three that fail: zeros (with ReLU no gradient passes; else all units stay alike), too small,
too large. Torch's own default has Var(w) = 1 / (3 in), and biases that are not 0. Where they
are 0, all kinks of the first layer lie at x = 0: of a single input that is a bad beginning.
Checked in tests/test_hw1_optimizers.py.
"""

import itertools
import math

import torch
from torch import nn

INITIALISATIONS = {  # of the weights; biases start at 0, but where the name says torch's
    "Xavier": lambda w: nn.init.normal_(w, std=math.sqrt(2 / sum(w.shape))),
    "He": lambda w: nn.init.normal_(w, std=math.sqrt(2 / w.shape[1])),
    "He, torch's biases": lambda w: nn.init.normal_(w, std=math.sqrt(2 / w.shape[1])),
    "orthogonal": lambda w: nn.init.orthogonal_(w, gain=math.sqrt(2)),
    "zeros": nn.init.zeros_,
    "N(0, 0.001^2)": lambda w: nn.init.normal_(w, std=0.001),
    "N(0, 1)": nn.init.normal_}


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
            if not init.endswith("torch's biases"):
                nn.init.zeros_(layer.bias)
    return network


def linear(network):
    """The layers that have weights, in order."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def share_near_0(network, threshold):
    """The share of all weights w with |w| < threshold; biases are not counted."""
    near = torch.cat([layer.weight.abs().flatten() < threshold for layer in linear(network)])
    return near.cpu().double().mean().item()
