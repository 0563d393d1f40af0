r"""How a digit is written, whatever digit it is: measured on its pixels x (N, 1, H, W).

With the ink as a mass, m = sum_p x_p, and moments about its centre (r down, c to the right),
M_rr = sum_p x_p r^2 / m and M_rc = sum_p x_p r c / m. Checked in tests/test_style.py.
"""

import torch


def ink(x):
    """The mean pixel: (N, 1, H, W) -> (N,), in the unit of a pixel."""
    return x.flatten(1).mean(dim=1)


def slant(x):
    r"""-M_rc / M_rr: how far the ink goes to the right, a row up. (N, 1, H, W) -> (N,).

    The slope of the regression of c on -r. Pixels a pixel: 0 upright, positive like a /. An
    image without ink, or in one row, has none: 0.
    """
    _, _, H, W = x.shape
    mass = x.sum(dim=(1, 2, 3)).clamp(min=1e-6)
    down, right = x.sum(dim=(1, 3)), x.sum(dim=(1, 2))           # (N, H), (N, W)
    r = torch.arange(H, device=x.device) - (down @ _axis(H, x) / mass).unsqueeze(1)   # (N, H)
    c = torch.arange(W, device=x.device) - (right @ _axis(W, x) / mass).unsqueeze(1)  # (N, W)
    M_rr = (down * r.square()).sum(dim=1) / mass
    M_rc = torch.einsum("nhw,nh,nw->n", x.squeeze(1), r, c) / mass
    return torch.where(M_rr > 1e-6, -M_rc / M_rr.clamp(min=1e-6), 0.0)


def thickness(x):
    r"""2 m / sum_p |grad x|_p: the width of a stroke, in pixels. (N, 1, H, W) -> (N,).

    A stroke of width w and length l >> w has area w l and an outline of 2 l, and the length of
    the gradient summed over an edge from black to white is the edge's length. 0 without ink.
    The outline is the mean of the image's and its mirror image's: differences to the next
    pixel alone would make a stroke like / thicker than its mirror image.
    """
    x = torch.nn.functional.pad(x, (1, 1, 1, 1))                 # the ink's outline is closed
    outline = (_outline(x) + _outline(x.flip(3))) / 2
    return 2 * x.sum(dim=(1, 2, 3)) / outline.clamp(min=1e-6)


def _outline(x):
    down = x[:, :, 1:, :-1] - x[:, :, :-1, :-1]
    right = x[:, :, :-1, 1:] - x[:, :, :-1, :-1]
    return (down.square() + right.square()).sqrt().sum(dim=(1, 2, 3))


def _axis(n, x):
    return torch.arange(n, device=x.device, dtype=x.dtype)
