r"""Homework 2: what lies where in the latent space, and what comes out of it.

    z = encoder(x) in R^16,   x_hat = decoder(z),   of the autoencoder of hw2_conv_ae.py

    python assignments/hw2_latent_space.py       under 5 minutes on 2 CPU cores

(a) The codes of test images by their principal components in 2-D and 3-D and by t-SNE, both
by hand (minidl/pca.py, minidl/tsne.py): how much variance is left, how far classes lie apart.
(b) Lines: between the codes of two images, and along the principal axes of all codes.
(c) New images: codes drawn by three rules, decoded, and judged by homework 1's CNN, by the
nearest training image and by whether the encoder finds the code again. A plain autoencoder is
no generative model, since nothing in its loss says where codes shall lie, so no rule knows;
hw2_vae.py adds the term that does.
"""
# sheet: S0.4a, S0.4b

import itertools
import math
from typing import NamedTuple

import _path  # noqa: F401
import hw2_conv_ae
import torch
from hw1_classification import BothWays, trained_cnn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Uniform,
)

from minidl import pca
from minidl.data import first_of_each_class, to_unit
from minidl.data.progress import Line
from minidl.evaluation import evaluating, per_example
from minidl.lab import cli, plot
from minidl.lab.results import markdown, slug
from minidl.lab.run import RunError
from minidl.representation import linear_probe, nearest, spread, trustworthiness
from minidl.tsne import tsne


def main(run,
         points: "test images in the figures of (a); amount" = 2000,
         perplexity: "of t-SNE; amount" = 30,
         samples: "new images by each rule; amount" = 1000,
         steps: "images on a line; amount" = 11,
         images: "training images used, validation included; amount" = 60_000):
    check(points, perplexity)
    data = run.load(images)
    autoencoder = hw2_conv_ae.trained(run, data, images)
    judge = BothWays(trained_cnn(run, data, images))
    test = data.test()  # nothing is trained from here on
    check(min(points, len(test.y)), perplexity)
    encoder, decoder = autoencoder
    with torch.no_grad(), evaluating(autoencoder, judge):
        codes = {name: per_example(lambda x, _: encoder(x), split, encoder)
                 for name, split in (("train", data.train), ("test", test))}
        project(run, data, codes, test, points, perplexity)
        interpolate(run, data, decoder, judge, codes["test"], test, steps)
        traverse(run, data, decoder, codes["train"], steps)
        generate(run, data, autoencoder, judge, codes, test, samples)


def check(points, perplexity):
    """Of a point's neighbours t-SNE wants 3 a unit of perplexity, trustworthiness 10."""
    if points - 1 < max(10, 3 * perplexity):
        raise RunError(f"--perplexity {perplexity} with {points} test images (--points, where "
                       "there are as many): expected 11 images, and a perplexity of at most a "
                       "third of the others")


# --- (a) projections ------------------------------------------------------------------

