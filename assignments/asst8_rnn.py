r"""Assignment 8, exercise 4: is a film review positive? A simple recurrent network reads it.

    x_t = E[w_t]                                 E (V, 100), a row a word
    h_t = tanh(W_xh x_t + W_hh h_{t-1} + b)      h_0 = 0; 256 numbers a state; t = 1 ... n
    o   = W_hq h_n + b_q,   p(positive | w) = sigmoid(o)
    minimise   E -log p(y | w), in nats;   Adam, 64 reviews a step

    python assignments/asst8_rnn.py            at most 8 minutes on 2 CPU cores
    python assignments/asst8_rnn.py --full     twice as many words of a review

theory/test_rnn.py proves what is used here, claims 71 to 79. Four networks with the same
training: torch's own start, read at t = T, after the padding (79); the same, read at t = n; a
start from which gradients get through all words; that one with dropout and more words. By
(6), do/dh_t is W_hq times n - t factors diag(1 - h^2) W_hh. torch's start makes each of them
small: words drawn from N(0, 1) saturate tanh, and W_hh shrinks. Small words and W_hh = I make
each nearly I (Le, Jaitly and Hinton, 2015, with ReLU), so that every word counts from the
first step on. asst8_rnn_reading.py shows how the networks read, asst8_rnn_study.py changes one
thing at a time. Left out: gates (LSTM, GRU), which the exercise does not ask for.
"""
# sheet: S4.4

import math
from typing import NamedTuple

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl import bag_of_words
from minidl.data.reviews import batches, outputs
from minidl.evaluation import FRACTION, NATS, evaluating
from minidl.lab import cli, plot
from minidl.lab.layers import layer_rows
from minidl.lab.precision import autocast
from minidl.lab.results import markdown
from minidl.recurrence import recurrence
from minidl.schedules import one_cycle


class Recipe(NamedTuple):
    start: str            # "torch" or "identity"
    read: str             # what the head sees: "padding" (h_T), "last" (h_n), "mean"
    dropout: float = 0.0  # share of the words' numbers that a training step does not see
    times: int = 1        # the setting `longest` times this many words are read


UNPACKED, PACKED = "torch's start, h_T", "torch's start, h_n"
CURED, BEST = "cured, h_n", "cured, dropout, twice the words"
RECIPES = {UNPACKED: Recipe("torch", "padding"), PACKED: Recipe("torch", "last"),
           CURED: Recipe("identity", "last"), BEST: Recipe("identity", "last", 0.5, times=2)}
BAG = "bag of words"
KEYS = {BAG: "bag_of_words", UNPACKED: "unpacked", PACKED: "torch_last", CURED: "last",
        BEST: "best"}


def main(run,
         epochs: "passes over the training reviews, each network; amount" = 3,
         batch_size: "reviews a step" = 64,
         learning_rate: "the highest of the one-cycle schedule; W_hh has a tenth" = 1e-3,
         longest: "words of a review that are read, its last ones; amount" = 200,
         vocabulary: "most frequent words that are told apart" = 20_000,
         precision: "of products in training, but W_hh's: auto, bfloat16, float32" = "auto",
         reviews: "training reviews used, validation included; amount" = 25_000):
    data = run.load_reviews(reviews, vocabulary)
    networks, curves = {}, {}
    for name, recipe in RECIPES.items():
        networks[name] = build(run, recipe, len(data.words), longest)
        curves[name] = train(run, name, networks[name], data, epochs, batch_size,
                             learning_rate, precision)
    rows = layer_rows(networks[CURED], *data.val.padded(torch.tensor([0]), longest))
    run.results.table("layers", rows, "The network, on one review")
    print(markdown(rows))
    bag = bag_of_words.fit(data.train, data.val, len(data.words))
    draw_curves(run, data, curves, bag)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    o = {BAG: bag.outputs(test)}
    o |= {name: logits(network, test) for name, network in networks.items()}
    report(run, data, test, o, {BAG: bag.val_accuracy} | {
        name: history["val_accuracy"][-1] for name, history in curves.items()}, curves)


# --- the network -----------------------------------------------------------------------------

class SimpleRNN(nn.RNN):
    """x (T, B, d) -> h (T, B, h): torch's RNN and its start, the equation in sight."""

    def states(self, x):
        """One by one, each with its gradient."""
        h, W_hh = x.new_zeros(x.shape[1], self.hidden_size), self.weight_hh_l0
        for a_t in self.inputs(x):
            h = torch.tanh(a_t + h @ W_hh.T)  # a review a row
            yield h

    def inputs(self, x):
        return F.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)

    def forward(self, x):
        """The same at once, and faster; its gradient is written by hand."""
        return recurrence(self.inputs(x), self.weight_hh_l0)


