r"""How far the distribution of some features is from that of others, each taken as Gaussian.

    d^2(N(mu_1, S_1), N(mu_2, S_2)) = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

the squared Frechet (2-Wasserstein) distance; Dowson and Landau (1982). With features of the
Inception network it is the FID of Heusel et al. (2017). Values from other features cannot be
compared with it. From finite samples it is too large. So report it with the distance between
two samples of real images of the same size. Checked in tests/test_frechet.py.
"""

import torch

from minidl import UserError


def moments(features):
    """Features (N, D) -> their mean (D,) and covariance (D, D), in float64."""
    z = features.flatten(1).cpu().double()
    return z.mean(dim=0), torch.cov(z.T).reshape(z.shape[1], z.shape[1])


def frechet_distance(features, others):
    r"""d^2 between features (N, D) and others (M, D), N and M at least 2 -> a float.

    Let R be the symmetric root of S_1. S_1 S_2 = R (R S_2 R) R^-1 has the eigenvalues of
    R S_2 R, which is symmetric. tr (S_1 S_2)^(1/2) is the sum of their roots.
    """
    if features.shape[1:] != others.shape[1:] or min(len(features), len(others)) < 2:
        raise UserError(f"found features of shapes {tuple(features.shape)} and "
                        f"{tuple(others.shape)}, expected two or more rows, one per image, "
                        "of one width")
    (mu_1, S_1), (mu_2, S_2) = moments(features), moments(others)
    values, vectors = torch.linalg.eigh(S_1)
    R = vectors * values.clamp(min=0).sqrt() @ vectors.T
    common = torch.linalg.eigvalsh(R @ S_2 @ R).clamp(min=0).sqrt().sum()
    return ((mu_1 - mu_2).square().sum() + S_1.trace() + S_2.trace() - 2 * common).item()
