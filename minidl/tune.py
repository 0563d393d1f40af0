r"""The search for hyper-parameters: a space, four ways through it, k-fold cross-validation.

    space = {"learning_rate": LogUniform(1e-4, 1e-1), "layers": Integer(1, 4)}
    trials = Trials(objective, out / "trials")
    best = random_search(trials, space, n=30, seed=0)

objective(settings, budget) -> a number, the lower the better; budget is None but for
successive halving. What it sees of the data is what it was made with: give it a training split
or its folds, and the test split is out of its reach. Proposals depend on the seed and on
earlier scores alone: the same seed ends with the same best. minidl/trials.py runs and logs.
Checked in tests/test_tune.py.
"""

import math
import random
from dataclasses import dataclass
from itertools import product

import torch

from minidl.trials import score_of


class SearchError(ValueError):
    """A search without a result: one sentence."""


@dataclass(frozen=True)
class Uniform:
    """A real number, as likely in every part of [low, high] as in another of that length."""

    low: float
    high: float

    def at(self, u):
        """u in [0, 1] -> the value below which the share u of the values lies."""
        return min(self.high, self.low + u * (self.high - self.low))  # the sum may round up

    def to_unit(self, value):
        """The inverse of `at`."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """A positive number whose logarithm is uniform: 0.001 to 0.01 as likely as 0.01 to 0.1."""

    low: float
    high: float

    def at(self, u):
        # exp(log) rounds: without the bounds, at(1) would leave the space
        return min(self.high, max(self.low, self.low * (self.high / self.low) ** u))

    def to_unit(self, value):
        return math.log(value / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class Integer:
    """A whole number from low to high, both included, each as likely as the other."""

    low: int
    high: int

    def at(self, u):
        return min(self.high, self.low + int(u * (self.high - self.low + 1)))

    def to_unit(self, value):
        return (value - self.low + 0.5) / (self.high - self.low + 1)


@dataclass(frozen=True)
class Choice:
    """One of some values without an order."""

    values: tuple

    def at(self, u):
        return self.values[min(len(self.values) - 1, int(u * len(self.values)))]

    def to_unit(self, value):
        return (self.values.index(value) + 0.5) / len(self.values)


def logarithmic(space):
    """The names of the parameters whose logarithm is uniform, for a figure's axes."""
    return [name for name, kind in space.items() if isinstance(kind, LogUniform)]


def sample(space, source):
    """Settings drawn from the space by a random.Random."""
    return {name: kind.at(source.random()) for name, kind in space.items()}


