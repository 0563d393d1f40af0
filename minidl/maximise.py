r"""What keeps a picture legible while an activation is maximised over its pixels.

    maximise over z   a(x(z)) - penalty(z, x(z))

Without any of it the ascent finds noise: patterns that hold only pixel by pixel, which no
image has. Checked in tests/test_hw1_features.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from minidl import pca
from minidl.augment import random_affine


class Way(NamedTuple):
    """One way to do it; all three keep pixels within [0, 1]."""

    picture: Callable  # z (B, 1, H, W) -> x, the same shape
    penalty: Callable  # (z, x) -> (B,)
    move: Callable     # x -> what the network is shown of it
    rate: float        # Adam's learning rate


def ways(prior, weight, generator):
    """name -> Way. weight: of the Gaussian prior; generator: of the random moves."""
    def moved(x):  # what holds at one place alone does not survive this
        return random_affine(x, generator, degrees=5, scale=0.05, shear=0.05, shift=0.05)

    return {
        "no regularisation": Way(torch.sigmoid, lambda z, x: x.new_zeros(len(x)),
                                 lambda x: x, 0.1),
        "smoothness": Way(lambda z: torch.sigmoid(blur(z, 0.7) - 2),  # from dark grey on
                          lambda z, x: (2 * total_variation(x)
                                        + 0.7 * x.square().mean(dim=(1, 2, 3))), moved, 0.1),
        "Gaussian prior": Way(prior.picture, lambda z, x: weight * prior.penalty(z), moved,
                              0.05)}


def total_variation(x):
    r"""TV(x) = 1/P sum_ij |x_{i+1,j} - x_ij| + |x_{i,j+1} - x_ij|, P pixels.

    (B, C, H, W) -> (B,). Noise has much of it, flat areas with sharp edges have little.
    """
    down, right = x.diff(dim=2).abs(), x.diff(dim=3).abs()
    return (down.flatten(1).sum(dim=1) + right.flatten(1).sum(dim=1)) / x[0].numel()


def blur(x, sigma):
    """x (B, 1, H, W) convolved with a Gaussian of `sigma` pixels, 0 beyond the border."""
    reach = round(3 * sigma)
    steps = torch.arange(-reach, reach + 1, device=x.device)
    k = torch.exp(-steps**2 / (2 * sigma**2))
    k = (k / k.sum()).to(x.dtype)
    return F.conv2d(x, (k[:, None] * k)[None, None], padding=reach)


class GaussianPrior(NamedTuple):
    r"""What all images share, whatever their class: N(mu, C), their mean and covariance.

        x = mu + W^T (s * z),   -log p(x) = 1/2 |z|^2 + constant

    s the deviations along the principal components W: where images vary little, as in fine
    detail, a change is expensive.
    """

    parts: pca.PCA

    def picture(self, z):
        """z (B, 1, H, W) standard normal -> x, the same shape, cut to [0, 1]."""
        x = self.parts.decode(z.flatten(1) * self.parts.variance.sqrt())
        return x.clamp(0, 1).view(z.shape)

    def penalty(self, z):
        """-log p up to a constant: (B,), in nats."""
        return z.square().flatten(1).sum(dim=1) / 2
