r"""Assignment 8, exercise 4, the performance: how do the recurrent networks read?

    |do/dh_t|, t = n, n-1, ...          from how far back the score o is felt
    o(w) - o(w without its t-th word)   which words push it, in nats

    python assignments/asst8_rnn_reading.py            under 2 minutes after asst8_rnn.py
    python assignments/asst8_rnn_reading.py --full

The networks are those of asst8_rnn.py, taken from its folder beside this one's or trained
here. The rest is what each makes of a review: whether padding or the batch change its score,
what is left when the words stand in a random order, and whether it reads the order where only
that tells (minidl/data/grammar.py: no bag of words can), how its accuracy depends on the
length.
"""
# sheet: S4.4

import copy

import _path  # noqa: F401
import asst8_rnn
import torch
import torch.nn.functional as F
from asst8_rnn import (
    BAG,
    BEST,
    CURED,
    KEYS,
    PACKED,
    RECIPES,
    build,
    logits,
    right,
    score,
    train,
)

from minidl import bag_of_words
from minidl.data.reviews import CLASSES, load, outputs, turned
from minidl.evaluation import FRACTION, evaluating
from minidl.lab import cli, flags, plot
from minidl.lab.results import markdown, slug
from minidl.lab.run import RunError
from minidl.recurrence import by_distance, pushes, shuffled


def main(run,
         longest: "words of a review that are read, its last ones; amount" = 200,
         vocabulary: "most frequent words that are told apart" = 20_000,
         embedded_epochs: "passes over the embedded corpus; amount" = 4,
         reviews: "training reviews used, validation included; amount" = 25_000):
    if longest < 2:
        raise RunError(f"--longest {longest}: expected 2 or more, words to look back over")
    data = run.load_reviews(reviews, vocabulary)
    settings = flags.settings(asst8_rnn.main, asst8_rnn.SIZES, run.size) | {
        "longest": longest, "vocabulary": vocabulary, "reviews": reviews}
    before, networks = {}, {}
    for name in (PACKED, CURED, BEST):
        before[name], networks[name] = found(run, data, name, settings)
    bag = bag_of_words.fit(data.train, data.val, len(data.words))
    show_gradients(run, data, before, networks)
    check_padding(run, data, networks[CURED])
    shuffle_words(run, data, networks)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    o = {BAG: bag.outputs(test)}
    o |= {name: logits(network, test) for name, network in networks.items()}
    by_length(run, data, test, o)
    show_pushes(run, data, test, networks[BEST], o[BEST])
    order_decides(run, settings, embedded_epochs)


def found(run, data, name, settings):
    """A network of asst8_rnn.py -> as it starts, as it ends."""
    before, after = (build(run, RECIPES[name], len(data.words), settings["longest"])
                     for _ in range(2))
    if not run.borrow("asst8_rnn", name, settings["epochs"], settings, network=after):
        print(f"{name}: no run of asst8_rnn.py with these settings beside this one: trained "
              "here")
        train(run, name, after, data, *(settings[key] for key in (
            "epochs", "batch_size", "learning_rate", "precision")))
    return before, after


def far_back(network, split, reviews=64):
    """-> mean of log10 |do/dh_{n-k}| over some reviews that are long enough, k = 0 ... T - 1.

    In float64: float32 would end at 1e-45. T: half of the reviews are as long, or it is all
    that the network reads.
    """
    T = min(network.longest, int(split.lengths.median()))
    index = (split.lengths >= T).nonzero().flatten()[:reviews]
    w, n = split.padded(index, T)
    network = copy.deepcopy(network).double().eval()
    h = list(network.rnn.states(network.E(w.T)))
    o = network.W_hq(network.reading(torch.stack(h), n))
    return by_distance(o, h, T).log10().mean(dim=0)