class SentimentRNN(nn.Module):
    """Reviews w (B, T), of n (B,) words each -> o (B,), the log-odds of "positive".

    Words after the n-th do not matter, bit for bit, unless the recipe reads the padding: the
    longest review of the batch sets how many are looked at.
    """

    def __init__(self, recipe, V, longest, d=100, h=256):
        super().__init__()
        self.read, self.longest = recipe.read, recipe.times * longest
        self.E, self.dropout = nn.Embedding(V, d), nn.Dropout(recipe.dropout)
        self.rnn, self.W_hq = SimpleRNN(d, h), nn.Linear(h, 1)
        if recipe.start == "identity":
            nn.init.uniform_(self.E.weight, -0.05, 0.05)  # a_t is 0.02 or so: tanh(a) = a
            nn.init.xavier_uniform_(self.rnn.weight_ih_l0)
            nn.init.eye_(self.rnn.weight_hh_l0)           # h_n is then the sum of W_xh x_t
            for b in (self.rnn.bias_ih_l0, self.rnn.bias_hh_l0):
                nn.init.zeros_(b)

    def forward(self, w, n):
        w, n = self.cut(w, n)
        h = self.rnn(self.dropout(self.E(w.T)))  # (T, B) -> (T, B, 100) -> (T, B, 256)
        return self.W_hq(self.reading(h, n)).squeeze(1)

    def cut(self, w, n):
        """-> w, n as the recipe wants them: up to the last word, or with all the padding."""
        if self.read == "padding":
            return F.pad(w, (0, self.longest - w.shape[1])), torch.full_like(n, self.longest)
        return w[:, :int(n.max())], n

    def reading(self, h, n):
        """What the head sees: (T, B, 256) -> (B, 256)."""
        if self.read == "mean":
            inside = torch.arange(len(h), device=h.device)[:, None] < n
            return (h * inside.unsqueeze(2)).sum(dim=0) / n[:, None]
        return h[n - 1, torch.arange(len(n), device=h.device)]


def build(run, recipe, V, longest):
    run.seed_everything(run.seed)  # the same order of reviews for all
    return SentimentRNN(recipe, V, longest).to(run.device)


def train(run, name, network, data, epochs, batch_size, learning_rate, precision,
          clip=1.0, W_hh_rate=0.1):
    """Minimise the cross-entropy on the training reviews; -> the history."""
    W_hh = [network.rnn.weight_hh_l0]
    others = [p for p in network.parameters() if p is not W_hh[0]]
    optimizer = torch.optim.Adam(  # W_hh acts n times over, and so does what it learns
        [{"params": others}, {"params": W_hh, "lr": W_hh_rate * learning_rate}],
        learning_rate, fused=True)
    steps = len(data.train.y) // min(batch_size, len(data.train.y))
    schedule = one_cycle(optimizer, epochs * steps)
    for _epoch in run.epochs(epochs, name, network=network, optimizer=optimizer,
                             schedule=schedule):
        network.train()
        for w, n, y in batches(data.train, batch_size, run.generator, network.longest):
            with autocast(run.device, precision):
                o = network(w, n)
            loss = F.binary_cross_entropy_with_logits(o.float(), y.float())
            optimizer.zero_grad(); loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step(); schedule.step()
            run.track(len(y), train_loss=loss)
        val_loss, val_accuracy = score(logits(network, data.val), data.val.y)
        run.log(val_loss=val_loss, val_accuracy=val_accuracy)
    return run.history


def logits(network, split):
    """o (N,) of every review of a split."""
    with evaluating(network):
        return outputs(network, split, network.longest)


def right(o, y):
    """(N,), 1.0 where the sign of o tells the class."""
    return ((o > 0) == (y == 1)).double()


def score(o, y):
    """-> (mean cross-entropy in nats, accuracy as a fraction)."""
    loss = F.binary_cross_entropy_with_logits(o.double(), y.double())
    return loss.item(), right(o, y).mean().item()


# --- what was learned ------------------------------------------------------------------------

def draw_curves(run, data, curves, bag):
    levels = {"loss": {}, "accuracy": {BAG: bag.val_accuracy}}
    for key, unit in (("loss", NATS), ("accuracy", "share of the reviews")):
        lines = {name: (range(1, len(history["val_loss"]) + 1), history[f"val_{key}"])
                 for name, history in curves.items()}
        run.results.figure(key, plot.curves(lines | levels[key], f"{data.title}\n{key} on "
                                            "the validation reviews", "epoch", unit))


def report(run, data, test, o, val, curves):
    """How often each is right, in a table and in sentences. val: name -> accuracy."""
    rows, number, finding = [], run.results.number, run.results.finding
    for name, key in KEYS.items():
        loss, accuracy = score(o[name], test.y)
        number(f"test_accuracy_{key}", accuracy, FRACTION, n=len(test.y))
        number(f"val_accuracy_{key}", val[name], FRACTION, n=len(data.val.y))
        rows.append({"network": name, "validation accuracy": val[name],
                     "test accuracy": accuracy, "test cross-entropy, nats": loss})
        gain = right(o[name], test.y) - right(o[BAG], test.y)
        sentence = (f"{data.title}, {name}: {accuracy:.2%} of the {len(test.y):,} test "
                    "reviews are told right")
        if name != BAG:
            error = gain.std().item() / len(gain) ** 0.5
            sentence += (f", {100 * gain.mean().item():+.2f} +- {100 * error:.2f} points "
                         f"against the {BAG} (paired, standard error)")
        finding(sentence + ".")
        if accuracy < 0.65:
            finding(f"{name}: FAILED, it has hardly learned: {loss:.3f} nats on the test "
                    f"reviews; guessing costs {math.log(2):.3f}.")
        if name in curves and (losses := curves[name]["val_loss"])[-1] > 1.05 * min(losses):
            finding(f"{name}: OVER-FITTED, its validation loss rose from {min(losses):.3f} "
                    f"after epoch {losses.index(min(losses)) + 1} to {losses[-1]:.3f}.")
    run.results.table("accuracy", rows, f"Accuracy on {data.title}")
    print(markdown(rows))


SIZES = {"quick": {"epochs": 2, "longest": 40, "reviews": 1500},
         "full": {"longest": 400}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
