r"""Homework 2, SimCLR, an ablation: which of the augmentations matter?

    l_i = -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} ),  as in hw2_simclr.py

    python assignments/hw2_simclr_study.py       under 5 minutes on 2 CPU cores

The two views of an image share only what no augmentation alters; the features learn this.
Without augmentation the views are equal, and any detail identifies the pair. Brightness is an
example: it says little about the kind of garment. Each augmentation is left out, or used
alone, in shorter trainings of hw2_simclr.py's encoder, with half the filters and half the
batch. All accuracies are those of a linear probe on validation images. Seeds are paired.
"""
# sheet: S0.5c

import _path  # noqa: F401
import torch
from hw2_simclr import Encoder, Head
from torch import nn

from minidl.augment import random_affine, random_brightness, random_mirror
from minidl.contrastive import nt_xent
from minidl.data import Split, batches, steps_per_epoch
from minidl.lab import cli, infer, paired, plot
from minidl.representation import linear_probe
from minidl.schedules import one_cycle

AFFINE = {"crop": {"scale": 0.3, "shift": 0.1}, "turn": {"degrees": 15, "shear": 0.2}}


def view(x, generator, kinds):
    """Images changed at random in these ways; crop and turn in one interpolation, not two."""
    if affine := {k: v for kind in kinds for k, v in AFFINE.get(kind, {}).items()}:
        x = random_affine(x, generator, **affine)
    if "brightness" in kinds:
        x = random_brightness(x, generator, 0.5)
    return random_mirror(x, generator) if "mirror" in kinds else x


def main(run,
         epochs: "passes over the training images; amount" = 3,
         seeds: "trainings with each choice of augmentations; amount" = 3,
         subset: "training images in each training; amount" = 8000,
         batch_size: "images per step, N; >= 4" = 128,
         learning_rate: "peak of the one-cycle schedule" = 3e-3,
         tau: "the temperature; >= 0.001" = 0.2,
         filters: "in the encoder's first convolution; features are 8 times this; >= 2" = 16,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    part, g = Split(*(t[:subset] for t in data.train)), run.noise
    kinds = [*AFFINE, "brightness", *(["mirror"] if data.name == "fashion-mnist" else [])]
    choices = ({"all": kinds} | {f"{kind} alone": [kind] for kind in kinds} | {"none": []}
               | {f"without {kind}": [k for k in kinds if k != kind] for kind in kinds})
    accuracy = {choice: [] for choice in choices}
    for choice, used in choices.items():
        for seed in run.seeded(seeds):
            encoder = Encoder(filters)
            network = run.network(nn.Sequential(encoder, Head(8 * filters)), bits=16)
            optimizer = torch.optim.AdamW(network.parameters(), learning_rate,
                                          betas=(0.9, 0.98), fused=True)
            schedule = one_cycle(optimizer, epochs * steps_per_epoch(part, batch_size))
            for _ in run.epochs(epochs, f"{choice}, seed {seed}", every=epochs,
                                network=network, optimizer=optimizer, schedule=schedule):
                for x, _ in batches(part, batch_size, run.generator):
                    views = torch.cat([view(x, g, used), view(x, g, used)])  # p = i + N
                    loss = nt_xent(network(views), tau).mean()
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                    run.track(len(x), train_loss=loss)
            probe = linear_probe(infer(encoder, part.x), part.y, 5 / len(part.y), steps=150)
            right = probe(infer(encoder, data.val.x)).argmax(dim=1) == data.val.y
            accuracy[choice].append(right.cpu().double().mean().item())

    everything = accuracy["all"]
    run.scores("fraction of validation images", augmentations=accuracy)
    run.results.figure("augmentations", plot.dots(
        accuracy, f"{data.title}: SimCLR, augmentations of the views",
        "validation accuracy of a linear probe"))
    run.claim("All augmentations together give more accurate features than none.",
              paired(everything, accuracy["none"]))
    run.claim("Without changes of brightness, the features are less accurate than with all.",
              paired(everything, accuracy["without brightness"]))
    run.claim("Without the crop, the features are more accurate than with all.",
              paired(accuracy["without crop"], everything))


SIZES = {"quick": {"epochs": 1, "seeds": 1, "subset": 200, "batch_size": 32, "filters": 2,
                   "images": 1000},
         "full": {"epochs": 5, "seeds": 5, "subset": 60_000, "filters": 32}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
