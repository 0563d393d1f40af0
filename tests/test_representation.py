"""minidl/representation.py by hand, by loops, by NumPy, and by what must not matter."""

import pytest
import torch
import torch.nn.functional as F

from minidl.representation import linear_probe, nearest, spread

pytestmark = pytest.mark.numeric

# variances are sums of 400 * 5 squares, u = 2^-53; B = T - W is a sixth of T or more here
SUMS = 2 * 6 * 2000 * 2**-53


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed),
                       dtype=torch.float64)


@pytest.fixture
def y():
    return torch.arange(400).sqrt().long() // 5  # classes of 25, 75, 125 and 175 examples


@pytest.fixture
def z(y):
    return normal(400, 5) * (1 + y.unsqueeze(1)) + 4 * normal(4, 5, seed=1)[y]


def test_spread_by_hand():
    z = torch.tensor([[0, 0], [2, 0], [4, 4]])  # class means (1, 0), (4, 4), of all (2, 4/3)
    s = spread(z, torch.tensor([0, 0, 1]))
    assert s.within.tolist() == [1, 0]          # W = 2/3 * 1 + 1/3 * 0
    assert s.pairs.tolist() == [5]
    assert s.fisher == pytest.approx(25 / 3, rel=SUMS)  # B = 2/3 * 25/9 + 1/3 * 100/9 = 50/9
    assert s.total == pytest.approx(2 / 3 + 50 / 9, rel=SUMS)


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_the_probe_ends_where_the_gradient_of_its_objective_is_zero(z, y, penalty):
    mean, std = z.mean(dim=0), z.std(dim=0)
    logits = linear_probe(z, y, penalty)
    b = logits(mean.unsqueeze(0))[0]               # s = 0
    A = (logits(mean + torch.diag(std)) - b).T     # s = e_1, ..., e_D
    A, b = A.requires_grad_(), b.requires_grad_()
    s = (z - mean) / std

    def steepest(penalty):
        loss = F.cross_entropy(s @ A.T + b, y) + penalty / 2 * A.square().sum()
        return max(g.abs().max().item() for g in torch.autograd.grad(loss, (A, b)))

    # L-BFGS stops where a step gains 1e-9: a slope of sqrt(2e-9) where the curvature is 1
    assert steepest(penalty) < 1e-3
    assert steepest(2 * penalty + 1e-2) > 1e-2  # another objective is not at its minimum


def test_the_probe_separates_what_a_hyperplane_separates_and_nothing_else():
    z = normal(300, 2).float()
    z = z[(z[:, 0] - 3 * z[:, 1]).abs() > 0.5]  # a margin about the line
    line, cross = (z[:, 0] > 3 * z[:, 1]).long(), (z[:, 0] * z[:, 1] > 0).long()
    with_constant = F.pad(z, (0, 1), value=3.0)  # whose deviation is 0
    assert torch.equal(linear_probe(with_constant, line)(with_constant).argmax(dim=1), line)
    assert (linear_probe(z, cross)(z).argmax(dim=1) == cross).float().mean() < 0.7  # "xor"


@pytest.mark.parametrize("origin", [0, 10_000])
def test_the_nearest_is_found_however_far_away_the_origin(origin):
    """Each of x is one of the others. In float32 |a|^2 + |b|^2 - 2 a.b would be 0 +- 1e2."""
    others, order = origin + normal(200, 16).float(), torch.randperm(200)
    distance, index = nearest(others[order], others)
    assert torch.equal(index, order) and not distance.any()


def test_the_nearest_and_its_distance_are_those_of_a_double_loop():
    """Of whole numbers, whose sums of squares do not round."""
    x, others = (normal(n, 3, 4, seed=n).mul(50).round() for n in (30, 70))
    square = torch.tensor([[(a - b).square().sum() for b in others] for a in x])
    distance, index = nearest(x, others, block=7)
    assert torch.equal(square[range(30), index], square.min(dim=1).values)
    torch.testing.assert_close(distance.square(), square.min(dim=1).values.double(),
                               rtol=4 * 2**-53, atol=0)
