r"""Measures of a code z (N, D) of images with classes y (N,).

They are the spread and the distances of the classes, the accuracy of a linear probe, and how
well a map keeps neighbours.

With N_c examples and mean mu_c of class c, mu the mean of all, every |.|^2 summed over D:

    W_c = 1/N_c sum_{n in c} |z_n - mu_c|^2         within-class variance
    W   = sum_c N_c/N W_c,   B = sum_c N_c/N |mu_c - mu|^2,   W + B = T, total variance
    F   = B / W                                   Fisher's ratio: large where classes lie apart

Checked in tests/test_representation.py.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

EXACT = "donot_use_mm_for_euclid_dist"  # products would leave rounding where duplicates have 0


class Spread(NamedTuple):
    within: torch.Tensor  # W_c (C,), in the square of z's unit
    pairs: torch.Tensor   # |mu_a - mu_b| of each pair of classes, (C (C - 1) / 2,), in z's
    total: float          # T
    fisher: float         # F, without unit: it is the same for z and for 3 z


def spread(z, y):
    """How the classes 0 ... C-1 of y, each with an example or more, lie in z (N, ...)."""
    z, y = z.flatten(1).cpu().double(), y.cpu()  # float64 is not on every device
    share = torch.bincount(y).double() / len(y)
    mu = torch.stack([z[y == c].mean(dim=0) for c in range(len(share))])  # (C, D)
    within = torch.stack([(z[y == c] - mu[c]).square().sum(dim=1).mean()
                          for c in range(len(share))])
    W = (share * within).sum()
    B = (share * (mu - z.mean(dim=0)).square().sum(dim=1)).sum()
    a, b = torch.triu_indices(len(mu), len(mu), 1)
    return Spread(within, torch.cdist(mu, mu)[a, b], (W + B).item(), (B / W).item())


def linear_probe(z, y, penalty=1e-4, steps=100):
    r"""A linear classifier of the codes: minimise over A (C, D), b (C,), codes standardised,

        1/N sum_n CE(A z_n + b, y_n) + penalty / 2 |A|^2

    by L-BFGS; a convex problem, A is unique. -> the function z (M, D) -> logits (M, C).
    """
    z = z.flatten(1)
    mean, std = z.mean(dim=0), z.std(dim=0).clamp(min=1e-6)
    s, C = (z - mean) / std, int(y.max()) + 1
    A, b = (torch.zeros(*shape, device=z.device, dtype=z.dtype, requires_grad=True)
            for shape in ((C, z.shape[1]), (C,)))
    optimizer = torch.optim.LBFGS([A, b], max_iter=steps, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(s @ A.T + b, y) + penalty / 2 * A.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    A, b = A.detach(), b.detach()
    return lambda z: (z.flatten(1) - mean) / std @ A.T + b


def nearest(x, others, block=1000):
    """The nearest of others (N, ...) to each of x (M, ...), Euclidean over all their values.

    -> (distances (M,), indices in 0 ... N-1 (M,)). A block of x at a time: (block, N) numbers.
    """
    x, others = x.flatten(1), others.flatten(1)
    # cdist takes |a|^2 + |b|^2 - 2 a.b, whose rounding errors are large far from the origin
    mean = others.mean(dim=0)
    centred = others - mean
    index = torch.cat([torch.cdist(part - mean, centred).min(dim=1).indices
                       for part in x.split(block)])
    return (x - others[index]).norm(dim=1), index


def trustworthiness(x, y, k=5):
    r"""T = 1 - 2 / (N k (2 N - 3 k - 1)) sum_i sum_{j in U_i} (r(i, j) - k), at most 1.

    U_i: the points among the k nearest of i in y (N, ...) but not in x (N, ...). r(i, j): the
    rank of j by its distance from i in x, 1 the nearest; equal distances share the best rank.
    For random points about 1/2. Venna and Kaski (2001). ValueError unless 1 <= k <= (N - 1)/2.
    """
    x, y, N = x.flatten(1).cpu().double(), y.flatten(1).cpu().double(), len(x)
    if not 1 <= k <= (N - 1) / 2 or not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError(f"found {k} neighbours of {N} points, expected 1 to {(N - 1) // 2} "
                         "and finite points")
    in_x, in_y = (torch.cdist(v, v, compute_mode=EXACT).fill_diagonal_(math.inf)
                  for v in (x, y))
    excess = 0
    for j in in_y.topk(k, largest=False).indices.split(1, dim=1):  # (N, k) -> k of (N, 1)
        rank = 1 + (in_x < in_x.gather(1, j)).sum(dim=1)
        excess += (rank - k).clamp(min=0).sum().item()
    return 1 - 2 * excess / (N * k * (2 * N - 3 * k - 1))
