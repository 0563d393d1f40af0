r"""Homework 1, the search for hyper-parameters: grid against random search, cross-validated.

    score(s) = 1/k sum_{i <= k} error of the network trained with s without fold i, on fold i
    winner   = argmin_s score(s) over the settings s that a search tries
    log-uniform:  rate = low (high / low)^u,  u ~ U(0, 1)       (LogUniform of minidl/tune.py)

    python assignments/hw1_tuning.py                           under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw1_tuning.py      the same table, trials shared

In 32 = 2^5 trials, grid search tries 2 learning rates, each at an end of its grid, and random
search 32 (Bergstra and Bengio 2012). "At an edge" is of the range, which is wider. A winner's
score is the lowest of many, so it is biased. So the winners are trained again and compared
with untuned settings on the test set. A trial is as long as a final training.
hw1_classification.py has other networks, and settings of its own.
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
from minidl.lab import cli, paired, plot

SPACE = {"learning_rate": tune.LogUniform(1e-3, 3.0), "momentum": tune.Uniform(0.0, 0.98),
         "hidden": tune.Integer(32, 256), "dropout": tune.Uniform(0.0, 0.5),
         "weight_decay": tune.LogUniform(1e-6, 1e-2)}
UNTUNED = {"learning_rate": 0.01, "momentum": 0.9, "hidden": 128, "dropout": 0.0,
           "weight_decay": 0.0}  # common first choices
UNIT = "error, fraction of images"


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


def main(run,
         folds: "k of the k-fold cross-validation; 2 to 20; amount" = 3,
         epochs: "passes over the images in each training; amount" = 2,
         seeds: "final trainings of each search's winner; amount" = 3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    torch.set_num_threads(1)  # one order of summation: the same table from any torchrun
    parts = [[Split(data.train.x[part], data.train.y[part]) for part in pair]
             for pair in tune.folds(len(data.train.y), folds, run.seed)]
    searches = {"random": lambda log: tune.random_search(log, SPACE, 32, run.seed),
                "grid": lambda log: tune.grid_search(log, SPACE, 2),
                "untuned": lambda log: tune.best(log([UNTUNED]))}

    def fit(settings, split, seed=run.seed):
        return train(settings, split, len(data.classes), epochs, seed)

    def score(settings, _budget):
        return statistics.mean(error(fit(settings, inside), outside)
                               for inside, outside in parts)

    # --- draw settings, train, score, keep the best; then train it on all images -------------
    winners, scores, networks = [], {}, {}
    for name, search in searches.items():
        log = run.trials(name, score)
        best = search(log)
        scores[name], settings = best["score"], best["settings"]
        networks[name] = [fit(settings, data.train, run.seed + i) for i in range(seeds)]
        winners.append({"search": name, **settings, **tune.at_edge(SPACE, settings)})
        if name == "random":
            run.results.figure("trials", plot.trials(
                log.done, f"{data.title}: {len(log.done)} trials of random search", UNIT,
                tune.logarithmic(SPACE)))
    run.table("best", winners, "The best settings that each search found")
    run.scores(UNIT, cross_validated=scores, held_out={
        name: [error(net, data.val) for net in nets] for name, nets in networks.items()})

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    accuracy = {name: [1 - error(net, test) for net in nets]
                for name, nets in networks.items()}
    run.scores("fraction", table="test", own="random", test_accuracy=accuracy)
    for other, words in (("grid", "those of grid search"), ("untuned", "the untuned ones")):
        run.claim("The settings found by random search give a higher test accuracy than "
                  f"{words}.", paired(accuracy["random"], accuracy[other]))


SIZES = {"quick": {"folds": 2, "seeds": 1, "images": 700}, "full": {"epochs": 10}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
