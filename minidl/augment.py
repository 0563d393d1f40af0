"""Random changes of a whole batch of images at once, on its device.

Random numbers are drawn on the generator's device. A generator on the CPU gives the same
changes on any device. One on the GPU (`run.noise`) is faster there.
"""

import math

import torch
import torch.nn.functional as F


def random_affine(x, generator, *, degrees=0.0, scale=0.0, shear=0.0, shift=0.0, share=1.0):
    r"""Rotate, scale, slant and shift each image: x'(p) = x(A p + t), bilinear, 0 outside.

        A = S^-1 K R,   R rotation by phi,  K = [1 k; 0 1] slant,  S size,   about the centre

    S has 1 + s_x and 1 + s_y on its diagonal. t is a share of the image's width and height.
    Drawn uniformly and independently: phi in +- degrees, k in +- shear, s_x and s_y in
    +- scale, t_x and t_y in +- shift. Each image is changed with the probability `share`.
    (B, C, H, W) -> the same. Checked in tests/test_augment.py.
    """
    B = len(x)
    phi, k, s_x, s_y, t_x, t_y = 2 * _uniform(generator, 6, B) - 1  # in -1 .. 1
    phi, k = math.radians(degrees) * phi, shear * k
    t_x, t_y = 2 * shift * t_x, 2 * shift * t_y  # the grid's coordinates go from -1 to 1
    cos, sin = phi.cos(), phi.sin()
    rows = [torch.stack(row, dim=1) for row in (
        ((cos + k * sin) / (1 + scale * s_x), (k * cos - sin) / (1 + scale * s_x), t_x),
        (sin / (1 + scale * s_y), cos / (1 + scale * s_y), t_y))]
    A = torch.stack(rows, dim=1)  # (B, 2, 3)
    untouched = _uniform(generator, B) >= share
    A[untouched] = torch.eye(2, 3, device=A.device)
    grid = F.affine_grid(A.to(x.device), x.shape, align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(x, grid, align_corners=False)


def random_mirror(x, generator):
    """Mirror each image left to right with probability 1/2: x'[i, j] = x[i, W - 1 - j].

    (B, C, H, W) -> the same.
    """
    chosen = _uniform(generator, len(x)) < 0.5
    return torch.where(chosen.to(x.device).view(-1, 1, 1, 1), x.flip(-1), x)


def random_shift(x, generator, pixels):
    """Shift each image by whole pixels, at most `pixels` in each direction; 0 outside.

    (B, C, H, W) -> the same. There is no interpolation, so no blur.
    """
    B, C, H, W = x.shape
    down, right = torch.randint(0, 2 * pixels + 1, (2, B, 1), generator=generator,
                                device=generator.device)
    rows = down.to(x.device).view(B, 1, 1, 1) + torch.arange(H, device=x.device).view(H, 1)
    columns = right.to(x.device).view(B, 1, 1, 1) + torch.arange(W, device=x.device)
    image, channel = (torch.arange(n, device=x.device) for n in (B, C))
    padded = F.pad(x, [pixels] * 4)
    return padded[image.view(B, 1, 1, 1), channel.view(1, C, 1, 1), rows, columns]


def random_brightness(x, generator, strength):
    r"""x' = min(1, a x^g), log a and log g uniform in +- strength: brightness and contrast.

    (B, C, H, W) in [0, 1] -> the same: one a and one g per image. Black stays black.
    """
    log_a, log_g = strength * (2 * _uniform(generator, 2, len(x), 1, 1, 1) - 1)
    return (log_a.exp().to(x.device) * x ** log_g.exp().to(x.device)).clamp(max=1)


def _uniform(generator, *shape):
    return torch.rand(shape, generator=generator, device=generator.device)