def show_gradients(run, data, before, networks):
    """|do/dh_t| against the distance n - t, before and after training: a figure, findings."""
    lines = {}
    for name in (PACKED, CURED):
        for when, network in (("at the start", before[name]), ("trained", networks[name])):
            norms = far_back(network, data.val)
            T, change = len(norms), (norms[-1] - norms[0]).item()
            shown = [k for k in range(0, T, max(1, T // 40)) if norms[k] > -12]
            lines[f"{name}, {when}"] = shown, [10 ** norms[k].item() for k in shown]
            run.results.number(f"gradient_per_word_{KEYS[name]}_{slug(when)}",
                               10 ** (change / (T - 1)),
                               "|do/dh_t| over |do/dh_{t+1}|, geometric mean")
            run.results.finding(
                f"{name}, {when}: |do/dh_t| is multiplied by {10 ** (change / (T - 1)):.3f} a "
                f"word further back; {T - 1} words before the last one it is 10^{change:.1f} "
                "of what it is there.")
    run.results.figure("gradient", plot.curves(
        lines, f"{data.title}\nhow far back the score is felt", "words before the last one",
        "|do/dh_t|, nats (geometric mean)", log_y=True))


def shuffle_words(run, data, networks):
    """Validation accuracy where the words of each review stand in a random order."""
    for name in (CURED, BEST):
        network, generator = networks[name], torch.Generator().manual_seed(run.seed)

        def dealt(w, n, network=network, generator=generator):
            return network(shuffled(w, n, generator), n)

        with evaluating(network):
            in_disorder = score(outputs(dealt, data.val, network.longest), data.val.y)[1]
        as_written = score(logits(network, data.val), data.val.y)[1]
        run.results.number(f"val_accuracy_{KEYS[name]}", as_written, FRACTION)
        run.results.number(f"val_accuracy_{KEYS[name]}_shuffled", in_disorder, FRACTION)
        run.results.finding(
            f"{name}: {as_written:.2%} of the validation reviews are told right as they were "
            f"written, {in_disorder:.2%} with the words of each in a random order.")


def by_length(run, data, test, o):
    """Accuracy in six parts of the test reviews, by length, each with its standard error."""
    n = test.lengths.double()
    edges = n.quantile(torch.linspace(0, 1, 7, dtype=n.dtype, device=n.device))[1:-1]
    part = torch.bucketize(n, edges.unique())
    parts = [part == i for i in part.unique()]
    rows = [{"words": f"{int(n[inside].min())} to {int(n[inside].max())}",
             "reviews": int(inside.sum())} for inside in parts]
    x, lines = [n[inside].mean().item() for inside in parts], {}
    for name in o:
        p = [right(o[name], test.y)[inside].mean().item() for inside in parts]
        for row, value in zip(rows, p, strict=True):
            row[name] = value
        lines[name] = x, p, [(row[name] * (1 - row[name]) / row["reviews"]) ** 0.5
                             for row in rows]
    run.results.table("by_length", rows, f"Accuracy by length, tests of {data.title}")
    run.results.figure("by_length", plot.curves(
        lines, f"{data.title}\ntest reviews by length, at least "
        f"{min(row['reviews'] for row in rows):,} a point", "words of a review, mean",
        "accuracy, share +- standard error"))
    run.results.finding(
        f"{BEST}: {rows[0][BEST]:.2%} of the test reviews of {rows[0]['words']} words are "
        f"told right, {rows[-1][BEST]:.2%} of those of {rows[-1]['words']}.")


def show_pushes(run, data, test, network, o):
    """The words that push a score up and down, in the surest, the wrongest, a close one."""
    margin = torch.where(test.y == 1, o, -o)
    index = {"surely positive": o.argmax(), "surely negative": o.argmin(),
             "wrongest": margin.argmin(), "closest": o.abs().argmin()}
    rows = []
    for what, i in index.items():
        w, n = test.padded(i[None], network.longest)
        push = pushes(network, w[0])
        order = push.argsort()

        def words(index, w=w[0], push=push):
            return ", ".join(f"{data.words[w[t]]} {push[t]:+.2f}" for t in index)

        rows.append({"review": what, "truth": CLASSES[test.y[i]], "o": o[i].item(),
                     "words": int(n), "push up": words(order.flip(0)[:5]),
                     "push down": words(order[:5])})
    run.results.table("pushes", rows, "o(w) - o(w without the word), nats: test reviews of "
                      f"{data.title}, {BEST}")
    print(markdown(rows))
    worst = rows[2]
    run.results.finding(f"{BEST}: the wrongest test review is {worst['truth']}, its score "
                        f"{worst['o']:+.1f} nats. Up push {worst['push up']}; down push "
                        f"{worst['push down']}.")


def check_padding(run, data, network):
    """What appended padding and the order of a batch change in the scores: measured."""
    index = torch.arange(min(256, len(data.val.y)))
    w, n = data.val.padded(index, network.longest)
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(run.seed))
    with torch.no_grad(), evaluating(network):
        o = network(w, n)
        padded = (network(F.pad(w, (0, 100)), n) - o).abs().max().item()
        dealt = (network(w[order], n[order]) - o[order]).abs().max().item()
    run.results.number("padding_changes_at_most", padded, "nats")
    run.results.number("order_changes_at_most", dealt, "nats")
    run.results.finding(
        f"{CURED}: 100 numbers of padding after each of {len(index)} reviews change no score "
        f"by more than {padded:.1g} nats, another order of the batch none by more than "
        f"{dealt:.1g}.")


def order_decides(run, settings, epochs):
    """The cured network and a bag of words on the turned reviews of the embedded corpus."""
    data = load("embedded", device=run.device, seed=run.seed)
    network = build(run, RECIPES[CURED], len(data.words), settings["longest"])
    train(run, "embedded corpus", network, data, epochs, settings["batch_size"],
          settings["learning_rate"], settings["precision"])
    bag, test = bag_of_words.fit(data.train, data.val, len(data.words)), data.test()
    of_turned, accuracy = turned(data, test), {}
    for name, o in ((CURED, logits(network, test)), (BAG, bag.outputs(test))):
        accuracy[name] = right(o, test.y)[of_turned].mean().item()
        run.results.number(f"turned_accuracy_{KEYS[name]}", accuracy[name], FRACTION,
                           n=int(of_turned.sum()))
    run.results.finding(
        f"Of {int(of_turned.sum())} test reviews of the {data.title} in which the order "
        f"decides, {CURED} tells {accuracy[CURED]:.1%} right and the {BAG} "
        f"{accuracy[BAG]:.1%}.")


SIZES = {"quick": {"longest": 40, "reviews": 600, "embedded_epochs": 1},
         "full": {"longest": 400}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
