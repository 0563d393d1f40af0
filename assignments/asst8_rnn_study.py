r"""Assignment 8, exercise 4, a study: which part of the remedy lets the network learn?

    python assignments/asst8_rnn_study.py            under 5 minutes on 2 CPU cores

The remedy of asst8_rnn.py, "identity start", has small embeddings and W_hh = I, clips the
gradient, and moves W_hh slowly. Here one of these at a time is torch's default, or W_hh is
another orthogonal matrix. Embeddings from N(0, 1) saturate tanh, and torch's W_hh shrinks the
gradient. Either makes the product below vanish, so early words have no influence at first.
With an orthogonal W_hh the gradient reaches as far as with I: does reach alone suffice? For
each seed, all variants see the same few reviews in the same order.

    do/dh_t = W_hq diag(1 - h_n^2) W_hh ... diag(1 - h_{t+1}^2) W_hh         if h_n is read
"""
# sheet: S4.4

import copy

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from asst8_rnn import SentimentRNN, correct, identity_start
from torch import nn

from minidl.data import steps_per_epoch
from minidl.data.reviews import batches
from minidl.lab import cli, infer, paired, plot
from minidl.recurrence import gradient_norms
from minidl.schedules import one_cycle

IDENTITY, TORCH, LARGE = "identity start", "default start", "embeddings from N(0, 1)"
ORTHOGONAL, UNIFORM, FAST = "W_hh orthogonal", "W_hh uniform", "W_hh at the full rate"
CHANGES = {  # variant -> what it changes in the identity start
    LARGE: lambda net: nn.init.normal_(net.E.weight),
    ORTHOGONAL: lambda net: nn.init.orthogonal_(net.rnn.weight_hh_l0),
    UNIFORM: lambda net: nn.init.uniform_(net.rnn.weight_hh_l0, -1 / 16, 1 / 16)}  # as torch
VARIANTS = IDENTITY, *CHANGES, FAST, "not clipped", TORCH


def build(name, V):
    """The network of a variant, before training."""
    net = SentimentRNN(V)
    if name != TORCH:
        identity_start(net)
    if name in CHANGES:
        CHANGES[name](net)
    return net


def reach(net, split, longest, reviews=64):
    """log10 |do/dh_{T-k}|, k = 0 ... T - 1: its mean over some reviews of T words or more.

    T is the median length, at most `longest`. In float64, since float32 ends at 1e-45.
    """
    T = min(longest, int(split.lengths.median()))
    w, _ = split.padded((split.lengths >= T).nonzero().flatten()[:reviews], T)
    net = copy.deepcopy(net).cpu().double()
    return gradient_norms(net.rnn, net.W_hq, net.E(w.cpu().T)).log10().mean(dim=0)


def main(run,
         epochs: "passes over the training reviews; amount" = 2,
         seeds: "trainings of each variant; amount" = 3,
         batch_size: "reviews per step" = 64,
         learning_rate: "peak of the one-cycle schedule" = 1e-3,
         longest: "words read of each review, from its end; >= 2; amount" = 100,
         vocabulary: "V, the number of most frequent words that are kept" = 20_000,
         reviews: "training reviews used, validation included; amount" = 6000):
    data = run.load_reviews(reviews, vocabulary)
    accuracy, norms = {name: [] for name in VARIANTS}, {name: [] for name in VARIANTS}
    for seed in run.seeded(seeds):
        for name in VARIANTS:
            run.seed_everything(seed)
            net = build(name, len(data.words))
            norms[name].append(reach(net, data.val, longest))
            net, W_hh = run.network(net, bits=16), net.rnn.weight_hh_l0
            others = [p for p in net.parameters() if p is not W_hh]
            slow = learning_rate if name == FAST else 0.1 * learning_rate
            optimizer = torch.optim.Adam([{"params": others},
                                          {"params": [W_hh], "lr": slow}],
                                         learning_rate, fused=True)
            schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
            for _ in run.epochs(epochs, f"{name}, seed {seed}", net=net, optimizer=optimizer,
                                schedule=schedule):
                for w, n, y in batches(data.train, batch_size, run.generator, longest):
                    loss = F.binary_cross_entropy_with_logits(net(w, n), y.float())
                    optimizer.zero_grad(); loss.backward()
                    if name != "not clipped":
                        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                    optimizer.step(); schedule.step()
                    run.track(len(y), training=loss)
            o = infer(net, data.val, longest)
            accuracy[name].append(correct(o, data.val.y).mean().item())

    gain = {name: [a - best for a, best in zip(values, accuracy[IDENTITY], strict=True)]
            for name, values in accuracy.items()}
    per_word = {name: [10 ** ((k[-1] - k[0]) / (len(k) - 1)).item() for k in seen]
                for name, seen in norms.items()}
    run.scores("fraction", val_accuracy=accuracy, paired_gain=gain)
    run.scores("|do/dh_t| / |do/dh_{t+1}| before training, geometric mean", table="gradient",
               gradient_per_word=per_word)
    run.results.figure("variants", plot.dots(
        accuracy, f"{run.title}: one change at a time", "accuracy on validation reviews"))
    means = {name: 10 ** torch.stack(norms[name]).mean(dim=0) for name in (
        IDENTITY, ORTHOGONAL, LARGE, UNIFORM, TORCH)}
    run.results.figure("gradient", plot.curves(
        {name: (range(len(k)), k.tolist()) for name, k in means.items()},
        f"{run.title}: how far back the gradient reaches before training",
        "words before the last one", "|do/dh_t|, geometric mean", log_y=True))
    run.claim("Identity initialisation gives a higher accuracy than torch's default.",
              paired(accuracy[IDENTITY], accuracy[TORCH]))
    for name, sentence in (
            (LARGE, "Small embeddings help: those from N(0, 1) give a lower accuracy."),
            (ORTHOGONAL, "Reach is not all: an orthogonal W_hh gives a lower accuracy."),
            (UNIFORM, "W_hh = I helps: a uniform W_hh gives a lower accuracy."),
            (FAST, "A small rate for W_hh helps: the full rate gives a lower accuracy.")):
        run.claim(sentence, paired(accuracy[IDENTITY], accuracy[name]))


SIZES = {"quick": {"epochs": 1, "seeds": 1, "longest": 20, "reviews": 500},
         "full": {"epochs": 3, "seeds": 5, "longest": 200, "reviews": 25_000}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
