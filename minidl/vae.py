r"""The two terms of a VAE's loss on a set of images, in nats, and which latents are used.

The terms are losses.bce and gaussian.kl_to_std_normal. Checked in tests/test_hw2_vae.py.
"""

from typing import NamedTuple

import torch
from torch import nn

from minidl.evaluation import evaluating, to_unit
from minidl.gaussian import kl_to_std_normal, reparametrise
from minidl.losses import bce


class Terms(NamedTuple):
    bce: torch.Tensor  # (N,) float64, on the CPU, nats per image
    kl: torch.Tensor   # (N,) the same
    mu: torch.Tensor   # (N, D)
    z: torch.Tensor    # (N, D)


@torch.no_grad()
def elbo_terms(encode, decode, x, seed, size=1000):
    r"""-ELBO(x) = BCE + KL of every image: BCE = -log p(x|z) at one z ~ q(z|x), KL exactly.

    encode  images (B, 1, H, W) in [0, 1] -> mu, logvar (B, D) each, or both side by side.
    decode  z (B, D) -> logits (B, 1, H, W). Networks are in evaluation mode during the call.
    x       bytes (N, 1, H, W), taken `size` at a time. Equal seeds give equal draws of z.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    with evaluating(*(f for f in (encode, decode) if isinstance(f, nn.Module))):
        for part in map(to_unit, x.split(size)):
            code = encode(part)
            mu, logvar = code.chunk(2, dim=1) if isinstance(code, torch.Tensor) else code
            z = reparametrise(mu, logvar, generator)
            terms = bce(decode(z), part), kl_to_std_normal(mu, logvar)
            found.append((*(term.cpu().double() for term in terms), mu, z))
    return Terms(*map(torch.cat, zip(*found, strict=True)))


def active_units(mu, threshold=0.01):
    r"""Whether Var_x(mu_d(x)) > threshold: (N, D) -> (D,) of True and False.

    A latent whose mean is the same for every image says nothing about it. Burda et al. (2016),
    Importance Weighted Autoencoders, section 5.2.
    """
    return mu.var(dim=0, correction=0) > threshold