def project(run, data, codes, test, points, perplexity):
    """The codes in the plane and in space, and what that keeps of them."""
    z, y = codes["test"][:points], test.y[:points]
    code = pca.fit(codes["train"], codes["train"].shape[1])
    line = Line()
    shown = {"code": z, "PCA, 2-D": code.encode(z)[:, :2], "PCA, 3-D": code.encode(z)[:, :3],
             "t-SNE, 2-D": tsne(z, perplexity, say=line.update)}
    line.clear()
    half, rows = len(y) // 2, []
    for name, p in shown.items():
        probe = linear_probe(p[:half], y[:half])
        right = (probe(p[half:]).argmax(dim=1) == y[half:]).double().mean().item()
        rows.append({"projection": name, "dimensions": p.shape[1],
                     "explained variance": code.explained[:p.shape[1]].sum().item()
                     if "t-SNE" not in name else "-",
                     "Fisher's ratio": spread(p, y).fisher,
                     "trustworthiness": trustworthiness(z, p), "linear probe": right})
        key = slug(name)
        run.results.number(f"fisher_{key}", rows[-1]["Fisher's ratio"], "B / W")
        run.results.number(f"probe_accuracy_{key}", right, "fraction", n=len(y) - half)
        run.results.number(f"trustworthiness_{key}", rows[-1]["trustworthiness"], "fraction")
        if "D" in name:
            run.results.figure(f"codes_{key}", plot.scatter(
                p, y, data.classes, f"{data.title}: {len(y):,} codes of test images, {name}",
                [f"component {i + 1}, {share:.0%} of the variance" if "PCA" in name else
                 f"t-SNE {i + 1}" for i, share in enumerate(code.explained[:p.shape[1]])]))
    run.results.table("projections", rows, f"{data.title}: what projections keep")
    print(markdown(rows))
    explained = code.explained.cumsum(dim=0).tolist()
    run.results.figure("explained_variance", plot.curves(
        {"codes": (range(1, len(explained) + 1), explained)},
        f"{data.title}: principal components of the training codes",
        "number of components", "share of the variance explained"))
    for d in (2, 3):
        run.results.number(f"explained_variance_{d}", explained[d - 1], "fraction")
    whole, plane, _, other = rows
    most = math.ceil(0.9 * len(explained))
    run.results.finding(
        f"{data.title}: two principal components hold {explained[1]:.0%} of the codes' "
        f"variance, three {explained[2]:.0%} and {most} of {len(explained)} "
        f"{explained[most - 1]:.0%}.")
    run.results.finding(
        f"A linear classifier reads the class off the whole code for "
        f"{whole['linear probe']:.0%} of the images, off two components for "
        f"{plane['linear probe']:.0%} and off t-SNE's two numbers for "
        f"{other['linear probe']:.0%}. How far a point's neighbours are its real ones "
        f"(trustworthiness, 1: all of them): t-SNE {other['trustworthiness']:.3f}, two "
        f"components {plane['trustworthiness']:.3f}.")


# --- (b) lines ------------------------------------------------------------------------

