r"""Homework 2, advanced: SimCLR. What can be learned from images without their labels?

    h = encoder(x),  v = head(h);  of N images, each changed twice at random, 2N views
    minimise  -log( e^{s_ip / tau} / sum_{j != i} e^{s_ij / tau} ),  s_ij = cos(v_i, v_j),
    over the views i, p the other view of the same image           (NT-Xent, Chen et al. 2020)

    python assignments/hw2_simclr.py            under 5 minutes on 2 CPU cores
    python assignments/hw2_simclr.py --full     the number in the README

The features h before the head are judged by a linear classifier, the encoder frozen, on a
ladder: pixels; the encoder untrained, as an autoencoder's, SimCLR's, or trained with all
labels, from the same first weights and for as many steps; the autoencoder sees the images as
they are, the supervised one a view of each. Each is trained once: deviations are those over
sets of labels. A probe's penalty is PRIOR / n: the same Gaussian prior of its weights for any
number n of labels. hw2_simclr_study.py asks which augmentation matters. Left out: batches of
thousands and what they need (LARS); colours, which grey images lack.
"""
# sheet: S0.5c

import dataclasses
import math
import statistics

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_few_labels import subset
from hw1_classification import convolution
from torch import nn

from minidl import pca
from minidl.augment import random_affine, random_brightness, random_mirror
from minidl.contrastive import nt_xent
from minidl.data import Split, batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.evaluation import FRACTION, nats_and_accuracy_of, per_example
from minidl.frozen import frozen
from minidl.lab import cli, plot
from minidl.lab.precision import autocast
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.losses import mse
from minidl.representation import linear_probe
from minidl.schedules import one_cycle

PIXELS, RANDOM, AE, SIMCLR, SUPERVISED = RUNGS = (
    "raw pixels", "random encoder", "autoencoder", "SimCLR", "supervised")
KEYS = dict(zip(RUNGS, ("_raw_pixels", "_random", "_ae", "", "_supervised"), strict=True))
PER_CLASS = (1, 10, 100, 1000)  # labels of the learning curve; all of them come last
PRIOR = 5.0                     # the inverse variance of a probe's weights
AFFINE = {"crop": {"scale": 0.3, "shift": 0.1}, "turn": {"degrees": 15, "shear": 0.2}}
AUGMENTATIONS = [*AFFINE, "brightness", "mirror"]


def main(run,
         epochs: "passes over the training images, of each encoder; amount" = 5,
         batch_size: "images a step, N" = 256,
         learning_rate: "the highest of the one-cycle schedule" = 3e-3,
         tau: "the temperature" = 0.2,
         filters: "of the encoder's first convolution; 8 times as many features" = 32,
         subsets: "balanced sets of labels, of each size up to 1,000; amount" = 5,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    check(batch_size, filters, tau)
    data = run.load(images)
    kinds = augmentations_of(data)

    # --- the ladder: the same first encoder, left alone or trained in one of three ways ------
    encoders = {PIXELS: nn.Flatten(), RANDOM: build(run, filters, run.seed)}
    for name in (AE, SIMCLR, SUPERVISED):
        encoders[name] = train(run, name, name, data.train, kinds, run.seed, filters, epochs,
                               batch_size, learning_rate, tau, precision)
        if name == SIMCLR:
            report_loss(run, data, min(batch_size, len(data.train.y)))

    # --- the probes, and the test set, read once ---------------------------------------------
    test, z, val, by_labels = data.test(), {}, {}, {}
    for name, encoder in encoders.items():
        with frozen(encoder):  # raises where a weight or a running statistic moves
            z[name] = known, held_out, unseen = [features(run, encoder, split, precision)
                                                 for split in (data.train, data.val, test)]
            by_labels[name] = learning_curve(run, data, known, unseen, subsets)
            classifier = probe(known)
            val[name] = accuracy(classifier, held_out)
            by_labels[name][len(known.y)] = [accuracy(classifier, unseen)]
    report_ladder(run, data, by_labels, val)
    show(run, data, test, z, kinds)


def check(batch_size, filters, tau):
    """Refuse settings with which no view can be told from another, here and in the study."""
    if batch_size < 4 or filters < 2 or tau == 0:
        raise RunError(f"--batch-size {batch_size} --filters {filters} --tau {tau:g}: "
                       "expected 4 or more, 2 or more, and more than 0")


# --- networks --------------------------------------------------------------------------------

def build(run, filters, seed):
    """The encoder with the first weights of this seed: images -> h (B, 8 filters)."""
    run.seed_everything(seed)
    a, b, c = filters, 2 * filters, 4 * filters
    encoder = nn.Sequential(
        *convolution(1, a, stride=2),   # -> (B, a, 14, 14)
        *convolution(a, b, pool=True),  # -> (B, b, 7, 7)
        *convolution(b, c), MeanAndMax())
    return encoder.to(run.device, memory_format=torch.channels_last)


class MeanAndMax(nn.Module):
    """Of each channel over all places: (B, C, H, W) -> (B, 2 C)."""

    def forward(self, x):
        return torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)],
                         dim=1).flatten(1)


