r"""Assignment 8, exercise 5: a 1-D CNN that reads film reviews. Which phrases decide?

    X = E[w]                                            w (T,) words -> X (T, D)
    Z^k[i, c] = b^k[c] + sum_{u<k} sum_{d<D} W^k[c, d, u] X[i+u, d],    0 <= i <= T - k
    m^k[c] = max_i ReLU(Z^k[i, c]),   m = [m^k of every k],   o = V m + a,   p = softmax(o)

    python assignments/asst8_text_cnn.py            under 5 minutes on 2 CPU cores
    python assignments/asst8_text_cnn.py --full     wider and longer

The sizes of all tensors and the number of trained numbers, for Figure 15.14's own network and
for the one trained here, are those of theory/test_textcnn.py. Beside it stand a bag of words,
which knows no order, and the same network with the mean over time in the place of the maximum.
Each is taken as it was after the epoch with the least validation loss.
In a batch, short reviews are padded: a window that touches padding is left out of the maximum;
a review of fewer than k words has one window, its words and zeros. Since one window alone
wins in each channel, o_1 - o_0 is a sum over winning windows, a_1 - a_0 apart: this names the
phrases that decide. Left out: word vectors trained on other texts.
"""
# sheet: S4.5a, S4.5b

import math

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl import bag_of_words
from minidl.data.reviews import batches, outputs, turned
from minidl.evaluation import FRACTION, NATS, evaluating, nats_and_accuracy_of
from minidl.lab import cli, phrases, plot
from minidl.lab.checkpoint import Snapshots
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.precision import autocast
from minidl.lab.results import markdown
from minidl.lab.run import RunError
from minidl.schedules import one_cycle

FIGURE = {"words": 13, "D": 6, "channels": {2: 4, 4: 5}}  # 15.14; its words are not counted
BAG, MAX, MEAN = "bag of words", "max over time", "mean over time"
KEYS = {MAX: "", MEAN: "_mean", BAG: "_bag_of_words"}


def main(run,
         epochs: "passes over the training reviews; amount" = 4,
         embedding: "D, numbers a word" = 100,
         windows: "k, words that a window sees, separated by commas" = "3,4,5",
         channels: "filters of each k" = 100,
         batch_size: "reviews a step" = 64,
         learning_rate: "the highest of the one-cycle schedule" = 2e-3,
         word_dropout: "share of the words that a training step does not see" = 0.2,
         dropout: "share of m that a training step does not see" = 0.5,
         longest: "words of a training review that are read, its last ones; amount" = 400,
         vocabulary: "most frequent words that are told apart" = 20_000,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         reviews: "training reviews used, validation included; amount" = 25_000):
    channels_of = dict.fromkeys(whole_numbers(windows), channels)
    if max(word_dropout, dropout) >= 1:
        raise RunError(f"--word-dropout {word_dropout:g} --dropout {dropout:g}: expected less "
                       "than 1")
    data = run.load_reviews(reviews, vocabulary)
    size = {"words": len(data.words), "D": embedding, "channels": channels_of}
    report_sizes(run, {"of Figure 15.14": FIGURE, "trained": size})

    bag = bag_of_words.fit(data.train, data.val, len(data.words))
    networks, curves = {}, {}
    for name, pool in {MAX: MaxOverTime, MEAN: MeanOverTime}.items():
        run.seed_everything(run.seed)  # the same first weights, the same order of reviews
        networks[name] = TextCNN(**size, dropout=dropout, pool=pool()).to(run.device)
        curves[name] = train(run, name, networks[name], data, epochs, batch_size,
                             learning_rate, word_dropout, longest, precision)
    report_training(run, data, curves, bag.val_accuracy)
    phrases.show_filters(run, data, networks[MAX])
    report_padding(run, data, networks)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    o = {BAG: both(bag.outputs(test))} | {name: logits(network, test)
                                          for name, network in networks.items()}
    report_scores(run, data, test, o, {BAG: bag.val_accuracy} | {
        name: history["val_accuracy"][best(history)] for name, history in curves.items()})
    phrases.show_right_where_the_other_is_wrong(run, data, test, networks[MAX], o[MAX], o[BAG],
                                                BAG)


def whole_numbers(text):
    """'3,4,5' -> (3, 4, 5)."""
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise RunError(f"--windows {text}: expected whole numbers of at least 1, separated by "
                       "commas")
    return numbers


# --- the network -----------------------------------------------------------------------------

