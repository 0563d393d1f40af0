"""minidl/contrastive.py by hand, by a double loop, and by what must not matter."""

import math

import pytest
import torch

from minidl.contrastive import nt_xent

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


@pytest.mark.parametrize("views", [2, 5])
def test_views_without_a_partner_or_a_negative_are_refused(views):
    with pytest.raises(ValueError, match=f"{views} views"):
        nt_xent(torch.ones(views, 3), 0.2)
