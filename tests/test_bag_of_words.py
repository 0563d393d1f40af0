"""minidl/bag_of_words.py: features and ratios by loops, the minimum by Newton's method."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from test_reviews import of_lists

from minidl import bag_of_words

pytestmark = pytest.mark.numeric
V = 9


def numbers(words, pairs):
    """The features of a review: words, and behind them the pairs, as the page numbers them."""
    found = set(words)
    if pairs:
        found |= {(u + 1) * V + w for u, w in itertools.pairwise(words)}
    return found


@pytest.fixture
def reviews(generator):
    lists = [torch.randint(1, V, (1 + i % 5,), generator=generator).tolist()
             for i in range(60)]
    return lists, [int(sum(words) % 3 > 0) for words in lists]


@pytest.mark.parametrize("longest", [None, 2])
@pytest.mark.parametrize("pairs", [False, True])
def test_it_is_at_the_minimum_of_its_objective(reviews, pairs, longest):
    lists, classes = reviews
    split = of_lists(lists, classes)
    bag = bag_of_words.fit(split, split, V, pairs, longest, lambdas=(0.01,))
    has = [numbers(words[-(longest or 9):], pairs) for words in lists]
    assert bag.v.tolist() == sorted(set.union(*has))
    X = torch.tensor([[float(v in found) for v in bag.v.tolist()] for found in has]).double()
    y, r = torch.tensor(classes).double(), torch.ones(len(bag.v)).double()
    if pairs:  # r_v = log((p_v / |p|_1) / (q_v / |q|_1))
        p, q = 1 + X[y == 1].sum(dim=0), 1 + X[y == 0].sum(dim=0)
        r = ((p / p.sum()) / (q / q.sum())).log()

    def objective(theta):
        o = (X * r) @ theta[:-1] + theta[-1]
        return (F.softplus(o) - y * o).mean() + 0.01 * (theta[:-1]**2).sum()

    least = torch.zeros(len(r) + 1).double()
    for _ in range(20):  # Newton's method
        slope = torch.autograd.functional.jacobian(objective, least)
        curvature = torch.autograd.functional.hessian(objective, least)
        least = least - torch.linalg.solve(curvature, slope)
    found = torch.cat([bag.weight / r, bag.b[None]]).double()
    # L-BFGS goes down as far as float32 tells values apart: sums of 60 and len(r) terms
    eps, least = torch.finfo(torch.float32).eps, objective(least)
    off = (60 + len(r)) * eps
    assert objective(found) - least < off < objective(0.9 * found) - least

    sizes = X @ bag.weight.double().abs() + bag.b.abs()  # of 11 terms at most
    o = X @ bag.weight.double() + bag.b
    assert ((o - bag.outputs(split)).abs() <= 11 * eps * sizes).all()


def test_what_training_has_not_seen_counts_for_nothing():
    split = of_lists([[1, 2], [3]], [0, 1])
    bag = bag_of_words.fit(split, split, V, True, lambdas=(0.01,))
    first, second = bag.outputs(of_lists([[2, 1], [2, 5, 8, 1]])).tolist()
    assert first == second  # no pair of either was seen, nor 5, nor 8
