r"""Homework 1, the search for hyper-parameters: grid, random and halving, cross-validated.

    score(s) = 1/k sum_{i <= k} error of the network trained with s without fold i, on fold i

    python assignments/hw1_tuning.py                              under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw1_tuning.py         the same table, half the time

Five numbers of an MLP are to be chosen. A grid of 2 values each and as many random draws cost
the same: but the grid tries 2 learning rates, the draws one each (Bergstra and Bengio, 2012).
Successive halving gives every draw one epoch and the better share of them more; the table
tells how many epochs each search spends. A seed of a search has images of its own; all
searches see the same. Homework 1's regression is searched likewise. A trial that diverges is
recorded and goes last. A search is said to beat another where the paired difference of their
winners exceeds 2 of its standard errors.

A search is given an objective that holds training images alone, so it cannot reach others.
Its winner is trained again on its images and told by the validation images; of all searches'
winners the best is trained on all training images and sees the test images, once, at the end.
"""
# sheet: S1.3

import functools
import statistics
from collections.abc import Callable
from typing import NamedTuple

import _path  # noqa: F401
import hw1_regression
import torch
import torch.nn.functional as F
from torch import nn

from minidl import tune
from minidl.data import Split, batches
from minidl.data.progress import Line
from minidl.evaluation import FRACTION, nats_and_accuracy
from minidl.lab import cli, plot
from minidl.lab.importance import importance, importance_in_words, logarithmic
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.tune import score_of

SPACE = {"learning_rate": tune.LogUniform(1e-3, 3.0), "momentum": tune.Uniform(0.0, 0.98),
         "hidden": tune.Integer(32, 256), "dropout": tune.Uniform(0.0, 0.5),
         "weight_decay": tune.LogUniform(1e-6, 1e-2)}
CURVE = {"learning_rate": tune.LogUniform(1e-4, 1e-1),
         "weight_decay": tune.LogUniform(1e-4, 1.0), "width": tune.Integer(8, 64),
         "layers": tune.Integer(1, 3)}
BATCH = 64
WORDS = {"grid": "grid search", "random": "random search", "halving": "successive halving"}


