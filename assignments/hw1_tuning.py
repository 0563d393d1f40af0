r"""Homework 1, the search for hyper-parameters: grid against random search, cross-validated.

    score(s) = 1/k sum_{i <= k} error of the network trained with s without fold i, on fold i
    winner   = argmin_s score(s) over the settings s that a search tries
    log-uniform:  rate = low (high / low)^u,  u ~ U(0, 1),  so log rate is uniform

    python assignments/hw1_tuning.py                           under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw1_tuning.py      the same table, trials shared

First the two searches are compared on few images, at 2^5 = 32 trials each. The grid has 2
values of each parameter, so only 2 learning rates; random search tries 32 (Bergstra and
Bengio, 2012). Each seed has images of its own. A winner's score is the least of many, so it is
too low: the winner is trained again and scored on validation images.

Settings that win on few images learn fast, and need not win on many. So the settings to use
are searched for once more on all images, with as many epochs as the final training has. Their
accuracy is cross-validated, then tested. hw1_classification.py has another network, optimizer
and schedule, so it keeps its own settings; hw1_regression.py tunes the regression.
"""
# sheet: S1.3

import statistics

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl import tune
from minidl.data import Split, batches
from minidl.evaluation import nats_and_accuracy
from minidl.lab import cli, infer, paired, plot

SPACE = {"learning_rate": tune.LogUniform(1e-3, 3.0), "momentum": tune.Uniform(0.0, 0.98),
         "hidden": tune.Integer(32, 256), "dropout": tune.Uniform(0.0, 0.5),
         "weight_decay": tune.LogUniform(1e-6, 1e-2)}
UNTUNED = {"learning_rate": 0.01, "momentum": 0.9, "hidden": 128, "dropout": 0.0,
           "weight_decay": 0.0}  # common first choices
UNIT = "error, share of images"


def train(settings, split, classes, epochs, seed):
    """An MLP with one hidden layer, trained by SGD with momentum."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(28 * 28, settings["hidden"]), nn.ReLU(),
        nn.Dropout(settings["dropout"]),
        nn.Linear(settings["hidden"], classes)).to(split.x.device)
    optimizer = torch.optim.SGD(network.parameters(), settings["learning_rate"],
                                settings["momentum"], fused=True,
                                weight_decay=settings["weight_decay"])
    for _ in range(epochs):
        for x, y in batches(split, 64, generator):
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        if not loss.isfinite():  # a failed trial: recorded, ranked last
            raise tune.SearchError(f"found a loss of {loss.item()}, expected a finite number")
    return network


def error(network, split):
    return 1 - nats_and_accuracy(network, split)[1]


def fold_errors(fit, split, folds, seed):
    """The error of each fold, by the network that fit(split) makes of the other folds."""
    parts = [[Split(split.x[part], split.y[part]) for part in pair]
             for pair in tune.folds(len(split.y), folds, seed)]
    return [error(fit(inside), outside) for inside, outside in parts]


def main(run,
         seeds: "searches of each kind, each on images of its own; 1 to 20; amount" = 5,
         points: "values of each parameter in the grid; amount" = 2,
         folds: "k, parts of the cross-validation; 2 to 20; amount" = 3,
         epochs: "passes over the images in a training; amount" = 5,
         subset: "images of a search, at most; >= 20; amount" = 2000,
         draws: "of the search on all images; amount" = 16,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    torch.set_num_threads(1)  # sums in one order, so that each number of processes agrees
    searches = {"grid": lambda trials, _: tune.grid_search(trials, SPACE, points),
                "random": lambda trials, seed: tune.random_search(
                    trials, SPACE, points ** len(SPACE), seed),
                "untuned": lambda trials, _: tune.best(trials([UNTUNED]))}

    def fit(settings, split, seed=run.seed):
        return train(settings, split, len(data.classes), epochs, seed)

    # --- on few images: draw settings, train, score, keep the best ---------------------------
    scores, held_out = ({name: [] for name in searches} for _ in range(2))
    n = min(subset, len(data.train.y) // seeds)
    for i, seed in enumerate(range(run.seed, run.seed + seeds)):
        own = Split(*(part[i * n:(i + 1) * n] for part in data.train))  # no image in two
        for name, search in searches.items():
            trials = run.trials(f"{name} {seed}", lambda settings, _, own=own, seed=seed:
                                statistics.mean(fold_errors(
                                    lambda split: fit(settings, split, seed), own, folds,
                                    seed)))
            best = search(trials, seed)
            scores[name].append(best["score"])
            held_out[name].append(error(fit(best["settings"], own, seed), data.val))
    run.scores(UNIT, cross_validated=scores, held_out=held_out)

    # --- on all images, as they are then trained ---------------------------------------------
    trials = run.trials("all images", lambda settings, _: error(fit(settings, data.train),
                                                                data.val))
    winner = tune.random_search(trials, SPACE, draws, run.seed)["settings"]
    run.table("best", [winner | {"at an edge": tune.at_edge(SPACE, winner)}], "The winner")
    run.results.figure("trials", plot.trials(
        trials.done, f"{data.title}: {draws} trials of random search, all images", UNIT,
        tune.logarithmic(SPACE)))
    of_folds = fold_errors(lambda split: fit(winner, split), data.train, folds, run.seed)

    # --- the test set, read once -------------------------------------------------------------
    networks = [fit(settings, data.train) for settings in (winner, UNTUNED)]
    test = data.test()
    tuned, untuned = (infer(network, test.x).argmax(dim=1) == test.y for network in networks)
    run.scores("fraction", table="test", test_accuracy=tuned, test_accuracy_untuned=untuned,
               cross_validated_accuracy=[1 - e for e in of_folds])
    run.claim("With as many trials, random search finds better settings than the grid.",
              paired(held_out["grid"], held_out["random"]))
    run.claim("On few images, settings found by random search are better than untuned ones.",
              paired(held_out["untuned"], held_out["random"]))
    run.claim("On all images, the settings found there are better than untuned ones.",
              paired(tuned, untuned))


SIZES = {"quick": {"seeds": 1, "epochs": 2, "folds": 2, "subset": 300, "draws": 4,
                   "images": 3000},
         "full": {"epochs": 10, "subset": 10_000, "draws": 64}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
