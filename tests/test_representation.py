"""minidl/representation.py by hand, by loops, by NumPy, and by what must not matter."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minidl.representation import explained, linear_probe, spread


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
    torch.testing.assert_close(s.distance, 5.0 * (1 - torch.eye(2, dtype=torch.float64)))
    assert s.fisher == pytest.approx(25 / 3)    # B = 2/3 * 25/9 + 1/3 * 100/9 = 50/9
    assert s.total == pytest.approx(2 / 3 + 50 / 9)


def test_within_and_between_add_up_to_the_total_variance(z, y):
    s = spread(z, y)
    assert s.total == pytest.approx(z.var(dim=0, correction=0).sum().item(), rel=1e-12)
    W = (s.within[y]).mean().item()
    assert s.fisher == pytest.approx((s.total - W) / W, rel=1e-12)


def test_variances_and_distances_are_those_of_a_double_loop(z, y):
    s = spread(z.reshape(400, 1, 5, 1), y)  # images are flattened
    mu = [np.mean([v for v, c in zip(z.numpy(), y, strict=True) if c == k], axis=0)
          for k in range(4)]
    for a in range(4):
        here = [np.sum((v - mu[a]) ** 2) for v, c in zip(z.numpy(), y, strict=True) if c == a]
        assert s.within[a].item() == pytest.approx(np.mean(here), rel=1e-12)
        for b in range(4):
            far = np.sqrt(np.sum((mu[a] - mu[b]) ** 2))
            assert s.distance[a, b].item() == pytest.approx(far, rel=1e-12)


def test_fishers_ratio_has_no_unit_and_no_origin(z, y):
    one, other = spread(z, y), spread(3 * z + 7, y)
    assert other.fisher == pytest.approx(one.fisher, rel=1e-12)
    assert other.total == pytest.approx(9 * one.total, rel=1e-12)
    torch.testing.assert_close(other.within, 9 * one.within)
    torch.testing.assert_close(other.distance, 3 * one.distance)


def test_with_labels_at_random_hardly_any_variance_lies_between_the_classes(z, y):
    random = torch.Generator().manual_seed(2)
    drawn = [spread(z, y[torch.randperm(400, generator=random)]) for _ in range(30)]
    due = (4 - 1) / (400 - 4)  # (C - 1) / (N - C); one draw's deviation is about as large
    assert np.mean([s.fisher for s in drawn]) == pytest.approx(due, rel=0.5)
    assert spread(z, y).fisher > 0.2 and drawn[0].total == pytest.approx(spread(z, y).total)


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_the_probe_ends_where_the_gradient_of_its_objective_is_zero(z, y, penalty):
    z = z.float()
    mean, std = z.mean(dim=0), z.std(dim=0)
    logits = linear_probe(z, y, penalty)
    b = logits(mean.unsqueeze(0))[0]               # s = 0
    A = (logits(mean + torch.diag(std)) - b).T     # s = e_1, ..., e_D
    A, b = (v.double().requires_grad_() for v in (A, b))
    s = ((z - mean) / std).double()

    def steepest(penalty):
        loss = F.cross_entropy(s @ A.T + b, y) + penalty / 2 * A.square().sum()
        return max(g.abs().max().item() for g in torch.autograd.grad(loss, (A, b)))

    assert steepest(penalty) < 2e-4  # A is read back in float32, L-BFGS stops there as well
    assert steepest(2 * penalty + 1e-2) > 1e-2  # another objective is not at its minimum


def test_the_probe_separates_what_a_hyperplane_separates_and_nothing_else():
    z = normal(300, 2).float()
    z = z[(z[:, 0] - 3 * z[:, 1]).abs() > 0.5]  # a margin about the line
    line, cross = (z[:, 0] > 3 * z[:, 1]).long(), (z[:, 0] * z[:, 1] > 0).long()
    assert torch.equal(linear_probe(z, line)(z).argmax(dim=1), line)
    assert (linear_probe(z, cross)(z).argmax(dim=1) == cross).float().mean() < 0.7  # "xor"


def test_units_origin_and_a_constant_code_do_not_change_the_probe(z, y):
    z, new = z.float(), normal(100, 5, seed=3).float() * 4
    one = linear_probe(z, y)(new)
    assert len(one.argmax(dim=1).unique()) == 4
    for change in (lambda z: 3 * z + 1, lambda z: F.pad(z, (0, 1), value=3.0)):
        other = linear_probe(change(z), y)(change(new))
        torch.testing.assert_close(other, one, atol=2e-3, rtol=1e-3)  # two descents, float32
        assert torch.equal(other.argmax(dim=1), one.argmax(dim=1))


@pytest.mark.parametrize("test_z, test_t, share", [
    ([0, 4], [0, 3], 1 - (0 + 1) / (1 + 4)),        # the line t = z, the mean 1
    ([0, 2], [1, 1.5], 1 - (1 + 0.25) / (0 + 0.25))])  # worse than the mean: -4
def test_the_share_explained_by_hand(test_z, test_t, share):
    line = torch.tensor([0, 1, 2])
    got = explained(line.unsqueeze(1), line, torch.zeros(3), torch.tensor(test_z).unsqueeze(1),
                    torch.tensor(test_t), torch.zeros(2))
    assert got == pytest.approx(share, abs=1e-12)


def test_the_share_explained_is_that_of_numpys_least_squares(z, y):
    z = F.pad(z, (0, 1))  # a code that is always 0 has no one solution, but one prediction
    t = z[:, 0] * z[:, 1] + z[:, 2] + 3 * y
    train, test = torch.arange(400) % 2 == 0, torch.arange(400) % 2 == 1
    left = whole = 0
    for c in range(4):
        (X, u), (V, v) = ((np.c_[z[m & (y == c)].numpy(), np.ones((m & (y == c)).sum())],
                           t[m & (y == c)].numpy()) for m in (train, test))
        left += np.sum((v - V @ np.linalg.lstsq(X, u, rcond=None)[0]) ** 2)
        whole += np.sum((v - u.mean()) ** 2)
    got = explained(z[train], t[train], y[train], z[test], t[test], y[test])
    assert got == pytest.approx(1 - left / whole, abs=1e-9) and 0.05 < got < 0.95


def test_a_slope_for_each_class_explains_all_where_one_slope_does_not(z, y):
    slope = normal(4, 5, seed=4)
    t = (slope[y] * z).sum(dim=1) + 10 * y
    assert explained(z, t, y, z, t, y) == pytest.approx(1, abs=1e-12)
    one = torch.zeros_like(y)
    assert explained(z, t, one, z, t, one) < 0.9


def test_what_the_class_tells_is_not_counted_as_the_codes():
    y = torch.arange(4000) % 4
    z, noise = 10 * y.unsqueeze(1) + normal(4000, 3), normal(4000, seed=5)
    share = []
    for t in (noise, noise + 100 * y):  # independent of z inside the classes
        share.append(explained(z[:2000], t[:2000], y[:2000], z[2000:], t[2000:], y[2000:]))
    assert abs(share[0]) < 0.03  # about -D/N_c = -3/500 is due
    assert share[1] == pytest.approx(share[0], abs=1e-9)
