r"""Homework 2: optimizers and regularisation of the convolutional autoencoder.

    minimise  E 1/784 sum_p (x_hat_p - x_p)^2 + strength * penalty,   one change at a time

    python assignments/hw2_conv_ae_study.py           under 5 minutes on 2 CPU cores
    python assignments/hw2_conv_ae_study.py --full    all images, trained for longer

Penalties on the code z = encoder(x) in R^16:

    sparse        1/16 sum_k |z_k|                                 L1, for codes with few parts
    contractive   E_u |d(u . z) / dx|^2, u ~ N(0, I), which is     Rifai et al. (2011)
                  the squared norm of the encoder's Jacobian

Noise is put on the images (the clean one is the target) or on the code. A penalty can only
raise the training error: what it is to give is a better test error, or a better code. So each
row also tells how well a linear classifier reads the class off the code, how large the code
is (an L1 penalty falls, too, if all of it shrinks), how many of its numbers are near zero and
how far noise moves it. The base is Adam with a beta2 of 0.97, which AdamW without decay is.
Each optimizer's rate is chosen on validation, with a seed not used again. Seeds are paired.
"""
# sheet: S0.1b

import itertools
import math
import statistics

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from hw2_conv_ae import SQUARED
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from minidl import noise
from minidl.data import batches, steps_per_epoch
from minidl.evaluation import evaluate, per_example
from minidl.lab import cli, plot
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.losses import contraction, mse
from minidl.representation import linear_probe
from minidl.schedules import one_cycle

OPTIMIZERS = {  # name -> torch's class, its options, its rates, the middle one first
    "SGD": (SGD, {}, (10.0, 3.0, 30.0)),
    "Nesterov momentum": (SGD, {"momentum": 0.9, "nesterov": True}, (3.0, 1.0, 10.0)),
    "RMSprop": (RMSprop, {}, (3e-3, 1e-3, 1e-2)),
    "Adam, beta2 0.999": (Adam, {"fused": True}, (1e-2, 3e-3, 3e-2)),
    "Adam, beta2 0.97": (AdamW, {"betas": (0.9, 0.97), "fused": True}, (1e-2, 3e-3, 3e-2))}
BASE = {"optimizer": "Adam, beta2 0.97", "weight_decay": 0.0, "dropout": 0.0, "sparse": 0.0,
        "contractive": 0.0, "image_noise": 0.0, "code_noise": 0.0}
IN_BASE = {"optimizer": BASE["optimizer"], "regularisation": "none"}
GROUPS = {
    "optimizer": {name: {"optimizer": name} for name in OPTIMIZERS
                  if name != BASE["optimizer"]},
    "regularisation": {
        "weight decay 0.1": {"weight_decay": 0.1}, "weight decay 1": {"weight_decay": 1.0},
        "dropout 0.1": {"dropout": 0.1},
        "sparse code 0.001": {"sparse": 0.001}, "sparse code 0.01": {"sparse": 0.01},
        "contractive 1e-4": {"contractive": 1e-4}, "contractive 1e-3": {"contractive": 1e-3},
        "noise on images 0.2": {"image_noise": 0.2}, "noise on code 0.3": {"code_noise": 0.3}}}
VARIANTS = {"base": BASE} | {name: BASE | change for group in GROUPS.values()
                             for name, change in group.items()}
