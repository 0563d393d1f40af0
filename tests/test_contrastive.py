"""minidl/contrastive.py against a double loop; many views, any lengths: test_extremes.py."""

import math

import pytest
import torch

from minidl.contrastive import nt_xent

pytestmark = pytest.mark.numeric


def loops(v, tau, partner, masked=True):
    """The equation, view by view; with another partner or without the mask: the errors."""
    n, values = len(v), []
    for i in range(n):
        s = [float(v[i] @ v[j] / v[i].norm() / v[j].norm()) for j in range(n)]
        total = sum(math.exp(s[j] / tau) for j in range(n) if j != i or not masked)
        values.append(math.log(total) - s[partner(i)] / tau)
    return torch.tensor(values, dtype=v.dtype)


@pytest.mark.parametrize("tau", [0.05, 0.2, 1.0])
def test_trap_17_each_view_has_the_value_of_a_double_loop(tau, generator):
    """s_ij is rounded some 12 times (D = 5), so s_ij / tau is off by 12 u / tau; it stands in
    the logarithm and beside it, and 14 terms are summed. Twice: both sides are rounded."""
    v = torch.randn(14, 5, generator=generator, dtype=torch.float64)
    got = nt_xent(v, tau)
    torch.testing.assert_close(got, loops(v, tau, lambda i: (i + 7) % 14), rtol=0,
                               atol=2 * (2 * 12 / tau + 14) * 2**-53)
    # negative controls: trap 17's errors are far away from it
    for wrong in (loops(v, tau, lambda i: (i + 1) % 14), loops(v, tau, lambda i: i ^ 1),
                  loops(v, tau, lambda i: (i + 7) % 14, masked=False)):
        assert (got - wrong).abs().max() > 0.05, f"{got} and {wrong}"


@pytest.mark.parametrize("views", [2, 5])
def test_views_without_a_partner_or_a_negative_are_refused(views):
    with pytest.raises(ValueError, match=f"{views} views"):
        nt_xent(torch.ones(views, 3), 0.2)