def folds(n, k, seed):
    """k pairs (training, validation) of indices of n examples: every example is in exactly one
    validation part, and the parts' sizes differ by at most one."""
    if not 2 <= k <= n:
        raise ValueError(f"found k = {k} folds of {n} examples, expected 2 to {n}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split(k)
    return [(torch.cat([*parts[:i], *parts[i + 1:]]), parts[i]) for i in range(k)]


def random_search(trials, space, n, seed):
    """n settings drawn independently. -> the best trial."""
    source = random.Random(seed)
    return best(trials([sample(space, source) for _ in range(n)]))


def grid_search(trials, space, points):
    """All combinations of `points` values of each parameter, spaced evenly (a choice has no
    more than its own). -> the best trial."""
    axes = [list(dict.fromkeys(kind.at((i + 0.5) / points) for i in range(points)))
            for kind in space.values()]
    return best(trials([dict(zip(space, values, strict=True)) for values in product(*axes)]))


def genetic_search(trials, space, population, generations, seed, *, mutation=0.2, elite=2):
    """Settings as genes: the better of two random parents, twice; each gene from one of the
    two; a gene is drawn anew with the probability `mutation`; the `elite` best live on.
    -> the best trial."""
    source = random.Random(seed)
    found = trials([sample(space, source) for _ in range(population)])
    for _ in range(generations - 1):
        ranked = sorted(found, key=score_of)
        children = [trial["settings"] for trial in ranked[:elite]]
        while len(children) < population:
            mother, father = (min(source.choice(found), source.choice(found), key=score_of)
                              ["settings"] for _ in range(2))
            child = {name: source.choice((mother, father))[name] for name in space}
            fresh = sample(space, source)
            children.append({name: fresh[name] if source.random() < mutation else child[name]
                             for name in space})
        found = trials(children)
    return best(trials.done)


def successive_halving(trials, space, n, budgets, seed):
    """n settings with the first budget; of each round the better 1/q goes on to the next,
    q = n^(1/(rounds - 1)), so that one is left for the last. -> the best of the last round.

    Jamieson and Talwalkar (2016).
    """
    source = random.Random(seed)
    settings = [sample(space, source) for _ in range(n)]
    share = n ** (-1 / max(1, len(budgets) - 1))  # 1/q
    for i, budget in enumerate(budgets):
        found = trials(settings, budget)
        kept = sorted(found, key=score_of)[:max(1, round(n * share ** (i + 1)))]
        settings = [trial["settings"] for trial in kept]
    return best(found)


def best(found):
    """The trial with the least score, of equal ones the first."""
    if all("failure" in trial for trial in found):
        raise SearchError(f"found {len(found)} trials and every one failed, the first with "
                         f"{found[0]['failure']!r}; expected one that does not")
    return min(found, key=score_of)


def importance(space, found):
    """Which parameter mattered: name -> the share of the scores' variance it tells alone.

    The share is `epsilon_squared` below, cut at 0, of the ranks of the scores, grouped by the
    quarters of the parameter's range (of a choice, by its values). Ranks, since one diverged
    trial would outweigh all others; failures count as the worst. nan, not defined, for a
    parameter that makes as many groups as there are trials.
    """
    order = sorted(range(len(found)), key=lambda i: score_of(found[i]))
    rank, shares = {i: float(place) for place, i in enumerate(order)}, {}
    for name, kind in space.items():
        groups = {}
        for i, trial in enumerate(found):
            value = trial["settings"][name]
            group = value if isinstance(kind, Choice) else int(4 * min(
                0.999, kind.to_unit(value)))
            groups.setdefault(group, []).append(rank[i])
        share = epsilon_squared(list(groups.values()))
        shares[name] = share if math.isnan(share) else max(0.0, share)
    return shares


def epsilon_squared(groups):
    r"""What the groups tell of the variance of N values s, corrected for chance: epsilon^2.

        eta^2     = 1 - sum_g sum_{i in g} (s_i - m_g)^2 / sum_i (s_i - m)^2,  m the means
        epsilon^2 = 1 - (1 - eta^2) (N - 1) / (N - G)

    [[s, ...], ...], G lists -> a number, at most 1. Where the groups have nothing to do with
    the values, eta^2 is (G - 1) / (N - 1) on average over the orders of the values, and
    epsilon^2 is 0, so often below it. nan where it is not defined: N = G, or equal values.
    Kelley (1935), An unbiased correlation ratio measure; the adjusted R^2 of G group means.
    """
    values = [s for group in groups for s in group]
    within, total = (sum((s - sum(g) / len(g)) ** 2 for g in split for s in g)
                     for split in (groups, [values]))
    if len(values) == len(groups) or not total:
        return math.nan
    return 1 - within / (len(values) - len(groups)) / (total / (len(values) - 1))


def importance_in_words(shares, n):
    """What `importance` found in n trials, the largest share first, for a finding."""
    known = sorted((name for name in shares if not math.isnan(shares[name])),
                   key=shares.get, reverse=True)
    words = [f"{name.replace('_', ' ')} {shares[name]:.0%}" for name in known]
    if unknown := [name.replace("_", " ") for name in shares if name not in known]:
        words.append(f"not defined for {' and '.join(unknown)}, which made as many groups as "
                     "there are trials")
    return (f"of the variance of the ranks of {n} trials a parameter explains alone, beyond "
            f"chance: {', '.join(words)}")