LATENT, NEAR_ZERO = 16, 0.05
MEASURES = {
    "val_mse": SQUARED, "test_mse": SQUARED,  # the others are of codes of test images, too:
    "probe_accuracy": "fraction",  # of a linear classifier, fitted to codes of training images
    "code_size": "deviation of all numbers of all codes",
    "near_zero": "fraction",       # of the numbers, below 0.05 of that
    "moved": "|change of z|^2 / variance of z"}  # by noise of 0.2 on the images


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         epochs: "passes over the training images; amount" = 5,
         batch_size: "images a step" = 64,
         filters: "of the first convolution; each further one has twice as many" = 8,
         hidden: "width of the fully connected layer at the coarsest level" = 128,
         rates: "learning rates tried for each optimizer; amount" = 3,
         images: "training images used, validation included; amount" = 6000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    size = epochs, batch_size, filters, hidden

    # --- training: every rate of each optimizer, then every variant, every seed --------------
    best, models, history = choose_rates(run, data, size, rates), {}, {}
    for seed, (name, design) in itertools.product(range(seeds), VARIANTS.items()):
        models[name, seed] = train(run, f"{name}, seed {seed}", data, run.seed + seed, *size,
                                   best[design["optimizer"]], **design)
        history[name, seed] = run.history

    # --- the test set, read once ---------------------------------------------------------
    test = data.test()
    found = {job: {"val_mse": history[job]["val_mse"][-1]} | describe(run, data, test, *model)
             for job, model in models.items()}
    values = {key: {name: [found[name, s][key] for s in range(seeds)] for name in VARIANTS}
              for key in MEASURES}
    tabulate(run, data, best, values)
    report(run, f"{data.title}, {len(test.y):,} test images", values)
    draw(run, data, history, values["test_mse"])


def choose_rates(run, data, size, rates):
    """-> optimizer -> the rate of its grid with the least validation error at the end."""
    best, words = {}, []
    for name, (_, _, grid) in OPTIMIZERS.items():
        found = {}
        for rate in sorted(grid[:rates]):
            train(run, f"{name}, rate {rate:g}", data, run.seed + 1000, *size, rate,
                  **BASE | {"optimizer": name})
            found[rate] = run.history["val_mse"][-1]
        best[name] = min(found, key=found.get)
        edge = ", at the edge" if best[name] in (min(found), max(found)) else ""
        words.append(f"{name} {best[name]:g} of {', '.join(map('{:g}'.format, found))}{edge}")
    run.results.finding(f"Rates chosen on validation: {'; '.join(words)}.")
    return best


def train(run, name, data, seed, epochs, batch_size, filters, hidden, rate, *, optimizer,
          weight_decay, dropout, sparse, contractive, image_noise, code_noise):
    """Train from random weights; -> (encoder, decoder)."""
    run.seed_everything(seed)
    encoder, decoder = Encoder(LATENT, filters, hidden), Decoder(LATENT, filters, hidden)
    if dropout:
        encoder.insert(len(encoder) - 1, nn.Dropout(dropout))
    model = nn.Sequential(encoder, decoder).to(run.device)
    kind, options, _ = OPTIMIZERS[optimizer]
    optimizer = kind(model.parameters(), lr=rate, weight_decay=weight_decay, **options)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for _epoch in run.epochs(epochs, name, every=epochs, model=model, optimizer=optimizer,
                             schedule=schedule):
        model.train()
        for x, _ in batches(data.train, batch_size, run.generator):
            seen = noise.gaussian(x, image_noise, run.generator) if image_noise else x
            z = encoder(seen.requires_grad_(contractive > 0))
            e = torch.randn(z.shape, generator=run.generator).to(z.device)
            x_hat = decoder(z + code_noise * z.detach().std() * e)
            loss = mse(x_hat, x.detach()).mean() + sparse * z.abs().mean()
            if contractive:
                loss = loss + contractive * contraction(z, seen, e).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
        run.log(val_mse=evaluate(lambda x, _: mse(model(x), x), data.val, model))
    return model


def describe(run, data, test, encoder, decoder):
    """-> MEASURES of one autoencoder, but for the validation error."""
    z, test_z = (per_example(lambda x, _: encoder(x), split, encoder)
                 for split in (data.train, test))
    generator = torch.Generator().manual_seed(run.seed)
    noisy = per_example(lambda x, _: encoder(noise.gaussian(x, 0.2, generator)), test, encoder)
    right = linear_probe(z, data.train.y)(test_z).argmax(dim=1) == test.y
    size, moved = test_z.std(), (noisy - test_z).square().sum(dim=1).mean()
    error = evaluate(lambda x, _: mse(decoder(encoder(x)), x), test, encoder, decoder)
    return {"test_mse": error, "probe_accuracy": right.double().mean().item(),
            "code_size": size.item(),
            "near_zero": (test_z.abs() < NEAR_ZERO * size).double().mean().item(),
            "moved": (moved / test_z.var(dim=0).sum()).item()}


