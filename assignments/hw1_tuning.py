r"""Homework 1, the search for hyper-parameters: grid against random search, cross-validated.

    score(s) = 1/k sum_{i <= k} error of the network trained with s without fold i, on fold i
    winner   = argmin_s score(s) over the settings s that a search tries
    log-uniform:  rate = low (high / low)^u,  u ~ U(0, 1),  so log rate is uniform

    python assignments/hw1_tuning.py                              under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw1_tuning.py         the same table, half the time

Both searches try 2^5 = 32 settings. The grid has 2 values of each parameter, so it tries only
2 learning rates; random search tries 32 (Bergstra and Bengio, 2012). A trial that diverges is
recorded and ranked last. minidl/tune.py has the searches, a few lines each.

Each seed has images of its own for all its searches. The score of a winner is the least of
many, so it is no fair estimate. The winner is trained again on all images of its search and
scored on the validation images, which no search has seen, beside untuned settings. The best
winner, trained on all training images, sees the test images once. There, untuned settings do
as well: a search on few images favours settings that learn fast. hw1_regression.py tunes the
regression; hw2_tuning.py has successive halving.
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
from minidl.lab.results import slug
from minidl.lab.searching import importance, logarithmic

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
        if not loss.isfinite():
            raise tune.SearchError(f"found a loss of {loss.item()}, expected a finite number")
    return network


def error(network, split):
    return 1 - nats_and_accuracy(network, split)[1]


def cross_validated(split, classes, folds, epochs, seed):
    """score(s), a function of settings. It holds this split and can reach no other images."""
    parts = [[Split(split.x[part], split.y[part]) for part in pair]
             for pair in tune.folds(len(split.y), folds, seed)]
    return lambda settings, _budget: statistics.mean(
        error(train(settings, inside, classes, epochs, seed), outside)
        for inside, outside in parts)


def own_images(split, subset, seeds):
    """A Split for each seed's searches, of `subset` images at most, none of them in two."""
    n = min(subset, len(split.y) // seeds)
    if n < 20:
        raise tune.SearchError(f"--seeds {seeds}: found {n} images each, expected 20 or more")
    return [Split(*(part[i * n:(i + 1) * n] for part in split)) for i in range(seeds)]


def main(run,
         seeds: "searches of each kind, each on images of its own; amount" = 5,
         points: "values of each parameter in the grid; amount" = 2,
         folds: "k, parts of the cross-validation; 2 to 20; amount" = 3,
         epochs: "passes over the images in a trial; amount" = 5,
         subset: "images of a search, at most; >= 20; amount" = 2000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    torch.set_num_threads(1)  # sums in one order, so that each number of processes agrees
    classes = len(data.classes)
    searches = {"grid": lambda trials, _: tune.grid_search(trials, SPACE, points),
                "random": lambda trials, seed: tune.random_search(
                    trials, SPACE, points ** len(SPACE), seed),
                "untuned": lambda trials, _: tune.best(trials([UNTUNED]))}
    scores, held_out = ({name: [] for name in searches} for _ in range(2))
    winners, of_random = [], []
    for seed, own in enumerate(own_images(data.train, subset, seeds), start=run.seed):
        objective = cross_validated(own, classes, folds, epochs, seed)
        for name, search in searches.items():
            trials = run.trials(f"{name} {seed}", objective)
            best = search(trials, seed)  # draw settings, train, score, keep the best
            network = train(best["settings"], own, classes, epochs, seed)
            scores[name].append(best["score"])
            held_out[name].append(error(network, data.val))
            if name != "untuned":
                winners.append((held_out[name][-1], name, best["settings"]))
            of_random += trials.done if name == "random" else []
    run.scores(UNIT, cross_validated=scores, held_out=held_out)
    shares = importance(SPACE, of_random)
    run.results.figure(f"trials_{slug(data.title)}", plot.trials(
        of_random, f"{data.title}: the {len(of_random)} trials of random search", UNIT,
        logarithmic(SPACE)))
    run.table("importance", [shares], "Share of the ranks' variance")

    # --- the test set, read once -------------------------------------------------------------
    score, name, winner = min(winners, key=lambda found: found[0])
    networks = [train(settings, data.train, classes, epochs, run.seed)
                for settings in (winner, UNTUNED)]
    test = data.test()
    tuned, untuned = (infer(network, test.x).argmax(dim=1) == test.y for network in networks)
    run.scores("fraction", table="test", test_accuracy=tuned, test_accuracy_untuned=untuned)
    run.table("best", [{"found by": name, "held out": score} | winner], "The best winner")
    run.claim("With as many trials, random search finds better settings than the grid.",
              paired(held_out["grid"], held_out["random"]))
    run.claim("On few images, settings found by random search are better than untuned ones.",
              paired(held_out["untuned"], held_out["random"]))
    run.claim("Of the five parameters, the learning rate matters most.",
              max(shares, key=shares.get) == "learning_rate", share=shares["learning_rate"])


SIZES = {"quick": {"seeds": 1, "epochs": 2, "folds": 2, "subset": 300, "images": 3000},
         "full": {"epochs": 10, "subset": 10_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
