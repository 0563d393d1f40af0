r"""Homework 2, SimCLR, studied: which augmentation matters?

    python assignments/hw2_simclr_study.py       under 5 minutes on 2 CPU cores

Two views of an image share what no augmentation changes, and that is what the features keep.
Each augmentation is left out, or used alone, in shorter trainings of hw2_simclr.py's encoder
with half the filters and half the batch; the choices are paired by seed and judged by a linear
probe with all labels of the training images. All numbers are of validation images.
"""
# sheet: S0.5c

import statistics

import _path  # noqa: F401
from hw2_simclr import SIMCLR, accuracy, augmentations_of, check, features, probe, train

from minidl.data import Split
from minidl.evaluation import FRACTION
from minidl.frozen import frozen
from minidl.lab import cli, plot
from minidl.lab.results import deviation, markdown, slug


def main(run,
         epochs: "passes of a training; amount" = 3,
         seeds: "trainings with each choice of augmentations; amount" = 3,
         subset: "training images of these; amount" = 8000,
         batch_size: "images a step, N" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 3e-3,
         tau: "the temperature" = 0.2,
         filters: "of the encoder's first convolution; 8 times as many features" = 16,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    check(batch_size, filters, tau)
    data = run.load(images)
    kinds, part = augmentations_of(data), Split(*(t[:subset] for t in data.train))
    choices = ({"all": kinds} | {f"{k} alone": [k] for k in kinds} | {"none": []}
               | {f"without {k}": [other for other in kinds if other != k] for k in kinds})
    scores = {choice: [] for choice in choices}
    for choice, seed in ((c, s) for s in range(run.seed, run.seed + seeds) for c in choices):
        encoder = train(run, f"{choice}, seed {seed}", SIMCLR, part, choices[choice], seed,
                        filters, epochs, batch_size, learning_rate, tau, precision)
        with frozen(encoder):
            known, held_out = (features(run, encoder, split, precision)
                               for split in (part, data.val))
            scores[choice].append(accuracy(probe(known), held_out))
    report(run, data, kinds, scores)


def report(run, data, kinds, scores):
    """Validation accuracy with an augmentation left out, or alone; paired by seed."""
    mean, rows = {choice: statistics.mean(values) for choice, values in scores.items()}, []
    gains = {choice: [100 * (a - b) for a, b in zip(values, scores["all"], strict=True)]
             for choice, values in scores.items()}
    for choice, values in scores.items():
        rows.append({"augmentations": choice, "validation accuracy": mean[choice],
                     "std": deviation(values), "paired difference to all, points":
                     told(gains[choice], "±")})
        run.results.mean(f"augmentations_{slug(choice)}", values, FRACTION)
        if choice != "all":
            run.results.mean(f"paired_{slug(choice)}", gains[choice], "points above all")
    run.results.table("augmentations", rows, f"{data.title}: linear probe")
    print(markdown(rows))
    run.results.figure("augmentations", plot.dots(
        scores, f"{data.title}: SimCLR's views; a dot is a seed, the bar their mean",
        "validation accuracy of a linear probe, share of images"))
    best = max(kinds, key=lambda k: mean[f"{k} alone"])
    run.results.finding(
        f"{data.title}: all augmentations give {mean['all']:.1%} of the "
        f"validation images, none {mean['none']:.1%}; the highest with one alone is {best}, "
        f"{mean[f'{best} alone']:.1%}.")
    for place, of in (("lowest", min), ("highest", max)):
        choice = of((f"without {k}" for k in kinds), key=mean.get)
        gain = gains[choice]
        run.results.finding(
            f"With one left out the {place} is {choice}, {mean[choice]:.1%}: "
            f"{told(gain, '+-')} points beside all, paired, higher for "
            f"{sum(g > 0 for g in gain)} of {len(gain)} seeds.")


def told(gains, sign):
    """The mean and the deviation of paired gains, in words."""
    return f"{statistics.mean(gains):+.2f} {sign} {deviation(gains):.2f}"


SIZES = {"quick": {"epochs": 1, "seeds": 1, "subset": 200, "batch_size": 32, "filters": 2,
                   "images": 1000},
         "full": {"epochs": 5, "seeds": 5, "subset": 60_000, "filters": 32}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
