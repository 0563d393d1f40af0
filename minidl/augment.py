"""Random changes of a whole batch of images at once, on its device."""

import math

import torch
import torch.nn.functional as F


def random_affine(x, generator, *, degrees=0.0, scale=0.0, shear=0.0, share=1.0):
    r"""Rotate, scale, slant each image about its centre: x'(p) = x(A p), bilinear, 0 outside.

        A = S^-1 K R,   R rotation by phi,  K = [1 k; 0 1] slant,  S size

    phi uniform in +- degrees, k in +- shear, s_x and s_y in +- scale, independent; S has
    1 + s_x, 1 + s_y. Only a `share` of the images is changed. (B, C, H, W) -> the same. The
    generator is a CPU's, so that one seed gives the same changes on every device.
    Checked in tests/test_augment.py.
    """
    B = len(x)
    phi, k, s_x, s_y = 2 * torch.rand(4, B, generator=generator) - 1  # uniform in -1 .. 1
    phi, k = math.radians(degrees) * phi, shear * k
    cos, sin, zero = phi.cos(), phi.sin(), torch.zeros(B)
    rows = [torch.stack(row, dim=1) for row in (
        ((cos + k * sin) / (1 + scale * s_x), (k * cos - sin) / (1 + scale * s_x), zero),
        (sin / (1 + scale * s_y), cos / (1 + scale * s_y), zero))]
    A = torch.stack(rows, dim=1)  # (B, 2, 3): in coordinates from -1 to 1, no shift
    untouched = torch.rand(B, generator=generator) >= share
    A[untouched] = torch.eye(2, 3)
    grid = F.affine_grid(A.to(x.device), x.shape, align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(x, grid, align_corners=False)
