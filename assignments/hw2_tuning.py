r"""Homework 2, the search for the autoencoder's hyper-parameters, at a stated budget.

    score(s) = validation MSE of the autoencoder trained with s for b epochs

    python assignments/hw2_tuning.py                              under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw2_tuning.py         the same table, half the time

Random search gives each draw the same number of epochs; successive halving one epoch to many
draws, and more to the better ones. Both may spend as many epochs in all. A seed of a search
has training images of its own, and both searches see the same. The winners' final score is
cross-validated, with the longest training; the best of them sees the test images, once.
"""
# sheet: S0.2

import functools
import statistics

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from hw1_tuning import own_images, scores_of_winners
from hw2_conv_ae import SQUARED
from torch import nn

from minidl import tune
from minidl.data import Split, batches, steps_per_epoch
from minidl.data.progress import Line
from minidl.evaluation import evaluate
from minidl.lab import cli, plot
from minidl.lab.importance import importance, importance_in_words, logarithmic
from minidl.lab.results import deviation, markdown, slug
from minidl.losses import mse
from minidl.schedules import one_cycle

SPACE = {"learning_rate": tune.LogUniform(3e-4, 1e-1), "filters": tune.Integer(4, 16),
         "hidden": tune.Integer(32, 256), "batch_size": tune.Choice((32, 64, 128)),
         "weight_decay": tune.LogUniform(1e-5, 1.0),
         "activation": tune.Choice(("GELU", "ReLU", "Tanh"))}
LATENT = 16


