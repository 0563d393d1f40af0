r"""Assignment 8, exercise 4, a study: which part of the remedy lets the network learn?

    do/dh_t = W_hq diag(1 - h_n^2) W_hh ... diag(1 - h_{t+1}^2) W_hh         if h_n is read

    python assignments/asst8_rnn_study.py            under 5 minutes on 2 CPU cores
    python assignments/asst8_rnn_study.py --full     more reviews and seeds

asst8_rnn.py starts from small words and W_hh = I, clips the gradient, and moves W_hh slowly.
Here one of these at a time is as torch has it, W_hh is another orthogonal matrix, or the mean
of all states is read. The figure "gradient" shows |do/dh_t| before training. Words from
N(0, 1) saturate tanh, and torch's W_hh shrinks: either makes the product vanish, so the early
words of a review teach nothing at first. The mean over time gives each state a gradient of its
own. Through an orthogonal W_hh the gradient reaches as far as through W_hh = I, but less is
learned: reach alone is not enough. Few reviews are used, so all accuracies are below those of
asst8_rnn.py. For each seed, all variants see the same reviews in the same order.
"""
# sheet: S4.4

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from asst8_rnn import SentimentRNN, correct, identity_start
from torch import nn

from minidl.data import steps_per_epoch
from minidl.data.reviews import batches
from minidl.lab import cli, infer, paired, plot
from minidl.recurrence import by_distance, one_by_one
from minidl.schedules import one_cycle


class MeanRNN(SentimentRNN):
    """The head reads the mean of h_1 ... h_n."""

    def read(self, h, n):
        inside = torch.arange(len(h), device=h.device)[:, None] < n
        return (h * inside.unsqueeze(2)).sum(dim=0) / n[:, None]  # (T, B, h) -> (B, h)


class Variant(NamedTuple):
    kind: type = SentimentRNN
    start: Callable = identity_start         # what is done to torch's own start,
    change: Callable = lambda net: net       # and what to that
    W_hh_rate: float = 0.1                   # of the learning rate
    clip: float = 1.0                        # the largest norm of a step's gradient


CURED, TORCH, TORCH_MEAN = "cured, h_n", "torch's start, h_n", "torch's start, mean over time"
LARGE, UNIFORM, FAST = "words from N(0, 1)", "W_hh uniform", "W_hh at the full rate"
VARIANTS = {
    CURED: Variant(),
    LARGE: Variant(change=lambda net: nn.init.normal_(net.E.weight)),
    "W_hh orthogonal": Variant(change=lambda net: nn.init.orthogonal_(net.rnn.weight_hh_l0)),
    UNIFORM: Variant(change=lambda net: nn.init.uniform_(  # torch's, 1 / sqrt(256)
        net.rnn.weight_hh_l0, -1 / 16, 1 / 16)),
    FAST: Variant(W_hh_rate=1.0),
    "not clipped": Variant(clip=math.inf),
    "mean over time": Variant(MeanRNN),
    TORCH: Variant(start=lambda net: net),
    TORCH_MEAN: Variant(MeanRNN, start=lambda net: net)}


def reach(net, split, longest, reviews=64):
    """log10 |do/dh_{T-k}|, k = 0 ... T - 1: its mean over some reviews of T words or more.

    T: half of the reviews are as long, or `longest`. In float64: float32 ends at 1e-45.
    """
    T = min(longest, int(split.lengths.median()))
    index = (split.lengths >= T).nonzero().flatten()[:reviews]
    w, n = split.padded(index, T)
    net = copy.deepcopy(net).double().to(w.device)
    h = list(one_by_one(net.rnn, net.E(w.T)))
    o = net.W_hq(net.read(torch.stack(h), n))
    return by_distance(o, h).log10().mean(dim=0).cpu()


def main(run,
         epochs: "passes over the training reviews; amount" = 2,
         seeds: "trainings of each variant; amount" = 3,
         batch_size: "reviews a step" = 64,
         learning_rate: "the highest of the one-cycle schedule" = 1e-3,
         longest: "words of a review that are read, its last ones; >= 2; amount" = 100,
         vocabulary: "most frequent words that have a number" = 20_000,
         reviews: "training reviews used, validation included; amount" = 6000):
    data = run.load_reviews(reviews, vocabulary)
    accuracy, norms = {name: [] for name in VARIANTS}, {name: [] for name in VARIANTS}
    for seed in run.seeded(seeds):
        for name, variant in VARIANTS.items():
            run.seed_everything(seed)
            net = variant.start(variant.kind(len(data.words)))
            variant.change(net)
            norms[name].append(reach(net, data.val, longest))
            net, W_hh = run.network(net, bits=16), net.rnn.weight_hh_l0
            others = [p for p in net.parameters() if p is not W_hh]
            optimizer = torch.optim.Adam(
                [{"params": others},
                 {"params": [W_hh], "lr": variant.W_hh_rate * learning_rate}],
                learning_rate, fused=True)
            schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
            for _ in run.epochs(epochs, f"{name}, seed {seed}", net=net, optimizer=optimizer,
                                schedule=schedule):
                for w, n, y in batches(data.train, batch_size, run.generator, longest):
                    loss = F.binary_cross_entropy_with_logits(net(w, n), y.float())
                    optimizer.zero_grad(); loss.backward()
                    nn.utils.clip_grad_norm_(net.parameters(), variant.clip)
                    optimizer.step(); schedule.step()
                    run.track(len(y), training=loss)
            o = infer(net, data.val, longest)
            accuracy[name].append(correct(o, data.val.y).mean().item())

    gain = {name: [a - cured for a, cured in zip(values, accuracy[CURED], strict=True)]
            for name, values in accuracy.items()}
    per_word = {name: [10 ** ((k[-1] - k[0]) / (len(k) - 1)).item() for k in seen]
                for name, seen in norms.items()}
    run.scores("fraction", val_accuracy=accuracy, paired_gain=gain)
    run.scores("|do/dh_t| over |do/dh_{t+1}| at the start, geometric mean", table="gradient",
               gradient_per_word=per_word)
    run.results.figure("variants", plot.dots(
        accuracy, f"{run.title}: one change at a time, a dot a seed, a bar their mean",
        "accuracy, share of the validation reviews"))
    means = {name: 10 ** torch.stack(norms[name]).mean(dim=0) for name in (
        CURED, "W_hh orthogonal", LARGE, UNIFORM, TORCH, TORCH_MEAN)}
    run.results.figure("gradient", plot.curves(
        {name: (range(len(k)), k.tolist()) for name, k in means.items()},
        f"{run.title}: how far back the gradient reaches before training",
        "words before the last one", "|do/dh_t|, geometric mean", log_y=True))
    run.claim("From small words and W_hh = I, the network classifies more reviews correctly "
              "than from torch's start.", paired(accuracy[CURED], accuracy[TORCH]))
    run.claim("Small words help: with words from N(0, 1) it classifies fewer correctly.",
              paired(accuracy[CURED], accuracy[LARGE]))
    run.claim("W_hh = I helps: with a uniform W_hh it classifies fewer correctly.",
              paired(accuracy[CURED], accuracy[UNIFORM]))
    run.claim("A small rate for W_hh helps: at the full rate it classifies fewer correctly.",
              paired(accuracy[CURED], accuracy[FAST]))
    run.claim("From torch's start, reading the mean over time helps.",
              paired(accuracy[TORCH_MEAN], accuracy[TORCH]))


SIZES = {"quick": {"epochs": 1, "seeds": 1, "longest": 20, "reviews": 500},
         "full": {"epochs": 3, "seeds": 5, "longest": 200, "reviews": 25_000}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
