r"""Homework 2, the report's genetic search, and what becomes of the settings that it names.

    fitness(s) = validation loss, BCE + KL in nats an image, after one epoch of training with s
    s = (batch size, learning rate, gamma, weight decay),   rate after epoch t = rate * gamma^t

    python assignments/hw2_report_vae_search.py  under 5 minutes on 2 CPU cores

The report searched with the test loss as fitness, which chooses on the test set; here the test
images are never read. A trial's epoch is one over `subset` images, so that a search of
hundreds of trials ends the same day; over all images it would be another search. Random search
begins with the genetic search's first generation and runs as many trials on the same images.
The report says Adam; its ranges are those of public code with Adadelta: both are searched, and
both run with its settings.
"""
# sheet: S2.2

import functools
import itertools
import math
import statistics

import _path  # noqa: F401
import torch
from hw2_report_vae import NATS, REPORTED, ConvVAE, nats
from torch.optim.lr_scheduler import StepLR

from minidl import tune
from minidl.data import Split, batches
from minidl.data.progress import Line
from minidl.gaussian import kl_to_std_normal, reparametrise
from minidl.lab import cli, plot
from minidl.lab.importance import importance, importance_in_words, logarithmic
from minidl.lab.precision import autocast
from minidl.lab.results import deviation, markdown, slug
from minidl.losses import bce
from minidl.tune import score_of

SPACE = {"batch_size": tune.Integer(10, 128), "learning_rate": tune.LogUniform(1e-8, 1.0),
         "gamma": tune.Uniform(0.0, 1.0), "weight_decay": tune.LogUniform(1e-7, 1e-4)}
FOUND = {"batch_size": 49, "learning_rate": 0.428, "gamma": 1.0, "weight_decay": 3.2318e-05}
OPTIMIZERS = {"Adam": functools.partial(torch.optim.Adam, fused=True),
              "Adadelta": torch.optim.Adadelta}
GENETIC, RANDOM = "genetic search", "random search"


