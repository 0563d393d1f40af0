r"""Homework 2: optimizers and regularisation of the convolutional autoencoder.

    minimise  E 1/784 sum_p (x_hat_p - x_p)^2 + strength * penalty,   one change at a time

    python assignments/hw2_conv_ae_study.py           under 5 minutes on 2 CPU cores
    python assignments/hw2_conv_ae_study.py --full    all images, trained for longer

Penalties on the code z = encoder(x) in R^16:

    sparse        1/16 sum_k |z_k|                                 L1, for codes with few parts
    contractive   E_u |d(u . z) / dx|^2, u ~ N(0, I), which is     Rifai et al. (2011)
                  the squared norm of the encoder's Jacobian

Noise is put on the images (the clean one is the target) or on the code; weight decay and
dropout are the classifier's. A penalty can only raise the training error: what it is to give
is a better test error, or a better code. So besides the MSE each row tells how well a linear
classifier reads the class off the code, how many of its numbers are near zero and how far
noise moves it. The rate of each optimizer is chosen on validation, with a seed not used again;
seeds are paired. The default size trains briefly, on a part of the images.
"""
# sheet: S0.1b

import itertools
import statistics
from typing import NamedTuple

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from hw2_conv_ae import SQUARED
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from minidl import cli, noise, plot
from minidl.data import batches, steps_per_epoch
from minidl.losses import contraction, evaluate, mse, per_example
from minidl.representation import linear_probe
from minidl.results import deviation, markdown, slug
from minidl.schedules import one_cycle

OPTIMIZERS = {  # name -> torch's class, its options, its rates
    "SGD": (SGD, {}, (0.3, 1.0, 3.0)),
    "Nesterov momentum": (SGD, {"momentum": 0.9, "nesterov": True}, (0.1, 0.3, 1.0)),
    "RMSprop": (RMSprop, {}, (1e-3, 3e-3, 1e-2)),
    "Adam": (Adam, {}, (3e-3, 1e-2, 3e-2)),
    "AdamW": (AdamW, {"betas": (0.9, 0.97)}, (3e-3, 1e-2, 3e-2))}
BASE = {"optimizer": "AdamW", "weight_decay": 0.0, "dropout": 0.0, "sparse": 0.0,
        "contractive": 0.0, "image_noise": 0.0, "code_noise": 0.0}
GROUPS = {
    "optimizer": {name: {"optimizer": name} for name in OPTIMIZERS if name != "AdamW"},
    "regularisation": {
        "weight decay 0.1": {"weight_decay": 0.1}, "weight decay 1": {"weight_decay": 1.0},
        "dropout 0.1": {"dropout": 0.1},
        "sparse code 0.001": {"sparse": 0.001}, "sparse code 0.01": {"sparse": 0.01},
        "contractive 1e-4": {"contractive": 1e-4}, "contractive 1e-3": {"contractive": 1e-3},
        "noise on images 0.2": {"image_noise": 0.2}, "noise on code 0.3": {"code_noise": 0.3}}}
VARIANTS = {"base": BASE} | {name: BASE | change for group in GROUPS.values()
                             for name, change in group.items()}
LATENT, NEAR_ZERO = 16, 0.05


class Code(NamedTuple):
    """What a variant's codes of test images are like."""

    probe_accuracy: float  # of a linear classifier, fitted to the codes of training images
    near_zero: float       # share of the numbers below 0.05 of all codes' deviation
    moved: float           # by noise of 0.2 on the images: |change|^2 / variance


def main(run,
         seeds: "trainings of each variant" = 3,
         epochs: "passes over the training images" = 5,
         batch_size: "images a step" = 64,
         filters: "of the first convolution; each further one has twice as many" = 8,
         hidden: "width of the fully connected layer at the coarsest level" = 128,
         rates: "learning rates tried for each optimizer" = 3,
         images: "training images used, validation included" = 6000):
    data = run.load(images)
    size = epochs, batch_size, filters, hidden

    # --- training: every rate of each optimizer, then every variant, every seed --------------
    best, models, history = {}, {}, {}
    for name, (_, _, grid) in OPTIMIZERS.items():
        found = {}
        for rate in grid[:rates]:
            train(run, f"{name}, rate {rate:g}", data, run.seed + 1000, *size, rate,
                  **BASE | {"optimizer": name})
            found[rate] = run.history["val_mse"][-1]
        best[name] = min(found, key=found.get)
    for seed, (name, design) in itertools.product(range(seeds), VARIANTS.items()):
        models[name, seed] = train(run, f"{name}, seed {seed}", data, run.seed + seed, *size,
                                   best[design["optimizer"]], **design)
        history[name, seed] = run.history

    # --- the test set, read once ---------------------------------------------------------
    test = data.test()
    scores, codes = {}, {}
    for name in VARIANTS:
        scores[name] = [evaluate(lambda x, _, m=models[name, s]: mse(m(x), x), test,
                                 models[name, s]) for s in range(seeds)]
        codes[name] = [describe(run, data, test, models[name, s][0]) for s in range(seeds)]
    tabulate(run, data, best, history, scores, codes)
    draw(run, data, history, scores)


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


