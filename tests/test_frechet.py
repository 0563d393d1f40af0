"""minidl/frechet.py: against closed forms and an independent matrix root."""

import re

import numpy as np
import pytest
import torch

from minidl import UserError
from minidl.frechet import frechet_distance, moments

pytestmark = pytest.mark.numeric


def sample(n, d, generator, scale=1.0, shift=0.0):
    x, mix = (torch.randn(k, d, generator=generator, dtype=torch.float64) for k in (n, d))
    return scale * x @ (torch.eye(d, dtype=x.dtype) + 0.3 * mix / d**0.5) + shift


def rounding(a, b):
    """By how much two ways to the distance may differ.

    An eigenvalue l of S_1 S_2 is off by 100 D u |S_1| |S_2|, times the condition of R where
    the matrix is not made symmetric; its root by that over 2 sqrt(l); D are added, twice.
    """
    S, T = (torch.linalg.eigvalsh(moments(x)[1]) for x in (a, b))
    off = 100 * len(S) * 2**-53 * S.max() * T.max() * (S.max() / S.min()).sqrt()
    return 2 * len(S) * (off / (S.min() * T.min()).sqrt()).item()


def by_roots_of_the_product(a, b):
    """With the eigenvalues of S_1 S_2 itself, a matrix that is not symmetric, by numpy."""
    (m, S), (n, T) = ((x.mean(axis=0), np.cov(x.T)) for x in (a.numpy(), b.numpy()))
    roots = np.sqrt(np.linalg.eigvals(S @ T).astype(complex))
    return ((m - n) ** 2).sum() + np.trace(S) + np.trace(T) - 2 * roots.sum().real


def test_it_is_that_of_an_independent_matrix_root(generator):
    for d in (2, 5, 12):
        a, b = sample(100, d, generator), sample(80, d, generator, 2.0, 0.5)
        assert rounding(a, b) < 1e-8  # the samples are well conditioned
        assert abs(frechet_distance(a, b) - by_roots_of_the_product(a, b)) < rounding(a, b)


def test_in_one_dimension_means_and_deviations_are_subtracted():
    """(mu_1 - mu_2)^2 + (s_1 - s_2)^2: here 3^2 + (1 - 2)^2, s^2 with n - 1."""
    a = torch.tensor([[-1.0], [0.0], [1.0]])
    assert moments(a)[1].item() == 1
    assert frechet_distance(a, 2 * a + 3) == 9 + 1


def test_a_generator_that_knows_one_image_is_far_away_though_its_mean_is_right(generator):
    """The distance sees a lost variance: it is all of it."""
    a = sample(500, 3, generator)
    one = a.mean(dim=0).expand(500, 3)
    # means of 500 are off by 500 u of their size, and so is the deviation of one, which is 0
    assert frechet_distance(one, a) == pytest.approx(moments(a)[1].trace().item(),
                                                     rel=10 * 500 * 2**-53)


@pytest.mark.parametrize(("a", "b"), [((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5, 3), (1, 3))])
def test_shapes_that_do_not_fit_are_refused(a, b):
    with pytest.raises(UserError, match=re.escape(f"{a} and {b}")):
        frechet_distance(torch.zeros(a), torch.zeros(b))
