r"""t-SNE by hand, exact: points in the plane whose neighbours are those of x (N, D).

    p_{j|i} = exp(-beta_i |x_i - x_j|^2) / sum_{k != i} exp(-beta_i |x_i - x_k|^2), p_{i|i} = 0
              beta_i = 1 / (2 sigma_i^2) such that the perplexity exp(H_i) is as wanted,
              H_i = -sum_j p_{j|i} log p_{j|i}; of a uniform p it is the number of neighbours
    p_ij    = (p_{j|i} + p_{i|j}) / (2 N)
    q_ij    = w_ij / Z,   w_ij = 1 / (1 + |y_i - y_j|^2),   Z = sum_{k != l} w_kl   Student's t
    C       = KL(P || Q) = sum_{i != j} p_ij log(p_ij / q_ij), in nats
    dC/dy_i = 4 sum_j (p_ij - q_ij) w_ij (y_i - y_j)

van der Maaten and Hinton, Visualizing Data using t-SNE (2008), equations 1 to 5, appendix A.
Time and memory grow as N^2. Checked in tests/test_tsne.py.
"""

import math

import torch

from minidl import pca

EARLY, EXAGGERATION = 100, 12  # in the first 100 steps, P is 12 times as large


def affinities(x, perplexity):
    """P (N, N) of x (N, ...), float64, by bisection for beta_i; ValueError if there is none.

    On the CPU, since not every device has float64.

    If a point has more duplicates than the perplexity, no beta_i is large enough. The limit is
    taken then: all duplicates are equally near.
    """
    x, N = x.flatten(1).cpu().double(), len(x)
    if not 1 <= perplexity <= N - 1 or not x.isfinite().all():
        raise ValueError(f"found a perplexity of {perplexity} for {N} points, expected 1 to "
                         f"{N - 1}, the number of neighbours, and finite points")
    P = x.new_zeros(N, N)
    for i in torch.arange(N, device=x.device).split(64):  # rows that fit in a cache
        d = _square_distances(x[i], x)
        unit = d.mean(dim=1, keepdim=True).clamp(min=torch.finfo(d.dtype).tiny)
        d.scatter_(1, i[:, None], math.inf)           # p_{i|i} = 0
        d = (d - d.amin(dim=1, keepdim=True)) / unit  # the smallest cancels in p
        low, high = torch.full_like(unit, -20), torch.full_like(unit, 60)
        for _ in range(40):  # log(beta unit) to 80 / 2^40
            middle = (low + high) / 2
            P[i] = torch.softmax(-middle.exp() * d, dim=1)
            wide = torch.special.entr(P[i]).sum(dim=1, keepdim=True) > math.log(perplexity)
            low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return (P + P.T) / (2 * N)


def divergence(P, y):
    """C = KL(P || Q) in nats, a number, for the points y (N, 2)."""
    y = y.cpu().double()
    w = 1 / (1 + _square_distances(y, y))
    Z = w.sum() - len(y)  # without w_ii = 1
    return (torch.xlogy(P, P) - P * w.log() + P * Z.log()).sum().item()  # 0 log 0 = 0


def gradient(P, y):
    """dC/dy (N, 2): 4 [y_i sum_j a_ij - sum_j a_ij y_j], a_ij = (p_ij - w_ij / Z) w_ij."""
    square, one = y.square().sum(dim=1, keepdim=True), y.new_ones(len(y), 1)
    # 1 + |y_j|^2 - 2 y_j . y_i + |y_i|^2 as a product; in place, since new memory costs most
    w = torch.cat([-2 * y, 1 + square, one], 1) @ torch.cat([y, one, square], 1).T
    w.reciprocal_()
    a = torch.sub(P, w, alpha=1 / (w.sum().item() - len(y))).mul_(w)  # Z is without w_ii = 1
    sums = (torch.cat([y, one], dim=1).T.contiguous() @ a).T  # a is symmetric
    return 4 * (sums[:, -1:] * y - sums[:, :-1])


def tsne(x, perplexity=30, steps=800):
    """y (N, 2), float32, of x (N, ...), by steps with momentum and gains (Jacobs 1988).

    While P is exaggerated, clusters form that can still pass each other. The rate is four
    times that of Belkina et al. (2019); eight times is not stable. The start is the principal
    components, scaled to a deviation of 1e-4, plus noise of 1e-6, which separates duplicates.
    """
    device, x = x.device, x.flatten(1).cpu().double()
    P = affinities(x, perplexity).float().to(device)
    z = pca.fit(x, min(2, x.shape[1])).encode(x)  # x may have one axis alone
    y = 1e-6 * torch.randn(len(x), 2, generator=torch.Generator().manual_seed(0))
    y[:, :z.shape[1]] += 1e-4 * z / z[:, 0].std().clamp(min=1e-300)  # or no variance
    y = y.to(device)
    velocity, gain = torch.zeros_like(y), torch.ones_like(y)
    for step in range(steps):
        momentum, scale = (0.5, EXAGGERATION) if step < EARLY else (0.8, 1)
        g = gradient(scale * P, y)
        gain = torch.where(g * velocity < 0, gain + 0.2, gain * 0.8).clamp_(min=0.01)
        velocity = momentum * velocity - len(y) / EXAGGERATION * gain * g
        y += velocity
    return y


def _square_distances(a, b):
    # not by products, which leave 1e-16 |x|^2 where duplicates have 0
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