def describe(run, data, test, encoder):
    """-> Code of the test images."""
    z, test_z = (per_example(lambda x, _: encoder(x), split, encoder)
                 for split in (data.train, test))
    generator = torch.Generator().manual_seed(run.seed)
    noisy = per_example(lambda x, _: encoder(noise.gaussian(x, 0.2, generator)), test, encoder)
    right = linear_probe(z, data.train.y)(test_z).argmax(dim=1) == test.y
    variance = test_z.var(dim=0).sum()
    return Code(right.double().mean().item(),
                (test_z.abs() < NEAR_ZERO * test_z.std()).double().mean().item(),
                ((noisy - test_z).square().sum(dim=1).mean() / variance).item())


def tabulate(run, data, best, history, scores, codes):
    """One row a variant: means over the seeds, and the paired difference to the base."""
    rows, seeds, finding = [], range(len(scores["base"])), run.results.finding
    for name, design in VARIANTS.items():
        gain = [b - a for a, b in zip(scores["base"], scores[name], strict=True)]
        code = Code(*(statistics.mean(values) for values in zip(*codes[name], strict=True)))
        rows.append({
            "variant": name, "rate": best[design["optimizer"]],
            "val MSE": statistics.mean(history[name, s]["val_mse"][-1] for s in seeds),
            "test MSE": statistics.mean(scores[name]), "std": deviation(scores[name]),
            "minus base": statistics.mean(gain), "its std": deviation(gain)}
            | {key.replace("_", " "): value for key, value in code._asdict().items()})
        run.results.mean(f"test_mse_{slug(name)}", scores[name], SQUARED)
        run.results.mean(f"paired_{slug(name)}", gain, SQUARED)
        for key, value in code._asdict().items():
            run.results.number(f"{key}_{slug(name)}", value, {
                "moved": "|change of z|^2 / variance of z"}.get(key, "fraction"))
    run.results.table("variants", rows, f"{data.title}, d = {LATENT}: one change at a time")
    print(markdown(rows))
    row, base = {row["variant"]: row for row in rows}, rows[0]
    for group, names in GROUPS.items():
        ranked = sorted(names, key=lambda name: row[name]["test MSE"])
        words = [f"{name} {row[name]['test MSE']:.5f} (paired {row[name]['minus base']:+.5f} "
                 f"+- {row[name]['its std']:.5f})" for name in (ranked[0], ranked[-1])]
        finding(f"{data.title}, {group}, test MSE: base {base['test MSE']:.5f} +- "
                f"{base['std']:.5f}; best {words[0]}, worst {words[1]}.")
    for key, words, largest in (
            ("probe accuracy", "the class is read off it best", True),
            ("near zero", "most of its numbers are near zero", True),
            ("moved", "noise moves it least", False)):
        name = (max if largest else min)(row, key=lambda name: row[name][key])
        finding(f"The code of which {words}: {name}, {row[name][key]:.3f} (base "
                f"{base[key]:.3f}), at a test MSE of {row[name]['test MSE']:.5f}.")


def draw(run, data, history, scores):
    """Validation error over training, a figure a group; and the test error of all."""
    seeds = range(len(scores["base"]))
    for group, names in GROUPS.items():
        lines = {}
        for name in ("base", *names):
            curves = [history[name, s]["val_mse"] for s in seeds]
            mean = [statistics.mean(at) for at in zip(*curves, strict=True)]
            lines[name.replace("base", "AdamW" if group == "optimizer" else "none")] = (
                range(1, len(mean) + 1), mean)
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
