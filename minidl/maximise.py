r"""What keeps an image legible while an activation is maximised over its pixels.

Without it, gradient ascent finds patterns that look like noise. Checked in
tests/test_hw1_features.py.
"""

import torch
import torch.nn.functional as F


def total_variation(x):
    r"""TV(x) = 1/P sum_ij |x_{i+1,j} - x_ij| + |x_{i,j+1} - x_ij|, P pixels.

    (B, C, H, W) -> (B,). It is large for noise and small for flat areas with sharp edges.
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
