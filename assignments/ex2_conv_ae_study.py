r"""Exercise 2, task 1: the tests behind the autoencoder's architecture, question by question.

    L1 = E_x 1/784 sum_p |x_hat_p - x_p|,   every variant trained alike, over several seeds

    python assignments/ex2_conv_ae_study.py            under 5 minutes on 2 CPU cores
    python assignments/ex2_conv_ae_study.py --full     the whole data set, trained for longer

The sheet's questions: (a) does an FC layer at the coarsest level help, against a fully
convolutional code of the same d; (b) number of filters, stride factors, number of layers,
nonlinearity; (c) the error against d, beside PCA; and (d) a trap: the L1 collapse. The median
of most pixels is 0, so the all-black image is a strong local optimum of L1, and a sigmoid that
has closed lets no gradient through that would lead out of it.

A question is not always one change. Fewer layers and other strides ask for other filters; the
fully convolutional code has a fourth convolution where the others have layers that are fully
connected; and most variants have another number of parameters. The findings tell these; how
much of a difference is due to the number of parameters alone is not measured.

Seeds are paired: seed s of every variant sees the same images in the same order. The default
size trains briefly, on a part of the images: it ranks variants by how fast they learn.
"""
# sheet: S3.1

import itertools
import statistics

import _path  # noqa: F401
import torch
from ex2_conv_ae import PIXEL, collapsed, error_of
from torch import nn

from minidl import pca
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.evaluation import evaluate, evaluating
from minidl.lab import cli, plot
from minidl.lab.layers import parameter_count
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.losses import l1
from minidl.schedules import one_cycle

BASE = {"filters": (16, 32, 64), "strides": (2, 2, 2), "activation": nn.GELU, "latent": 12,
        "bottleneck": "fc", "norm": True, "output": nn.Sigmoid}
# question -> variant -> what it changes in BASE
ARCHITECTURES = {
    "a. bottleneck": {"fully convolutional": {"bottleneck": "conv"}},
    "b. filters": {"filters 8, 16, 32": {"filters": (8, 16, 32)},
                   "filters 32, 64, 128": {"filters": (32, 64, 128)}},
    "b. strides": {"strides 2, 4: 28-14-4": {"filters": (16, 64), "strides": (2, 4)}},
    "b. layers": {"one layer: 28-7": {"filters": (32,), "strides": (4,)},
                  "two layers: 28-14-7": {"filters": (16, 32), "strides": (2, 2)}},
    "b. nonlinearity": {"ReLU": {"activation": nn.ReLU}, "tanh": {"activation": nn.Tanh}},
}
DIMENSIONS = {"c. d": {f"d = {d}": {"latent": d} for d in (2, 4, 8, 16, 32)}}
PLAIN = {"activation": nn.ReLU, "norm": False}
COLLAPSE = {"d. collapse": {"no normalisation, ReLU": PLAIN,
                            "no normalisation, GELU": {"norm": False},
                            "linear output": {"output": nn.Identity}}}
QUESTIONS = {"base": {"base": {}}} | ARCHITECTURES | DIMENSIONS | COLLAPSE