def Decoder(filters):
    """The encoder mirrored: h (B, 8 filters) -> (B, 1, 28, 28)."""
    a, b, c = filters, 2 * filters, 4 * filters
    return nn.Sequential(
        nn.Linear(2 * c, c * 7 * 7, bias=False), nn.BatchNorm1d(c * 7 * 7), nn.ReLU(),
        nn.Unflatten(1, (c, 7, 7)), *convolution(c, b),                          # 7 x 7
        nn.ConvTranspose2d(b, a, 2, 2, bias=False), nn.BatchNorm2d(a), nn.ReLU(),  # 14 x 14
        nn.ConvTranspose2d(a, 1, 4, 2, 1), nn.Sigmoid())                         # 28 x 28


# --- training --------------------------------------------------------------------------------

def augmentations_of(data):
    """All of them, but no mirror images of digits and letters, which look like no others."""
    return [k for k in AUGMENTATIONS if k != "mirror" or data.name == "fashion-mnist"]


def change(x, generator, kinds):
    """A view of each image, changed at random by these kinds of augmentation."""
    if affine := {k: v for kind in kinds for k, v in AFFINE.get(kind, {}).items()}:
        x = random_affine(x, generator, **affine)  # all at once: pixels are blurred once
    if "brightness" in kinds:
        x = random_brightness(x, generator, 0.5)
    return random_mirror(x, generator) if "mirror" in kinds else x


def objective(rung, filters, classes, changed, tau):
    """-> what is trained behind the encoder, what both are shown of x, the loss (B,)."""
    D = 8 * filters
    if rung == SIMCLR:
        head = nn.Sequential(nn.Linear(D, D, bias=False), nn.BatchNorm1d(D), nn.ReLU(),
                             nn.Linear(D, 64))
        return (head, lambda x: torch.cat([changed(x), changed(x)]),
                lambda v, x, y: nt_xent(v, tau))
    if rung == AE:
        return Decoder(filters), lambda x: x, lambda x_hat, x, y: mse(x_hat, x)
    return (nn.Linear(D, classes), changed,
            lambda logits, x, y: F.cross_entropy(logits, y, reduction="none"))


def train(run, name, rung, split, kinds, seed, filters, epochs, batch_size, learning_rate, tau,
          precision):
    """Minimise a rung's objective from the seed's first weights; -> the encoder."""
    encoder = build(run, filters, seed)
    rest, shown, loss_of = objective(rung, filters, int(split.y.max()) + 1,
                                     lambda x: change(x, run.generator, kinds), tau)
    network = nn.Sequential(encoder, rest).to(run.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.9, 0.98),
                                  fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(split, batch_size))
    for _epoch in run.epochs(epochs, name, every=1 if name == rung else epochs,
                             network=network, optimizer=optimizer, schedule=schedule):
        network.train()
        for x, y in batches(split, batch_size, run.generator):
            with autocast(run.device, precision):
                output = network(shown(x))
            loss = loss_of(output.float(), x, y).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
    return encoder


# --- probes ----------------------------------------------------------------------------------

def features(run, encoder, split, precision):
    """h of every image of a split, in evaluation mode, in the place of the images."""
    def h(x, _):
        with autocast(run.device, precision):
            return encoder(x).float()
    return Split(per_example(h, split, encoder), split.y)


def probe(known):
    return linear_probe(*known, penalty=PRIOR / len(known.y), steps=150)


def accuracy(classifier, split):
    return nats_and_accuracy_of(classifier(split.x), split.y)[1]


def learning_curve(run, data, known, unseen, subsets):
    """Number of labels -> the accuracies on `unseen`, one for each balanced set of them."""
    sizes = [n * len(data.classes) for n in PER_CLASS]
    known = dataclasses.replace(data, train=known)  # drawn from as images would be
    return {n: [accuracy(probe(subset(known, "balanced", n, run.seed + s)), unseen)
                for s in range(subsets if n <= 1000 else min(3, subsets))]
            for n in sizes if 2 * n <= len(data.train.y)}


# --- what was found --------------------------------------------------------------------------

