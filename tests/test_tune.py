"""minidl/tune.py and lab/trials.py: the space, folds, searches, the log.

Trials spread over the processes of torchrun: tests/test_hw1_tuning.py.
"""

import json
import math
import random

import pytest
import torch

from minidl.lab.trials import Trials
from minidl.tune import (
    Choice,
    Integer,
    LogUniform,
    SearchError,
    Uniform,
    at_edge,
    best,
    folds,
    genetic_search,
    grid_search,
    random_search,
    sample,
)

SPACE = {"rate": LogUniform(1e-4, 1e-1), "momentum": Uniform(-1, 1), "layers": Integer(1, 4),
         "kind": Choice(("a", "b", "c"))}


def bowl(settings, _=None):
    """Least, 0, at rate 0.01, momentum 0.5, layers 2, kind b."""
    return (math.log10(settings["rate"] / 0.01) ** 2 + (settings["momentum"] - 0.5) ** 2
            + 0.1 * (settings["layers"] - 2) ** 2 + 0.2 * (settings["kind"] != "b"))


# --- the space ----------------------------------------------------


@pytest.mark.parametrize("kind", [Uniform(-3, 0.1), LogUniform(1e-5, 0.3), Integer(-2, 5),
                                  Choice((1, 2))])
def test_the_ends_are_inside_though_floats_round(kind):
    allowed = kind.values if isinstance(kind, Choice) else (kind.low, kind.high)
    for u in (0.0, math.nextafter(1, 0), 1.0):
        assert min(allowed) <= kind.at(u) <= max(allowed)


def test_log_uniform_is_uniform_in_the_logarithm_and_uniform_is_not():
    """Kolmogorov's distance to the uniform one, 10,000 draws: below 0.0163 but once in 100."""
    def distance(kind):
        source = random.Random(1)
        u = sorted(math.log(sample({"x": kind}, source)["x"] / 1e-3) / math.log(1e3)
                   for _ in range(10_000))
        return max(abs(value - i / 10_000) for i, value in enumerate(u))

    assert distance(LogUniform(1e-3, 1)) < 0.0163
    assert distance(Uniform(1e-3, 1)) > 0.5


@pytest.mark.parametrize(("kind", "low", "high"), [
    (LogUniform, 1e-1, 1e-4), (LogUniform, 0, 1), (LogUniform, -3, 1), (LogUniform, 1, 1),
    (LogUniform, 1, math.inf), (LogUniform, math.nan, 1), (Uniform, 1, 0), (Integer, 4, 1)])
def test_a_range_without_values_is_refused_when_the_space_is_built(kind, low, high):
    with pytest.raises(SearchError, match=f"{kind.__name__}.*low"):
        kind(low, high)


def test_the_objective_gets_the_choice_that_was_given_also_from_a_log(tmp_path):
    """A log in JSON has lists for tuples, and lists cannot be hashed: none of it shows."""
    values, got = ((32,), (64, 32), [16]), []
    space = {"widths": Choice(values)}

    def objective(settings, _):
        got.append(settings.pop("widths"))  # its settings are its own
        return sum(got[-1])

    for _ in range(2):  # the second time from the log
        trials = Trials(objective, tmp_path)
        assert grid_search(trials, space, 6) == trials.done[2]
        assert [trial["settings"]["widths"] for trial in trials.done] == list(values)
    assert got == list(values)


def test_a_best_value_in_the_outer_twentieth_of_its_range_is_named():
    """Of (1e-4, 1e-1) that is below 10^-3.85 and above 10^-1.15; names have no edge."""
    for rate, found in ((10**-3.9, "rate, layers"), (10**-3.8, "layers"),
                        (10**-1.2, "layers"), (10**-1.1, "rate, layers")):
        settings = {"rate": rate, "momentum": 0.5, "layers": 1, "kind": "a"}
        assert at_edge(SPACE, settings) == {"at an edge": found}
    settings |= {"rate": 1e-2, "layers": 2}
    assert at_edge(SPACE, settings) == {"at an edge": "none"}
    for batch, found in ((32, "batch"), (64, "none"), (128, "batch")):
        assert at_edge({"batch": Choice((32, 64, 128))}, {"batch": batch}) == {
            "at an edge": found}


# --- k-fold ----------------------------------------------------

@pytest.mark.parametrize(("n", "k"), [(1003, 17), (7, 7)])
def test_folds_are_shuffled_parts_of_all_examples(n, k):
    found = folds(n, k, seed=0)
    held_out = torch.cat([validation for _, validation in found])
    assert sorted(held_out.tolist()) == list(range(n)) != held_out.tolist()
    sizes = [len(validation) for _, validation in found]
    assert len(found) == k and max(sizes) - min(sizes) <= 1
    for training, validation in found:
        assert sorted([*training.tolist(), *validation.tolist()]) == list(range(n))