def build(filters, strides, activation, latent, bottleneck, norm, output, hidden=256):
    """An autoencoder; of BASE the Encoder and Decoder of ex2_conv_ae.py, layer by layer."""
    def block(layer, width, kind=nn.BatchNorm2d):
        return nn.Sequential(layer, *([kind(width)] if norm else []), activation())

    if bottleneck == "conv":  # one more halving, 4 -> 2, and as many 2x2 maps as make d
        filters, strides = (*filters, latent // 4), (*strides, 2)
    sizes = list(itertools.accumulate(strides, lambda n, s: -(-n // s), initial=28))
    channels, down, up = (1, *filters), [], []
    for i, s in enumerate(strides):
        padding = s // 2
        kernel = sizes[i] - (sizes[i + 1] - 1) * s + 2 * padding  # restores the size exactly
        down.append(nn.Conv2d(channels[i], channels[i + 1], s + 1, s, padding))
        up.insert(0, nn.ConvTranspose2d(channels[i + 1], channels[i], kernel, s, padding))
    n, flat = sizes[-1], channels[-1] * sizes[-1] ** 2
    widen = [*map(block, up[:-1], channels[-2:0:-1]), up[-1], output()]
    if bottleneck == "conv":
        return nn.Sequential(*map(block, down[:-1], channels[1:-1]), down[-1], nn.Flatten(),
                             nn.Unflatten(1, (channels[-1], n, n)), *widen)
    return nn.Sequential(
        *map(block, down, channels[1:]), nn.Flatten(),
        block(nn.Linear(flat, hidden), hidden, nn.BatchNorm1d), nn.Linear(hidden, latent),
        block(nn.Linear(latent, hidden), hidden, nn.BatchNorm1d),
        block(nn.Linear(hidden, flat), flat, nn.BatchNorm1d),
        nn.Unflatten(1, (channels[-1], n, n)), *widen)


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         epochs: "passes over the training images; amount" = 3,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         images: "training images used, validation included; amount" = 10_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    variants = {name: (question, BASE | change) for question, group in QUESTIONS.items()
                for name, change in group.items()}

    # --- training: every variant, every seed -----------------------------------------------
    models, history, seconds = {}, {}, {}
    for seed, (name, (_, design)) in itertools.product(range(seeds), variants.items()):
        run.seed_everything(run.seed + seed)
        model = build(**design).to(run.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate,
                                      betas=(0.9, 0.97), fused=True)
        schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
        for _epoch in run.epochs(epochs, f"{name}, seed {seed}", model=model,
                                 optimizer=optimizer, schedule=schedule):
            model.train()
            for x, _ in batches(data.train, batch_size, run.generator):
                loss = l1(model(x), x).mean()
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_l1=loss)
            run.log(val_l1=evaluate(error_of(model), data.val, model))
        models[name, seed], history[name, seed] = model, run.history
        seconds[name, seed] = run.training_seconds

    # --- the test set, read once ------------------------------------------------------------
    test = data.test()
    scores = {name: [evaluate(error_of(models[name, s]), test, models[name, s])
                     for s in range(seeds)] for name in variants}
    tabulate(run, data, variants, models, history, seconds, scores)
    compare_designs(run, data, variants, models, scores)
    compare_dimensions(run, data, test, variants, scores)
    explain_collapse(run, data, test, models, history, scores)
    draw_reconstructions(run, data, test, models)


def tabulate(run, data, variants, models, history, seconds, scores):
    """One row a variant: means over the seeds, and the spread of the test error."""
    rows, seeds = [], len(scores["base"])
    for name, (question, _) in variants.items():
        val = [history[name, s]["val_l1"][-1] for s in range(seeds)]
        time = [seconds[name, s] for s in range(seeds)]
        rows.append({"question": question, "variant": name,
                     "parameters": parameter_count(models[name, 0]),
                     "seconds": statistics.mean(time), "validation L1": statistics.mean(val),
                     "test L1": statistics.mean(scores[name]), "std": deviation(scores[name])})
        for key, values, unit in (("test_l1", scores[name], PIXEL), ("val_l1", val, PIXEL),
                                  ("seconds", time, "s")):
            run.results.mean(f"{key}_{slug(name)}", values, unit)
        run.results.number(f"parameters_{slug(name)}", rows[-1]["parameters"],
                           "trainable numbers")
    run.results.table("variants", rows, f"One question at a time, {seeds} seeds. {data.title}")
    print(markdown(rows))


def compare_designs(run, data, variants, models, scores):
    """(a), (b): the paired difference to the base, by seed, and what else is different."""
    size = {name: parameter_count(models[name, 0]) for name in variants}
    for name, (question, design) in variants.items():
        if question not in ARCHITECTURES:
            continue
        changed = [f"{key} {value}" for key, value in design.items() if value != BASE[key]]
        also = f"with {' and '.join(changed)}, " if len(changed) > 1 else ""
        gain = [b - a for a, b in zip(scores["base"], scores[name], strict=True)]
        worse = sum(g > 0 for g in gain)
        run.results.mean(f"paired_difference_{slug(name)}", gain, PIXEL)
        run.results.finding(
            f"{question}: {name} ({also}{size[name]:,} parameters) has test L1 "
            f"{statistics.mean(scores[name]):.4f}, the base ({size['base']:,}) "
            f"{statistics.mean(scores['base']):.4f}; paired difference "
            f"{statistics.mean(gain):+.4f} +- {deviation(gain):.4f}, worse for {worse} of "
            f"{len(gain)} seeds.")
    shown = [n for n, (q, _) in variants.items() if q in ARCHITECTURES or n == "base"]
    run.results.figure("designs", plot.dots(
        {name: scores[name] for name in shown},
        f"{data.title}, d = {BASE['latent']}: one question at a time, one dot a seed", PIXEL))


def compare_dimensions(run, data, test, variants, scores):
    """(c): the error against d, beside the best linear code of the same d."""
    by_d = sorted((design["latent"], name) for name, (question, design) in variants.items()
                  if question in (*DIMENSIONS, "base"))
    linear = {}
    for d, _ in by_d:
        code = pca.fit(data.train.x, d)
        linear[d] = evaluate(lambda x, _, c=code: l1(
            c.decode(c.encode(x)).clamp(0, 1).view_as(x), x), test)
        run.results.number(f"PCA_test_l1_d_{d}", linear[d], PIXEL, n=len(test.x))
    mean = {d: statistics.mean(scores[name]) for d, name in by_d}
    low, high = min(mean), max(mean)
    better = ", ".join(str(d) for d in mean if mean[d] < linear[high]) or "no d here"
    run.results.finding(
        f"c. d: at d = {low} the network has {mean[low]:.4f} (PCA {linear[low]:.4f}), at "
        f"d = {high} {mean[high]:.4f} (PCA {linear[high]:.4f}). It is below what PCA reaches "
        f"with d = {high} at: d = {better}.")
    run.results.figure("latent_size", plot.curves(
        {"autoencoder": (list(mean), list(mean.values())),
         "PCA, clipped to [0, 1]": (list(linear), list(linear.values()))},
        f"{data.title}: L1 error against the size of the code", "d, numbers in the code",
        PIXEL))


def explain_collapse(run, data, test, models, history, scores):
    """(d): who falls into the black image, and how large the gradient is there."""
    median = to_unit(data.train.x.flatten(1).median(dim=0).values).view(1, 1, 28, 28)
    zero = (median == 0).double().mean().item()
    black, best = (evaluate(lambda x, _, c=constant: l1(c.expand_as(x), x), test)
                   for constant in (torch.zeros_like(median), median))
    run.results.number("share_of_pixels_with_median_0", zero, "fraction")
    run.results.number("black_image_test_l1", black, PIXEL, n=len(test.x))
    run.results.number("median_image_test_l1", best, PIXEL, n=len(test.x))
    run.results.finding(f"d. collapse: the median of {zero:.1%} of the pixels is 0. The black "
                        f"image has {black:.4f}; the medians, L1's best constant, have "
                        f"{best:.4f}.")
    x, fallen = to_unit(test.x[:512]), {}
    for name in ("base", *COLLAPSE["d. collapse"]):
        n = len(scores[name])
        fallen[name] = sum(collapsed(models[name, s], test) for s in range(n))
        model = models[name, 0].eval()
        model.zero_grad()
        l1(model(x), x).mean().backward()
        slope = sum(p.grad.square().sum() for p in model.parameters()).sqrt().item()
        with torch.no_grad():
            ink = model(x).mean().item()
        run.results.number(f"gradient_norm_{slug(name)}", slope, "norm of d L1 / d parameters")
        run.results.number(f"mean_output_{slug(name)}", ink, "mean x_hat")
        run.results.finding(
            f"d. collapse, {name}: {fallen[name]} of {n} seeds end at the black image "
            f"(test L1 {min(scores[name]):.4f} to {max(scores[name]):.4f}). Of seed 0 the "
            f"mean output is {ink:.4f} (input {x.mean():.4f}), the gradient's norm "
            f"{slope:.2g}.")
    run.results.finding(
        "d. collapse, the repair: the base differs from 'no normalisation, GELU' by batch "
        "normalisation alone and from 'linear output' by the sigmoid alone; with both, "
        f"{fallen['base']} of {len(scores['base'])} seeds end at the black image, "
        f"{sum(score < black for score in scores['base'])} below its error.")
    lines = {name: (range(1, len(h["val_l1"]) + 1), h["val_l1"])
             for (name, seed), h in history.items()
             if seed == 0 and name in ("base", *COLLAPSE["d. collapse"])}
    black_val = evaluate(lambda x, _: l1(torch.zeros_like(x), x), data.val)
    run.results.figure("collapse", plot.curves(
        lines | {"black image": black_val},
        f"{data.title}, d = {BASE['latent']}: the L1 collapse, validation images", "epoch",
        PIXEL, log_y=True))


@torch.no_grad()
def draw_reconstructions(run, data, test, models):
    """The first test image of each class through what the questions compare."""
    index = first_of_each_class(test.y)
    x = to_unit(test.x[index])
    rows = {"input": x}
    for name in ("d = 2", "d = 4", "base", "d = 32", "fully convolutional",
                 *COLLAPSE["d. collapse"]):
        with evaluating(models[name, 0]):
            rows[name.replace("base", "base, d = 12")] = models[name, 0](x)
    labels = [data.classes[c] for c in test.y[index]]
    run.results.figure("reconstructions", plot.image_rows(
        rows, f"{data.title}: input against reconstruction", labels))


SIZES = {"quick": {"seeds": 1, "epochs": 1, "images": 1500},
         "full": {"seeds": 3, "epochs": 10, "images": 60_000}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
