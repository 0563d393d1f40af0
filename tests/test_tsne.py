"""minidl/tsne.py by hand, by loops over the definitions, by differences, by what must hold."""

import itertools
import math

import pytest
import torch

from minidl import pca
from minidl.representation import trustworthiness
from minidl.tsne import EXAGGERATION, affinities, divergence, gradient, tsne

pytestmark = pytest.mark.numeric
U = 2.0**-53


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed),
                       dtype=torch.float64)


def clusters(n, D=5, apart=10):
    """Three of n points each, deviation 1, and which point is whose."""
    c = torch.arange(3).repeat_interleave(n)
    return normal(3 * n, D) + apart * torch.eye(3, D, dtype=torch.float64)[c], c


# --- affinities -----------------------------------------------------------------------------

def test_three_points_by_hand():
    """At 0, 1, 3: with perplexity 2 both neighbours of each are equally near; with 1 only the
    nearest is: p_{2|1} = p_{1|2} = p_{2|3} = 1, halved and divided by N = 3."""
    x = torch.tensor([[0.0], [1], [3]])
    even = (1 - torch.eye(3, dtype=torch.float64)) / 6
    # a limit, beta = 0: H falls with beta^2, so that 4 U of H leave beta near U^(1/2)
    torch.testing.assert_close(affinities(x, 2), even, atol=100 * U**0.5, rtol=0)
    near = torch.tensor([[0, 2, 0], [2, 0, 1], [0, 1, 0]], dtype=torch.float64) / 6
    torch.testing.assert_close(affinities(x, 1), near, atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_every_point_has_the_wanted_perplexity_and_a_gaussian_of_its_own(scale):
    """Two circles of 12 points, far apart, one 50 times as large: in a circle all points are
    alike, so that p_{j|i} = p_{i|j} = N p_ij, and has a beta of its own."""
    t = 2 * math.pi * torch.arange(12, dtype=torch.float64) / 12
    circle = torch.stack([t.cos(), t.sin()], dim=1)
    x = scale * torch.cat([circle, 50 * circle + 1e4])
    p = 24 * affinities(x, 5.0)
    # 80 / 2^40 of log beta, and beta d < 60; of d, 2^13 ulps of 1e4 for a radius of 1
    torch.testing.assert_close(torch.special.entr(p).sum(dim=1).exp(), p.new_full((24,), 5),
                               rtol=1e-7, atol=0)
    off = 24 * affinities(x, 5 * (1 + 1e-5))
    assert (off - p).abs().max() > 1e-7  # a perplexity 1e-5 away would have been seen
    for i in (0, 12):
        d = (x[i] - x[i + 1:i + 7]).square().sum(dim=1)
        slopes = p[i, i + 1:i + 7].log().diff() / d.diff()  # -beta
        torch.testing.assert_close(slopes, slopes[:1].expand(5), rtol=1e-7, atol=0)


def test_affinities_are_a_symmetric_distribution_of_pairs():
    P = affinities(normal(150, 4).view(150, 2, 2), 30)  # 150 rows: several blocks
    assert torch.equal(P, P.T) and (P >= 0).all() and (P.diagonal() == 0).all()
    assert P.sum().item() == pytest.approx(1, abs=150 * 150 * U)
    assert (P.sum(dim=1) > 1 / 300).all()  # section 3.1: no point counts for nothing


def test_of_more_duplicates_than_the_perplexity_all_are_equally_near():
    P = affinities(torch.cat([normal(1, 3).expand(10, 3), normal(30, 3, seed=1)]) + 1e3, 5)
    one = P[0, 1:10]  # p_{j|i} = 1/9 both ways, over N = 40
    torch.testing.assert_close(one, torch.full_like(one, 1 / 9 / 40), rtol=100 * U, atol=0)


# --- the divergence and its gradient --------------------------------------------------------

def test_the_divergence_is_that_of_a_double_loop():
    P, y = affinities(normal(20, 5), 4).numpy(), normal(20, 2, seed=1).numpy()
    w = {(i, j): 1 / (1 + ((y[i] - y[j]) ** 2).sum())
         for i in range(20) for j in range(20) if i != j}
    Z = sum(w.values())
    C = sum(P[k] * math.log(P[k] / (w[k] / Z)) for k in w if P[k] > 0)
    # 400 terms of p log(p / q), |log| < 20, of sum 1
    assert divergence(torch.from_numpy(P), torch.from_numpy(y)) == pytest.approx(
        C, abs=400 * 20 * U)


@pytest.mark.parametrize("scale", [1e-4, 1, 10])
def test_the_gradient_is_that_of_finite_differences(scale):
    """Off by h^2 / 6 of the third derivative and by 144 U C / h, both of at most 100 here. A
    gradient wrong by 0.1% is refused where it is not small."""
    P, y, h = affinities(normal(12, 5), 3), scale * normal(12, 2, seed=1), 1e-5
    y[3] = y[5]  # points may coincide
    expected = torch.zeros_like(y)
    for i in range(y.numel()):
        step = torch.zeros_like(y)
        step.view(-1)[i] = h
        expected.view(-1)[i] = (divergence(P, y + step) - divergence(P, y - step)) / (2 * h)
    bound = 100 * h**2 / 6 + 100 * 144 * U / h
    torch.testing.assert_close(gradient(P, y), expected, atol=bound, rtol=0)
    if scale == 1:
        assert (1.001 * gradient(P, y) - expected).abs().max() > 2 * bound


# --- the descent ----------------------------------------------------------------------------

def test_the_divergence_falls_and_clusters_stay_apart():
    x, c = clusters(40)
    P, y = affinities(x, 15), tsne(x, 15, steps=400)
    assert y.shape == (120, 2) and y.dtype == torch.float32
    assert torch.equal(y, tsne(x, 15, steps=400))  # the same twice
    assert 2 * divergence(P, y) < divergence(P, tsne(x, 15, steps=0))
    nearest = torch.cdist(y, y).fill_diagonal_(math.inf).argmin(dim=1)
    assert torch.equal(c[nearest], c)
    assert trustworthiness(x, y) > 0.9 > 0.6 > trustworthiness(x, normal(120, 2, seed=1))


def test_the_descent_of_tsne_changes_its_momentum_and_its_exaggeration_once(monkeypatch):
    """A point's coordinate at a time, as in Jacobs: 60 steps in float32, 20 of them early. A
    rounding may grow; 1e-3 of the size is far below what another gain or momentum does."""
    monkeypatch.setattr("minidl.tsne.EARLY", 20)
    x = normal(9, 4)
    P, y = affinities(x, 3).float(), tsne(x, 3, steps=0)
    velocity, gain = torch.zeros(9, 2), torch.ones(9, 2)
    for step in range(60):
        early = step < 20
        g = gradient((EXAGGERATION if early else 1) * P, y)
        for i, k in itertools.product(range(9), range(2)):
            grows = g[i, k] * velocity[i, k] < 0
            gain[i, k] = max(0.01, gain[i, k] + 0.2 if grows else 0.8 * gain[i, k])
            velocity[i, k] = ((0.5 if early else 0.8) * velocity[i, k]
                              - 9 / EXAGGERATION * gain[i, k] * g[i, k])
        y = y + velocity
    assert gain.max() > 2
    found = tsne(x, 3, steps=60)
    assert (found - y).abs().max() < 1e-3 * y.abs().max()


def test_points_without_clusters_do_not_end_in_one_point():
    """Exaggerated, P draws them together to 1e-13; after that they must come apart again."""
    x = normal(100, 50)
    P, y = affinities(x, 30), tsne(x)
    assert divergence(P, y) < min(divergence(P, s * y) for s in (1e-3, 0.1, 10))


def test_the_start_is_the_principal_components():
    x = clusters(20)[0]
    y, z = tsne(x, 5, steps=0).double(), pca.fit(x, 2).encode(x)
    torch.testing.assert_close(y, 1e-4 * z / z[:, 0].std(), atol=5e-6, rtol=0)  # 5 deviations


@pytest.mark.parametrize("x", [
    torch.full((40, 3), 0.1), torch.arange(40.0).unsqueeze(1), torch.eye(40),
    torch.cat([torch.zeros(25, 3), torch.ones(15, 3)])],
    ids=["all equal", "one axis", "all equally far", "two points, many times"])
def test_degenerate_points_are_embedded(x):
    y = tsne(x, 5, steps=300)
    assert y.isfinite().all()
    P = affinities(x, 5)
    assert divergence(P, y) < max(divergence(P, normal(40, 2, seed=1)), 1e-6)


# --- trustworthiness ------------------------------------------------------------------------

@pytest.mark.parametrize("k", [1, 5, 12, 24])
def test_trustworthiness_is_that_of_loops_over_the_definition(k):
    x, y = normal(50, 6).numpy(), normal(50, 2, seed=1).numpy()
    y[:, 0] += x[:, 0]
    excess = 0
    for i in range(50):
        by_x, by_y = (sorted((j for j in range(50) if j != i),
                             key=lambda j, v=v, i=i: ((v[i] - v[j]) ** 2).sum())
                      for v in (x, y))
        excess += sum(by_x.index(j) + 1 - k for j in set(by_y[:k]) - set(by_x[:k]))
    T = 1 - 2 / (50 * k * (100 - 3 * k - 1)) * excess
    found = trustworthiness(torch.from_numpy(x), torch.from_numpy(y), k)
    assert found == pytest.approx(T, abs=10 * U) and T < 0.95  # the sum is of integers


# --- errors ---------------------------------------------------------------------------------

@pytest.mark.parametrize("run, found", [
    (lambda x: affinities(x, 10), "perplexity of 10 for 10 points, expected 1 to 9"),
    (lambda x: affinities(x, math.nan), "perplexity of nan"),
    (lambda x: affinities(x[:0], 1), "for 0 points"),
    (lambda x: tsne(x), "perplexity of 30"),
    (lambda x: tsne(x.log(), 5), "finite"),
    (lambda x: trustworthiness(x.log(), x, 1), "finite"),
    (lambda x: trustworthiness(x, x.log(), 1), "finite"),
    (lambda x: trustworthiness(x, x, 5), "5 neighbours of 10 points, expected 1 to 4"),
    (lambda x: trustworthiness(x, x, 0), "0 neighbours"),
])
def test_what_cannot_be_is_refused_in_a_sentence(run, found):
    with pytest.raises(ValueError, match=found):
        run(normal(10, 3))
