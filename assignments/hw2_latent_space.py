r"""Homework 2: what lies where in the latent space, and what comes out of it.

    z = encoder(x) in R^16,   x_hat = decoder(z),   of the autoencoder of hw2_conv_ae.py

    python assignments/hw2_latent_space.py       under 5 minutes on 2 CPU cores

(a) The codes of test images by their principal components in 2-D and 3-D and by t-SNE, both
by hand (minidl/pca.py, minidl/tsne.py). PCA keeps the directions of most variance. t-SNE keeps
neighbours, at the price that sizes and distances of its groups mean nothing.
(b) Lines: between the codes of two images, and along the principal axes of all codes.
(c) New images: codes drawn by three rules and decoded. Homework 1's CNN says how sure it is of
a class, and the nearest training image how far from real images they are.

A plain autoencoder is no generative model. Nothing in its loss says where codes shall lie, so
each rule p(z) is a guess, and the mean of -log p(z) over the training codes says how bad a
guess. hw2_vae.py adds the term that makes codes lie where they are drawn.
"""
# sheet: S0.4a, S0.4b

import itertools

import _path  # noqa: F401
import torch
from torch import distributions

from minidl import UserError, pca
from minidl.data import first_of_each_class, to_unit
from minidl.lab import cli, infer, paired, plot
from minidl.lab.results import slug
from minidl.representation import linear_probe, nearest, spread, trustworthiness
from minidl.tsne import tsne

RMS = "RMS per pixel, to the nearest training image"

