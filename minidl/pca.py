r"""Principal component analysis by hand: the best linear code of d numbers.

    z = W (x - mean),   x_hat = mean + W^T z,   W (d, P): the d leading eigenvectors of
    C = 1/N sum_n (x_n - mean)(x_n - mean)^T

W minimises sum_n |x_n - mean - W^T W (x_n - mean)|^2 over all d-dimensional subspaces
(Eckart and Young 1936; Murphy, Probabilistic Machine Learning, 20.1): no linear autoencoder of
the same d has a smaller squared error. For the L1 error it is a baseline, not a bound.
Checked in tests/test_pca.py.
"""

from typing import NamedTuple

import torch

from minidl.data import to_unit


class PCA(NamedTuple):
    mean: torch.Tensor        # (P,)
    components: torch.Tensor  # W (d, P), orthonormal rows, by falling variance
    variance: torch.Tensor    # (d,) eigenvalues of C: the variance along each component
    total_variance: float     # trace of C: variance / total_variance is the share explained

    def encode(self, x):
        """(N, ...) with P values each -> z (N, d)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z):
        """z (N, d) -> (N, P)."""
        return self.mean + z @ self.components


def fit(x, d):
    """The PCA of x (N, ...) with P values an example, with d components, 1 <= d <= P.

    Bytes (uint8) are taken as pixels in [0, 1]. Of fewer examples than components, the last
    components have variance 0. The covariance is summed in float64: differences of large sums
    lose digits in float32.
    Errors: ValueError for a d outside that range, no example, or values that are not finite.
    """
    x = x.flatten(1)  # (N, ...) -> (N, P)
    N, P = x.shape
    if N == 0 or not 1 <= d <= P:
        raise ValueError(f"found {N} examples and {d} components, expected 1 example or more "
                         f"and 1 to {P} components")
    # in blocks: in float64 all at once, images would take eight times their bytes
    blocks = x.split(10_000)
    mean = sum(_values(block).sum(dim=0) for block in blocks) / N
    covariance = sum((c := _values(block) - mean).T @ c for block in blocks) / N
    if not covariance.isfinite().all():
        raise ValueError("the data hold values that are not finite (NaN or infinity)")
    values, vectors = torch.linalg.eigh(covariance)         # rising
    W = vectors.flip(1)[:, :d].T                            # (P, P) -> (d, P), falling
    # an eigenvector's sign is arbitrary: its largest entry is made positive, so it repeats
    W = W * W.gather(1, W.abs().argmax(dim=1, keepdim=True)).sign()
    variance = values.flip(0)[:d].clamp(min=0)              # rounding can leave -1e-17
    kind = x.dtype if x.is_floating_point() else torch.float32
    return PCA(mean.to(kind), W.to(kind), variance.to(kind), values.sum().item())


def _values(block):
    return (to_unit(block) if block.dtype == torch.uint8 else block).double()
