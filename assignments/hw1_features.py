r"""Homework 1, what the CNN has learned: weights, activations, receptive fields, ideal inputs.

    x* = argmax_x  a(x) / s - penalty(x),   a: a unit or a logit, s: its deviation over images

    python assignments/hw1_features.py            under 3 minutes on 2 CPU cores
    python assignments/hw1_features.py --full     of hw1_classification.py's --full network

The CNN of hw1_classification.py, taken from outputs/ where that script has run with the same
settings, else trained first; beside it the same network before its training, whose batch
normalisation does nothing yet. Ideal inputs are sought in three ways (minidl/maximise.py):
freely, which gives noise; smooth; under the Gaussian with the mean and covariance of images
of all classes. An MLP that had no part in it says what they show. The test set is not read.
Left out: what decides a single image (saliency, occlusion).
"""
# sheet: S1.5a, S1.5b, S1.5c, S1.6

import _path  # noqa: F401
import hw1_classification as hw1
import torch

from minidl import features, fields, pca
from minidl.data import Split, first_of_each_class, to_unit
from minidl.evaluation import FRACTION, logits_of, per_example
from minidl.frozen import frozen
from minidl.lab import cli, flags, plot
from minidl.lab.results import markdown, slug
from minidl.maximise import GaussianPrior, total_variation, ways


