r"""Homework 2, a search for the hyper-parameters of the autoencoder's training.

    score(s) = validation MSE of the autoencoder trained with the settings s
    winner   = argmin_s score(s) over settings drawn at random

    python assignments/hw2_tuning.py                           under 5 minutes, one core
    torchrun --nproc-per-node 2 assignments/hw2_tuning.py      the same table, trials shared

A search with a full training per trial would take hours, so the trials see fewer images. All
use the network and the one-cycle schedule of hw2_conv_ae.py, and the same number of steps.
With equal epochs instead, a small batch would win by its many steps. The winner and the
settings of hw2_conv_ae.py ("untuned") are compared twice: cross-validated on few images, and
trained once on all images. hw2_conv_ae.py keeps its settings unless they lose the first.
"""
# sheet: S0.2

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import tune
from minidl.data import Split, steps, to_unit
from minidl.lab import cli, infer, paired, plot
from minidl.losses import mse
from minidl.schedules import one_cycle

SPACE = {"learning_rate": tune.LogUniform(1e-3, 3e-2), "beta2": tune.Uniform(0.9, 0.999),
         "weight_decay": tune.LogUniform(1e-4, 1.0), "batch_size": tune.Choice((64, 128)),
         "activation": tune.Choice(("GELU", "ReLU", "Tanh"))}
UNTUNED = {"learning_rate": 6e-3, "beta2": 0.97, "weight_decay": 0.01, "batch_size": 128,
           "activation": "GELU"}  # of hw2_conv_ae.py
UNIT = "mean (x - x_hat)^2 per pixel"


def train(run, settings, split, n, seed):
    """Exercise 2's autoencoder, trained from random weights for n steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    size = 16, run.settings["filters"], run.settings["hidden"]
    model = run.network(nn.Sequential(Encoder(*size), Decoder(*size)))
    for half in model:
        for i, layer in enumerate(half):
            if isinstance(layer, nn.GELU):
                half[i] = getattr(nn, settings["activation"])()
    optimizer = torch.optim.AdamW(model.parameters(), settings["learning_rate"],
                                  betas=(0.9, settings["beta2"]), fused=True,
                                  weight_decay=settings["weight_decay"])
    schedule = one_cycle(optimizer, n)
    for x, _ in steps(split, settings["batch_size"], generator, n):
        loss = mse(model(x), x).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
    if not loss.isfinite():  # a failed trial: recorded, ranked last
        raise FloatingPointError(f"the loss is {loss.item()}")
    return model


def errors(model, split):
    """The MSE of each image, (N,)."""
    return mse(infer(model, split.x), to_unit(split.x)).cpu().double()


def main(run,
         trials: "settings that random search tries; amount" = 12,
         short: "steps of a training on few images; amount" = 200,
         long: "steps of a training on all images; amount" = 1000,
         folds: "k of the k-fold cross-validation; 2 to 20; amount" = 4,
         subset: "training images that the search uses; >= 20; amount" = 10_000,
         filters: "in the first convolution" = 16,
         hidden: "width of the fully connected layer; >= 0" = 256,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    torch.set_num_threads(1)  # one order of summation: the same table from any torchrun
    few = Split(data.train.x[:subset], data.train.y[:subset])

    # --- draw settings, train, score, keep the best ------------------------------------------
    log = run.trials("search", lambda settings, _: errors(
        train(run, settings, few, short, run.seed), data.val).mean().item())
    winner = tune.random_search(log, SPACE, trials, run.seed)["settings"]
    run.table("best", [winner | tune.at_edge(SPACE, winner)], "The winner")
    run.results.figure("trials", plot.trials(
        log.done, f"{data.title}: {trials} trials of random search", "validation MSE",
        tune.logarithmic(SPACE)))

    # --- the winner and the untuned settings, cross-validated, then on all images ------------
    jobs, of_folds, models = {"random search": winner, "untuned": UNTUNED}, {}, {}
    for name, settings in jobs.items():
        of_folds[name] = [
            errors(train(run, settings, Split(few.x[inside], few.y[inside]), short, run.seed),
                   Split(few.x[outside], few.y[outside])).mean().item()
            for inside, outside in tune.folds(len(few.y), folds, run.seed)]
        models[name] = train(run, settings, data.train, long, run.seed)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    tuned, untuned = (errors(model, test) for model in models.values())
    run.scores(UNIT, cross_validated_mse=of_folds)
    run.scores(UNIT, table="test", test_mse=tuned, test_mse_untuned=untuned)
    run.claim("On few images, settings found by the search beat the untuned ones.",
              paired(of_folds["untuned"], of_folds["random search"]))
    run.claim("In one training on all images, settings found by the search beat the untuned "
              "ones.",
              paired(untuned, tuned))


SIZES = {"quick": {"trials": 5, "short": 20, "long": 40, "folds": 2, "subset": 400,
                   "filters": 8, "hidden": 64, "images": 1500},
         "full": {"trials": 60, "short": 2000, "long": 6800, "subset": 30_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
