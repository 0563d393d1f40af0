r"""Homework 2: the latent space of the autoencoder in pictures, and new images from it.

    z = encoder(x) in R^16,   x_hat = decoder(z),   of the autoencoder of hw2_conv_ae.py

    python assignments/hw2_latent_space.py       under 5 minutes on 2 CPU cores

(a) PCA and t-SNE of the codes of test images (minidl/pca.py, minidl/tsne.py). PCA keeps the
directions of largest variance. t-SNE keeps neighbours, but sizes and distances of its groups
mean nothing. (b) New images from codes on the line between two codes of test images, and from
codes drawn by three rules. The loss does not say where codes should lie, so each rule is a
guess. hw2_vae.py adds a term that says it.
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
from minidl.representation import linear_probe, nearest, trustworthiness
from minidl.tsne import tsne


def main(run,
         points: "test images in the figures of (a); >= 11; amount" = 2000,
         perplexity: "of t-SNE, roughly the number of neighbours; amount" = 30,
         samples: "new images from each rule; >= 14; amount" = 1000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    encoder, decoder = run.trained("hw2_conv_ae", "convolutional", images=images)
    test, train = data.test(), to_unit(data.train.x)  # nothing is trained from here on
    codes, z = (infer(encoder, split.x) for split in (data.train, test))
    project(run, pca.fit(codes, codes.shape[1]), z[:points], test.y[:points], data.classes)

    # --- (b) lines between the codes of two test images, and between their pixels ------------
    rows, w = {}, torch.linspace(0, 1, 11, device=z.device).view(-1, 1, 1, 1)
    for a, b in list(itertools.pairwise(first_of_each_class(test.y).tolist()))[::2]:
        name = f"{data.classes[test.y[a]]} to {data.classes[test.y[b]]}"
        rows[f"{name}: codes"] = infer(decoder, torch.lerp(z[a], z[b], w.view(-1, 1)))
        rows[f"{name}: pixels"] = torch.lerp(to_unit(test.x[a]), to_unit(test.x[b]), w)
    run.pictures("interpolation", "from one test image to another",
                 [f"{share:.0%}" for share in w.flatten().tolist()], **rows)

    # --- codes drawn by three rules, compared with the codes of test images ------------------
    run.seed_everything(run.seed)
    drawn = {"test images": z[:samples]} | {
        name: rule.sample((samples,)) for name, rule in rules(codes, data.train.y).items()}
    distance, rows = {}, {}
    for name, part in drawn.items():
        x = infer(decoder, part)
        norm, index = nearest(x, train)
        distance[name] = norm / 28                   # RMS: there are 28^2 pixels
        rows |= {name: x[:14], f"nearest to {name}": train[index[:14]]}
    run.scores("RMS per pixel, to the nearest training image", distance=distance)
    run.pictures("new_images", "decoded codes; below each the nearest training image", **rows)
    real, _, one, per_class = distance.values()
    run.claim("Codes drawn from a Gaussian per class give images nearer to training images "
              "than codes from one Gaussian.", paired(one, per_class))
    run.claim("Reconstructed test images are nearer still than those of a Gaussian per class.",
              paired(per_class[:len(real)], real))


def project(run, axes, z, y, classes):
    """(a) Maps of the codes z (N, 16) to 2-D and 3-D, and what each map preserves."""
    maps = {"PCA, 2-D": axes.encode(z)[:, :2], "PCA, 3-D": axes.encode(z)[:, :3]}
    try:
        maps["t-SNE, 2-D"] = tsne(z, run.settings["perplexity"])
        kept = {name: trustworthiness(z, p) for name, p in maps.items()}
    except ValueError as error:
        raise UserError(f"--perplexity, {len(z)} test images: {error}") from error
    half, right = len(y) // 2, {}
    for name, p in maps.items():
        right[name] = linear_probe(p[:half], y[:half])(p[half:]).argmax(dim=1) == y[half:]
        labels = [f"component {i + 1}, {part:.0%} of the variance" if "PCA" in name else
                  f"t-SNE {i + 1}" for i, part in enumerate(axes.explained[:p.shape[1]])]
        run.results.figure(f"codes_{slug(name)}", plot.scatter(
            p, y, classes, f"{run.title}: codes of {len(y):,} test images, {name}", labels))
    run.scores("fraction", table="projections", trustworthiness=kept, probe_accuracy=right)
    plane, other = "PCA, 2-D", "t-SNE, 2-D"
    run.claim("In 2-D, t-SNE has a higher trustworthiness than PCA.",
              kept[other] > kept[plane], t_SNE=kept[other], PCA=kept[plane])
    run.claim("A linear classifier is more accurate on the 2-D map of t-SNE than on the one "
              "of PCA.", paired(right[other], right[plane]))


def rules(z, y):
    """name -> a distribution of codes, fitted to the codes z (N, D) with classes y (N,)."""
    classes, counts = y.unique(return_counts=True)
    groups, normal = [z, *(z[y == c] for c in classes)], distributions.MultivariateNormal
    mu = torch.stack([group.mean(dim=0) for group in groups])
    tiny = 1e-6 * torch.eye(z.shape[1], device=z.device)    # C is invertible for few examples
    C = torch.stack([torch.cov(group.T) + tiny for group in groups])
    box = distributions.Uniform(z.amin(dim=0), z.amax(dim=0) + 1e-6)
    return {
        "uniform in the box": distributions.Independent(box, 1),
        "one Gaussian": normal(mu[0], C[0]),
        "a Gaussian per class": distributions.MixtureSameFamily(
            distributions.Categorical(counts.float()), normal(mu[1:], C[1:]))}


SIZES = {"quick": {"points": 120, "perplexity": 10, "samples": 100, "images": 1500},
         "full": {"samples": 10_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
