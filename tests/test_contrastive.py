"""minidl/contrastive.py against a double loop."""

import math

import pytest
import torch

from minidl.contrastive import nt_xent

pytestmark = pytest.mark.numeric


def loops(v, tau, partner, masked=True):
    """The equation, view by view; with another partner or without the mask: the errors."""
    z = [[a / math.hypot(*view) for a in view] for view in v.tolist()]
    n, values = len(z), []
    for i in range(n):
        s = [sum(a * b for a, b in zip(z[i], z[j], strict=True)) for j in range(n)]
        total = sum(math.exp(s[j] / tau) for j in range(n) if j != i or not masked)
        values.append(math.log(total) - s[partner(i)] / tau)
    return torch.tensor(values, dtype=v.dtype)


@pytest.mark.parametrize("tau", [0.05, 0.2, 1.0])
def test_trap_17_each_view_has_the_value_of_a_double_loop(tau, generator):
    """80 views of any length. s_ij is rounded some 16 times (D = 7), so s_ij / tau is off by
    16 u / tau; it stands in the logarithm and beside it, and 80 terms are summed. Twice: both
    sides are rounded."""
    v = torch.randn(80, 7, generator=generator, dtype=torch.float64)
    v *= torch.logspace(-9, 9, 80, dtype=torch.float64)[:, None]
    got = nt_xent(v, tau)
    torch.testing.assert_close(got, loops(v, tau, lambda i: (i + 40) % 80), rtol=0,
                               atol=2 * (2 * 16 / tau + 80) * 2**-53)
    # negative controls: trap 17's errors are far away from it
    for wrong in (loops(v, tau, lambda i: (i + 1) % 80), loops(v, tau, lambda i: i ^ 1),
                  loops(v, tau, lambda i: (i + 40) % 80, masked=False)):
        assert (got - wrong).abs().max() > 0.01, f"{got} and {wrong}"


@pytest.mark.parametrize("views", [2, 5])
def test_views_without_a_partner_or_a_negative_are_refused(views):
    with pytest.raises(ValueError, match=f"{views} views"):
        nt_xent(torch.ones(views, 3), 0.2)