def report_loss(run, data, N):
    """The trend of NT-Xent, beside its value where all views are alike."""
    values, alike = run.history["train_loss"], math.log(2 * N - 1)
    run.results.number("train_nt_xent", values[-1], "nats a view, mean of the last epoch")
    run.results.number("nt_xent_all_alike", alike, "nats a view")
    run.results.figure("loss", plot.curves(
        {"training": (range(1, len(values) + 1), values), "all views alike": alike},
        f"{data.title}: NT-Xent over training, N = {N}", "epoch", "nats a view"))
    run.results.finding(f"{data.title}: NT-Xent is {values[0]:.3f} nats in the first epoch, "
                        f"{values[-1]:.3f} in the last; ln(2N - 1) = {alike:.3f} where all "
                        "views are alike.")
    if values[-1] > 0.9 * alike:
        run.results.finding("It ended near ln(2N - 1): the views have collapsed, or hardly "
                            "anything was learned.")


def report_ladder(run, data, by_labels, val):
    """Test accuracy of each rung for each number of labels."""
    rows, finding = [], run.results.finding
    mean = {name: {n: statistics.mean(values) for n, values in found.items()}
            for name, found in by_labels.items()}
    *few, every = mean[SIMCLR]  # numbers of labels
    for name, found in by_labels.items():
        key = f"probe_accuracy{KEYS[name]}"
        run.results.number(key, mean[name][every], FRACTION)
        run.results.number(f"val_{key}", val[name], FRACTION)
        for n in few:
            run.results.mean(f"{key}_{n}_labels", found[n], FRACTION)
        rows.append({"features": name} | {
            f"{n:,} labels": f"{mean[name][n]:.3f} ± {deviation(found[n]):.3f}" for n in few}
            | {f"all {every:,}": mean[name][every], "validation": val[name]})
    run.results.table("ladder", rows, f"{data.title}: linear probes of frozen features, each "
                      "encoder trained once; test accuracy, mean and standard deviation over "
                      "sets of labels")
    print(markdown(rows))
    run.results.figure("labels", plot.curves(
        {name: (list(found), list(found.values())) for name, found in mean.items()},
        f"{data.title}: linear probes of frozen features", "labels",
        "test accuracy, share of images", log_x=True))
    ladder = sorted(mean, key=lambda name: mean[name][every])
    finding(f"{data.title}, linear probe with all {every:,} labels, test images, one training "
            "of each encoder, from the lowest: "
            f"{', '.join(f'{name} {mean[name][every]:.2%}' for name in ladder)}.")
    for n in few:
        best = max((PIXELS, RANDOM, AE), key=lambda name: mean[name][n])
        finding(f"With {n:,} labels, the same encoders: SimCLR {mean[SIMCLR][n]:.1%} +- "
                f"{deviation(by_labels[SIMCLR][n]):.1%} over sets of labels "
                f"({len(by_labels[SIMCLR][n])}); the best of pixels, untrained and "
                f"autoencoder is {best}, {mean[best][n]:.1%}.")
    for name in ladder:
        if mean[name][every] < 1.5 / len(data.classes):
            finding(f"The probe of {name} is about as good as chance.")


def show(run, data, test, z, kinds, k=4):
    """Views; the training images nearest to test images, by the cosine of their features; the
    features in the plane."""
    x = to_unit(data.train.x[:12])
    run.results.figure("views", plot.image_rows(
        {"image": x} | {f"view {i}": change(x, run.generator, kinds) for i in (1, 2)},
        f"{data.title}: training images, two views of each ({', '.join(kinds)})"))
    shown = first_of_each_class(test.y)
    rows, y = {"test image": to_unit(test.x[shown])}, test.y[:2000]
    for name in (SIMCLR, PIXELS):
        known, _, unseen = (F.normalize(split.x) for split in z[name])
        near = (unseen[:len(y)] @ known.T).topk(k).indices
        same = (data.train.y[near] == y[:, None]).double().mean().item()
        run.results.number(f"neighbours_of_the_class_{slug(name)}", same, FRACTION, n=len(y))
        run.results.finding(f"By {name}, {same:.1%} of the {k} training images nearest to a "
                            "test image (cosine) are of its class.")
        for i, index in enumerate((unseen[shown] @ known.T).topk(k).indices.T):
            rows[f"{name}, {i + 1}"] = to_unit(data.train.x[index])
    run.results.figure("neighbours", plot.image_rows(
        rows, f"{data.title}: the {k} nearest training images, cosine of the features",
        [data.classes[c] for c in test.y[shown]]))
    code = pca.fit(z[SIMCLR][0].x, 2)
    run.results.figure("plane", plot.scatter(
        code.encode(z[SIMCLR][2].x[:len(y)]), y, data.classes,
        f"{data.title}: SimCLR's features of {len(y):,} test images",
        [f"component {i + 1}, {share:.0%} of the variance"
         for i, share in enumerate(code.explained)]))


SIZES = {"quick": {"epochs": 1, "batch_size": 64, "filters": 4, "subsets": 1, "images": 1000},
         "full": {"epochs": 16, "filters": 64}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
