r"""Homework 2, advanced: SimCLR. What can be learned from images without their labels?

    python assignments/hw2_simclr.py [--full]     without it, under 5 minutes on 2 CPU cores

A linear classifier (probe) tests the features h of the frozen encoder. Other probes test raw
pixels and the same encoder: untrained, an autoencoder's (ae), trained with all labels; each is
trained once. In an epoch, ae sees each image once, SimCLR sees two views of it. NT-Xent (Chen
et al. 2020, minidl/contrastive.py) is a cross-entropy: which of 2N - 1 other views shows the
same image? It is log(2N - 1) if all views have the same v.

    h = encoder(x),  v = head(h);  each of N images is augmented twice at random: 2N views
    minimise the mean of l_i over all views i; p, the partner of i, shows the same image
    l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} ),   s_ij = cos(v_i, v_j)
"""
# sheet: S0.5c

import math

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from hw1_classification import convolution
from torch import nn

from minidl import augment, losses, representation
from minidl.contrastive import nt_xent
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.frozen import frozen
from minidl.lab import cli, infer, paired
from minidl.schedules import one_cycle


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


def main(run,
         epochs: "passes over the training images, of each encoder; amount" = 5,
         batch_size: "images per step, N; >= 4" = 256,
         learning_rate: "peak of the one-cycle schedule" = 3e-3,
         tau: "the temperature; >= 0.001" = 0.2,
         filters: "in the encoder's first convolution; features are 8 times this; >= 2" = 32,
         images: "training images used, validation included; amount" = 60_000):
    data, g = run.load(images), run.noise
    mirror = data.name == "fashion-mnist"  # a mirrored digit is another digit, or none
    heads = {"ae": lambda: Decoder(filters),
             "supervised": lambda: nn.Linear(8 * filters, len(data.classes)),
             "SimCLR": lambda: Head(8 * filters)}
    run.seed_everything(run.seed)
    encoders = {"raw pixels": nn.Flatten(), "random": run.network(Encoder(filters))}
    for name, head in heads.items():
        run.seed_everything(run.seed)
        encoders[name] = encoder = Encoder(filters)
        network = run.network(nn.Sequential(encoder, head()), bits=16)
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.98),
                                      fused=True)
        schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
        for _ in run.epochs(epochs, name, network=network, optimizer=optimizer,
                            schedule=schedule):
            for x, y in batches(data.train, batch_size, run.generator):
                if name == "SimCLR":
                    x = torch.cat([view(x, g, mirror), view(x, g, mirror)])  # p = i + N
                    # l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} )
                    loss = nt_xent(network(x), tau).mean()
                elif name == "ae":
                    loss = losses.mse(network(x), x).mean()
                else:
                    loss = F.cross_entropy(network(view(x, g, mirror)), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_loss=loss)

    curve = run.history["train_loss"]  # of the last training, SimCLR's
    alike = math.log(2 * min(batch_size, len(data.train.y)) - 1)
    run.curves("loss", "the NT-Xent loss", "nats per view", training=curve,
               if_all_views_were_alike=alike)
    run.claim("SimCLR's loss ends below half of log(2N - 1), its value for identical views.",
              curve[-1] < 0.5 * alike, training=curve[-1], all_alike=alike)
    x = to_unit(data.train.x[:12])
    run.pictures("views", "training images, and two views of each", x=x,
                 **{words: view(x, g, mirror) for words in ("view 1", "view 2")})
    # --- probes of each kind of features; the test set, read once ----------------------------
    test, right = data.test(), {}
    for name, encoder in encoders.items():
        with frozen(encoder):  # raises where a weight or a running statistic moves
            h, test_h = (infer(encoder, split.x) for split in (data.train, test))
        probe = representation.linear_probe(h, data.train.y, 5 / len(h))
        right[name] = probe(test_h).argmax(dim=1) == test.y
    run.scores("fraction", own="SimCLR", probe_accuracy=right)
    for a, b, words in (("SimCLR", "raw pixels", "raw pixels"),
                        ("SimCLR", "ae", "the autoencoder's features"),
                        ("supervised", "SimCLR", "SimCLR features")):
        run.claim(f"In one training of each, a linear probe on {a} features is more accurate "
                  f"than one on {words}.", paired(right[a], right[b]))


def Decoder(filters=32):
    """h (B, 8 * filters) -> x_hat (B, 1, 28, 28) in [0, 1]."""
    a, b, c = filters, 2 * filters, 4 * filters
    return nn.Sequential(
        nn.Linear(2 * c, c * 7 * 7, bias=False), nn.BatchNorm1d(c * 7 * 7), nn.ReLU(),
        nn.Unflatten(1, (c, 7, 7)), *convolution(c, b),                            # 7 x 7
        nn.ConvTranspose2d(b, a, 2, 2, bias=False), nn.BatchNorm2d(a), nn.ReLU(),  # 14 x 14
        nn.ConvTranspose2d(a, 1, 4, 2, 1), nn.Sigmoid())                           # 28 x 28


def view(x, generator, mirror):
    """Each image cropped, rotated, sheared, changed in brightness; mirrored if `mirror`."""
    x = augment.random_affine(x, generator, scale=0.3, shift=0.1, degrees=15, shear=0.2)
    x = augment.random_brightness(x, generator, 0.5)
    return augment.random_mirror(x, generator) if mirror else x


SIZES = {"quick": {"epochs": 1, "batch_size": 64, "filters": 4, "images": 1000},
         "full": {"epochs": 16, "filters": 64}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
