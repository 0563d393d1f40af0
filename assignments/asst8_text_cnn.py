r"""Assignment 8, exercise 5: a 1-D CNN classifies film reviews; its sizes and parameters.

    python assignments/asst8_text_cnn.py            under 5 minutes on 2 CPU cores

Parameters: C_k (D k + 1) for each k, 52 + 125, and 2 (sum_k C_k + 1) = 20 for V and a: 197.
E adds D parameters per word. theory/test_textcnn.py proves all of it.

In a batch, short reviews are padded. A window that reaches into the padding is ignored, since
it could be the maximum. A review of fewer than k words has one window, with zeros at its end.
The baselines are a bag of words, without their order, and a bag of words and word pairs with
naive Bayes' weights (minidl/bag_of_words.py). The CNN is trained once, from random embeddings.

                                                     in Figure 15.14, one sentence
    w         T words, as rows of the table E                     (11,)
    X = E[w]                                                      (11, 6)
    Z^k[i, c] = b^k[c] + sum_{u<k} sum_{d<D} W^k[c, d, u] X[i+u, d],   0 <= i <= T-k
              windows of k words, k = 2 and 4                     (10, 4) and (8, 5)
    m^k[c] = max_i ReLU(Z^k[i, c])                                (4,) and (5,)
    m = [m^2; m^4]                                                (9,)
    o = V m + a,   p = softmax(o)                                 (2,)
    minimise   E -log p_y, in nats
"""
# sheet: S4.5a, S4.5b

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl import bag_of_words, tune
from minidl.data import steps_per_epoch
from minidl.data.reviews import batches
from minidl.evaluation import nats_and_accuracy_of
from minidl.lab import cli, infer, paired
from minidl.schedules import one_cycle


class MaxOverTime(nn.Module):
    """Z (B, C, windows) -> m (B, C), the largest ReLU(Z) of the windows inside the review."""

    def forward(self, Z, inside):
        return (Z.relu() * inside).max(dim=2).values    # outside: 0, never above a ReLU


class TextCNN(nn.Module):
    """Reviews w (B, T) of n (B,) words -> o (B, 2). What is after the n-th has no effect."""

    def __init__(self, words, D, channels, dropout=0.5):
        super().__init__()
        self.E = nn.Embedding(words, D, padding_idx=0)  # the padding's row is 0 and stays 0
        self.E.weight.data *= 0.1  # small: training soon outweighs the random start
        self.convolutions = nn.ModuleList(nn.Conv1d(D, C, k) for k, C in channels.items())
        self.pool, self.dropout = MaxOverTime(), nn.Dropout(dropout)
        self.output = nn.Linear(sum(channels.values()), 2)  # o = V m + a

    def forward(self, w, n):
        T, m = max(int(n.max()), *(f.kernel_size[0] for f in self.convolutions)), []
        t = torch.arange(T, device=w.device)
        w = F.pad(w, (0, T - w.shape[1])) * (t < n[:, None])    # cut, or padded, to T words
        X = self.E(w).mT                                        # (B, T, D) -> (B, D, T)
        for convolution in self.convolutions:
            Z, k = convolution(X), convolution.kernel_size[0]   # (B, C, T-k+1)
            inside = t[:T - k + 1] <= (n - k).clamp(min=0)[:, None, None]
            m.append(self.pool(Z, inside))                      # (B, C), of each k
        return self.output(self.dropout(torch.cat(m, dim=1)))


def main(run,
         epochs: "passes over the training reviews; amount" = 4,
         embedding: "D, dimension of a word's embedding" = 100,
         narrowest: "smallest k; the largest is 5; 1 to 5" = 3,
         channels: "C_k, filters for each k" = 100,
         batch_size: "reviews per step" = 64,
         learning_rate: "peak of the one-cycle schedule" = 2e-3,
         word_dropout: "share of words that are hidden in a training step; 0 to 0.9" = 0.2,
         dropout: "share of m that is set to 0 in a training step; 0 to 0.9" = 0.5,
         longest: "words read of each training review, from its end; amount" = 400,
         vocabulary: "V, the number of most frequent words that are kept" = 20_000,
         reviews: "training reviews used, validation included; amount" = 25_000):
    data = run.load_reviews(reviews, vocabulary)
    size = len(data.words), embedding, dict.fromkeys(range(narrowest, 6), channels)

    # --- (a) all sizes, (b) the number of parameters: of the figure's network and of ours ----
    sentence = torch.ones(1, 11, dtype=torch.long), torch.tensor([11])
    of_figure = run.layers(TextCNN(13, 6, {2: 4, 4: 5}), *sentence, name="layers_15_14")
    run.scores("trained parameters", table="parameters", parameters_figure_15_14=of_figure,
               parameters=run.layers(TextCNN(*size), *sentence, name="layers_trained"))

    run.seed_everything(run.seed)
    net = run.network(TextCNN(*size, dropout), bits=16)
    optimizer = torch.optim.AdamW(net.parameters(), learning_rate, (0.9, 0.98), fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for epoch in run.epochs(epochs, "max", net=net, optimizer=optimizer, schedule=schedule):
        for w, n, y in batches(data.train, batch_size, run.generator, longest):
            unseen = (torch.rand(w.shape, device=w.device) < word_dropout) & (w > 0)
            o = net(w.masked_fill(unseen, 1), n)                # 1: the unknown word
            loss = F.cross_entropy(o, y)                        # -log p_y, mean over reviews
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(y), train_loss=loss)
        nats, accuracy = nats_and_accuracy_of(infer(net, data.val), data.val.y)
        run.log(val_loss=nats, val_accuracy=accuracy)
        if nats == min(run.history["val_loss"]):
            run.keep("best", net.state_dict())
        if epoch == epochs:
            net.load_state_dict(run.kept["best"])   # the lowest validation loss
    bags = {"bag of words": bag_of_words.fit(data.train, data.val, len(data.words)),
            "words and pairs": bag_of_words.fit(data.train, data.val, len(data.words), True)}

    run.table("penalties", [{"bag": name} | tune.chosen(bag_of_words.LAMBDAS, bag.penalty)
                            for name, bag in bags.items()], "lambda, chosen on validation")

    # --- the test set, read once -------------------------------------------------------------
    test, history = data.test(), run.history
    right = {"CNN": infer(net, test).argmax(dim=1) == test.y}
    right |= {name: (bag.outputs(test) > 0) == (test.y == 1) for name, bag in bags.items()}
    val = {"CNN": min(zip(history["val_loss"], history["val_accuracy"], strict=True))[1]}
    val |= {name: bag.val_accuracy for name, bag in bags.items()}
    run.scores("fraction", own="CNN", test_accuracy=right, val_accuracy=val)
    run.curves("loss", "training and validation loss", "mean cross-entropy, nats",
               training=history["train_loss"], validation=history["val_loss"])
    run.claim("The network of Figure 15.14 has 197 parameters besides its embeddings.",
              of_figure - 13 * 6 == 197)
    run.claim("This CNN classifies more test reviews correctly than the bag of words.",
              paired(right["CNN"], right["bag of words"]))
    run.claim("The bag of words and pairs classifies more of them correctly than this CNN.",
              paired(right["words and pairs"], right["CNN"]))


SIZES = {"quick": {"epochs": 1, "embedding": 16, "narrowest": 5, "channels": 16,
                   "batch_size": 32, "learning_rate": 2e-2, "word_dropout": 0.0,
                   "dropout": 0.2, "longest": 100, "vocabulary": 2000, "reviews": 6000},
         "full": {"epochs": 5, "channels": 300, "word_dropout": 0.3}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