def main(run,
         population: "settings of a generation; amount" = 6,
         generations: "of the genetic search; amount" = 4,
         seeds: "searches of each kind; amount" = 2,
         subset: "training images of a trial's one epoch; amount" = 2500,
         epochs: "over all images, with the report's settings; amount" = 1,
         precision: "of the searches' products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    data, line = run.load(images), Line()
    part = Split(data.train.x[:subset], data.train.y[:subset])
    val = Split(data.val.x[:1000], data.val.y[:1000])

    # --- the searches: as many trials of the one as of the other -----------------------------
    done = {}
    for optimizer, seed in itertools.product(OPTIMIZERS, range(run.seed, run.seed + seeds)):
        objective = functools.partial(fitness, optimizer, part, val, seed, precision, line)
        # one log: the first generation is random search's too, and is not run again
        log, start = run.trials(f"{optimizer} {seed}", objective), 0
        for name in (GENETIC, RANDOM):
            if name == GENETIC:
                tune.genetic_search(log, SPACE, population, generations, seed)
            else:
                tune.random_search(log, SPACE, len(done[optimizer, GENETIC, seed]), seed)
            # the genetic search proposes its best in each generation: one trial all the same
            found = {str(trial["settings"]): trial for trial in log.done[start:]}
            done[optimizer, name, seed], start = list(found.values()), len(log.done)
            line.done(f"{name}, {optimizer}, seed {seed}: {len(found)} trials, the best has "
                      f"{min(map(score_of, found.values())):.2f} {NATS}")
    compare(run, data, done, subset)
    starts = show_rates(run, data, done, val)
    best = tune.best(done["Adam", GENETIC, run.seed])["settings"]
    try_gamma(run, best, functools.partial(fitness, "Adam", part, val, run.seed, precision,
                                           line))
    try_report(run, data, best, starts[run.seed], epochs, line)


def fitness(optimizer, train, val, seed, precision, line, settings, epochs):
    """The objective of a search. It is given a training and a validation split, no others."""
    vae = fit(OPTIMIZERS[optimizer], settings, train, epochs or 1, seed, precision, line)
    return nats(vae, val, seed).sum().item()


def fit(optimizer, settings, train, epochs, seed, precision, line):
    """Train the blueprint from random weights; -> the network."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vae = ConvVAE().to(train.x.device)
    optimizer = optimizer(vae.parameters(), lr=settings["learning_rate"],
                          weight_decay=settings["weight_decay"])
    schedule = StepLR(optimizer, 1, settings["gamma"])  # a step of it is an epoch
    for epoch in range(1, epochs + 1):
        line.update(f"epoch {epoch}/{epochs} of {settings}")
        losses = []
        for x, _ in batches(train, settings["batch_size"], generator):
            with autocast(x.device, precision):
                mu, logvar = (t.float() for t in vae.encode(x))
                logits = vae.decode(reparametrise(mu, logvar)).float()
            loss = (bce(logits, x) + kl_to_std_normal(mu, logvar)).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            losses.append(loss.detach())
        losses = torch.stack(losses).cpu()
        if not losses.isfinite().all():
            step = int((~losses.isfinite()).nonzero()[0])
            raise FloatingPointError(
                f"the loss is {losses[step]} in step {step + 1} of epoch {epoch}, the largest "
                f"before {losses[:step].amax() if step else math.nan:.3g}")
        schedule.step()
    return vae


def compare(run, data, done, subset):
    """Both searches after as many trials: their best, and how they came there."""
    rows, lines = [], {}
    for optimizer in OPTIMIZERS:
        best, trials = {}, [t for key, own in done.items() if key[0] == optimizer for t in own]
        for name in (GENETIC, RANDOM):
            own = [found for key, found in done.items() if key[:2] == (optimizer, name)]
            best[name] = [tune.best(found) for found in own]
            scores = [trial["score"] for trial in best[name]]
            way = list(itertools.accumulate(map(score_of, own[0]), min))
            lines[f"{name}, {optimizer}"] = range(1, len(way) + 1), way
            run.results.mean(f"best_val_nats_{slug(f'{name} {optimizer}')}", scores, NATS)
            rows.append({"search": name, "optimizer": optimizer, "trials": len(own[0]),
                         "best": statistics.mean(scores), "std": deviation(scores),
                         "seeds": len(own)} | best[name][0]["settings"])
        pairs = list(zip(best[GENETIC], best[RANDOM], strict=True))
        gain = [b["score"] - a["score"] for a, b in pairs]
        ties = sum(a["settings"] == b["settings"] for a, b in pairs)
        run.results.number(f"ties_genetic_{optimizer}", ties, "seeds", n=len(gain))
        run.results.mean(f"paired_gain_genetic_{optimizer}", gain, NATS)
        run.results.finding(
            f"{data.title}, {optimizer}, {rows[-1]['trials']} trials of one epoch over "
            f"{subset:,} images: genetic search finds {rows[-2]['best']:.2f} {NATS} "
            f"(validation), random search {rows[-1]['best']:.2f}; paired difference "
            f"{statistics.mean(gain):+.2f} +- {deviation(gain):.2f}, the former better for "
            f"{sum(g > 0 for g in gain)} of {len(gain)} seeds, a tie for {ties}"
            + ": the best of both is in the first generation, which they share" * (ties > 0)
            + ". The former's learning rate is "
            f"{rows[-2]['learning_rate']:.2g} (seed {run.seed}); the report's is "
            f"{FOUND['learning_rate']}.")
        run.results.figure(f"trials_{optimizer}", plot.trials(
            trials, f"{data.title}: {len(trials)} trials with {optimizer}, the best marked",
            f"validation, {NATS}", logarithmic(SPACE)))
    run.results.table("searches", rows, f"{data.title}: {NATS}; settings of seed {run.seed}")
    print(markdown(rows))
    run.results.figure("searches", plot.curves(
        lines, f"{data.title}: the best so far, seed {run.seed}", "trials",
        f"validation, {NATS}", log_y=True))


def show_rates(run, data, done, val):
    """Where in the report's range of learning rates training diverges, or does nothing.

    -> the loss before training, by seed, above which a training has diverged.
    """
    starts = {seed: untrained_loss(run, val, seed) for *_, seed in done}
    run.results.mean("untrained_val_nats", list(starts.values()), NATS)
    for optimizer in OPTIMIZERS:
        trials = [(trial, starts[seed]) for (o, name, seed), found in done.items()
                  for trial in found if (o, name) == (optimizer, RANDOM)]
        rows = []
        for decade in range(-8, 0):
            own = [(t, start) for t, start in trials
                   if math.floor(math.log10(t["settings"]["learning_rate"])) == decade]
            if own:
                rows.append({"learning rate from": f"1e{decade}", "trials": len(own),
                             "not finite": sum("failure" in t for t, _ in own),
                             "diverged": sum(diverged(t, start) for t, start in own),
                             "best": min(score_of(t) for t, _ in own)})
        run.results.table(f"rates_{optimizer}", rows, f"{data.title}, {optimizer}")
        print(f"{optimizer}\n{markdown(rows)}")
        failed, bad = (sum(row[key] for row in rows) for key in ("not finite", "diverged"))
        shares = importance(SPACE, [t for t, _ in trials])
        run.results.number(f"diverged_share_{optimizer}", bad / len(trials), "fraction",
                           n=len(trials))
        run.results.finding(
            f"{optimizer}, {len(trials)} random settings from the report's ranges: {bad} end "
            f"above the loss of the untrained network that they began with, {failed} of them "
            f"with one that is not finite; {importance_in_words(shares, len(trials))}.")
    return starts


def untrained_loss(run, val, seed):
    """The loss of the random weights with which a training of this seed begins."""
    torch.manual_seed(seed)
    return nats(ConvVAE().to(run.device), val, seed).sum().item()


def diverged(trial, start):
    """Whether it ends above where it began; by 1%, for a rate of nearly 0 stays there."""
    return score_of(trial) > 1.01 * start


def try_gamma(run, settings, objective):
    """gamma is first used after the first epoch, where the fitness has been taken."""
    log, rows = run.trials("gamma", objective), []
    for gamma in (0.0, 0.5, 1.0):
        one, two = (log([settings | {"gamma": gamma}], epochs)[0] for epochs in (1, 2))
        rows.append({"gamma": gamma, "1 epoch": score_of(one), "2 epochs": score_of(two)})
    run.results.table("gamma", rows, f"Validation loss, {NATS}, by gamma and epochs")
    print(markdown(rows))
    spread = {key: max(row[key] for row in rows) - min(row[key] for row in rows)
              for key in ("1 epoch", "2 epochs")}
    for n, value in enumerate(spread.values(), start=1):
        if math.isfinite(value):
            run.results.number(f"spread_by_gamma_{n}", value, NATS)
    run.results.finding(
        "gamma of 0, 0.5 and 1, all else equal: after one epoch, the fitness, the validation "
        f"losses differ by {spread['1 epoch']:.2g} {NATS}; after two by "
        f"{spread['2 epochs']:.2g}."
        + (" The search cannot tell one gamma from another." if not spread["1 epoch"] else ""))


def try_report(run, data, best, start, epochs, line):
    """The report's settings with both optimizers, beside others, on all training images.

    In float32, so that no coarser rounding is to blame for what they do.
    """
    jobs = {"Adam, the report's settings": ("Adam", FOUND),
            "Adam, the genetic search's best": ("Adam", best),
            "Adadelta, the report's settings": ("Adadelta", FOUND),
            "Adadelta, rate 1.0": ("Adadelta", FOUND | {"learning_rate": 1.0})}
    log = run.trials("report", lambda job, n: fitness(
        job["optimizer"], data.train, data.val, run.seed, "float32", line, job["settings"], n))
    found = {name: log([{"optimizer": optimizer, "settings": settings}], epochs)[0]
             for name, (optimizer, settings) in jobs.items()}
    line.clear()
    rows = [{"training": name, **trial["settings"]["settings"],
             f"validation, {NATS}": trial.get("score", trial.get("failure"))}
            for name, trial in found.items()]
    run.results.table("report", rows, f"{data.title}: {epochs} epochs, all training images")
    print(markdown(rows))
    for name, trial in found.items():
        if "score" in trial:
            run.results.number(f"val_nats_{slug(name)}", trial["score"], NATS)
    told = "; ".join(
        name + " DIVERGED" * diverged(trial, start)
        + (f" {trial['score']:.1f}" if "score" in trial else f" ({trial['failure']})")
        for name, trial in found.items())
    run.results.finding(
        f"{data.title}, validation loss in {NATS} after {epochs} epoch"
        f"{'s' * (epochs > 1)} over all training images: {told}. The report has {REPORTED} on "
        "MNIST's test images after 30 epochs.")


SIZES = {"quick": {"population": 4, "generations": 2, "seeds": 1, "subset": 300,
                   "images": 1500},
         "full": {"population": 30, "generations": 12, "subset": 3000, "epochs": 8}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
