r"""t-SNE by hand, exact: points in the plane whose neighbours are those of x (N, D).

    p_{j|i} = exp(-beta_i |x_i - x_j|^2) / sum_{k != i} exp(-beta_i |x_i - x_k|^2), p_{i|i} = 0
              beta_i = 1 / (2 sigma_i^2) such that the perplexity 2^H of p_{.|i} is as wanted,
              H = -sum_j p_{j|i} log2 p_{j|i}; that of a uniform p is the number of neighbours
    p_ij    = (p_{j|i} + p_{i|j}) / (2 N)
    q_ij    = w_ij / Z,   w_ij = 1 / (1 + |y_i - y_j|^2),   Z = sum_{k != l} w_kl   Student's t
    C       = KL(P || Q) = sum_{i != j} p_ij log(p_ij / q_ij), in nats
    dC/dy_i = 4 sum_j (p_ij - q_ij) w_ij (y_i - y_j)

van der Maaten and Hinton, Visualizing Data using t-SNE (2008), equations 1 to 5, appendix A.
Time and memory grow as N^2: 3 ms a step, 100 MB for N = 2,000. Left out: the approximations
for many points (Barnes-Hut, FFT). Checked in tests/test_tsne.py, measured beside scikit-learn
by tests/bench_projections.py.
"""

import math

import torch

from minidl import pca


def affinities(x, perplexity):
    """P (N, N) of x (N, ...), float64: symmetric, the sum 1, the diagonal 0.

    log beta_i by bisection, a block of rows at once. Where a point has more duplicates than
    the perplexity, no beta_i reaches it: the limit is taken, all duplicates equally near.
    Errors: ValueError for values that are not finite, or a perplexity not in 1 ... N - 1.
    """
    x = _points(x)
    N = len(x)
    if not 1 <= perplexity <= N - 1:
        raise ValueError(f"found a perplexity of {perplexity} for {N} points, expected 1 to "
                         f"{N - 1}, the number of neighbours a point has")
    P = x.new_zeros(N, N)
    for rows in torch.arange(N, device=x.device).split(_rows(N)):
        other = torch.arange(N, device=x.device) != rows.unsqueeze(1)
        d = _square_distances(x[rows], x)[other].view(len(rows), N - 1)
        d = d - d.amin(dim=1, keepdim=True)  # cancels in p; the largest term is exp(0)
        d = d / d.mean(dim=1, keepdim=True).clamp(min=torch.finfo(d.dtype).tiny)
        # log beta in the unit of 1 / mean d: from p uniform to p of the nearest alone
        low, high = d.new_full((len(rows), 1), -20.0), d.new_full((len(rows), 1), 60.0)
        for _ in range(40):  # 80 / 2^40: beta to 1e-10
            middle = (low + high) / 2
            e = torch.exp(-middle.exp() * d)
            S = e.sum(dim=1, keepdim=True)
            # -sum_j p log p in nats
            H = S.log() + middle.exp() * (e * d).sum(dim=1, keepdim=True) / S
            wide = math.log(perplexity) < H
            low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
        P[rows] = P[rows].masked_scatter(other, e / S)
    return (P + P.T) / (2 * N)


def divergence(P, y):
    """C = KL(P || Q) in nats, a number, for the points y (N, dims)."""
    w = 1 / (1 + _square_distances(y.double(), y.double()))
    Z = w.sum() - len(y)  # without w_ii = 1
    return (torch.xlogy(P, P) - P * w.log() + P * Z.log()).sum().item()  # 0 log 0 = 0


def gradient(P, y):
    r"""dC/dy (N, dims) as 4 [sum_j p_ij w_ij (y_i - y_j) - 1/Z sum_j w_ij^2 (y_i - y_j)].

    Both sums are y_i sum_j a_ij - sum_j a_ij y_j: a product of (y, 1) and a. As a is
    symmetric, a block of rows j meets only the columns i from its own first on, and then
    stands for both a_ij and a_ji; it stays in the processor's cache. The term j = i is 0.
    """
    N, R = len(y), _rows(len(y))
    square, one = y.square().sum(dim=1, keepdim=True), y.new_ones(N, 1)
    # 1 + |y_j|^2 - 2 y_j . y_i + |y_i|^2 as a product of (N, dims + 2) and (dims + 2, N)
    left = torch.cat([-2 * y, 1 + square, one], dim=1)
    right = torch.cat([y, one, square], dim=1).T.contiguous()
    y_one = torch.cat([y, one], dim=1).T.contiguous()  # (dims + 1, N)
    pull, push, Z = torch.zeros_like(y_one), torch.zeros_like(y_one), -N  # without w_ii = 1
    for start in range(0, N, R):
        j, i, later = slice(start, start + R), slice(start, N), slice(start + R, N)
        w = (left[j] @ right[:, i]).reciprocal_()
        Z = Z + 2 * w.sum() - w[:, :R].sum()
        for sums, a in ((pull, P[j, i] * w), (push, w.square_())):
            sums[:, i].addmm_(y_one[:, j], a)
            sums[:, j].addmm_(y_one[:, later], a[:, R:].T)
    a = (pull - push / Z).T
    return 4 * (a[:, -1:] * y - a[:, :-1])