class TextCNN(nn.Module):
    """Reviews w (B, T), of n (B,) words each -> o (B, classes).

    What stands after the n-th word does not matter, bit for bit: the longest review of the
    batch sets how many words are looked at.
    """

    def __init__(self, words, D, channels, dropout=0.5, pool=None, classes=2):
        super().__init__()
        self.E = nn.Embedding(words, D, padding_idx=0)  # padding's row is 0 and stays so
        self.E.weight.data *= 0.1  # so that what is learned soon outweighs the random start
        self.convolutions = nn.ModuleList(Windows(D, C, k) for k, C in channels.items())
        self.pool, self.dropout = pool or MaxOverTime(), nn.Dropout(dropout)
        self.output = nn.Linear(sum(channels.values()), classes)  # o = V m + a

    def forward(self, w, n):
        m = [self.pool(Z, inside) for Z, inside in self.windows(w, n)]
        return self.output(self.dropout(torch.cat(m, dim=1)))

    def windows(self, w, n):
        """Z^k (B, C, T-k+1) of every k, and which windows hold words only (B, 1, T-k+1)."""
        sizes = [convolution.kernel_size[0] for convolution in self.convolutions]
        T = max(int(n.max()), *sizes)
        t = torch.arange(T, device=w.device)
        w = F.pad(w, (0, T - w.shape[1])) * (t < n[:, None])  # cut, or padded, to T words
        X = self.E(w)                                         # (B, T) -> (B, T, D)
        for k, convolution in zip(sizes, self.convolutions, strict=True):
            i = t[:T - k + 1]
            inside = i <= (n - k).clamp(min=0)[:, None]  # the first one counts in any case
            yield convolution(X), inside[:, None]


class Windows(nn.Conv1d):
    """X (B, T, D) -> Z (B, C, T-k+1): torch's Conv1d, 1.4 times as fast.

    As a 1 x k convolution of an image of 1 x T pixels, D colours each: a pixel's colours lie
    side by side in memory, as the products need them.
    """

    def forward(self, X):
        image = X.transpose(1, 2).unsqueeze(2)  # (B, T, D) -> (B, D, 1, T)
        return F.conv2d(image, self.weight.unsqueeze(2), self.bias).squeeze(2)


class MaxOverTime(nn.Module):
    """Z (B, C, windows) -> m (B, C), the largest ReLU(Z) of the windows inside.

    ReLU of the maximum is the maximum of the ReLUs, theory/test_textcnn.py, claim 84.
    """

    def forward(self, Z, inside):
        return Z.masked_fill(~inside, -math.inf).max(dim=2).values.relu()


class MeanOverTime(nn.Module):
    """The mean of the ReLUs in the maximum's place. It is not the ReLU of the mean."""

    def forward(self, Z, inside):
        return (Z.relu() * inside).sum(dim=2) / inside.sum(dim=2)


def trained_numbers(words, D, channels, classes=2):
    """D |words| + sum_k C_k (D k + 1) + classes (sum_k C_k + 1), theory/test_textcnn.py."""
    return (D * words + sum(C * (D * k + 1) for k, C in channels.items())
            + classes * (sum(channels.values()) + 1))


def report_sizes(run, networks, T=11):
    """Layer, shape and parameters of each network, for a sentence of T words."""
    for name, size in networks.items():
        network = TextCNN(**size)
        w = torch.ones(1, T, dtype=torch.long)
        rows = layer_rows(network, w, torch.tensor([T]))
        run.results.table(f"layers_{name.split()[-1]}".replace(".", "_"), rows,
                          f"The network {name}, for {T} words")
        print(f"The network {name}, for {T} words\n{markdown(rows)}")
        found, expected = parameter_count(network), trained_numbers(**size)
        table = size["words"] * size["D"]
        run.results.finding(
            f"The network {name}: {found - table:,} trained numbers and {size['D']} a word, "
            f"{found:,} with the table of {size['words']:,} words"
            f"{' (the figure does not count its words)' if size is FIGURE else ''}; the "
            f"formula gives {expected:,}.")
    run.results.number("parameters", found, "trained numbers")  # of the last, the trained one


