r"""Homework 2: optimizers and regularisation of the convolutional autoencoder.

    minimise  E 1/784 sum_p (x_hat_p - x_p)^2 + strength * penalty,   one change at a time

    python assignments/hw2_conv_ae_study.py           under 5 minutes on 2 CPU cores
    python assignments/hw2_conv_ae_study.py --full    all images, trained for longer

Penalties on the code z = encoder(x) in R^16:

    sparse        1/16 sum_k |z_k|                                 L1, for codes with few parts
    contractive   E_u |d(u . z) / dx|^2, u ~ N(0, I), which is     Rifai et al. (2011)
                  the squared norm of the encoder's Jacobian

Noise is put on the images (the clean one is the target) or on the code. A regulariser can only
raise the training error, and has little to gain where the test error is close to it. It should
give a smaller test error or a better code: a linear classifier reads the class from it (probe
accuracy), or noise on the image moves it less (moved = E |z' - z|^2 / variance of z). The base
is AdamW without decay, which is Adam. Each optimizer's rate is chosen on validation, with a
seed of its own. All variants share their seeds, so differences are paired.
"""
# sheet: S0.1b

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from minidl import noise
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.lab import averaged, cli, infer, paired, plot
from minidl.losses import contraction, mse
from minidl.representation import linear_probe
from minidl.schedules import one_cycle

LATENT, UNIT = 16, "mean (x - x_hat)^2 per pixel"
OPTIMIZERS = {  # name -> torch's class, its options, its rates, the middle one first
    "SGD": (SGD, {}, (10.0, 3.0, 30.0)),
    "Nesterov momentum": (SGD, {"momentum": 0.9, "nesterov": True}, (3.0, 1.0, 10.0)),
    "RMSprop": (RMSprop, {}, (3e-3, 1e-3, 1e-2)),
    "Adam, beta2 0.999": (Adam, {"fused": True}, (1e-2, 3e-3, 3e-2)),
    "Adam, beta2 0.97": (AdamW, {"betas": (0.9, 0.97), "fused": True}, (1e-2, 3e-3, 3e-2))}
BASE = {"optimizer": "Adam, beta2 0.97", "weight_decay": 0.0, "dropout": 0.0, "sparse": 0.0,
        "contractive": 0.0, "image_noise": 0.0, "code_noise": 0.0}
REGULARISERS = {
    "weight decay 0.1": {"weight_decay": 0.1}, "weight decay 1": {"weight_decay": 1.0},
    "dropout 0.1": {"dropout": 0.1},
    "sparse code 0.001": {"sparse": 0.001}, "sparse code 0.01": {"sparse": 0.01},
    "contractive 1e-4": {"contractive": 1e-4}, "contractive 1e-3": {"contractive": 1e-3},
    "noise on images 0.2": {"image_noise": 0.2}, "noise on code 0.3": {"code_noise": 0.3}}
OTHERS = [name for name in OPTIMIZERS if name != BASE["optimizer"]]
VARIANTS = {"base": {}} | {name: {"optimizer": name} for name in OTHERS} | REGULARISERS