def minus_base(values, name):
    """A variant's values less the base's, seed by seed."""
    return [b - a for a, b in zip(values["base"], values[name], strict=True)]


def told(values, name):
    """A variant's mean and deviation over the seeds, and those of the paired difference."""
    words, gain = f"{name} {mean_std(values[name])}", minus_base(values, name)
    return words if name == "base" else f"{words} (paired {mean_std(gain, '+.2g')})"


def mean_std(values, form=".4g"):
    return f"{statistics.mean(values):{form}} +- {deviation(values):.2g}"


def tabulate(run, data, best, values):
    """One row a variant: means over the seeds, and the paired difference to the base."""
    rows, errors = [], values["test_mse"]
    for name, design in VARIANTS.items():
        row = {"variant": name, "rate": best[design["optimizer"]]}
        for key, unit in MEASURES.items():
            run.results.mean(f"{key}_{slug(name)}", values[key][name], unit)
            row[key.replace("_", " ")] = statistics.mean(values[key][name])
        gain = minus_base(errors, name)
        run.results.mean(f"paired_{slug(name)}", gain, SQUARED)
        rows.append(row | {"std of test": deviation(errors[name]),
                           "minus base": statistics.mean(gain), "its std": deviation(gain)})
    run.results.table("variants", rows, f"{data.title}, d = {LATENT}: one change at a time")
    print(markdown(rows))


def report(run, title, values):
    """By each measure the first, the last, and where the base stands among them."""
    normal = math.erf(NEAR_ZERO / math.sqrt(2))
    for words, key, names, largest in (
            *((f"{group}, MSE", "test_mse", ("base", *names), False)
              for group, names in GROUPS.items()),
            ("accuracy of a linear classifier of the code", "probe_accuracy", VARIANTS, True),
            ("deviation of the code's numbers", "code_size", VARIANTS, False),
            (f"share of its numbers near zero ({normal:.3f} if normal)", "near_zero", VARIANTS,
             True), ("how far noise moves the code", "moved", VARIANTS, False)):
        of = values[key]
        ranked = sorted(names, key=lambda name, of=of: statistics.mean(of[name]),
                        reverse=largest)
        run.results.finding(
            f"{title}, {words}, {'largest' if largest else 'least'} first: "
            f"{told(of, ranked[0])}, then {told(of, ranked[1])}; last {told(of, ranked[-1])}. "
            f"The base, {mean_std(of['base'])}, is number {ranked.index('base') + 1} of "
            f"{len(ranked)}.")


def draw(run, data, history, scores):
    """Validation error over training, a figure a group; and the test error of all."""
    seeds = range(len(scores["base"]))
    for group, names in GROUPS.items():
        lines = {}
        for name in ("base", *names):
            curves = [history[name, s]["val_mse"] for s in seeds]
            mean = [statistics.mean(at) for at in zip(*curves, strict=True)]
            lines[IN_BASE[group] if name == "base" else name] = range(1, len(mean) + 1), mean
        run.results.figure(group, plot.curves(
            lines, f"{data.title}: {group}, validation images, mean of {len(seeds)} seeds",
            "epoch", SQUARED, log_y=True))
    run.results.figure("test_mse", plot.dots(
        scores, f"{data.title}, d = {LATENT}: test images, one dot a seed", SQUARED))


SIZES = {"quick": {"seeds": 1, "epochs": 1, "rates": 1, "images": 1000},
         "full": {"epochs": 10, "filters": 16, "hidden": 256, "batch_size": 128,
                  "images": 60_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