def main(run,
         profiled: "training images whose activations are recorded; amount" = 10_000,
         units: "units of a layer whose ideal inputs are shown; amount" = 3,
         steps: "of the gradient ascent; amount" = 150,
         starts: "of it for each class, the best of which is shown; amount" = 3,
         prior_weight: "of the Gaussian prior, deviations of the activation a nat" = 0.02,
         judge_epochs: "passes of the MLP that judges the pictures; amount" = 2,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    network, before = hw1.trained_cnn(run, data, images).eval(), new(run, data, "CNN").eval()
    known = Split(data.train.x[:profiled], data.train.y[:profiled])
    with frozen(network), frozen(before):
        both = {"before": before, "after": network}
        show_weights(run, {k: features.weights(n) for k, n in both.items()}, data.title)
        show_receptive_fields(run, network, data.title)
        excited = {k: features.excitation(n, known) for k, n in both.items()}
        show_activations(run, data, known, excited)
        show_profile(run, data, known, network)
        show_feature_maps(run, data, network, excited["after"], min(units, 2))
        run.seed_everything(run.seed)
        how = ways(GaussianPrior(pca.fit(known.x, 28 * 28)), prior_weight, run.generator)
        show_patches(run, data, known, network, excited["after"], units,
                     how["Gaussian prior"], steps)
        asked = {name: (network, way) for name, way in how.items()}
        asked["same, untrained"] = before, how["Gaussian prior"]
        pictures = {name: ideal_of_classes(run, data, *pair, steps, starts)
                    for name, pair in asked.items()}
    judge = new(run, data, "MLP")
    hw1.train(run, "judge", judge, data.train, data.val, epochs=judge_epochs, batch_size=128,
              learning_rate=6e-3, label_smoothing=0.0, precision="auto")
    show_pictures(run, data, network, judge.eval(), pictures)


def new(run, data, kind):
    """Homework 1's network in this size, as it is before its training."""
    settings = flags.settings(hw1.main, hw1.SIZES, run.size)
    run.seed_everything(run.seed)
    return hw1.build(run, data, settings["filters"], settings["pooled"],
                     settings["hidden"])[kind]


def show_weights(run, both, title):
    """Histograms of each layer, both before and after; the first layer's filters."""
    rows = features.weight_rows(both)
    run.results.table("weights", rows, f"The CNN's weights before and after, {title}; "
                      "kurtosis: 1.8 of a uniform, 3 of a normal distribution")
    print(markdown(rows))
    wider = {row["layer"]: row["std after"] / row["std before"] for row in rows}
    least, most = (end(wider, key=wider.get) for end in (min, max))
    run.results.number("weight_std_ratio_most", wider[most], "after / before")
    run.results.finding(
        f"{title}: training multiplies the weights' deviation by {wider[least]:.2f} in "
        f"{least} to {wider[most]:.2f} in {most}; their kurtosis goes from " + " to ".join(
            f"{min(k):.1f} .. {max(k):.1f}" for when in ("before", "after")
            for k in [[row[f"kurtosis {when}"] for row in rows]])
        + " (uniform: 1.8, normal: 3).")
    run.results.figure("weights_before_after", plot.histograms(
        {name: {when: w[name].flatten().cpu().numpy() for when, w in both.items()}
         for name in wider},
        f"{title}: weights of each layer before and after training", "weight"))
    run.results.figure("first_layer_filters", plot.image_rows(
        {when: w["conv 1"] for when, w in both.items()},
        f"{title}: the filters of the first layer, 3 x 3 weights", columns=16, signed=True))


def show_activations(run, data, known, excited):
    """Dead units and selectivity, layer by layer, of the images' (N, C) excitations."""
    rows = features.excitation_rows(excited, known.y, len(data.classes))
    run.results.table("activations", rows, "Dead units, share of images that excite a unit, "
                      f"mean selectivity: {len(known.y):,} training images, {data.title}")
    print(markdown(rows))
    for when, layers in excited.items():
        dead = torch.cat([features.dead(e) for e in layers])
        dead, n = int(dead.sum()), len(dead)
        run.results.number(f"dead_units_{when}", dead / n, FRACTION, n=n)
        key = f"selectivity {when}"
        run.results.finding(
            f"{when.capitalize()} training {dead} of {n} units are dead; mean selectivity: "
            f"{rows[0][key]:.2f} in the first layer, {rows[-1][key]:.2f} in the last.")


def show_profile(run, data, known, network):
    """Which classes excite the units that the linear layer reads."""
    codes = per_example(lambda x, _: network[:-1](x), known, network)  # (N, C)
    profiles = features.profile(codes, known.y, len(data.classes)).cpu()
    chosen, favourite = features.selectivity(profiles), profiles.argmax(dim=1)
    counts = torch.bincount(favourite, minlength=len(data.classes)).tolist()
    most, least = (counts.index(end(counts)) for end in (max, min))
    run.results.mean("selectivity_last_layer", chosen.tolist(), "(max - rest) / (max + rest)")
    run.results.finding(
        f"The {len(chosen)} units before the linear layer: selectivity {chosen.mean():.2f} +- "
        f"{chosen.std():.2f}; {data.classes[most]} excites {counts[most]} of them more "
        f"than the other classes do, {data.classes[least]} {counts[least]}.")
    order = (10 * favourite - chosen).argsort()  # by class, the most selective first
    share = profiles / profiles.amax(dim=1, keepdim=True).clamp(min=1e-12)
    run.results.figure("activation_profile", plot.heatmap(
        share[order].T.numpy(), data.classes,
        f"{data.title}: what excites the {len(chosen)} units before the linear layer", "unit, "
        "by the class that excites it most", "class", "mean, share of the unit's highest"))


def show_feature_maps(run, data, network, excited, n):
    """A validation image of each class, as each layer's n units that vary most see it."""
    index = first_of_each_class(data.val.y)
    x = to_unit(data.val.x[index])
    some = [e.std(dim=0).topk(n).indices.tolist() for e in excited]
    shown = torch.cat([x, features.shown_maps(network, x, some)], dim=1)
    run.results.figure("feature_maps", plot.image_rows(
        {data.classes[data.val.y[i]]: shown[b, :, None] for b, i in enumerate(index)},
        f"{data.title}: feature maps of a validation image of each class",
        ["input", *(f"conv {i}\nunit {unit}" for i, c in enumerate(some, 1) for unit in c)]))


def show_receptive_fields(run, network, title, images=64):
    """What a unit sees: by the formula, and where its gradient on noise is not 0."""
    rows, found, squares, wrong = [], {}, {}, []
    for i in range(len(features.relus(network))):
        name, (size, jump, start) = f"conv {i + 1}", fields.field(network, i)
        g, first = fields.by_gradient(network, i, images, run.generator)
        if (ends := fields.support(g)) != 2 * (first, first + size - 1):
            wrong.append(name)
        found[name], squares[name] = g.numpy(), (first, size)
        rows.append({"layer": name, "size": size, "jump": jump, "start": start,
                     "by the gradient": ends[1] - ends[0] + 1,
                     "holds 90%": fields.holding(g, 0.9)})
    run.results.table("receptive_fields", rows, "Receptive fields in pixels, by the formula "
                      "and by the gradient; side of the square with 90% of the gradient")
    print(markdown(rows))
    n, agree = len(rows), len(rows) - len(wrong)
    run.results.number("receptive_fields_that_agree", agree, "layers", n=n)
    sizes, hold = (", ".join(str(row[key]) for row in rows) for key in ("size", "holds 90%"))
    run.results.finding(
        f"Receptive fields: the gradient's support is the formula's square in {agree} of {n} "
        f"layers{', not in ' * bool(wrong)}{', '.join(wrong)}: {sizes} pixels wide, the last "
        f"{sum(row['size'] > 28 for row in rows)} wider than an image. 90% of the gradient is "
        f"in the middle {hold} pixels.")
    run.results.figure("receptive_fields", plot.fields(
        found, squares, f"{title}: |d unit / d pixel|, mean over {images} images of noise; "
        "outlined: the formula"))


def ascend(run, activation, B, way, steps):
    """Gradient ascent on activation(x)_b - penalty_b of B pictures, each on its own, from
    around grey or the mean image. -> the pictures, and the height that each reached."""
    z = 0.5 * torch.randn(B, 1, 28, 28, generator=run.generator)
    z = z.to(run.device).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=way.rate)
    for _ in range(steps):
        x = way.picture(z)
        loss = (way.penalty(z, x) - activation(way.move(x))).sum()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    x = way.picture(z)
    return x.detach(), (activation(x) - way.penalty(z, x)).detach()