def main(run,
         points: "test images in the figures of (a); >= 11; amount" = 2000,
         perplexity: "of t-SNE, about the number of neighbours that count; amount" = 30,
         samples: "new images by each rule; >= 14; amount" = 1000,
         steps: "images on a line; amount" = 11,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    encoder, decoder = run.trained("hw2_conv_ae", "convolutional", images=images)
    judge = run.trained("hw1_classification", "CNN", images=images)
    test, train = data.test(), to_unit(data.train.x)  # nothing is trained from here on
    codes, z = (infer(encoder, split.x) for split in (data.train, test))
    axes = pca.fit(codes, codes.shape[1])
    project(run, axes, z[:points], test.y[:points], perplexity, data.classes)

    # --- (b) lines between two codes, and along the principal axes ---------------------------
    first, t = first_of_each_class(test.y).tolist(), torch.linspace(0, 1, steps)
    rows, decoded, blended, w = {}, [], [], t.to(z.device).view(-1, 1, 1, 1)
    for a, b in list(itertools.pairwise(first))[::2]:
        line = infer(decoder, (1 - w.view(-1, 1)) * z[a] + w.view(-1, 1) * z[b])
        blend = (1 - w) * to_unit(test.x[a]) + w * to_unit(test.x[b])
        name = f"{data.classes[test.y[a]]} to {data.classes[test.y[b]]}"
        rows |= {f"{name}: codes": line, f"{name}: pixels": blend}
        decoded.append(line[steps // 2])
        blended.append(blend[steps // 2])
    run.pictures("interpolation", "lines between two test images",
                 [f"{part:.0%}" for part in t.tolist()], **rows)
    away = {name: nearest(torch.stack(x), train)[0] / 28
            for name, x in (("decoded", decoded), ("blended", blended))}
    run.scores(RMS, table="lines", middle_distance=away)
    run.claim("Half-way between two images, the decoded code is nearer to a training image "
              "than the blended pixels.", paired(away["blended"], away["decoded"]))
    t = torch.linspace(-3, 3, steps)
    w = t.to(z.device).view(-1, 1)
    run.pictures("traversals", "from the mean code along principal axes; below, deviations",
                 [f"{round(value, 1) + 0:+.1f}" for value in t.tolist()], **{
                     f"axis {i + 1} ({axes.explained[i]:.0%})": infer(
                         decoder, axes.mean + w * axes.variance[i].sqrt() * axes.components[i])
                     for i in range(6)})

    # --- (c) new images: codes by three rules, beside those of test images -------------------
    rules = rules_for(codes, data.train.y)
    run.seed_everything(run.seed)
    drawn = {"test images": z[:samples]} | {
        name: rule.sample((samples,)) for name, rule in rules.items()}
    new = {name: infer(decoder, part) for name, part in drawn.items()}
    found = {name: nearest(x, train) for name, x in new.items()}
    distance = {name: norm / 28 for name, (norm, _) in found.items()}
    run.scores(RMS, table="distance", distance=distance)
    run.scores("fraction, the CNN's largest probability", table="confidence", confidence={
        name: infer(judge, x).softmax(dim=1).amax(dim=1) for name, x in new.items()})
    run.scores("nats, mean -log p(z)", table="surprise", surprise={
        name: -rule.log_prob(codes) for name, rule in rules.items()})
    run.pictures("new_images", "decoded codes, and below each the nearest training image", **{
        key: images[:14] for name, x in new.items()
        for key, images in ((name, x), (f"nearest to {name}", train[found[name][1]]))})
    real, _, one, per_class = distance.values()
    run.claim("Codes of a Gaussian for each class give images nearer to training images than "
              "codes of one Gaussian.", paired(one, per_class))
    run.claim("The codes of test images give images that are nearer still.",
              paired(per_class[:len(real)], real))


def project(run, axes, z, y, perplexity, classes):
    """(a) The codes z (N, 16) in the plane and in space, and what that keeps of them."""
    maps = {"code": z, "PCA, 2-D": axes.encode(z)[:, :2], "PCA, 3-D": axes.encode(z)[:, :3]}
    try:
        maps["t-SNE, 2-D"] = tsne(z, perplexity)
        kept = {name: trustworthiness(z, p) for name, p in maps.items()}
    except ValueError as error:
        raise UserError(f"--perplexity {perplexity}, {len(z)} test images: {error}") from error
    half, right = len(y) // 2, {}
    for name, p in maps.items():
        probe = linear_probe(p[:half], y[:half])
        right[name] = probe(p[half:]).argmax(dim=1) == y[half:]
        if "D" in name:
            labels = [f"component {i + 1}, {part:.0%} of the variance" if "PCA" in name else
                      f"t-SNE {i + 1}" for i, part in enumerate(axes.explained[:p.shape[1]])]
            run.results.figure(f"codes_{slug(name)}", plot.scatter(
                p, y, classes, f"{run.title}: {len(y):,} test images, {name}", labels))
    share = axes.explained.cumsum(dim=0).tolist()
    run.curves("explained_variance", "principal components of the training codes",
               "share of the variance explained", x="number of components", codes=share)
    run.scores("fraction", table="variance", explained_variance_2=share[1],
               explained_variance_3=share[2])
    run.scores("B / W", table="fisher", fisher={
        name: spread(p, y).fisher for name, p in maps.items()})
    run.scores("fraction", table="projections", trustworthiness=kept, probe_accuracy=right)
    plane, other = "PCA, 2-D", "t-SNE, 2-D"
    run.claim("In two dimensions, t-SNE keeps more neighbours than PCA.",
              kept[other] > kept[plane], t_SNE=kept[other], PCA=kept[plane])
    run.claim("A linear classifier finds the class from t-SNE's plane more often than from "
              "PCA's.", paired(right[other], right[plane]))


def rules_for(z, y):
    """name -> a distribution of codes, fitted to the codes z (N, D) with classes y (N,)."""
    def moments(z):     # 1e-6 keeps the covariance off 0 for few examples
        return z.mean(dim=0), torch.cov(z.T) + 1e-6 * torch.eye(z.shape[1], device=z.device)

    classes, counts = y.unique(return_counts=True)
    means, covariances = map(torch.stack, zip(*(moments(z[y == c]) for c in classes),
                                              strict=True))
    normal, box = distributions.MultivariateNormal, (z.amin(dim=0), z.amax(dim=0) + 1e-6)
    return {
        "uniform in the box": distributions.Independent(distributions.Uniform(*box), 1),
        "one Gaussian": normal(*moments(z)),
        "a Gaussian per class": distributions.MixtureSameFamily(
            distributions.Categorical(counts.float()), normal(means, covariances))}


SIZES = {"quick": {"points": 120, "perplexity": 10, "samples": 100, "images": 1500},
         "full": {"samples": 10_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
