r"""Assignment 8, exercise 4: is a film review positive? A simple recurrent network reads it.

    python assignments/asst8_rnn.py            about 5 minutes on 2 CPU cores

The reviews of a batch differ in their number of words n; padding makes them equally long, T.
Reading h_T is the usual mistake ("unpacked"): do/dh_t = W_hq times T - t factors
diag(1 - h^2) W_hh. With torch's default weights each factor shrinks it: the gradient vanishes.
The remedy ("last") reads h_n, which depends on no later word. It starts from W_hh = I and
small embeddings, so that each factor is nearly I. "best" adds dropout and reads twice as many
words. Each is trained once. Two baselines are not networks: a bag of the words that "last"
reads, and one of all words and pairs with naive Bayes' weights. asst8_rnn_study.py changes one
thing at a time. Equations: theory/test_rnn.py, minidl/recurrence.py. Left out: LSTM, GRU.

    x_t = E[w_t]                                  E (V, 100), the words' embeddings
    h_t = tanh(W_xh x_t + W_hh h_{t-1} + b)       h_0 = 0; h_t (256,); t = 1 ... n
    o   = W_hq h_n + b_q,   p(positive | w) = sigmoid(o)
    minimise   the mean of -log p(y | w), in nats;   Adam, 64 reviews a step
"""
# sheet: S4.4

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl import bag_of_words, tune
from minidl.data import steps_per_epoch
from minidl.data.reviews import batches
from minidl.lab import cli, infer, paired
from minidl.schedules import one_cycle


class SentimentRNN(nn.Module):
    """Reviews w (B, T) of n (B,) words each -> o (B,), the log-odds of "positive"."""

    def __init__(self, V, d=100, h=256, dropout=0.0):
        super().__init__()
        self.E, self.dropout = nn.Embedding(V, d), nn.Dropout(dropout)
        self.rnn, self.W_hq = nn.RNN(d, h), nn.Linear(h, 1)

    def forward(self, w, n):
        x = self.dropout(self.E(w.T))       # x_t = E[w_t]: (B, T) -> (T, B, d)
        h, _ = self.rnn(x)                  # all h_t = tanh(W_xh x_t + W_hh h_{t-1} + b)
        h_n = h[n - 1, torch.arange(len(n), device=n.device)]   # (T, B, h) -> (B, h)
        return self.W_hq(h_n).squeeze(1)    # o, read after the last word


class PaddedRNN(SentimentRNN):
    """The usual mistake: all reviews are padded to T words, and the output reads h_T."""

    def __init__(self, V, T):
        super().__init__(V)
        self.T = T

    def forward(self, w, n):
        w = F.pad(w, (0, self.T - w.shape[1]))
        return super().forward(w, torch.full_like(n, self.T))


def identity_start(net):
    """Le, Jaitly and Hinton (2015), with ReLU: at first, h_n is the sum of all W_xh x_t."""
    nn.init.uniform_(net.E.weight, -0.05, 0.05)  # W_xh x_t is about 0.02: there tanh(a) = a
    nn.init.xavier_uniform_(net.rnn.weight_ih_l0)
    nn.init.eye_(net.rnn.weight_hh_l0)
    nn.init.zeros_(net.rnn.bias_ih_l0)
    nn.init.zeros_(net.rnn.bias_hh_l0)
    return net


def correct(o, y):
    """(N,), 1.0 for each review that is classified correctly: o > 0 means "positive"."""
    return ((o > 0) == (y == 1)).cpu().double()


def main(run,
         epochs: "passes over the training reviews, per network; amount" = 3,
         batch_size: "reviews per step" = 64,
         learning_rate: "peak of the one-cycle schedule; a tenth for W_hh" = 1e-3,
         longest: "words read of each review, from its end; amount" = 200,
         vocabulary: "V, the number of most frequent words that are kept" = 20_000,
         reviews: "training reviews used, validation included; amount" = 25_000):
    data = run.load_reviews(reviews, vocabulary)
    V = len(data.words)
    recipes = {"unpacked": (longest, lambda: PaddedRNN(V, longest)),
               "last": (longest, lambda: identity_start(SentimentRNN(V))),
               "best": (2 * longest, lambda: identity_start(SentimentRNN(V, dropout=0.5)))}
    nets, val, losses = {}, {}, {}
    for name, (words, build) in recipes.items():
        run.seed_everything(run.seed)       # the same order of reviews for all
        net = nets[name] = run.network(build(), bits=16)
        W_hh = net.rnn.weight_hh_l0         # applied n times, and so is each change of it
        others = [p for p in net.parameters() if p is not W_hh]
        optimizer = torch.optim.Adam([{"params": others},
                                      {"params": [W_hh], "lr": 0.1 * learning_rate}],
                                     learning_rate, fused=True)
        schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
        for _ in run.epochs(epochs, name, net=net, optimizer=optimizer, schedule=schedule):
            for w, n, y in batches(data.train, batch_size, run.generator, words):
                loss = F.binary_cross_entropy_with_logits(net(w, n), y.float())
                optimizer.zero_grad(); loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step(); schedule.step()
                run.track(len(y), training=loss)
            o, y = infer(net, data.val, words), data.val.y
            run.log(validation=F.binary_cross_entropy_with_logits(o, y.float()).item())
        losses |= {f"{name}, {part}": values for part, values in run.history.items()}
        val[name] = correct(infer(net, data.val, words), data.val.y)
    run.layers(nets["last"], *data.val.padded(torch.tensor([0]), longest))
    bags = {"bag of words": bag_of_words.fit(data.train, data.val, V, longest=longest),
            "words and pairs": bag_of_words.fit(data.train, data.val, V, pairs=True)}
    run.table("penalties", [{"bag": name} | tune.chosen(bag_of_words.LAMBDAS, bag.penalty)
                            for name, bag in bags.items()], "lambda, chosen on validation")

    # --- the test set, read once; two baselines without a network ----------------------------
    test = data.test()
    ok = {name: correct(infer(nets[name], test, words), test.y)
          for name, (words, _) in recipes.items()}
    ok |= {name: correct(bag.outputs(test), test.y) for name, bag in bags.items()}
    val |= {name: bag.val_accuracy for name, bag in bags.items()}
    run.scores("fraction", test_accuracy=ok, val_accuracy=val)
    run.curves("loss", "the loss; unpacked reads h_T, last and best read h_n",
               "mean cross-entropy, nats", **losses)
    run.claim("In one training of each, identity initialisation, read at the last real word, "
              "gives a higher accuracy than default initialisation, read after the padding.",
              paired(ok["last"], ok["unpacked"]))
    run.claim("In one training of each, \"best\" (dropout, twice as many words) has a higher "
              "test accuracy than \"last\".", paired(ok["best"], ok["last"]))
    run.claim("A bag of the words that \"last\" reads has a higher test accuracy than this "
              "training of \"last\".", paired(ok["bag of words"], ok["last"]))
    run.claim("The bag of words and pairs has a higher test accuracy than these three "
              "networks.", paired(ok["words and pairs"],
                                  max((ok[name] for name in nets), key=torch.mean)))


SIZES = {"quick": {"epochs": 2, "longest": 40, "reviews": 1500},
         "full": {"longest": 400}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
