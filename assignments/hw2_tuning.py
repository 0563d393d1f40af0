r"""Homework 2, the search for the autoencoder's hyper-parameters, at a stated budget.

    score(s) = validation MSE of the autoencoder trained with the settings s for b epochs
    error(s) = 1/k sum_{i <= k} MSE of the one trained without fold i, on fold i

    python assignments/hw2_tuning.py                              under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw2_tuning.py         the same table, half the time

Random search gives each draw the same number of epochs. Successive halving gives many draws
one epoch, and more to the better ones; both may spend as many epochs in all. The winners are
trained for longer and cross-validated, beside the untuned settings of hw2_conv_ae.py. The best
winner, trained on all images, sees the test images once. A search on few images also chooses
for few steps: small batches win there because they make more steps of an epoch.
"""
# sheet: S0.2

import statistics

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import tune
from minidl.data import Split, batches, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired, plot
from minidl.lab.searching import halving_draws, importance, logarithmic
from minidl.losses import mse
from minidl.schedules import one_cycle

SPACE = {"learning_rate": tune.LogUniform(3e-4, 1e-1), "filters": tune.Integer(4, 16),
         "hidden": tune.Integer(32, 256), "batch_size": tune.Choice((32, 64, 128)),
         "weight_decay": tune.LogUniform(1e-5, 1.0),
         "activation": tune.Choice(("GELU", "ReLU", "Tanh"))}
UNTUNED = {"learning_rate": 6e-3, "filters": 16, "hidden": 256, "batch_size": 128,
           "weight_decay": 0.01, "activation": "GELU"}  # of hw2_conv_ae.py
LATENT, UNIT = 16, "mean (x - x_hat)^2 per pixel"


def train(run, settings, split, epochs, seed):
    """Exercise 2's autoencoder from random weights, with the nonlinearity of the settings."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    size = LATENT, settings["filters"], settings["hidden"]
    model = run.network(nn.Sequential(Encoder(*size), Decoder(*size)))
    for half in model:
        for i, layer in enumerate(half):
            if isinstance(layer, nn.GELU):
                half[i] = getattr(nn, settings["activation"])()
    optimizer = torch.optim.AdamW(model.parameters(), settings["learning_rate"],
                                  betas=(0.9, 0.97), weight_decay=settings["weight_decay"],
                                  fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(split, settings["batch_size"]))
    for _ in range(epochs):
        for x, _ in batches(split, settings["batch_size"], generator):
            loss = mse(model(x), x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        if not loss.isfinite():  # a failed trial: recorded, ranked last
            raise FloatingPointError(f"the loss is {loss.item()}")
    return model


def errors(model, split):
    """The MSE of each image, (N,)."""
    return mse(infer(model, split.x), to_unit(split.x)).double()


def cross_validated(run, settings, split, folds, epochs, seed):
    """error(settings). It holds this split and can reach no other images."""
    parts = tune.folds(len(split.y), folds, seed)
    return statistics.mean(
        errors(train(run, settings, of(split, inside), epochs, seed),
               of(split, outside)).mean().item() for inside, outside in parts)


def of(split, index):
    return Split(split.x[index], split.y[index])


def main(run,
         seeds: "searches of each kind; amount" = 3,
         trials: "draws of random search; amount" = 12,
         epochs: "of each of them; halving ends with three times as many; amount" = 3,
         folds: "k, parts of the winners' cross-validation; 2 to 20; amount" = 3,
         subset: "training images of a search, at most; >= 20; amount" = 2000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    torch.set_num_threads(1)  # sums in one order, so that each number of processes agrees
    size, budgets = min(subset, len(data.train.y) // seeds), (1, epochs, 3 * epochs)
    parts = [of(data.train, slice(i * size, (i + 1) * size)) for i in range(seeds)]
    val = of(data.val, slice(1000))
    draws = halving_draws(trials * epochs, budgets)
    searches = {
        "random search": lambda log, seed: tune.random_search(log, SPACE, trials, seed),
        "successive halving": lambda log, seed: tune.successive_halving(
            log, SPACE, draws, budgets, seed),
        "untuned": lambda *_: {"settings": UNTUNED}}

    # --- the searches, at the same number of epochs; the winners, cross-validated ------------
    names, winners, of_random = [], [], []
    for i, part in enumerate(parts):
        for name, search in searches.items():
            log = run.trials(f"{name} {i}", lambda settings, budget, i=i, part=part: errors(
                train(run, settings, part, budget or epochs, run.seed + i), val).mean().item())
            best = search(log, run.seed + i)
            names.append(name)
            winners.append({"seed": i, "settings": best["settings"]})
            of_random += log.done if name == "random search" else []
            print(f"{name}, seed {i}: done")
    final = run.trials("winners", lambda job, _: cross_validated(
        run, job["settings"], parts[job["seed"]], folds, budgets[-1], run.seed + job["seed"]))
    found = [tune.best([trial])["score"] for trial in final(winners)]
    scores = {name: [score for which, score in zip(names, found, strict=True)
                     if which == name] for name in searches}
    run.scores(UNIT, cross_validated_mse=scores)
    shares = importance(SPACE, of_random)
    run.results.figure("trials", plot.trials(
        of_random, f"{data.title}: the {len(of_random)} trials of random search",
        "validation MSE", logarithmic(SPACE)))
    run.bars("importance", "which parameter mattered", "share of the ranks' variance",
             [name.replace("_", " ") for name in shares], random_search=shares.values())

    # --- the test set, read once -------------------------------------------------------------
    score, name, winner = min(
        ((score, name, job["settings"]) for score, name, job in
         zip(found, names, winners, strict=True) if name != "untuned"), key=lambda t: t[0])
    models = [train(run, settings, data.train, epochs, run.seed)
              for settings in (winner, UNTUNED)]
    test = data.test()
    tuned, untuned = (errors(model, test) for model in models)
    run.scores(UNIT, table="test", test_mse=tuned, test_mse_untuned=untuned,
               cross_validated_mse_of_the_best=score)
    run.table("best", [{"found by": name} | winner], "The best winner")
    run.claim("At the same number of epochs, successive halving finds better settings than "
              "random search.", paired(scores["random search"], scores["successive halving"]))
    run.claim("On the images of a search, settings found by random search are better than "
              "untuned ones.", paired(scores["untuned"], scores["random search"]))
    run.claim("Trained on all images, the untuned settings are better than the best winner.",
              paired(tuned, untuned))
    run.claim("Of the six parameters, the learning rate matters most.",
              max(shares, key=shares.get) == "learning_rate", share=shares["learning_rate"])


SIZES = {"quick": {"seeds": 1, "trials": 6, "epochs": 2, "folds": 2, "subset": 200,
                   "images": 1500},
         "full": {"seeds": 5, "trials": 30, "epochs": 5, "subset": 10_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
