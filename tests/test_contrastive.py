"""minidl/contrastive.py by hand, by a double loop, and by what must not matter."""

import math

import pytest
import torch
import torch.nn.functional as F

from minidl.contrastive import classify_partners, nt_xent

pytestmark = pytest.mark.numeric


@pytest.fixture
def v(generator):
    return torch.randn(14, 5, generator=generator, dtype=torch.float64)


def assert_close(got, expected, tau):
    """s_ij is rounded some 12 times (D = 5), so s_ij / tau is off by 12 u / tau; it stands in
    the logarithm and beside it, and n terms are summed. Twice: both sides are rounded."""
    atol = 2 * (2 * 12 / tau + len(got)) * 2**-53
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def loops(v, tau, partner, masked=True):
    """The equation, view by view; with another partner or without the mask: the errors."""
    n, values = len(v), []
    for i in range(n):
        s = [float(v[i] @ v[j] / v[i].norm() / v[j].norm()) for j in range(n)]
        total = sum(math.exp(s[j] / tau) for j in range(n) if j != i or not masked)
        values.append(math.log(total) - s[partner(i)] / tau)
    return torch.tensor(values, dtype=v.dtype)


def test_two_images_by_hand():
    """z: e_1, e_2, e_1, -e_2. View 0 finds its like among 1, 2, 3: e / (1 + e + 1)."""
    v = torch.tensor([[2, 0], [0, 3], [1, 0], [0, -1]], dtype=torch.float64)
    like, unlike = math.log((2 + math.e) / math.e), math.log((2 + 1 / math.e) * math.e)
    assert_close(nt_xent(v, 1), torch.tensor([like, unlike, like, unlike], dtype=v.dtype), 1)


@pytest.mark.parametrize("tau", [0.05, 0.2, 1.0])
def test_trap_17_each_view_has_the_value_of_a_double_loop(v, tau):
    got, N = nt_xent(v, tau), len(v) // 2
    assert_close(got, loops(v, tau, lambda i: (i + N) % (2 * N)), tau)
    # negative controls: trap 17's errors are far away from it
    for wrong in (loops(v, tau, lambda i: (i + 1) % (2 * N)), loops(v, tau, lambda i: i ^ 1),
                  loops(v, tau, lambda i: (i + N) % (2 * N), masked=False)):
        assert (got - wrong).abs().max() > 0.05, f"{got} and {wrong}"


def test_it_is_the_cross_entropy_of_finding_the_partner_among_all_other_views(v):
    z = F.normalize(v)
    others = torch.stack([torch.cat([z[:i], z[i + 1:]]) @ z[i] for i in range(14)]) / 0.3
    partner = torch.tensor([(i + 7) % 14 - ((i + 7) % 14 > i) for i in range(14)])
    assert_close(nt_xent(v, 0.3), F.cross_entropy(others, partner, reduction="none"), 0.3)


def test_lengths_do_not_matter_and_without_normalising_they_would(v):
    lengths = torch.linspace(0.1, 9, 14, dtype=v.dtype).unsqueeze(1)
    assert_close(nt_xent(lengths * v, 0.5), nt_xent(v, 0.5), 0.5)
    broken = classify_partners(lengths * v, 0.5) - classify_partners(v, 0.5)
    assert broken.abs().max() > 0.1


def test_collapse_costs_log_2n_minus_1_whatever_tau():
    for N, tau in ((2, 0.1), (5, 1.0), (300, 0.2)):
        values = nt_xent(torch.full((2 * N, 5), 0.3, dtype=torch.float64), tau)
        assert_close(values, torch.full_like(values, math.log(2 * N - 1)), tau)


@pytest.mark.parametrize("views", [2, 5])
def test_views_without_a_partner_or_a_negative_are_refused(views):
    with pytest.raises(ValueError, match=f"{views} views"):
        nt_xent(torch.ones(views, 3), 0.2)