def main(run,
         seeds: "searches of each kind; amount" = 3,
         trials: "draws of random search; amount" = 12,
         epochs: "of each of them; halving ends with three times as many; amount" = 3,
         folds: "parts of the winners' cross-validation; amount" = 3,
         subset: "training images of a search; amount" = 2000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    torch.set_num_threads(1)  # sums in one order, so that each number of processes agrees
    parts = own_images(data, seeds, subset, folds)
    budgets = (1, epochs, 3 * epochs)
    draws = halving_draws(trials * epochs, budgets)
    val, line = Split(data.val.x[:1000], data.val.y[:1000]), Line()

    # --- the searches, at the same number of epochs ------------------------------------------
    done, best = {}, {}
    for seed, part in enumerate(parts):
        objective = functools.partial(trained_and_scored, part, val, epochs, seed, line)
        for name, search in (
                ("random search", lambda t, s: tune.random_search(t, SPACE, trials, s)),
                ("successive halving", lambda t, s: tune.successive_halving(
                    t, SPACE, draws, budgets, s))):
            log = run.trials(f"{name} {seed}", objective)
            best[name, seed] = search(log, run.seed + seed)
            done[name, seed] = log.done
            line.done(f"{name}, seed {seed}: {len(log.done)} trials, best validation MSE "
                      f"{best[name, seed]['score']:.5f}")

    # --- the winners, cross-validated with the longest training ------------------------------
    final = run.trials("winners", lambda job, _: cross_validated(
        parts[job["seed"]], folds, budgets[-1], job["seed"], job["settings"], line))
    found = final([{"seed": seed, "settings": trial["settings"]}
                   for (_, seed), trial in best.items()])
    scores = scores_of_winners(best, found)
    tabulate(run, data, done, best, scores, epochs, budgets)
    draw(run, data, done)
    winner = min(scores, key=scores.get)
    model = fit(best[winner]["settings"], data.train, epochs, run.seed, line)
    line.clear()
    finish(run, data, model, winner, best[winner], scores, epochs)


def halving_draws(epochs, budgets):
    """The most draws with which successive halving spends at most so many epochs."""
    def spent(n):
        kept = [max(1, round(n * n ** (-i / (len(budgets) - 1)))) for i in range(len(budgets))]
        return sum(k * b for k, b in zip(kept, budgets, strict=True))

    return max(n for n in range(1, epochs + 1) if n == 1 or spent(n) <= epochs)


def trained_and_scored(split, val, epochs, seed, line, settings, budget):
    """The objective of a search. It is given a training and a validation split, no others."""
    model = fit(settings, split, budget or epochs, seed, line)
    return evaluate(lambda x, _: mse(model(x), x), val, model)


def cross_validated(split, folds, epochs, seed, settings, line):
    errors = []
    for pair in tune.folds(len(split.y), folds, seed):
        train, fold = (Split(split.x[index], split.y[index]) for index in pair)
        errors.append(trained_and_scored(train, fold, epochs, seed, line, settings, None))
    return statistics.mean(errors)


def build(filters, hidden, activation):
    """Exercise 2's autoencoder; of another nonlinearity, where that is asked for."""
    model = nn.Sequential(Encoder(LATENT, filters, hidden), Decoder(LATENT, filters, hidden))
    for half in model:
        for i, layer in enumerate(half):
            if isinstance(layer, nn.GELU):
                half[i] = getattr(nn, activation)()
    return model


def fit(settings, split, epochs, seed, line):
    """Train from random weights; -> the autoencoder."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = build(*(settings[key] for key in ("filters", "hidden", "activation")))
    model.to(split.x.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"],
                                  betas=(0.9, 0.97), weight_decay=settings["weight_decay"],
                                  fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(split, settings["batch_size"]))
    for epoch in range(1, epochs + 1):
        model.train()
        line.update(f"epoch {epoch}/{epochs} of {settings}")
        for x, _ in batches(split, settings["batch_size"], generator):
            loss = mse(model(x), x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} after epoch {epoch}")
    return model


def tabulate(run, data, done, best, scores, epochs, budgets):
    """A row a search: what it spent and what its winners are worth."""
    rows, errors = [], {}
    for name in dict.fromkeys(name for name, _ in done):
        keys = [key for key in done if key[0] == name]
        errors[name] = [scores[key] for key in keys]
        rows.append({"search": name, "draws": len({
            str(trial["settings"]) for trial in done[keys[0]]}),
            "epochs in all": sum(trial["budget"] or epochs for trial in done[keys[0]]),
            "best validation MSE": statistics.mean(best[key]["score"] for key in keys),
            "cross-validated MSE": statistics.mean(errors[name]),
            "std": deviation(errors[name]), "seeds": len(keys)})
        run.results.mean(f"cross_validated_mse_{slug(name)}", errors[name], SQUARED)
        run.results.number(f"epochs_{slug(name)}", rows[-1]["epochs in all"], "a search")
    run.results.table("searches", rows, f"{data.title}, d = {LATENT}; means over the seeds")
    print(markdown(rows))
    one, other = errors
    gain = [b - a for a, b in zip(errors[one], errors[other], strict=True)]
    run.results.mean("paired_difference_halving", gain, SQUARED)
    run.results.finding(
        f"{data.title}, d = {LATENT}: with {rows[0]['epochs in all']} epochs a search, {one} "
        f"tries {rows[0]['draws']} settings and {other}, with {rows[1]['epochs in all']}, "
        f"{rows[1]['draws']}. Trained for {budgets[-1]} epochs their winners have a "
        f"cross-validated MSE of {rows[0]['cross-validated MSE']:.5f} and "
        f"{rows[1]['cross-validated MSE']:.5f}; paired difference "
        f"{statistics.mean(gain):+.5f} +- {deviation(gain):.5f}, halving better for "
        f"{sum(g < 0 for g in gain)} of {len(gain)} seeds.")


def draw(run, data, done):
    """All trials of random search, and which parameter mattered."""
    found = [trial for (name, _), trials in done.items() if name == "random search"
             for trial in trials]
    run.results.figure("trials", plot.trials(
        found, f"{data.title}: the {len(found)} trials of random search", "validation MSE",
        logarithmic(SPACE)))
    shares = importance(SPACE, found)
    run.results.figure("importance", plot.bars(
        {"random search": list(shares.values())},
        [name.replace("_", " ") for name in shares], f"{data.title}: which parameter mattered",
        "parameter", "share of the ranks' variance, beyond chance"))
    failed = sum("failure" in trial for trials in done.values() for trial in trials)
    run.results.finding(f"Random search: {importance_in_words(shares, len(found))}; "
                        f"{failed} trials of all searches failed.")


def finish(run, data, model, winner, trial, scores, epochs):
    """The test images, read once: the best winner, trained on all training images."""
    test = data.test()
    error = evaluate(lambda x, _: mse(model(x), x), test, model)
    run.results.number("test_mse", error, SQUARED, n=len(test.y))
    run.results.finding(
        f"{data.title}: the best winner, of {winner[0]} (seed {winner[1]}), has a "
        f"cross-validated MSE of {scores[winner]:.5f}; trained for {epochs} epochs on "
        f"{len(data.train.y):,} images it has {error:.5f} on the test images. Its settings: "
        + ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in trial["settings"].items()) + ".")


SIZES = {"quick": {"seeds": 1, "trials": 6, "epochs": 2, "folds": 2, "subset": 200,
                   "images": 1500},
         "full": {"seeds": 5, "trials": 30, "epochs": 5, "subset": 10_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
