r"""Principal component analysis: the best linear code. Checked in tests/test_pca.py.

    C = 1/N sum_n (x_n - mean)(x_n - mean)^T,   W (d, P): its d leading eigenvectors
    z = W (x - mean),   x_hat = mean + W^T z

No linear code has a smaller squared error on these x_n (Eckart, Young 1936; Murphy 20.1).
"""
from typing import NamedTuple

import torch


class PCA(NamedTuple):
    mean: torch.Tensor        # (P,)
    components: torch.Tensor  # W (d, P), orthonormal rows, by falling variance
    variance: torch.Tensor    # (d,) eigenvalues of C: the variance along each component
    total_variance: float     # trace of C

    @property
    def explained(self):      # (d,) the shares of the total variance, 0 of constant data
        return self.variance / (self.total_variance or 1)

    def encode(self, x):      # x (N, ...), bytes as pixels in [0, 1] -> z (N, d)
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z):      # z (N, d) -> (N, P)
        return self.mean + z @ self.components

    def first(self, d):       # the PCA of the first d of these components
        return self._replace(components=self.components[:d], variance=self.variance[:d])

    def reconstruct(self, x):  # x (N, ...) in [0, 1] -> x_hat alike, clipped to [0, 1]
        return self.decode(self.encode(x)).clamp(0, 1).view_as(x)  # never further from x


def fit(x, d):
    """The PCA of x (N, ...), N >= 1, bytes as pixels in [0, 1]; ValueError if it has none."""
    kind, unit = (x[:0] / 1).dtype, 255 if x.dtype == torch.uint8 else 1  # integers: float32
    v = x.detach().flatten(1).cpu().to(torch.float64, copy=True)
    mean = v.mean(dim=0)
    if not 1 <= d <= len(mean) or not mean.isfinite().all():
        raise ValueError(f"found {len(v)} examples and {d} components, expected finite values "
                         f"of one or more examples and 1 to {len(mean)} components")
    v -= mean
    C = torch.from_numpy(v.numpy().T @ v.numpy()) / (len(v) * unit**2)  # NumPy: half the time
    values, vectors = torch.linalg.eigh(C)                              # rising
    W = vectors.T.flip(0)[:d]
    W *= W.gather(1, W.abs().argmax(dim=1, keepdim=True)).sign()  # the largest entry positive
    parts = mean / unit, W, values.flip(0)[:d].clamp(min=0)       # rounding can leave -1e-17
    return PCA(*(part.to(kind).to(x.device) for part in parts), C.trace().item())