def descent(P, y, steps, exaggeration=12, early=100):
    """Yield y (N, dims) after each step: the same tensor, moved in place.

    Momentum, and a gain for each coordinate (Jacobs 1988). In the first `early` steps P is
    exaggerated: clusters form while they can still pass each other. The rate grows with N
    (Belkina et al. 2019) and is four times theirs, which needs twice the steps for the same
    divergence; eight times is not stable on every data set.
    """
    rate = len(y) / exaggeration
    velocity, gain = torch.zeros_like(y), torch.ones_like(y)
    exaggerated = exaggeration * P
    for step in range(steps):
        g = gradient(exaggerated if step < early else P, y)
        gain = torch.where(g * velocity < 0, gain + 0.2, gain * 0.8).clamp_(min=0.01)
        velocity = (0.5 if step < early else 0.8) * velocity - rate * gain * g
        y += velocity
        yield y


def tsne(x, perplexity=30, dims=2, steps=800, *, generator=None, say=None):
    """y (N, dims), float32, of x (N, ...): the same for the same x, generator and machine
    with so many threads.

    The start is the principal components, scaled to a deviation of 1e-4, and noise of 1e-6
    (seed 0 if no generator is given), else duplicates and axes without variance could never
    come apart. `say` gets a line every 50 steps, as progress.Line().update takes it.
    Errors: ValueError for values that are not finite, dims other than 2 and 3, N - 1 below
    3 perplexity.
    """
    x = _points(x)
    N, D = x.shape
    if dims not in (2, 3):
        raise ValueError(f"found {dims} dimensions for the points, expected 2 or 3")
    if 3 * perplexity > N - 1:
        raise ValueError(f"found a perplexity of {perplexity} for {N} points, expected "
                         f"{(N - 1) / 3:.4g} at most, a third of the neighbours")
    z = pca.fit(x, min(dims, D)).encode(x)
    y = 1e-6 * torch.randn(N, dims, generator=generator or torch.Generator().manual_seed(0))
    y = y.to(x.device)
    # x may have fewer axes than y, or no variance
    y[:, :z.shape[1]] += 1e-4 * z / z[:, 0].std().clamp(min=1e-300)
    P = affinities(x, perplexity).float()
    for step, _ in enumerate(descent(P, y, steps), 1):
        if say and step % 50 == 0:
            say(f"t-SNE: step {step} of {steps}")
    return y


def trustworthiness(x, y, k=5):
    r"""T = 1 - 2 / (N k (2 N - 3 k - 1)) sum_i sum_{j in U_i} (r(i, j) - k), at most 1.

    U_i: the points among the k nearest of i in y (N, ...) but not in x (N, ...); r(i, j): the
    rank of j by its distance from i in x, 1 the nearest, of equal ones all the best. Of random
    points about 1/2. Venna and Kaski (2001).
    Errors: ValueError for values that are not finite, or a k not in 1 ... (N - 1) / 2.
    """
    x, y = _points(x), _points(y)
    N = len(x)
    if not 1 <= k <= (N - 1) / 2:
        raise ValueError(f"found {k} neighbours of {N} points, expected 1 to {(N - 1) // 2}")
    in_x, in_y = (_square_distances(v, v).fill_diagonal_(math.inf) for v in (x, y))
    excess = 0
    for j in in_y.topk(k, largest=False).indices.split(1, dim=1):  # (N, k) -> k of (N, 1)
        rank = 1 + (in_x < in_x.gather(1, j)).sum(dim=1)
        excess += (rank - k).clamp(min=0).sum().item()
    return 1 - 2 * excess / (N * k * (2 * N - 3 * k - 1))


def _points(x):
    x = x.flatten(1).double()
    if not x.isfinite().all():
        raise ValueError("the points hold values that are not finite (NaN or infinity)")
    return x


def _square_distances(a, b):
    # not by products, which leave 1e-16 |x|^2 where duplicates have 0
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def _rows(N):
    # 0.5 MB in float32 stay in one core's cache; threads need more to share, 2 MB
    return max(1, 2**(17 if torch.get_num_threads() == 1 else 19) // N)
