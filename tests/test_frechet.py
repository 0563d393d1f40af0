"""minidl/frechet.py: against closed forms and an independent matrix root."""

import numpy as np
import pytest
import torch

from minidl.frechet import frechet_distance, moments


def sample(n, d, generator, scale=1.0, shift=0.0):
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + shift


def by_roots_of_the_product(a, b):
    """With the eigenvalues of S_1 S_2 itself, a matrix that is not symmetric, by numpy."""
    (m, S), (n, T) = ((x.mean(axis=0), np.cov(x.T)) for x in (a.numpy(), b.numpy()))
    roots = np.sqrt(np.linalg.eigvals(S @ T).astype(complex))
    return ((m - n) ** 2).sum() + np.trace(S) + np.trace(T) - 2 * roots.sum().real


def test_it_is_that_of_an_independent_matrix_root(generator):
    for d in (2, 5, 12):
        a, b = sample(100, d, generator), sample(80, d, generator, 2.0, 0.5)
        assert frechet_distance(a, b) == pytest.approx(by_roots_of_the_product(a, b), rel=1e-9)


def test_in_one_dimension_means_and_deviations_are_subtracted():
    """(mu_1 - mu_2)^2 + (s_1 - s_2)^2: here 3^2 + (2 - 4)^2, s^2 with n - 1."""
    a = torch.tensor([[-2.0], [2.0]], dtype=torch.float64) / 2**0.5
    b = 2 * a + 3
    assert moments(a)[1].item() == pytest.approx(4)
    assert frechet_distance(a, b) == pytest.approx(9 + 4)


def test_it_is_symmetric_and_0_between_a_sample_and_itself(generator):
    a, b = sample(50, 4, generator), sample(60, 4, generator, 0.3)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert abs(frechet_distance(a, a)) < 1e-9 < frechet_distance(a, b)


def test_a_shift_adds_its_square_and_a_turn_of_both_nothing(generator):
    a, b = sample(50, 3, generator), sample(60, 3, generator)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    assert frechet_distance(a, a + 2) == pytest.approx(3 * 4, rel=1e-9)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b),
                                                                 rel=1e-9)


def test_a_generator_that_knows_one_image_is_far_away_though_its_mean_is_right(generator):
    """The distance sees a lost variance: it is all of it."""
    a = sample(500, 3, generator)
    one = a.mean(dim=0).expand(500, 3)
    assert frechet_distance(one, a) == pytest.approx(moments(a)[1].trace().item(), rel=1e-9)


def test_constant_features_do_no_harm(generator):
    a = torch.cat([sample(50, 3, generator), torch.ones(50, 2, dtype=torch.float64)], dim=1)
    b = torch.cat([sample(50, 3, generator), torch.ones(50, 2, dtype=torch.float64)], dim=1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a[:, :3], b[:, :3]),
                                                   abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5, 3), (1, 3))])
def test_shapes_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match="expected two or more rows of one width"):
        frechet_distance(torch.zeros(a), torch.zeros(b))
