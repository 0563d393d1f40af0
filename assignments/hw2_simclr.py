r"""Homework 2, advanced: SimCLR. What can be learned from images without their labels?

    h = encoder(x),  v = head(h);  each of N images is changed twice at random: 2N views
    l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} ),   s_ij = cos(v_i, v_j),
    minimise the mean of l_i over all views i; p is its partner, the image's other view

    python assignments/hw2_simclr.py [--full]     without it, under 5 minutes on 2 CPU cores

The loss is NT-Xent (Chen et al. 2020), a cross-entropy: among 2N - 1 other views, which one
shows the same image? It is log(2N - 1) where all views are alike.

A linear classifier, a probe, tests the features h of the frozen encoder, beside raw pixels and
the same encoder with its first weights, trained as an autoencoder's, and trained with all
labels. hw2_simclr_study.py asks which augmentation matters. Left out: batches of thousands.
"""
# sheet: S0.5c

import math

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from hw1_classification import convolution
from torch import nn

from minidl import losses, representation, schedules
from minidl.augment import random_affine, random_brightness, random_mirror
from minidl.contrastive import nt_xent
from minidl.data import Split, balanced, batches, steps_per_epoch, to_unit
from minidl.frozen import frozen
from minidl.lab import cli, infer, paired

FEATURES = {"raw pixel": "_raw_pixels", "random": "_random", "autoencoder": "_ae",
            "SimCLR": "", "supervised": "_supervised"}  # and how their numbers' names end


class Encoder(nn.Sequential):
    """x (B, 1, 28, 28) -> h (B, 8 * filters): each channel's mean and maximum."""

    def __init__(self, filters=32):
        a, b, c = filters, 2 * filters, 4 * filters
        super().__init__(*convolution(1, a, stride=2),          # (B, a, 14, 14)
                         *convolution(a, b, pool=True),         # (B, b, 7, 7)
                         *convolution(b, c))                    # (B, c, 7, 7)

    def forward(self, x):
        x = super().forward(x)
        pooled = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        return torch.cat(pooled, dim=1).flatten(1)              # (B, 2c)


def Head(D=256):
    """h (B, D) -> v (B, 64)."""
    return nn.Sequential(nn.Linear(D, D, bias=False), nn.BatchNorm1d(D), nn.ReLU(),
                         nn.Linear(D, 64))


def Decoder(filters=32):
    """h (B, 8 * filters) -> x_hat (B, 1, 28, 28) in [0, 1]."""
    a, b, c = filters, 2 * filters, 4 * filters
    return nn.Sequential(
        nn.Linear(2 * c, c * 7 * 7, bias=False), nn.BatchNorm1d(c * 7 * 7), nn.ReLU(),
        nn.Unflatten(1, (c, 7, 7)), *convolution(c, b),                            # 7 x 7
        nn.ConvTranspose2d(b, a, 2, 2, bias=False), nn.BatchNorm2d(a), nn.ReLU(),  # 14 x 14
        nn.ConvTranspose2d(a, 1, 4, 2, 1), nn.Sigmoid())                           # 28 x 28


def view(x, generator, mirror):
    """Each image cropped, turned and lit at random; mirrored, where that shows the same."""
    x = random_affine(x, generator, scale=0.3, shift=0.1, degrees=15, shear=0.2)
    x = random_brightness(x, generator, 0.5)
    return random_mirror(x, generator) if mirror else x


def main(run,
         epochs: "passes over the training images, of each encoder; amount" = 5,
         batch_size: "images a step, N; >= 4" = 256,
         learning_rate: "the highest of the one-cycle schedule" = 3e-3,
         tau: "the temperature; >= 0.001" = 0.2,
         filters: "of the encoder's first convolution; 8 times as many features; >= 2" = 32,
         subsets: "balanced sets of labels, 10 of each class; amount" = 5,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    g, mirror = run.generator, data.name == "fashion-mnist"  # a mirrored digit is none
    heads = {"autoencoder": lambda: Decoder(filters), "SimCLR": lambda: Head(8 * filters),
             "supervised": lambda: nn.Linear(8 * filters, len(data.classes))}
    run.seed_everything(run.seed)
    encoders = {"raw pixel": nn.Flatten(), "random": run.network(Encoder(filters))}
    for name, head in heads.items():
        run.seed_everything(run.seed)
        encoders[name] = encoder = Encoder(filters)
        network = run.network(nn.Sequential(encoder, head()), bits=16)
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.98),
                                      fused=True)
        steps = epochs * steps_per_epoch(data.train, batch_size)
        schedule = schedules.one_cycle(optimizer, steps)
        for _ in run.epochs(epochs, name, network=network, optimizer=optimizer,
                            schedule=schedule):
            for x, y in batches(data.train, batch_size, g):
                if name == "SimCLR":
                    x = torch.cat([view(x, g, mirror), view(x, g, mirror)])  # p = i + N
                    # l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} )
                    loss = nt_xent(network(x), tau).mean()
                elif name == "autoencoder":
                    loss = losses.mse(network(x), x).mean()
                else:
                    loss = F.cross_entropy(network(view(x, g, mirror)), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_loss=loss)
        if name == "SimCLR":
            values = run.history["train_loss"]
            alike = math.log(2 * min(batch_size, len(data.train.y)) - 1)
            run.curves("loss", "NT-Xent", "nats a view", training=values, all_alike=alike)
            run.claim("SimCLR's loss ends below half of its value where all views are alike.",
                      values[-1] < 0.5 * alike, training=values[-1], all_alike=alike)
    x = to_unit(data.train.x[:12])
    run.pictures("views", "training images, and two views of each", x=x,
                 view=view(x, g, mirror), partner=view(x, g, mirror))
    compare(run, data, encoders)


def compare(run, data, encoders):
    """Probes of each kind of features, from all labels and from 10 of each class."""
    test, C, right, few = data.test(), len(data.classes), {}, {}  # read once, at the end
    for name, encoder in encoders.items():
        with frozen(encoder):  # raises where a weight or a running statistic moves
            known = Split(infer(encoder, data.train.x), data.train.y)
            h = infer(encoder, test.x)
        parts = [known, *(balanced(known, C, 10 * C, run.seed + i)
                          for i in range(run.settings["subsets"]))]
        # a probe's weights have the same prior, N(0, 1/5), for any number of labels
        probes = [representation.linear_probe(*part, penalty=5 / len(part.y), steps=150)
                  for part in parts]
        right[name], *sets = [probe(h).argmax(dim=1) == test.y for probe in probes]
        few[name] = [found.double().mean().item() for found in sets]
    for found, end in ((right, ""), (few, f"_{10 * C}_labels")):
        run.scores("fraction", table=f"ladder{end}", **{
            f"probe_accuracy{key}{end}": found[name] for name, key in FEATURES.items()})
    for a, b in (("SimCLR", "raw pixel"), ("SimCLR", "autoencoder"), ("supervised", "SimCLR")):
        run.claim(f"With all labels, a probe of {a} features is more accurate than one of {b} "
                  "features.", paired(right[a], right[b]))
    run.claim("With 10 labels of each class, a probe of SimCLR features is more accurate than "
              "one of autoencoder features.", paired(few["SimCLR"], few["autoencoder"]))


SIZES = {"quick": {"epochs": 1, "batch_size": 64, "filters": 4, "subsets": 1, "images": 1000},
         "full": {"epochs": 16, "filters": 64}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
