r"""Assignment 8, exercise 4, a study: which part of the cure lets the recurrent network learn?

    python assignments/asst8_rnn_study.py            under 5 minutes on 2 CPU cores
    python assignments/asst8_rnn_study.py --full     more reviews and seeds

asst8_rnn.py starts from small words and W_hh = I, clips the gradient, and moves W_hh slowly.
Here one of these at a time is as torch has it; W_hh is another orthogonal matrix; the mean of
all states takes the place of the last one. Beside the accuracy stands by how much |do/dh_t|
changes a word further back, before training: what vanishes there cannot teach. A few reviews
only, so all are below asst8_rnn.py; each seed has its own start and order of reviews, the same
for all. The test reviews are not looked at.
"""
# sheet: S4.4

import math
from collections.abc import Callable
from typing import NamedTuple

import _path  # noqa: F401
from asst8_rnn import CURED, PACKED, RECIPES, Recipe, SentimentRNN, train
from asst8_rnn_reading import far_back
from torch import nn

from minidl.evaluation import FRACTION
from minidl.lab import cli, plot
from minidl.lab.results import markdown, slug
from minidl.lab.run import RunError


class Variant(NamedTuple):
    recipe: Recipe = RECIPES[CURED]
    start: Callable = lambda network: None  # what is then put in the place of its start
    training: dict | None = None            # of train(), other than there


VARIANTS = {
    CURED: Variant(),
    "words from N(0, 1)": Variant(start=lambda network: nn.init.normal_(network.E.weight)),
    "W_hh orthogonal": Variant(start=lambda network: nn.init.orthogonal_(
        network.rnn.weight_hh_l0)),
    "W_hh uniform": Variant(start=lambda network: nn.init.uniform_(
        network.rnn.weight_hh_l0, -1 / 16, 1 / 16)),
    "W_hh at the full rate": Variant(training={"W_hh_rate": 1.0}),
    "not clipped": Variant(training={"clip": math.inf}),
    "mean over time": Variant(Recipe("identity", "mean")),
    PACKED: Variant(RECIPES[PACKED]),
    "torch's start, mean over time": Variant(Recipe("torch", "mean"))}


def main(run,
         epochs: "passes over the training reviews; amount" = 2,
         seeds: "trainings of each variant; amount" = 3,
         batch_size: "reviews a step" = 64,
         learning_rate: "the highest of the one-cycle schedule" = 1e-3,
         longest: "words of a review that are read, its last ones; amount" = 100,
         vocabulary: "most frequent words that are told apart" = 20_000,
         precision: "of products in training, but W_hh's: auto, bfloat16, float32" = "auto",
         reviews: "training reviews used, validation included; amount" = 6000):
    if longest < 2:
        raise RunError(f"--longest {longest}: expected 2 or more, words to look back over")
    data = run.load_reviews(reviews, vocabulary)
    accuracy, per_word = {name: [] for name in VARIANTS}, {name: [] for name in VARIANTS}
    for seed in range(run.seed, run.seed + seeds):
        for name, variant in VARIANTS.items():
            run.seed_everything(seed)
            network = SentimentRNN(variant.recipe, len(data.words), longest).to(run.device)
            variant.start(network)
            norms = far_back(network, data.val)
            per_word[name].append(10 ** ((norms[-1] - norms[0]) / (len(norms) - 1)).item())
            run.seed_everything(seed)
            history = train(run, f"{name}, seed {seed}", network, data, epochs, batch_size,
                            learning_rate, precision, **(variant.training or {}))
            accuracy[name].append(history["val_accuracy"][-1])
    report(run, data, accuracy, per_word)


def report(run, data, accuracy, per_word):
    """A table, a figure, and each variant against the cure, paired by the seed."""
    rows, mean = [], run.results.mean
    for name, values in accuracy.items():
        key = slug(name)
        gain = [value - cured for value, cured in zip(values, accuracy[CURED], strict=True)]
        mean(f"val_accuracy_{key}", values, FRACTION)
        mean(f"paired_gain_{key}", gain, FRACTION)
        mean(f"gradient_per_word_{key}", per_word[name],
             "|do/dh_t| over |do/dh_{t+1}| at the start, geometric mean")
        found, against, factor = (run.results.numbers[f"{what}_{key}"] for what in (
            "val_accuracy", "paired_gain", "gradient_per_word"))
        rows.append({"variant": name, "validation accuracy": found["value"],
                     "std": found["std"], "against the cure": against["value"],
                     "std of that": against["std"], "gradient a word back": factor["value"]})
        if name != CURED:
            run.results.finding(
                f"{name}: {100 * against['value']:+.1f} +- {100 * against['std']:.1f} points "
                f"against \"{CURED}\", paired, n = {len(gain)}; at the start |do/dh_t| is "
                f"multiplied by {factor['value']:.3f} a word back.")
    run.results.table("variants", rows, f"One change at a time. {data.title}, validation")
    print(markdown(rows))
    run.results.figure("variants", plot.dots(
        accuracy, f"{data.title}\none change at a time, a dot a seed, a bar their mean",
        "accuracy, share of the validation reviews"))


SIZES = {"quick": {"epochs": 1, "seeds": 1, "longest": 20, "reviews": 500},
         "full": {"epochs": 3, "seeds": 5, "longest": 200, "reviews": 25_000}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