def train(run, name, network, data, epochs, batch_size, learning_rate, word_dropout, longest,
          precision):
    """Minimise the cross-entropy; keep the epoch of least validation loss; -> the history."""
    kept = Snapshots()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.9, 0.98),
                                  fused=True)
    steps = max(1, len(data.train.y) // batch_size)
    schedule = one_cycle(optimizer, epochs * steps)
    for epoch in run.epochs(epochs, name, network=network, optimizer=optimizer,
                            schedule=schedule, kept=kept):
        network.train()
        for w, n, y in batches(data.train, batch_size, run.generator, longest):
            unseen = torch.rand(w.shape, device=w.device) < word_dropout
            with autocast(run.device, precision):
                o = network(w.masked_fill(unseen & (w > 0), 1), n)  # 1: a word not known
            loss = F.cross_entropy(o.float(), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(y), train_loss=loss)
        val_loss, val_accuracy = nats_and_accuracy_of(logits(network, data.val), data.val.y)
        run.log(val_loss=val_loss, val_accuracy=val_accuracy)
        if best(run.history) == epoch - 1:
            kept.clear()
            kept.take(epoch, network)
    network.load_state_dict(*kept.values())
    return run.history


def best(history):
    """The place of the least validation loss."""
    return min(range(len(history["val_loss"])), key=history["val_loss"].__getitem__)


def logits(network, split, read=None):
    """o (N, classes) of all of a split, of every word of its reviews; read: w, n -> o."""
    with evaluating(network):
        return outputs(read or network, split, int(split.lengths.max()), batch_size=64)


def both(o):
    """o (N,), the log-odds of class 1 -> (N, 2) with the same softmax."""
    return torch.stack([torch.zeros_like(o), o], dim=1)


# --- what was found --------------------------------------------------------------------------

def report_training(run, data, curves, level):
    """Loss and accuracy over the epochs, and which network over-fits from where on."""
    lines = {key: {f"{name}, {words}": (range(1, len(history[key]) + 1), history[key])
                   for name, history in curves.items()}
             for key, words in (("train_loss", "training"), ("val_loss", "validation"),
                                ("val_accuracy", "validation"))}
    run.results.figure("loss", plot.curves(
        lines["train_loss"] | lines["val_loss"], f"{data.title}: loss over training", "epoch",
        "mean cross-entropy, nats"))
    run.results.figure("accuracy", plot.curves(
        lines["val_accuracy"] | {f"{BAG}, validation": level},
        f"{data.title}: accuracy over training", "epoch", "accuracy, share of reviews"))
    for name, history in curves.items():
        loss, at = history["val_loss"], best(history)
        run.results.finding(
            f"The network with the {name} has its least validation loss after epoch {at + 1} "
            f"of {len(loss)}, {loss[at]:.3f} nats with an accuracy of "
            f"{history['val_accuracy'][at]:.2%}, and is taken as it was then; it ends with "
            f"{loss[-1]:.3f} nats and {history['val_accuracy'][-1]:.2%}"
            + (", so it over-fits." if loss[-1] > 1.05 * loss[at] else "."))


def report_padding(run, data, networks, words=200):
    """The failure: n read wrongly, so that padding is taken for words and may win."""
    for name, network in networks.items():
        def careless(w, n, network=network):
            return network(F.pad(w, (0, words)), torch.full_like(n, w.shape[1] + words))

        right, wrong = logits(network, data.val), logits(network, data.val, careless)
        changed = (right.argmax(dim=1) != wrong.argmax(dim=1)).double().mean().item()
        after = nats_and_accuracy_of(wrong, data.val.y)[1]
        run.results.number(f"val_accuracy_padding_read{KEYS[name]}", after, FRACTION)
        run.results.finding(
            f"Were {words} words of padding read as text, the network with the {name} would "
            f"judge {changed:.1%} of the validation reviews otherwise: accuracy {after:.2%} "
            f"instead of {nats_and_accuracy_of(right, data.val.y)[1]:.2%}.")


def report_scores(run, data, test, o, val):
    """Accuracies on the test reviews and, of the embedded corpus, on its halves."""
    right = {name: (values.argmax(dim=1) == test.y).double().cpu()
             for name, values in o.items()}
    rows, halves = [], halves_of(data, test)
    for name, values in o.items():
        ce, accuracy = nats_and_accuracy_of(values, test.y)
        shares = {half: right[name][own].mean().item() for half, own in halves.items()}
        rows.append({"reads with": name, "validation accuracy": val[name],
                     "test accuracy": accuracy, "test cross-entropy": ce} | shares)
        run.results.number(f"test_accuracy{KEYS[name]}", accuracy, FRACTION, n=len(test.y))
        run.results.number(f"test_cross_entropy{KEYS[name]}", ce, NATS, n=len(test.y))
        run.results.number(f"val_accuracy{KEYS[name]}", val[name], FRACTION)
        for half, share in shares.items():
            run.results.number(f"test_accuracy_{half}{KEYS[name]}", share, FRACTION)
        run.results.finding(
            f"{data.title}, {name}: {accuracy:.2%} of {len(test.y):,} test reviews are told "
            f"right, with {ce:.3f} nats" + "".join(
                f"; {share:.1%} of the {half} ones" for half, share in shares.items())
            + (". This is about as good as chance." if accuracy < 0.55 else "."))
    run.results.table("scores", rows, f"{data.title}: reviews told right")
    print(markdown(rows))
    for other in (MEAN, BAG):
        gain = right[MAX] - right[other]
        points = gain.mean().item()
        error = gain.std(correction=0).item() / len(gain)**0.5
        run.results.number(f"paired_gain_over{KEYS[other]}", points, FRACTION, n=len(gain))
        run.results.finding(
            f"{MAX.capitalize()} is right on {int((gain > 0).sum()):,} test reviews on which "
            f"{other} is wrong, and wrong on {int((gain < 0).sum()):,} on which that is "
            f"right: {100 * points:+.2f} points, standard error {100 * error:.2f} (of these "
            "reviews; one training each, and another would differ, too).")


def halves_of(data, split):
    """The embedded corpus' halves: {"turned": (N,), "plain": (N,)}; of others nothing."""
    if data.name != "embedded":
        return {}
    of_turned = turned(data, split)
    halves = {"turned": of_turned, "plain": ~of_turned}
    return {half: own for half, own in halves.items() if own.any()}


SIZES = {"quick": {"epochs": 1, "embedding": 16, "windows": "5", "channels": 16,
                   "batch_size": 32, "learning_rate": 2e-2, "word_dropout": 0.0,
                   "dropout": 0.2, "longest": 100, "vocabulary": 2000, "reviews": 6000},
         "full": {"epochs": 5, "channels": 300, "word_dropout": 0.3}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