def test_folds_are_the_seeds_and_refuse_what_is_no_cross_validation():
    assert not torch.equal(folds(50, 5, 0)[0][1], folds(50, 5, 1)[0][1])
    assert torch.equal(folds(50, 5, 1)[0][1], folds(50, 5, 1)[0][1])
    for n, k in ((5, 1), (5, 6)):
        with pytest.raises(SearchError, match=f"--folds {k}: found {n}"):
            folds(n, k, 0)


# --- the searches ----------------------------------------------------

SEARCHES = {
    "random": lambda trials, seed=0: random_search(trials, SPACE, 40, seed),
    "grid": lambda trials, seed=0: grid_search(trials, SPACE, 3),
    "genetic": lambda trials, seed=0: genetic_search(trials, SPACE, 10, 4, seed),
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_same_seed_gives_the_same_best_and_it_is_the_least(search, tmp_path):
    first, again = Trials(bowl, tmp_path / "a"), Trials(bowl, tmp_path / "b")
    found = search(first)
    assert search(again)["settings"] == found["settings"]
    assert found["score"] == bowl(found["settings"])
    assert found["score"] == min(trial["score"] for trial in first.done)


def test_searches_keep_to_their_settings_at_any_size():
    """A grid of 9; without mutation and elite no gene is new; with an elite of 4 the best four
    live on; of equal scores the first is the best."""
    space, asked = {"a": Uniform(0, 1), "b": Uniform(0, 1)}, []

    def trials(settings):
        asked.append(settings)
        return [{"settings": s, "score": (s["a"] - 0.3)**2 + s["b"]} for s in settings]

    grid_search(trials, space, 9)
    assert len(asked.pop()) == 81
    genetic_search(trials, space, 30, 3, seed=0, mutation=0, elite=0)
    assert {s["a"] for s in asked[2]} <= {s["a"] for s in asked[0]}
    asked.clear()
    genetic_search(trials, space, 30, 2, seed=0, mutation=1, elite=4)
    elite = sorted(asked[0], key=lambda s: trials([s])[0]["score"])[:4]
    assert asked[1][:4] == elite
    assert not {s["a"] for s in asked[1][4:]} & {s["a"] for s in asked[0]}
    equal = [{"settings": {"a": i}, "score": 1.0} for i in range(3)]
    assert best(equal) is equal[0]


# --- failures and the log ----------------------------------------------------

def fragile(settings, _=None):
    if settings["momentum"] < 0:
        raise ArithmeticError("diverged")
    return math.nan if settings["layers"] == 4 else bowl(settings)


def test_a_trial_that_raises_or_diverges_is_recorded_and_never_the_best(tmp_path):
    trials = Trials(fragile, tmp_path)
    found = random_search(trials, SPACE, 60, seed=0)
    failures = [trial["failure"] for trial in trials.done if "failure" in trial]
    assert len(trials.done) == 60 and math.isfinite(found["score"])
    assert {"ArithmeticError: diverged", "the score is nan"} == set(failures)


def test_a_log_of_another_search_or_run_has_none_of_this_ones_trials(tmp_path):
    scores = [Trials(lambda *_, i=i: i, tmp_path, made_by)([{"x": 1}])[0]["score"]
              for i, made_by in enumerate(["one", "other", "one"])]
    assert scores == [0, 1, 0]


def test_where_every_trial_fails_the_search_says_why(tmp_path):
    with pytest.raises(SearchError, match="ZeroDivisionError"):
        random_search(Trials(lambda *_: 1 / 0, tmp_path), SPACE, 3, seed=0)


def test_a_search_that_was_killed_goes_on_and_ends_as_one_left_alone(tmp_path):
    alone = genetic_search(Trials(bowl, tmp_path / "alone"), SPACE, 8, 5, seed=1)
    run = []

    def interrupted(settings, budget):
        run.append(settings)
        if len(run) == 20:
            raise KeyboardInterrupt
        return bowl(settings)

    with pytest.raises(KeyboardInterrupt):
        genetic_search(Trials(interrupted, tmp_path / "log"), SPACE, 8, 5, seed=1)
    before = len(run)
    resumed = genetic_search(Trials(interrupted, tmp_path / "log"), SPACE, 8, 5, seed=1)
    assert resumed["settings"] == alone["settings"] and resumed["score"] == alone["score"]
    ran = [json.dumps(settings, sort_keys=True) for settings in run[:19] + run[before:]]
    assert len(ran) == len(set(ran))  # no finished trial ran again