def main(run,
         seeds: "searches of each kind; amount" = 5,
         points: "values of each parameter in the grid; amount" = 2,
         folds: "parts of the cross-validation; amount" = 3,
         epochs: "passes over the images in a trial; amount" = 5,
         subset: "images of a search; amount" = 2000,
         curve_points: "points of a regression's search; amount" = 100,
         curve_steps: "steps of a regression's training; amount" = 200,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    parts = own_images(data, seeds, subset, folds)
    if folds > curve_points:
        raise RunError(f"--folds {folds}: expected at most --curve-points {curve_points}")
    torch.set_num_threads(1)  # sums in one order, so that each number of processes agrees
    tasks = {
        data.title: [classification(data, part, seed, folds, epochs)
                     for seed, part in enumerate(parts)],
        "regression of made points": [
            regression(run.seed + seed, curve_points, folds, curve_steps)
            for seed in range(seeds)]}
    searches = {
        "grid": lambda trials, space, seed: tune.grid_search(trials, space, points),
        "random": lambda trials, space, seed: tune.random_search(
            trials, space, points ** len(space), seed),
        "halving": lambda trials, space, seed: tune.successive_halving(
            trials, space, 2 * points ** len(space), (1, 2, epochs), seed)}

    # --- the searches ------------------------------------------------------------------------
    done, best, line = {}, {}, Line()
    for (task, seed, one), name in jobs(tasks, searches):
        trials = run.trials(f"{task} {name} {seed}", functools.partial(one.objective, line))
        key = task, name, seed
        best[key] = searches[name](trials, one.space, run.seed + seed)
        done[key] = trials.done
        line.done(f"{task}, {name}, seed {seed}: best of {len(trials.done)} trials has "
                  f"{best[key]['score']:.4f}")

    # --- the winners, told by what no search has seen ----------------------------------------
    held_out = run.trials(
        "winners", lambda job, _: tasks[job["task"]][job["seed"]].held_out(job["settings"]))
    found = held_out([{"task": task, "seed": seed, "settings": trial["settings"]}
                      for (task, _, seed), trial in best.items()])
    errors = scores_of_winners(best, found)

    for task, (one, *_) in tasks.items():
        tabulate(run, task, one, done, best, errors)
        draw(run, task, one, done)
    winner = min((key for key in best if key[0] == data.title), key=errors.get)
    network = fit(best[winner]["settings"], data.train, len(data.classes), epochs, run.seed,
                  line)
    finish(run, data, network, winner, best[winner], errors)


class Task(NamedTuple):
    """What a search is given, and what tells its winner."""

    space: dict
    objective: Callable  # (line, settings, budget) -> the cross-validated error
    held_out: Callable   # settings -> the error on what no search has seen
    unit: str
    epochs: Callable     # budget -> a trial's passes over its images or points, all folds'


def jobs(tasks, searches):
    """Every search of every task and seed; halving needs a budget: a regression has none."""
    for task, ones in tasks.items():
        for seed, one in enumerate(ones):
            for name in searches:
                if name != "halving" or one.space is SPACE:
                    yield (task, seed, one), name


def own_images(data, seeds, subset, folds):
    """A Split of `subset` training images for each seed's searches, none of them in two."""
    if not 2 <= folds <= subset:
        raise RunError(f"--folds {folds}: expected 2 to {subset}, the images of a search")
    if seeds * subset > len(data.train.y):
        raise RunError(f"--seeds {seeds} --subset {subset}: expected a product of at most "
                       f"{len(data.train.y)}, as each search has images of its own")
    return [Split(*(v[s * subset:(s + 1) * subset] for v in data.train)) for s in range(seeds)]


def classification(data, own, seed, folds, epochs):
    """An MLP of a search's own images; its budget is the number of epochs."""
    val, classes = data.val, len(data.classes)

    def held_out(settings):
        return 1 - nats_and_accuracy(fit(settings, own, classes, epochs, seed, Line()), val)[1]

    return Task(SPACE, cross_validated(own, classes, folds, epochs, seed), held_out,
                "error, share of images", lambda budget: folds * (budget or epochs))


def cross_validated(split, classes, folds, epochs, seed):
    """The objective of a search. It holds this split, and so it can reach no other."""
    parts = [[Split(split.x[index], split.y[index]) for index in pair]
             for pair in tune.folds(len(split.y), folds, seed)]

    def objective(line, settings, budget):
        return statistics.mean(
            1 - nats_and_accuracy(
                fit(settings, train, classes, budget or epochs, seed, line), fold)[1]
            for train, fold in parts)

    return objective


def regression(seed, n, folds, steps):
    """The noisy curve of hw1_regression.py, with points of this seed."""
    generator = torch.Generator().manual_seed(seed)
    x, y = hw1_regression.draw_points(n, hw1_regression.GAPS, generator)
    fresh = hw1_regression.draw_points(2000, (), generator)
    scale = (x.mean(), x.std()), (y.mean(), y.std())

    def error(settings, inside, points):
        g = hw1_regression.fit(settings | {"activation": "Tanh", "steps": steps}, x[inside],
                               y[inside], scale, seed)
        return hw1_regression.mse(g, *points)

    def objective(_line, settings, _budget):
        return statistics.mean(error(settings, inside, (x[outside], y[outside]))
                               for inside, outside in tune.folds(n, folds, seed))

    return Task(CURVE, objective, lambda settings: error(settings, slice(None), fresh),
                hw1_regression.UNIT, lambda _budget: folds * steps)


def scores_of_winners(best, found):
    """{search: score} of the winners' second trainings; without one there is no comparison."""
    for (*_, seed), trial in zip(best, found, strict=True):
        if "failure" in trial:
            raise RunError(f"the winner of a search with seed {seed} failed, trained again: "
                           f"{trial['failure']}; another --seed has other searches")
    return {key: score_of(trial) for key, trial in zip(best, found, strict=True)}


def fit(settings, split, classes, epochs, seed, line):
    """An MLP with one hidden layer, trained by SGD with momentum."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(28 * 28, settings["hidden"]), nn.ReLU(),
        nn.Dropout(settings["dropout"]),
        nn.Linear(settings["hidden"], classes)).to(split.x.device)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=settings["learning_rate"], momentum=settings["momentum"],
        weight_decay=settings["weight_decay"], fused=True)
    for epoch in range(1, epochs + 1):
        line.update(f"epoch {epoch}/{epochs} of {settings}")
        for x, y in batches(split, BATCH, generator):
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} after epoch {epoch}")
    return network


def tabulate(run, task, one, done, best, errors):
    """A row a search: means over the seeds; and how the searches compare, paired by seed."""
    rows, found = [], {}
    for name in dict.fromkeys(search for t, search, _ in done if t == task):
        keys = [key for key in done if key[:2] == (task, name)]
        found[name] = [errors[key] for key in keys]
        trials = [trial for key in keys for trial in done[key]]
        rows.append({
            "search": name, "trials": len(done[keys[0]]),
            "epochs": sum(one.epochs(trial["budget"]) for trial in done[keys[0]]),
            "failed": sum("failure" in trial for trial in trials) / len(keys),
            "cross-validated": statistics.mean(best[key]["score"] for key in keys),
            "held out": statistics.mean(found[name]), "std": deviation(found[name]),
            "seeds": len(keys)})
        run.results.mean(f"held_out_{slug(task)}_{name}", found[name], one.unit)
        run.results.number(f"trials_{slug(task)}_{name}", rows[-1]["trials"], "a search")
        run.results.number(f"epochs_{slug(task)}_{name}", rows[-1]["epochs"], "a search")
    run.results.table(f"searches_{slug(task)}", rows,
                      f"{task}: {one.unit}; means over the seeds")
    print(f"{task}, {one.unit}\n{markdown(rows)}")
    for name, row in zip(list(found)[1:], rows[1:], strict=True):
        gain = [a - b for a, b in zip(found["grid"], found[name], strict=True)]
        run.results.mean(f"paired_gain_{slug(task)}_{name}", gain, one.unit)
        run.results.finding(
            f"{task}: {verdict(name, gain)}. They spend {row['epochs']:,} and "
            f"{rows[0]['epochs']:,} epochs a search, all folds counted; their winners have "
            f"{row['held out']:.4f} and {rows[0]['held out']:.4f} on what no search has seen "
            f"({one.unit}); paired difference {statistics.mean(gain):+.4f} +- "
            f"{deviation(gain):.4f}, better for {sum(g > 0 for g in gain)} of {len(gain)} "
            "seeds.")


def verdict(name, gain):
    """Which search beats the other by more than 2 standard errors of the paired gain."""
    mean, error = statistics.mean(gain), deviation(gain) / len(gain) ** 0.5
    if len(gain) == 1:
        return f"one seed cannot tell whether {WORDS[name]} beats the grid"
    if abs(mean) <= 2 * error:
        return f"neither {WORDS[name]} nor the grid wins by more than 2 standard errors"
    return f"{WORDS[name]} {'beats' if mean > 0 else 'is beaten by'} the grid"


def draw(run, task, one, done):
    """All trials of the random searches, and which parameter mattered."""
    of_random = [trial for key, trials in done.items() if key[:2] == (task, "random")
                 for trial in trials]
    run.results.figure(f"trials_{slug(task)}", plot.trials(
        of_random, f"{task}: the {len(of_random)} trials of random search", one.unit,
        logarithmic(one.space)))
    shares = importance(one.space, of_random)
    run.results.figure(f"importance_{slug(task)}", plot.bars(
        {"random search": list(shares.values())}, [name.replace("_", " ") for name in shares],
        f"{task}: which parameter mattered", "parameter",
        "share of the ranks' variance, beyond chance"))
    run.results.finding(f"{task}, random search: "
                        f"{importance_in_words(shares, len(of_random))}.")
    failures = [trial["failure"] for trials in done.values() for trial in trials
                if "failure" in trial and trial["settings"].keys() == one.space.keys()]
    if failures:
        run.results.finding(f"{task}: {len(failures)} trials failed and went last, the first "
                            f"with '{failures[0]}'.")


def finish(run, data, network, winner, trial, errors):
    """The test images, read once: the best of all winners, trained on all training images."""
    ce, accuracy = nats_and_accuracy(network, test := data.test())
    run.results.number("test_accuracy", accuracy, FRACTION, n=len(test.y))
    run.results.number("test_cross_entropy", ce, "nats, mean cross-entropy", n=len(test.y))
    run.results.finding(
        f"{data.title}: the best winner, of {WORDS[winner[1]]} (seed {winner[2]}), had an "
        f"error of {trial['score']:.2%} in cross-validation and {errors[winner]:.2%} held "
        f"out; trained on {len(data.train.y):,} images it tells {accuracy:.2%} of the "
        f"{len(test.y):,} test images right. Its settings: " + ", ".join(
            f"{name} {value:.3g}" for name, value in trial["settings"].items()) + ".")


SIZES = {"quick": {"seeds": 1, "epochs": 2, "folds": 2, "subset": 300, "curve_points": 40,
                   "curve_steps": 20, "images": 3000},
         "full": {"epochs": 10, "subset": 10_000, "curve_steps": 600}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
