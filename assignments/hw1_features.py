r"""Homework 1, what the networks learned: weights, activations, receptive fields, and more.

    x* = argmax_x  a(x) / s - 2 TV(x) - 0.7 mean_p x_p^2     a: a class's logit
                                                             s: its std over images
    python assignments/hw1_features.py            under 3 minutes on 2 CPU cores
    python assignments/hw1_features.py --full     for the networks of the other --full run

The CNN and the MLP are those of hw1_classification.py; a network of hw1_regression.py is
trained here. "Before" is the same network, untrained. Activation maximisation finds an input
for each class by gradient ascent on the pixels (`ascend`). Without regularisation these inputs
look like noise, yet have higher logits than real images. Blur, a small total variation TV,
dark pixels and random changes make them smooth. The MLP, another network, classifies them.
"""
# sheet: S1.5a, S1.5b, S1.5c, S1.6

import _path  # noqa: F401
import hw1_regression
import torch

from minidl import features, fields
from minidl.augment import random_affine
from minidl.data import Split, first_of_each_class, points, to_unit
from minidl.evaluation import FRACTION
from minidl.lab import cli, infer, paired, plot
from minidl.maximise import blur, total_variation


def ascend(run, activation, B, smooth, steps):
    """Gradient ascent on activation(x)_b - penalty_b, for each of B images separately."""
    def picture(z):
        return torch.sigmoid(blur(z, 0.7) - 2) if smooth else torch.sigmoid(z)

    z = 0.5 * torch.randn(B, 1, 28, 28, generator=run.generator)
    z = z.to(run.device).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(steps):
        x = moved = picture(z)
        penalty = torch.zeros(B, device=x.device)
        if smooth:
            penalty = 2 * total_variation(x) + 0.7 * x.square().mean(dim=(1, 2, 3))
            moved = random_affine(x, run.noise, degrees=5, scale=0.05, shear=0.05,
                                  shift=0.05)
        loss = (penalty - activation(moved)).sum()  # -(a / s - 2 TV - 0.7 mean x^2), of each
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return picture(z).detach()


