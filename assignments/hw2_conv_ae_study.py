r"""Homework 2: optimizers and regularisation of the convolutional autoencoder.

    minimise  E 1/784 sum_p (x_hat_p - x_p)^2 + strength 1/16 sum_k |z_k|,   z = encoder(x)

    python assignments/hw2_conv_ae_study.py           under 5 minutes on 2 CPU cores
    python assignments/hw2_conv_ae_study.py --full    more images, trained for longer

Each variant changes one thing. Noise is added to the input only; the target is the clean
image. A regulariser is for a network that over-fits. So there are few training images,
and the training error is reported beside the test error. The base is AdamW without weight
decay, which is Adam. Each optimizer's rate is chosen on validation. Seeds are paired.
"""
# sheet: S0.1b

import _path  # noqa: F401
from ex2_conv_ae import Decoder, Encoder
from torch import nn
from torch.optim import SGD, Adam, AdamW

from minidl import noise, tune
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.lab import averaged, cli, infer, paired, plot
from minidl.losses import mse
from minidl.schedules import one_cycle

UNIT = "mean (x - x_hat)^2 per pixel"
OPTIMIZERS = {  # name -> torch's class, its options, its rates, the middle one first
    "SGD": (SGD, {}, (10.0, 3.0, 30.0)),
    "Nesterov momentum": (SGD, {"momentum": 0.9, "nesterov": True}, (3.0, 1.0, 10.0)),
    "Adam, beta2 0.999": (Adam, {"fused": True}, (1e-2, 3e-3, 3e-2)),
    "Adam, beta2 0.97": (AdamW, {"betas": (0.9, 0.97), "fused": True}, (1e-2, 3e-3, 3e-2))}
BASE = {"optimizer": "Adam, beta2 0.97", "weight_decay": 0.0, "dropout": 0.0, "sparse": 0.0,
        "noise": 0.0}
OTHERS = [name for name in OPTIMIZERS if name != BASE["optimizer"]]
VARIANTS = {"base": {}} | {name: {"optimizer": name} for name in OTHERS} | {
    "weight decay 0.1": {"weight_decay": 0.1}, "weight decay 1": {"weight_decay": 1.0},
    "dropout 0.1": {"dropout": 0.1}, "sparse code 0.001": {"sparse": 0.001},
    "sparse code 0.01": {"sparse": 0.01}, "sparse code 0.1": {"sparse": 0.1},
    "noise on images 0.2": {"noise": 0.2}}


def train(run, name, data, seed, rate, change):
    """Train from random weights; -> nn.Sequential(encoder, decoder)."""
    design, size = BASE | change, (16, run.settings["filters"], run.settings["hidden"])
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
            z = encoder(noise.gaussian(x, design["noise"], run.noise)
                        if design["noise"] else x)
            loss = mse(decoder(z), x).mean() + design["sparse"] * z.abs().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        run.log(val_mse=mse(infer(model, val), val))
    return model


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         epochs: "passes over the training images; amount" = 30,
         batch_size: "images per step; >= 2" = 64,
         filters: "in the first convolution; each further one has twice as many" = 8,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 128,
         rates: "learning rates tried for each optimizer; 1 to 3; amount" = 3,
         images: "training images used, validation included; amount" = 1200):
    data, best, rows = run.load(images), {}, []
    for name, (_, _, grid) in OPTIMIZERS.items():
        found, seed, change = {}, run.seed + 1000, {"optimizer": name}
        for rate in sorted(grid[:rates]):
            train(run, f"{name}, rate {rate:g}", data, seed, rate, change)
            found[rate] = run.history["val_mse"][-1]
        best[name] = min(found, key=found.get)
        rows.append({"optimizer": name} | tune.chosen(found, best[name]))
    run.table("rates", rows, "Learning rates, chosen on validation")

    models, histories = ({name: [] for name in VARIANTS} for _ in range(2))
    for seed in range(run.seed, run.seed + seeds):
        for name, change in VARIANTS.items():
            rate = best[(BASE | change)["optimizer"]]
            models[name].append(train(run, f"{name}, seed {seed}", data, seed, rate, change))
            histories[name].append(run.history)
    run.curves("optimizer", "validation images, mean over the seeds", UNIT, log_y=True, **{
        name: averaged(histories[name])["val_mse"] for name in ("base", *OTHERS)})

    # --- the test set, read once -------------------------------------------------------------
    on_train, on_test = ({name: [mse(infer(model, x), x).cpu().double().mean().item()
                                 for model in trained] for name, trained in models.items()}
                         for x in (to_unit(data.train.x), to_unit(data.test().x)))
    run.scores(UNIT, train_mse=on_train, test_mse=on_test)
    run.results.figure("test_mse", plot.dots(on_test, f"{data.title}: test images", UNIT))
    run.claim("The base over-fits: its test error is larger than its training error.",
              paired(on_test["base"], on_train["base"]))
    run.claim("Adam has a smaller test error than SGD, each at its best rate.",
              paired(on_test["SGD"], on_test["base"]))
    for name in ("weight decay 0.1", "dropout 0.1", "sparse code 0.001"):
        run.claim(f"Regularisation by {name} lowers the test error.",
                  paired(on_test["base"], on_test[name]))


SIZES = {"quick": {"seeds": 1, "epochs": 1, "rates": 1, "images": 1000},
         "full": {"epochs": 60, "filters": 16, "hidden": 256, "images": 6000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
