r"""Homework 1, what the CNN has learned: weights, activations, receptive fields, ideal inputs.

    x* = argmax_x  a(x) / s - penalty(x),   a: a class's logit, s: its deviation over images

    python assignments/hw1_features.py            under 3 minutes on 2 CPU cores
    python assignments/hw1_features.py --full     of hw1_classification.py's --full networks

The CNN and the MLP of hw1_classification.py are taken from outputs/ where that script has run
with the same settings, else trained first. "Before" is the same CNN with new weights.

Ideal inputs (activation maximisation) are sought in three ways (minidl/maximise.py). A free
ascent finds patterns that hold pixel by pixel only: they look like noise, and still excite the
CNN most. Smoothness, or a Gaussian with the mean and the covariance of all images, makes them
legible; nothing in it is about a class. The MLP then says which class they show.
"""
# sheet: S1.5a, S1.5b, S1.5c, S1.6

import _path  # noqa: F401
import torch

from minidl import features, fields, pca
from minidl.data import Split, first_of_each_class, to_unit
from minidl.evaluation import FRACTION
from minidl.lab import cli, infer, paired, plot
from minidl.maximise import GaussianPrior, ways


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


def ideal_of_classes(run, data, network, way):
    """The picture that each class's logit wants: of several ascents the highest."""
    C, starts = len(data.classes), run.settings["starts"]
    s = features.scale(infer(network, data.val.x))

    def logits(x):
        return (network(x).view(-1, C, C).diagonal(dim1=1, dim2=2) / s).flatten()

    x, height = ascend(run, logits, starts * C, way, run.settings["steps"])
    return x[height.view(starts, C).argmax(dim=0) * C + torch.arange(C, device=x.device)]


def main(run,
         profiled: "training images whose activations are recorded; amount" = 10_000,
         units: "units of a layer whose feature maps are shown; amount" = 2,
         steps: "of the gradient ascent; amount" = 150,
         starts: "of it for each class, the best of which is shown; amount" = 3,
         prior_weight: "of the Gaussian prior, deviations of the activation a nat" = 0.02,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    network, judge = (run.trained("hw1_classification", kind, images=images)
                      for kind in ("CNN", "MLP"))
    run.seed_everything(run.seed)
    both = {"before": features.with_new_weights(network), "after": network}
    for part in (judge, *both.values()):
        part.eval().requires_grad_(False)
    show_weights(run, both)

    # --- receptive fields: by the formula, and where the gradient on noise is not 0 ---------
    rows, gradients, squares = fields.measured(network, 64, run.generator)
    run.table("receptive_fields", rows, "Receptive fields in pixels")
    run.results.figure("receptive_fields", plot.fields(
        gradients, squares, f"{run.title}: |d unit / d pixel|, mean over 64 images of noise; "
        "outlined: the formula"))
    agree = sum(row["agree"] for row in rows)
    run.results.number("receptive_fields_that_agree", agree, "layers", n=len(rows))
    run.claim("In every layer the gradient reaches as far as the formula of the receptive "
              "field says.", agree == len(rows), layers=len(rows))

    # --- activations: of all layers, then of the units that the linear layer reads -----------
    known, C = Split(data.train.x[:profiled], data.train.y[:profiled]), len(data.classes)
    excited = {when: features.excitation(net, known) for when, net in both.items()}
    run.table("activations", features.excitation_rows(excited, known.y, C),
              f"Dead units, images that excite a unit, selectivity: {len(known.y):,} images")
    show_profile(run, data, features.profile(infer(network[:-1], known.x), known.y, C))
    before, after = (features.selectivity(features.profile(layers[-1], known.y, C))
                     for layers in excited.values())
    run.claim("Training makes the units of the last convolution more selective for a class.",
              paired(after, before), before=before.mean(), after=after.mean())
    some = [e.std(dim=0).topk(units).indices.tolist() for e in excited["after"]]
    index = first_of_each_class(data.val.y)
    shown = features.shown_maps(network, to_unit(data.val.x[index]), some)
    run.pictures("feature_maps", "feature maps of a validation image of each class",
                 ["input", *(f"conv {i}\nunit {u}" for i, c in enumerate(some, 1) for u in c)],
                 **{data.classes[data.val.y[i]]: shown[b, :, None]
                    for b, i in enumerate(index)})

    # --- activation maximisation ------------------------------------------------------------
    run.seed_everything(run.seed)
    how = ways(GaussianPrior(pca.fit(known.x, 28 * 28)), prior_weight, run.generator)
    found = {name: ideal_of_classes(run, data, network, way) for name, way in how.items()}
    found["same, untrained"] = ideal_of_classes(run, data, both["before"],
                                                how["Gaussian prior"])
    found["validation images"] = to_unit(data.val.x[infer(network, data.val.x).argmax(dim=0)])
    run.pictures("activation_maximisation", "pictures that maximise each class's logit\n"
                 "last row: the validation image with the highest", data.classes, **found)
    right = {name: judge(x).argmax(dim=1).cpu() == torch.arange(C)
             for name, x in found.items()}
    logit = {name: network(x).diagonal() for name, x in found.items()}
    run.scores(FRACTION, table="ideal_inputs", told_right=right)
    run.scores("the class's logit", table="ideal_inputs_logits", mean_logit=logit)
    run.claim("Unregularised pictures reach a higher logit than the best validation images.",
              paired(logit["no regularisation"], logit["validation images"]))
    run.claim("The MLP recognises the class of more smooth than of unregularised pictures.",
              paired(right["smoothness"], right["no regularisation"]))


def show_weights(run, both):
    """Histograms of each layer's weights, and the filters of the first."""
    weights = {when: features.weights(network) for when, network in both.items()}
    rows = features.weight_rows(weights)
    run.table("weights", rows, "Kurtosis: 1.8 of a uniform, 3 of a normal distribution")
    run.results.figure("weights_before_after", plot.histograms(
        {name: {when: w[name].flatten().cpu().numpy() for when, w in weights.items()}
         for name in weights["after"]},
        f"{run.title}: weights of each layer before and after training", "weight"))
    run.results.figure("first_layer_filters", plot.image_rows(
        {when: w["conv 1"] for when, w in weights.items()},
        f"{run.title}: the first layer's filters, 3 x 3 weights", columns=16, signed=True))
    before, after = ([row[f"kurtosis {when}"] for row in rows] for when in weights)
    run.claim("In every layer, training gives the weights' distribution heavier tails.",
              min(after) > max(before), most_before=max(before), least_after=min(after))


def show_profile(run, data, profiles):
    """How strongly each class excites each unit, in shares of the unit's highest."""
    order = (10 * profiles.argmax(dim=1) - features.selectivity(profiles)).argsort()
    share = profiles[order] / profiles[order].amax(dim=1, keepdim=True).clamp(min=1e-12)
    run.results.figure("activation_profile", plot.heatmap(
        share.T.cpu().numpy(), data.classes,
        f"{run.title}: what excites the {len(share)} units before the linear layer", "unit, "
        "by the class that excites it most", "class", "mean, share of the unit's highest"))


SIZES = {"quick": {"profiled": 500, "units": 1, "steps": 25, "starts": 1, "images": 1500},
         "full": {"profiled": 50_000, "steps": 300, "starts": 10}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