def train(run, name, data, seed, rate, **change):
    """Train from random weights; -> nn.Sequential(encoder, decoder)."""
    design, size = BASE | change, (LATENT, run.settings["filters"], run.settings["hidden"])
    epochs, batch_size = run.settings["epochs"], run.settings["batch_size"]
    run.seed_everything(seed)
    encoder, decoder = Encoder(*size), Decoder(*size)
    if design["dropout"]:
        encoder.insert(len(encoder) - 1, nn.Dropout(design["dropout"]))
    model, val = run.network(nn.Sequential(encoder, decoder)), to_unit(data.val.x)
    kind, options, _ = OPTIMIZERS[design["optimizer"]]
    optimizer = kind(model.parameters(), rate, weight_decay=design["weight_decay"], **options)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for _ in run.epochs(epochs, name, every=epochs, model=model, optimizer=optimizer,
                        schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            seen = (noise.gaussian(x, design["image_noise"], run.generator)
                    if design["image_noise"] else x)
            z = encoder(seen.requires_grad_(design["contractive"] > 0))
            e = torch.randn(z.shape, generator=run.generator).to(z.device)
            x_hat = decoder(z + design["code_noise"] * z.detach().std() * e)
            error = mse(x_hat, x.detach()).mean()
            loss = error + design["sparse"] * z.abs().mean()
            if design["contractive"]:
                loss = loss + design["contractive"] * contraction(z, seen, e).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_mse=error)
        run.log(val_mse=mse(infer(model, val), val).double().mean())
    return model


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         epochs: "passes over the training images; amount" = 5,
         batch_size: "images a step; >= 2" = 64,
         filters: "of the first convolution; each further one has twice as many" = 8,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 128,
         rates: "learning rates tried for each optimizer; 1 to 3; amount" = 3,
         images: "training images used, validation included; amount" = 6000):
    data = run.load(images)
    best, rows = {}, []
    for name, (_, _, grid) in OPTIMIZERS.items():
        found = {}
        for rate in sorted(grid[:rates]):
            train(run, f"{name}, rate {rate:g}", data, run.seed + 1000, rate, optimizer=name)
            found[rate] = run.history["val_mse"][-1]
        best[name] = min(found, key=found.get)
        rows.append({"optimizer": name, "rates tried": ", ".join(f"{r:g}" for r in found),
                     "chosen": f"{best[name]:g}"})
    run.table("rates", rows, "Learning rates, chosen on validation")

    models, histories = ({name: [] for name in VARIANTS} for _ in range(2))
    for seed in range(run.seed, run.seed + seeds):
        for name, change in VARIANTS.items():
            rate = best[(BASE | change)["optimizer"]]
            models[name].append(train(run, f"{name}, seed {seed}", data, seed, rate, **change))
            histories[name].append(run.history)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    x = to_unit(test.x)
    error, probe, moved = ({name: [] for name in VARIANTS} for _ in range(3))
    noisy = noise.gaussian(x, 0.2, torch.Generator().manual_seed(run.seed))
    for name, trained in models.items():
        for encoder, decoder in trained:
            z = infer(encoder, x)
            read = linear_probe(infer(encoder, data.train.x), data.train.y)(z).argmax(dim=1)
            move = (infer(encoder, noisy) - z).square().sum(dim=1).mean() / z.var(dim=0).sum()
            error[name].append(mse(infer(decoder, z), x).double().mean().item())
            probe[name].append((read == test.y).double().mean().item())
            moved[name].append(move.item())
    run.scores(UNIT, test_mse=error, **{
        key: {name: [history[key][-1] for history in histories[name]] for name in VARIANTS}
        for key in ("train_mse", "val_mse")})
    run.scores("fraction", table="codes", probe_accuracy=probe, moved=moved)
    run.curves("optimizer", f"validation images, mean of {seeds} seeds", UNIT, log_y=True, **{
        name: averaged(histories[name])["val_mse"] for name in ("base", *OTHERS)})
    run.results.figure("test_mse", plot.dots(
        error, f"{data.title}, d = {LATENT}: test images, one dot a seed", UNIT))

    run.claim("Adam reaches a smaller test error than SGD, each at its best rate.",
              paired(error["SGD"], error["base"]))
    run.claim("With so few steps, Adam is better with a beta2 of 0.97 than with 0.999.",
              paired(error["Adam, beta2 0.999"], error["base"]))
    run.claim("A weak L1 penalty on the code lowers the test error.",
              paired(error["base"], error["sparse code 0.001"]))
    run.claim("The contractive penalty gives a code that noise on the image moves less.",
              paired(moved["base"], moved["contractive 1e-3"]))


SIZES = {"quick": {"seeds": 1, "epochs": 1, "rates": 1, "images": 1000},
         "full": {"epochs": 10, "filters": 16, "hidden": 256, "batch_size": 128,
                  "images": 60_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
