r"""Noise on images (B, C, H, W) in [0, 1], and methods to remove it without a network.

    gaussian         x' = clip(x + level e),  e ~ N(0, 1)
    salt and pepper  a share `level` of the pixels is 0 or 1, each with probability 1/2
    masking          a share `level` of the pixels is 0

x' stays in [0, 1], so it is an image too. The noise is new in each call, and drawn on the
generator's device: a generator on the CPU gives the same noise on any device. Checked in
tests/test_augment.py.
"""

import math

import torch
import torch.nn.functional as F


def gaussian(x, level, generator):
    e = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
    return (x + level * e).clamp(0, 1)


def salt_and_pepper(x, level, generator):
    u = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device)
    return torch.where(u < level, (u < level / 2).float(), x)


def masking(x, level, generator):
    u = torch.rand(x.shape, generator=generator, device=generator.device).to(x.device)
    return torch.where(u < level, 0.0, x)


KINDS = {"Gaussian": gaussian, "salt and pepper": salt_and_pepper, "masking": masking}


def median_filter(x, size):
    """The median of the size x size pixels around each, the border repeated outwards."""
    if size % 2 == 0:
        raise ValueError(f"found a window of {size} pixels, expected an odd number")
    H, W = x.shape[2:]
    padded = F.pad(x, [size // 2] * 4, mode="replicate")
    return torch.cat([_median([part[:, :, i:i + H, j:j + W]
                               for i in range(size) for j in range(size)])
                      for part in padded.split(50)])  # what is compared stays in the cache


def _median(values):
    """The median of an odd number n of tensors, entry by entry. In any n // 2 + 2 of them, the
    least and the greatest are not the median and are removed (Paeth 1990). Sorting is slower.
    """
    kept, coming = values[:len(values) // 2 + 2], values[len(values) // 2 + 2:]
    while len(kept) > 1:
        least, greatest = torch.minimum(*kept[:2]), torch.maximum(*kept[:2])
        others = []
        for value in kept[2:]:
            value, least = torch.maximum(value, least), torch.minimum(value, least)
            value, greatest = torch.minimum(value, greatest), torch.maximum(value, greatest)
            others.append(value)
        kept, coming = others + coming[:1], coming[1:]
    return kept[0]


def linear_map(pairs, penalty=0.01):
    r"""The best linear map from noisy images v to clean ones x: -> the function v -> x_hat.

        minimise over W, b   1/N sum_n |W (v_n - m) + b - x_n|^2 + penalty |W|^2
        W = C_xv (C_vv + penalty I)^-1,   b the mean of x,   m the mean of v

    pairs: batches (v, x) of images (B, 1, H, W), N in all. C_xv is the mean of
    (x_n - b)(v_n - m)^T, computed as that of x_n v_n^T minus b m^T. x_hat is cut to [0, 1].
    """
    sums, N = 0, 0
    for v, x in pairs:
        v, x = (part.flatten(1).cpu().double() for part in (v, x))
        sums = [s + t for s, t in zip(sums or [0] * 4, (
            v.sum(dim=0), x.sum(dim=0), v.T @ v, x.T @ v), strict=True)]
        N += len(v)
    m, b, vv, xv = (s / N for s in sums)
    C_vv = vv - m.outer(m) + penalty * torch.eye(len(m), dtype=m.dtype)
    W = torch.linalg.solve(C_vv, (xv - b.outer(m)).T).T

    def denoise(v):
        x_hat = (v.flatten(1) - m.to(v)) @ W.to(v).T + b.to(v)
        return x_hat.clamp(0, 1).view_as(v)

    return denoise


def psnr(mse):
    """Peak signal-to-noise ratio, 10 log10(1 / MSE), in dB; the peak of a pixel is 1."""
    return 10 * math.log10(1 / mse)
