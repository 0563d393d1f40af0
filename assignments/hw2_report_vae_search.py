r"""Homework 2, the report's genetic search beside random search, and the settings it found.

    fitness(s) = validation loss, BCE + KL in nats an image, after one epoch of training with s
    s = (batch size, learning rate, gamma, weight decay),   rate after epoch t = rate * gamma^t

    python assignments/hw2_report_vae_search.py  under 5 minutes on 2 CPU cores

A parent is the better of two random settings; a child takes each value from one of its two
parents, and some values are drawn anew (minidl/tune.py). Random search begins with the genetic
search's first generation and runs as many trials on the same images. The report took the test
loss as fitness, which chooses on the test set: here the test images are not read. The epoch of
a trial is one over `subset` images, so that hundreds of trials end the same day.

gamma acts only after the first epoch, where fitness has been taken: the search cannot tell one
gamma from another, and the report's 1.0 is chance. The report names Adam, but its ranges are
those of public code with Adadelta, whose rate is a factor near 1. A step of Adam moves each
weight by about the rate, and 0.428 is more than a weight. Both are searched, and both are run
with the report's settings on all images.
"""
# sheet: S2.2

import functools
import itertools

import _path  # noqa: F401
import torch
from hw2_report_vae import ConvVAE
from torch.optim.lr_scheduler import StepLR

from minidl import losses, tune
from minidl.data import Split, batches
from minidl.gaussian import kl_to_std_normal
from minidl.lab import cli, paired, plot
from minidl.vae import elbo_terms

SPACE = {"batch_size": tune.Integer(10, 128), "learning_rate": tune.LogUniform(1e-8, 1.0),
         "gamma": tune.Uniform(0.0, 1.0), "weight_decay": tune.LogUniform(1e-7, 1e-4)}
FOUND = {"batch_size": 49, "learning_rate": 0.428, "gamma": 1.0, "weight_decay": 3.2318e-05}
OPTIMIZERS = {"Adam": functools.partial(torch.optim.Adam, fused=True),
              "Adadelta": torch.optim.Adadelta}


def train(run, optimizer, settings, split, epochs, seed):
    """The report's network from random weights; in 32 bits, lest rounding be to blame."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vae = run.network(ConvVAE())
    optimizer = OPTIMIZERS[optimizer](vae.parameters(), lr=settings["learning_rate"],
                                      weight_decay=settings["weight_decay"])
    schedule = StepLR(optimizer, 1, settings["gamma"])  # a step of it is an epoch
    for _ in range(epochs):
        for x, _ in batches(split, settings["batch_size"], generator):
            logits, mu, logvar = vae(x)
            loss = (losses.bce(logits, x) + kl_to_std_normal(mu, logvar)).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        if not loss.isfinite():  # a failed trial: recorded, ranked last
            raise FloatingPointError(f"the loss is {loss.item()}")
        schedule.step()
    return vae


def nats(vae, split, seed):
    """The mean of BCE + KL over a split."""
    terms = elbo_terms(vae.encode, vae.decode, split.x, seed)
    return (terms.bce.mean() + terms.kl.mean()).item()


def fitness(run, optimizer, split, val, seed):
    """-> what a search minimises. It is given these two splits and can reach no others."""
    return lambda settings, epochs: nats(
        train(run, optimizer, settings, split, epochs or 1, seed), val, seed)


def distinct(trials):
    """Genetic search proposes its best in each generation: one trial all the same."""
    return list({str(trial["settings"]): trial for trial in trials}.values())


def main(run,
         population: "settings of a generation; amount" = 6,
         generations: "of the genetic search; amount" = 4,
         seeds: "searches of each kind; amount" = 2,
         subset: "training images of a trial's one epoch; amount" = 2500,
         epochs: "over all images, with the report's settings; amount" = 1,
         images: "training images used, validation included; amount" = 60_000):
    data, best, lines, unit = run.load(images), {}, {}, "validation, nats an image"
    part = Split(data.train.x[:subset], data.train.y[:subset])
    val = Split(data.val.x[:1000], data.val.y[:1000])
    for optimizer in OPTIMIZERS:
        tried = []
        for seed in range(run.seed, run.seed + seeds):
            # one log: what both searches propose, the first generation, is run once
            log = run.trials(f"{optimizer} {seed}", fitness(run, optimizer, part, val, seed))
            tune.genetic_search(log, SPACE, population, generations, seed)
            genetic, start = distinct(log.done), len(log.done)
            tune.random_search(log, SPACE, len(genetic), seed)
            for search, found in (("genetic", genetic), ("random", log.done[start:])):
                name = f"{search} search {optimizer}"
                best.setdefault(name, []).append(tune.best(found))
                lines.setdefault(name, list(itertools.accumulate(
                    map(tune.score_of, found), min)))  # of the first seed
                tried += found
        run.results.figure(f"trials_{optimizer}", plot.trials(
            tried, f"{run.title}: {len(tried)} trials with {optimizer}, the best marked",
            unit, tune.logarithmic(SPACE)))
    scores = {name: [trial["score"] for trial in own] for name, own in best.items()}
    run.scores(unit, best_val_nats=scores)
    run.curves("searches", "the lowest loss so far, first seed", unit, x="trials", log_y=True,
               **lines)

    # --- the report's settings and others, on all training images ----------------------------
    untrained = nats(train(run, "Adam", FOUND, part, 0, run.seed), data.val, run.seed)
    jobs = {"Adam, the report's settings": ("Adam", FOUND),
            "Adam, the genetic search's best": (
                "Adam", best["genetic search Adam"][0]["settings"]),
            "Adadelta, the report's settings": ("Adadelta", FOUND),
            "Adadelta, rate 1.0": ("Adadelta", FOUND | {"learning_rate": 1.0})}
    trials = {name: run.trials("report " + optimizer, fitness(
        run, optimizer, data.train, data.val, run.seed))([settings], epochs)[0]
        for name, (optimizer, settings) in jobs.items()}
    run.table("report", [{"training": name, **trial["settings"],
                          unit: trial.get("score", trial.get("failure"))}
                         for name, trial in trials.items()])
    run.scores(unit, table="all_images", val_nats={"untrained": untrained} | {
        name: trial["score"] for name, trial in trials.items() if "score" in trial})
    adam, _, adadelta, _ = map(tune.score_of, trials.values())
    run.claim("Genetic search ends at a lower loss than random search with as many trials.",
              paired(scores["random search Adam"] + scores["random search Adadelta"],
                     scores["genetic search Adam"] + scores["genetic search Adadelta"]))
    run.claim("With the report's settings, Adam ends above the loss of the untrained network.",
              adam > untrained, untrained=untrained)
    run.claim("With the report's settings, Adadelta more than halves the loss.",
              adadelta < untrained / 2, untrained=untrained, Adadelta=adadelta)


SIZES = {"quick": {"population": 4, "generations": 2, "seeds": 1, "subset": 300,
                   "images": 1500},
         "full": {"population": 30, "generations": 12, "subset": 3000, "epochs": 8}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
