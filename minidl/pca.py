r"""Principal component analysis by hand: the best linear code of d numbers.

    z = W (x - mean),   x_hat = mean + W^T z,   W (d, P): the d leading eigenvectors of
    C = 1/N sum_n (x_n - mean)(x_n - mean)^T

W minimises sum_n |x_n - mean - W^T W (x_n - mean)|^2 over all d-dimensional subspaces
(Eckart and Young 1936; Murphy, Probabilistic Machine Learning, 20.1): no linear autoencoder of
the same d has a smaller squared error on these x_n; on others one can. For the L1 error it is
a baseline, not a bound.
Checked in tests/test_pca.py.
"""

from typing import NamedTuple

import torch

from minidl.data import to_unit


class PCA(NamedTuple):
    mean: torch.Tensor        # (P,)
    components: torch.Tensor  # W (d, P), orthonormal rows, by falling variance
    variance: torch.Tensor    # (d,) eigenvalues of C: the variance along each component
    total_variance: float     # trace of C

    @property
    def explained(self):
        """(d,) the share of the total variance along each component; 0 of constant data."""
        return self.variance / (self.total_variance or 1)

    def encode(self, x):
        """(N, ...) with P values each, bytes as pixels in [0, 1] -> z (N, d)."""
        x = to_unit(x) if x.dtype == torch.uint8 else x
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z):
        """z (N, d) -> (N, P)."""
        return self.mean + z @ self.components


def fit(x, d):
    """The PCA of x (N, ...) with P values an example, with d components, 1 <= d <= P.

    Bytes (uint8) are taken as pixels in [0, 1]. Of fewer examples than components, the last
    components have variance 0.
    Errors: ValueError for a d outside that range, no example, or values that are not finite.
    """
    x = x.flatten(1)  # (N, ...) -> (N, P)
    N, P = x.shape
    if N == 0 or not 1 <= d <= P:
        raise ValueError(f"found {N} examples and {d} components, expected 1 example or more "
                         f"and 1 to {P} components")
    mean, covariance = _moments(x)
    if not covariance.isfinite().all():
        raise ValueError("the data hold values that are not finite (NaN or infinity)")
    values, vectors = torch.linalg.eigh(covariance)         # rising
    W = vectors.flip(1)[:, :d].T                            # (P, P) -> (d, P), falling
    # an eigenvector's sign is arbitrary: its largest entry is made positive, so it repeats
    W = W * W.gather(1, W.abs().argmax(dim=1, keepdim=True)).sign()
    variance = values.flip(0)[:d].clamp(min=0)              # rounding can leave -1e-17
    kind = x.dtype if x.is_floating_point() else torch.float32
    return PCA(mean.to(kind), W.to(kind), variance.to(kind), covariance.trace().item())


def _moments(x):
    r"""The mean (P,) and C (P, P) of x (N, P), float64: with any c near the mean, v = x - c,

        mean = c + 1/N sum_n v_n,   C = 1/N sum_n v_n v_n^T - (mean - c)(mean - c)^T

    Products are summed in blocks, the blocks in float64. Bytes: c is whole, so v is a whole
    number below 256 and exact even in bfloat16, in which processors that can multiply it are
    four times faster, and sum in float32. Other numbers: in float64, but float32 where it is
    large, as its sums then cost a second and are right to 1e-7 of the largest variance.
    """
    (N, P), is_bytes = x.shape, x.dtype == torch.uint8
    large = x.dtype == torch.float32 and N * P**2 > 2e9
    kind = torch.float32 if is_bytes or large else torch.float64
    blocks = x.split(4000)
    c = sum(block.to(kind).sum(dim=0).double() for block in blocks) / N
    c = c.round() if is_bytes else c.to(kind).double()
    total, squares = torch.zeros_like(c), c.new_zeros(P, P)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if is_bytes else "highest")
    try:
        for block in blocks:
            v = block.to(kind) - c.to(kind)
            total += v.sum(dim=0)
            squares += v.T @ v
    finally:
        torch.set_float32_matmul_precision(before)
    away, unit = total / N, 255 if is_bytes else 1
    return (c + away) / unit, (squares / N - torch.outer(away, away)) / unit**2
