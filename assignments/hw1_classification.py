r"""Homework 1, classification: which of ten kinds of clothes does an image show?

    p(c | x) = softmax(network(x))_c,   minimise  E -log p(y | x), the cross-entropy, in nats

    python assignments/hw1_classification.py            under 5 minutes on 2 CPU cores
    python assignments/hw1_classification.py --full     the best number

The MLP sees 784 numbers in no order. The CNN's filters are the same at every place; pooling
makes a small shift matter less. Regularisation: weight decay, dropout (MLP), smoothed labels
(CNN; they raise its training loss), batch normalisation, half of the training images mirrored.
In cross-validation, each image is classified by networks trained without it. --full trains
larger networks for longer, with more augmentation and no cross-validation.
"""
# sheet: S1.1b, S1.3, S1.4

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl.augment import random_mirror, random_shift
from minidl.data import Split, batches, steps_per_epoch, to_unit
from minidl.evaluation import FRACTION, NATS, nats_and_accuracy
from minidl.lab import cli, infer, paired
from minidl.schedules import one_cycle
from minidl.tune import folds as cut


def MLP(hidden, classes):
    """x (B, 1, 28, 28) -> logits (B, classes), by layers of `hidden` and hidden / 2 units."""
    def layer(a, b):
        return nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(), nn.Dropout(0.15)
    return nn.Sequential(nn.Flatten(), *layer(28 * 28, hidden), *layer(hidden, hidden // 2),
                         nn.Linear(hidden // 2, classes))


def CNN(filters, classes, pooled=0):
    """x (B, 1, 28, 28) -> logits (B, classes); all but the last layer give the features."""
    a, b, c = filters, 2 * filters, 4 * filters
    return nn.Sequential(
        # pooling at 28 x 28 takes a third of all the time, a stride of 2 takes none
        *convolution(1, a, stride=1 if pooled else 2, pool=pooled),  # (B, a, 14, 14)
        *convolution(a, b, pool=True),                               # (B, b, 7, 7)
        Residual(*convolution(b, b), *convolution(b, b)),
        *convolution(b, c, pool=True),                               # (B, c, 3, 3)
        Residual(*convolution(c, c), *convolution(c, c)),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def convolution(inputs, outputs, stride=1, pool=False):
    """3x3, pooling, batch normalisation, ReLU; after pooling, 1/4 as much to normalise."""
    return (nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            *([nn.MaxPool2d(2)] if pool else []), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Sequential):
    """x + f(x): the layers learn a correction of x, and gradients can go around them."""

    def forward(self, x):
        return x + super().forward(x)


def train(run, name, network, split, held_out=None):
    """Minimise the cross-entropy on `split`; evaluate on `held_out`, if any, each epoch."""
    cnn, batch_size = name.startswith("CNN"), run.settings["batch_size"]
    epochs = run.settings["epochs" if cnn else "mlp_epochs"]
    optimizer = torch.optim.AdamW(network.parameters(), run.settings["learning_rate"],
                                  betas=(0.9, 0.99), weight_decay=0.05, fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(split, batch_size))
    for _ in run.epochs(epochs, name, network=network, optimizer=optimizer, schedule=schedule):
        for x, y in batches(split, batch_size, run.generator):
            x = random_mirror(x, run.noise)
            if cnn and run.settings["shift"]:
                x = random_shift(x, run.noise, run.settings["shift"])
            loss = F.cross_entropy(network(x), y, label_smoothing=cnn * run.settings[
                "label_smoothing"])
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
        if held_out:
            val_loss, val_accuracy = nats_and_accuracy(network, held_out)
            run.log(val_loss=val_loss, val_accuracy=val_accuracy)


def main(run,
         folds: "k of the k-fold cross-validation, 1 for none; amount" = 3,
         mlp_epochs: "passes over the training images, MLP; amount" = 10,
         epochs: "passes over the training images, CNN; amount" = 5,
         filters: "in the CNN's first convolution" = 24,
         pooled: "1: pooling after it instead of its stride 2, better, slow; 0 to 1" = 0,
         hidden: "width of the MLP's first layer; >= 2" = 512,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 6e-3,
         label_smoothing: "share of the target spread over all classes, CNN; 0 to 1" = 0.1,
         shift: "largest random shift of training images in pixels, CNN" = 0,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    C, networks, history, of_folds = len(data.classes), {}, {}, {"mlp": [], "cnn": []}

    def build():
        return {"MLP": run.network(MLP(hidden, C), bits=16),
                "CNN": run.network(CNN(filters, C, pooled), bits=16)}

    # --- one network of each kind, from the same seed ----------------------------------------
    for kind in ("MLP", "CNN"):
        run.seed_everything(run.seed)
        networks[kind] = build()[kind]
        run.layers(networks[kind], to_unit(data.val.x[:1]), name=f"layers_{kind.lower()}")
        train(run, kind, networks[kind], data.train, data.val)
        history[kind] = run.history
    run.curves("loss", "training and validation loss", NATS, log_y=True, **{
        f"{kind}, {words}": values[key] for kind, values in history.items()
        for key, words in (("train_loss", "training"), ("val_loss", "validation"))})

    # --- cross-validation: each image is classified by networks that have not seen it --------
    known = Split(*(torch.cat(pair) for pair in zip(data.train, data.val, strict=True)))
    for i, parts in enumerate(cut(len(known.y), folds, run.seed) if folds > 1 else []):
        rest, fold = (Split(known.x[part], known.y[part]) for part in parts)
        run.seed_everything(run.seed + i)
        for kind, network in build().items():
            train(run, f"{kind}, fold {i + 1}", network, rest)
            of_folds[kind.lower()].append(nats_and_accuracy(network, fold)[1])

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    right = {kind.lower(): infer(network, test.x).argmax(dim=1) == test.y
             for kind, network in networks.items()}
    run.scores(FRACTION, test_accuracy=right,
               **({"cross_validated_accuracy": of_folds} if folds > 1 else {}))
    run.bars("errors_by_class", "test images", "error, fraction of images", data.classes, **{
        kind.upper(): [1 - r[test.y == c].cpu().double().mean() for c in range(C)]
        for kind, r in right.items()})
    run.claim("In one training of each, the CNN classifies more test images correctly than "
              "the MLP.", paired(right["cnn"], right["mlp"]))
    if folds > 1:
        run.claim("In cross-validation the CNN is more accurate than the MLP.",
                  paired(of_folds["cnn"], of_folds["mlp"]))


SIZES = {"quick": {"folds": 2, "mlp_epochs": 3, "epochs": 3, "filters": 8, "batch_size": 32,
                   "images": 1500},
         "full": {"folds": 1, "mlp_epochs": 30, "epochs": 30, "filters": 64, "pooled": 1,
                  "learning_rate": 4e-3, "shift": 2}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