def ideal_of_classes(run, data, network, way, steps, starts):
    """The picture that each class's logit wants: of several ascents the highest."""
    s, C = features.scale(logits_of(network, data.val)), len(data.classes)

    def logits(x):
        return (network(x).view(-1, C, C).diagonal(dim1=1, dim2=2) / s).flatten()

    x, height = ascend(run, logits, starts * C, way, steps)
    return x[height.view(starts, C).argmax(dim=0) * C + torch.arange(C, device=x.device)]


def show_patches(run, data, known, network, excited, units, way, steps, n=9):
    """What a unit responds to: its ideal input, and what excites it most in real images."""
    rows, x = {}, to_unit(known.x)
    way = way._replace(move=lambda x: x)  # a unit has its place
    for layer in (1, 2, 3, len(excited) - 1):
        e = excited[layer]
        chosen = features.pick(features.profile(e, known.y, len(data.classes)), units)
        s, seen = features.scale(e[:, chosen]), fields.field(network, layer)
        at = 28 // seen[1] // 2  # the unit in the middle

        def middle(x, layer=layer, chosen=chosen, s=s, at=at):
            return features.maps(network, x)[layer][range(len(chosen)), chosen, at, at] / s

        ideals, _ = ascend(run, middle, len(chosen), way, steps)
        for unit, ideal in zip(chosen, ideals, strict=True):
            top = x[e[:, unit].topk(min(n, len(e))).indices]
            rows[f"conv {layer + 1}, unit {unit}"] = torch.cat([
                fields.crop(ideal, seen, at, at)[None],
                fields.exciting_parts(network, layer, unit, top)])
    run.results.figure("exciting_patches", plot.image_rows(
        rows, f"{data.title}: a unit's ideal input, and the parts of training images,\n"
        "as large as its field, that excite it most", ["ideal", *range(1, n + 1)]))


def show_pictures(run, data, network, judge, pictures):
    """Does the judge, a network of another kind, see what the CNN was asked for?"""
    best = to_unit(data.val.x[logits_of(network, data.val).argmax(dim=0)])
    pictures, rows = pictures | {"validation images": best}, []
    for name, x in pictures.items():
        with torch.no_grad():
            told = judge(x).argmax(dim=1).tolist()
            logit = network(x).diagonal().mean().item()
        right = sum(c == i for i, c in enumerate(told)) / len(told)
        rows.append({"pictures": name, "told right by the judge": right, "mean logit": logit,
                     "total variation": (tv := total_variation(x).mean().item())})
        run.results.number(f"told_right_{slug(name)}", right, FRACTION, n=len(x))
        run.results.number(f"total_variation_{slug(name)}", tv, "|x - neighbour|, per pixel")
    run.results.table("ideal_inputs", rows, "Pictures that maximise each class's logit, and "
                      f"the validation images with the highest, {data.title}")
    print(markdown(rows))
    run.results.finding(
        f"Activation maximisation: an MLP, right on {run.history['val_accuracy'][-1]:.1%} of "
        "the validation images, tells the class of the pictures in " + ", ".join(
            f"{row['told right by the judge']:.0%} ({row['pictures']})" for row in rows)
        + "; the CNN's mean logit there: " + ", ".join(
            f"{row['mean logit']:.1f}" for row in rows) + "; total variation per pixel: "
        + ", ".join(f"{row['total variation']:.2f}" for row in rows) + ".")
    run.results.figure("activation_maximisation", plot.image_rows(
        pictures, f"{data.title}: pictures that maximise each class's logit\n"
        "last row: the validation image with the highest", data.classes))


SIZES = {"quick": {"profiled": 500, "units": 1, "steps": 25, "starts": 1, "images": 1500},
         "full": {"profiled": 50_000, "steps": 300, "starts": 10, "judge_epochs": 12}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
