r"""What explains a search (which parameter mattered), and what plans one.

Checked in tests/test_tune.py.
"""

import math

from minidl.tune import Choice, Integer, LogUniform, score_of


def logarithmic(space):
    """The names of the parameters whose logarithm is uniform, for a figure's axes."""
    return [name for name, kind in space.items() if isinstance(kind, LogUniform)]


def importance(space, found):
    """Which parameter mattered: name -> the share of the scores' variance it explains alone.

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
            group = _group(kind, trial["settings"][name])
            groups.setdefault(group, []).append(rank[i])
        share = epsilon_squared(list(groups.values()))
        shares[name] = share if math.isnan(share) else max(0.0, share)
    return shares


def _group(kind, value):
    """The quarter of the range that the value lies in; of a choice, which of its values."""
    if isinstance(kind, Choice):
        return kind.values.index(value)
    if isinstance(kind, Integer):  # the middle of its share of the range
        u = (value - kind.low + 0.5) / (kind.high - kind.low + 1)
    elif isinstance(kind, LogUniform):
        u = math.log(value / kind.low) / math.log(kind.high / kind.low)
    else:
        u = (value - kind.low) / (kind.high - kind.low)
    return min(3, int(4 * u))


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


def halving_draws(epochs, budgets):
    """The most draws n with which successive halving spends at most so many epochs in all:

        sum_i round(n / q^i) b_i <= epochs,   the budgets b_0, b_1, ... of one trial in epochs
    """
    def spent(n):
        share = n ** (-1 / max(1, len(budgets) - 1))  # 1/q
        return sum(max(1, round(n * share**i)) * b for i, b in enumerate(budgets))

    return max(n for n in range(1, epochs + 1) if n == 1 or spent(n) <= epochs)