def main(run,
         profiled: "training images whose activations are recorded; amount" = 10_000,
         units: "units of a layer whose feature maps are shown; amount" = 2,
         steps: "steps of the gradient ascent; amount" = 150,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    network, judge = (run.trained("hw1_classification", kind, images=images)
                      for kind in ("CNN", "MLP"))
    run.seed_everything(run.seed)
    both = {"before": features.with_new_weights(network), "after": network}
    for part in (judge, *both.values()):
        part.eval().requires_grad_(False)
    show_weights(run, both)

    # --- receptive fields: by the formula, and where the gradient for noise is not 0 ---------
    rows, gradients, squares = fields.measured(network, 64, run.generator)
    run.table("receptive_fields", rows, "Receptive fields in pixels")
    run.results.figure("receptive_fields", plot.fields(
        gradients, squares, f"{run.title}: |d unit / d pixel|, mean over 64 images of noise; "
        "outlined: the receptive field by the formula"))
    agree = sum(row["agree"] for row in rows)
    run.results.number("receptive_fields_that_agree", agree, "layers", n=len(rows))
    run.claim("In every layer, the region where the gradient is not 0 is the receptive field "
              "of the formula.", agree == len(rows), layers=len(rows))

    # --- activations: profiles of the last convolution's units; feature maps -----------------
    known, C = Split(data.train.x[:profiled], data.train.y[:profiled]), len(data.classes)
    profiles = features.profile(infer(network[:-1], known.x), known.y, C)
    profiles = profiles[features.by_class(profiles)]
    run.results.figure("activation_profile", plot.heatmap(
        (profiles / profiles.amax(dim=1, keepdim=True).clamp(min=1e-12)).T.cpu().numpy(),
        data.classes, f"{run.title}: activation profiles of the last convolution's units",
        "unit, sorted by its most active class", "class",
        "mean activation / the unit's largest"))
    excited = {when: features.excitation(net, known) for when, net in both.items()}
    before, after = (features.selectivity(features.profile(layers[-1], known.y, C))
                     for layers in excited.values())
    run.claim("In this CNN, training made the last convolution's units more selective for a "
              "class.",
              paired(after, before), before=before.mean(), after=after.mean())
    some = [e.std(dim=0).topk(units).indices.tolist() for e in excited["after"]]
    index = first_of_each_class(data.val.y)
    shown = features.shown_maps(network, to_unit(data.val.x[index]), some)
    run.pictures("feature_maps", "feature maps of a validation image of each class;\n"
                 "below, the number of the convolution and of its unit",
                 ["input", *(f"{i}\n{u}" for i, c in enumerate(some, 1) for u in c)],
                 **{data.classes[data.val.y[i]]: shown[b, :, None]
                    for b, i in enumerate(index)})

    # --- activation maximisation -------------------------------------------------------------
    run.seed_everything(run.seed)
    outputs = infer(network, data.val.x)
    s = features.scale(outputs)
    found = {name: ascend(run, lambda x: network(x).diagonal() / s, C, smooth, steps)
             for name, smooth in (("no regularisation", False), ("smoothness", True))}
    found["validation images"] = to_unit(data.val.x[outputs.argmax(dim=0)])
    run.pictures("activation_maximisation", "inputs that maximise each class's logit\nlast "
                 "row: the validation image with the highest logit", data.classes, **found)
    right = {name: judge(x).argmax(dim=1).cpu() == torch.arange(C)
             for name, x in found.items()}
    logit = {name: network(x).diagonal() for name, x in found.items()}
    run.scores(FRACTION, table="ideal_inputs", classified_correctly=right)
    run.claim("Unregularised inputs reach a higher logit than the best validation images.",
              paired(logit["no regularisation"], logit["validation images"]))
    run.claim("The MLP classifies more regularised inputs correctly than unregularised ones.",
              paired(right["smoothness"], right["no regularisation"]))


def show_weights(run, both):
    """Histograms of each layer's weights, of both networks; the filters of the CNN's first
    layer; the activations of the regression network's units along x."""
    weights = {when: features.weights(network) for when, network in both.items()}
    run.results.figure("first_layer_filters", plot.image_rows(
        {when: w["conv 1"] for when, w in weights.items()},
        f"{run.title}: the first layer's filters, 3 x 3 weights", columns=16, signed=True))
    (x, y), _, title, _ = points.load("", 300, torch.Generator().manual_seed(run.seed))
    scale = (x.mean(), x.std()), (y.mean(), y.std())
    for when, steps in (("before", 0), ("after", 600)):
        network = hw1_regression.fit(
            {"width": 32, "layers": 2, "activation": "Tanh", "learning_rate": 1e-2,
             "weight_decay": 1e-2, "steps": steps}, x, y, scale, run.seed)
        weights[when] |= {f"regression, {name}": w
                          for name, w in features.weights(network).items()}
    run.results.figure("weights_before_after", plot.histograms(
        {name: {when: w[name].flatten().cpu().numpy() for when, w in weights.items()}
         for name in weights["after"]},
        f"{run.title}: weights of each layer before and after training", "weight"))
    u = torch.linspace(-5, 5, 60).unsqueeze(1)
    unit = infer(network[:-1], (u - x.mean()) / x.std())
    strongest = (network[-1].weight[0].abs() * unit.std(dim=0)).topk(6).indices.tolist()
    run.results.figure("regression_units", plot.curves(
        {f"unit {i}": (u[:, 0], unit[:, i]) for i in strongest},
        f"{title}: the 6 hidden units with most influence", "x", "activation"))


SIZES = {"quick": {"profiled": 500, "units": 1, "steps": 25, "images": 1500},
         "full": {"profiled": 50_000, "steps": 300}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
