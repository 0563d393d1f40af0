r"""Noise on images (B, C, H, W) in [0, 1], and what undoes it without a network.

    gaussian         x' = clip(x + level e),  e ~ N(0, 1)
    salt and pepper  a share `level` of the pixels is 0 or 1, as often the one as the other
    masking          a share `level` of the pixels is 0

x' stays in [0, 1]: it is an image, as a file could hold it. Fresh at each call. The generator
is a CPU's, so that one seed gives the same noise on every device. Checked in
tests/test_noise.py.
"""

import math

import torch
import torch.nn.functional as F


def gaussian(x, level, generator):
    e = torch.randn(x.shape, generator=generator).to(x.device)
    return (x + level * e).clamp(0, 1)


def salt_and_pepper(x, level, generator):
    u = torch.rand(x.shape, generator=generator).to(x.device)
    return torch.where(u < level, (u < level / 2).float(), x)


def masking(x, level, generator):
    u = torch.rand(x.shape, generator=generator).to(x.device)
    return torch.where(u < level, 0.0, x)


KINDS = {"Gaussian": gaussian, "salt and pepper": salt_and_pepper, "masking": masking}


def median_filter(x, size):
    """The median of the size x size pixels around each, the border repeated outwards."""
    B, C, H, W = x.shape
    padded = F.pad(x, [size // 2] * 4, mode="replicate")
    windows = F.unfold(padded, size).view(B, C, size * size, H, W)
    return windows.median(dim=2).values


def psnr(mse):
    """Peak signal-to-noise ratio, 10 log10(1 / MSE), in dB; the peak of a pixel is 1."""
    return 10 * math.log10(1 / mse)
