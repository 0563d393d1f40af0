r"""The search for hyper-parameters: a space, three searches of it, k-fold cross-validation.

    space = {"learning_rate": LogUniform(1e-4, 1e-1), "layers": Integer(1, 4)}
    trials = run.trials("search", objective)         # objective(settings, budget) -> score
    best = random_search(trials, space, n=30, seed=0)

A trial is {"settings", "score"}, the lower the better, or {"settings", "failure"}. `trials`
maps a list of settings to a list of trials; lab/trials.py logs them. The objective sees only
the data that it is given: with training data or its folds, it cannot reach the test data.
Proposals depend on the seed and on earlier scores alone. Checked in tests/test_tune.py.
"""

import math
import random
from dataclasses import dataclass
from itertools import product

import torch

from minidl import UserError


class SearchError(UserError):
    """An invalid space, or a search without a result: one sentence."""


@dataclass(frozen=True)
class Uniform:
    """A real number, uniformly distributed in [low, high]."""

    low: float
    high: float

    def __post_init__(self):
        if not -math.inf < self.low < self.high < math.inf:
            raise SearchError(f"found {self}, expected low < high")

    def at(self, u):
        """u in [0, 1] -> the u-quantile: the share u of the values is below it."""
        return min(self.high, self.low + u * (self.high - self.low))  # the sum may round up


@dataclass(frozen=True)
class LogUniform:
    """low (high / low)^u, u uniform: 0.001 to 0.01 is as likely as 0.01 to 0.1."""

    low: float
    high: float

    def __post_init__(self):
        if not 0 < self.low < self.high < math.inf:
            raise SearchError(f"found {self}, expected 0 < low < high")

    def at(self, u):
        # a power rounds: without the bounds, at(1) would leave the space
        return min(self.high, max(self.low, self.low * (self.high / self.low) ** u))


@dataclass(frozen=True)
class Integer:
    """A whole number from low to high, both included, all equally likely."""

    low: int
    high: int

    def __post_init__(self):
        if self.low > self.high:
            raise SearchError(f"found {self}, expected low <= high")

    def at(self, u):
        return min(self.high, self.low + int(u * (self.high - self.low + 1)))


@dataclass(frozen=True)
class Choice:
    """One of some values; numbers in rising order."""

    values: tuple

    def at(self, u):
        return self.values[min(len(self.values) - 1, int(u * len(self.values)))]


def sample(space, source):
    """Settings drawn from the space by a random.Random."""
    return {name: kind.at(source.random()) for name, kind in space.items()}


def folds(n, k, seed):
    """k pairs (training, validation) of indices of n examples. Every example is in exactly one
    validation part; the parts' sizes differ by at most one."""
    if not 2 <= k <= n:
        raise SearchError(f"--folds {k}: found {n} examples, expected at least two folds, "
                          "and at least one example in each")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split(k)
    return [(torch.cat([*parts[:i], *parts[i + 1:]]), parts[i]) for i in range(k)]


def random_search(trials, space, n, seed):
    """n settings drawn independently. -> the best trial."""
    source = random.Random(seed)
    return best(trials([sample(space, source) for _ in range(n)]))


def grid_search(trials, space, points):
    """All combinations of `points` evenly spaced values of each parameter (a choice has at
    most its own values). -> the best trial."""
    axes = []
    for kind in space.values():
        values = [kind.at((i + 0.5) / points) for i in range(points)]
        axes.append([v for i, v in enumerate(values) if v not in values[:i]])
    return best(trials([dict(zip(space, values, strict=True)) for values in product(*axes)]))


def genetic_search(trials, space, population, generations, seed, *, mutation=0.2, elite=2):
    """Each setting is a gene. A parent is the better of two random trials; a child takes each
    gene from one of two parents. A gene is drawn anew with the probability `mutation`. The
    `elite` best trials are kept. -> the best trial."""
    source = random.Random(seed)
    seen = found = trials([sample(space, source) for _ in range(population)])
    for _ in range(generations - 1):
        children = [trial["settings"] for trial in sorted(found, key=score_of)[:elite]]
        while len(children) < population:
            mother, father = (min(source.choice(found), source.choice(found), key=score_of)
                              ["settings"] for _ in range(2))
            child = {name: source.choice((mother, father))[name] for name in space}
            fresh = sample(space, source)
            children.append({name: fresh[name] if source.random() < mutation else child[name]
                             for name in space})
        found = trials(children)
        seen = seen + found
    return best(seen)


def logarithmic(space):
    """The names of the parameters whose logarithm is uniform, for a figure's axes."""
    return [name for name, kind in space.items() if isinstance(kind, LogUniform)]


def at_edge(space, settings):
    """{"at an edge": the parameters in the outer 5% of their range, or at a choice's end}.

    If the best value is at an edge, a better one may lie outside: the range was too narrow.
    """
    found = [name.replace("_", " ") for name, kind in space.items()
             if not isinstance(settings[name], str)
             and not kind.at(0.05) < settings[name] < kind.at(0.95)]
    return {"at an edge": ", ".join(found) or "none"}


def chosen(scores, best):
    """A table's row: the values tried (keys of `scores`), the best, is it at an end."""
    ends = (min(scores), max(scores)) if len(scores) > 1 else ()
    return {"tried": ", ".join(f"{value:g}" for value in sorted(scores)),
            "best": f"{best:g}", "at an edge": "yes" if best in ends else "no"}


def score_of(trial):
    """The trial's score; a failure's is infinite, so that it is never the best."""
    return trial.get("score", math.inf)


def best(found):
    """The trial with the least score, of equal ones the first."""
    if all("failure" in trial for trial in found):
        raise SearchError(f"found {len(found)} trials and every one failed, the first with "
                         f"{found[0]['failure']!r}; expected one that does not")
    return min(found, key=score_of)