def interpolate(run, data, decoder, judge, codes, test, steps):
    """From an image to one of another class: through the codes, and pixel by pixel."""
    first = first_of_each_class(test.y).tolist()
    pairs, t = list(itertools.pairwise(first))[::2], torch.linspace(0, 1, steps)
    rows, half = {}, {"decoded": [], "blended": []}
    for a, b in pairs:
        name = f"{data.classes[test.y[a]]} to {data.classes[test.y[b]]}"
        w = t.to(codes.device).view(-1, 1)
        line = decoder((1 - w) * codes[a] + w * codes[b])
        x, w = to_unit(test.x[[a, b]]), w.view(-1, 1, 1, 1)
        blend = (1 - w) * x[:1] + w * x[1:]
        rows |= {f"{name}: codes": line, "pixels" + " " * len(rows): blend}
        half["decoded"].append(line[steps // 2])
        half["blended"].append(blend[steps // 2])
    run.results.figure("interpolation", plot.image_rows(
        rows, f"{data.title}: lines between two test images",
        [f"{share:.0%}" for share in t.tolist()]))
    train = to_unit(data.train.x)
    away = {name: (nearest(torch.stack(x), train)[0] / 28).mean().item()
            for name, x in half.items()}
    sure = {name: judge(torch.stack(x)).softmax(dim=1).amax(dim=1).mean().item()
            for name, x in half.items()}
    for name in half:
        run.results.number(f"middle_distance_{name}", away[name], "RMS per pixel")
    run.results.finding(
        f"Half-way between two images of different classes, {len(pairs)} pairs: the decoded "
        f"image is {away['decoded']:.3f} from its nearest training image (RMS per pixel), the "
        f"blended one {away['blended']:.3f}; the CNN is {sure['decoded']:.0%} and "
        f"{sure['blended']:.0%} sure of a class.")


def traverse(run, data, decoder, codes, steps):
    """From the mean code along principal axes, three deviations to both sides."""
    code, t = pca.fit(codes, 6), torch.linspace(-3, 3, steps, device=codes.device)
    rows = {f"axis {i + 1} ({code.explained[i]:.0%})": decoder(
        code.mean + t.view(-1, 1) * code.variance[i].sqrt() * code.components[i])
        for i in range(len(code.components))}
    run.results.figure("traversals", plot.image_rows(
        rows, f"{data.title}: from the mean code along principal axes\nbelow: deviations "
        "from the mean; in brackets the share of the codes' variance",
        [f"{round(value, 1) + 0.0:+.1f}" for value in t.tolist()]))


# --- (c) new images -------------------------------------------------------------------

class Judged(NamedTuple):
    confidence: float  # mean probability of the likeliest class
    classes: int       # classes that are the likeliest of 2% of the images or more
    distance: float    # RMS per pixel to the nearest training image
    found_again: float  # share of codes that the encoder finds again, to half a deviation


def generate(run, data, autoencoder, judge, codes, test, samples):
    """Codes by three rules beside those of test images, decoded and judged."""
    encoder, decoder = autoencoder
    rules = rules_for(codes["train"], data.train.y)
    run.seed_everything(run.seed)
    drawn = {"test images": codes["test"][:samples]} | {
        name: rule.sample((samples,)) for name, rule in rules.items()}
    train, deviation = to_unit(data.train.x), codes["train"].std(dim=0)
    rows, shown = [], {}
    for name, z in drawn.items():
        x = torch.cat([decoder(part) for part in z.split(1000)])
        p = torch.cat([judge(part).softmax(dim=1) for part in x.split(1000)])
        again = torch.cat([encoder(part) for part in x.split(1000)])
        off = ((again - z) / deviation).square().mean(dim=1).sqrt()
        away, index = nearest(x, train)
        share = torch.bincount(p.argmax(dim=1), minlength=p.shape[1]) / len(p)
        found = Judged(p.amax(dim=1).mean().item(), int((share >= 0.02).sum()),
                       away.mean().item() / 28, (off < 0.5).double().mean().item())
        rows.append({"codes": name} | {key.replace("_", " "): value
                                       for key, value in found._asdict().items()})
        for key, value in found._asdict().items():
            run.results.number(f"{key}_{slug(name)}", value, {
                "distance": "RMS per pixel", "classes": "classes"}.get(key, "fraction"))
        shown |= {name: x[:14], "nearest" + " " * len(shown): train[index[:14]]}
    run.results.figure("new_images", plot.image_rows(
        shown, f"{data.title}: decoded codes, and below each the nearest training image"))
    run.results.table("new_images", rows, f"{data.title}: {samples:,} decoded codes a rule")
    print(markdown(rows))
    real, box, one, per_class = rows
    for row in (box, one, per_class):
        run.results.finding(
            f"Codes drawn {row['codes']}: the CNN is {row['confidence']:.0%} sure (of decoded "
            f"test images {real['confidence']:.0%}), the nearest training image is "
            f"{row['distance']:.3f} away ({real['distance']:.3f}), the encoder finds "
            f"{row['found again']:.0%} of the codes again ({real['found again']:.0%}).")
    surprise = {name: -rule.log_prob(codes["train"]).mean().item()
                for name, rule in rules.items()}
    for name, nats in surprise.items():
        run.results.number(f"surprise_{slug(name)}", nats, "nats, mean -log p(z)")
    run.results.finding(
        "Why this is no generative model: nothing in its loss says where codes shall lie, so "
        "every rule is a guess at it. The mean surprise -log p(z) of the training codes is "
        + ", ".join(f"{nats:.1f} nats ({name})" for name, nats in surprise.items())
        + f"; the least has {min(surprise, key=surprise.get)}, the nearest training image is "
        f"nearest for {min(rows[1:], key=lambda row: row['distance'])['codes']}.")


def rules_for(z, y):
    """name -> a distribution of codes, fitted to the codes z (N, D) with classes y (N,)."""
    parts = [z[y == c] for c in y.unique()]
    shares = torch.tensor([float(len(part)) for part in parts], device=z.device)
    means, covariances = zip(*map(moments, parts), strict=True)
    return {
        "uniform in the box": Independent(Uniform(z.amin(dim=0), z.amax(dim=0) + 1e-6), 1),
        "one Gaussian": MultivariateNormal(*moments(z)),
        "a Gaussian per class": MixtureSameFamily(
            Categorical(shares), MultivariateNormal(torch.stack(means),
                                                    torch.stack(covariances)))}


def moments(z):
    """The mean (D,) and the covariance (D, D) of z (N, D), kept off 0 for few examples."""
    return z.mean(dim=0), torch.cov(z.T) + 1e-6 * torch.eye(z.shape[1], device=z.device)


SIZES = {"quick": {"points": 120, "perplexity": 10, "samples": 100, "images": 1500},
         "full": {"samples": 10_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
