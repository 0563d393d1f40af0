"""Assignment 8's recurrent network: its equations, its padding, its starts.

Two ways to the same number are compared in float64. A step sums 356 products, whose sizes add
up to 6 or so: it is off by 356 * 6 * 2^-53 = 2e-13. 30 steps are, times at most |W_hh|^30 =
1.16^30 = 86 (uniform within +- 1/16), 6e-10.
"""

import pytest
import torch
import torch.nn.functional as F
from asst8_rnn import PaddedRNN, SentimentRNN, correct, identity_start
from test_reviews import turned

from minidl import bag_of_words
from minidl.lab import infer
from minidl.lab.run import Run
from minidl.recurrence import gradient_norms

pytestmark = pytest.mark.numeric
V, LONGEST = 118, 30
CLOSE = {"rtol": 0, "atol": 1e-9}  # of float64, see above


def networks():
    """The page's, by their kind and start."""
    torch.manual_seed(0)
    made = {"padded": PaddedRNN(V, LONGEST), "torch": SentimentRNN(V),
            "identity": identity_start(SentimentRNN(V))}
    return {name: net.double() for name, net in made.items()}


def some_reviews(B=6, T=17):
    generator = torch.Generator().manual_seed(0)
    n = torch.randint(1, T + 1, (B,), generator=generator)
    n[0] = T
    w = torch.randint(1, V, (B, T), generator=generator)
    return w * (torch.arange(T) < n[:, None]), n


@pytest.mark.parametrize("name", ["padded", "torch", "identity"])
def test_o_is_what_the_equations_say(name):
    """A loop over the words of each review; of the mistake, over its padding too."""
    (w, n), net = some_reviews(), networks()[name]
    W_xh, W_hh, b_ih, b_hh = net.rnn.parameters()
    for i, o in enumerate(net(w, n)):
        words = w[i, :n[i]].tolist()
        if name == "padded":
            words += [0] * (LONGEST - len(words))
        h = torch.zeros(256, dtype=torch.float64)
        for word in words:
            h = torch.tanh(W_xh @ net.E.weight[word] + W_hh @ h + b_ih + b_hh)
        torch.testing.assert_close(net.W_hq(h)[0], o, **CLOSE)


def test_trap_12_no_score_depends_on_padding_or_on_the_other_reviews_of_the_batch():
    """Read at T instead of n, it does."""
    w, n = some_reviews()
    made = networks()
    for name in ("torch", "identity"):
        net = made[name]
        o = net(w, n)
        torch.testing.assert_close(net(F.pad(w, (0, 13)), n), o, **CLOSE)
        torch.testing.assert_close(net(w + (w == 0) * 5, n), o, **CLOSE)  # after the n-th word
        alone = [net(w[i:i + 1, :n[i]], n[i:i + 1]) for i in range(len(w))]
        torch.testing.assert_close(torch.cat(alone), o, **CLOSE)
    naive = made["padded"]
    naive.T = 17
    o = naive(w, n)
    naive.T = 20
    assert (naive(w, n) - o).abs().max() > 1e-2


@pytest.mark.parametrize(("name", "low", "high"), [("torch", 0, 0.6), ("identity", 0.95, 1)])
def test_the_gradient_vanishes_from_torchs_start_and_not_from_the_identity(name, low, high):
    """Against a product of factors diag(1 - h^2) W_hh, theory/appendix/test_bptt.py, (5)."""
    w = torch.randint(1, V, (4, 25), generator=torch.Generator().manual_seed(3))
    net = networks()[name]
    norms = gradient_norms(net.rnn, net.W_hq, net.E(w.T))
    h, W_hh, g = net.rnn(net.E(w.T))[0], net.rnn.weight_hh_l0, net.W_hq.weight[0]
    for k in range(25):  # from do/dh_n = W_hq on, one factor a word further back
        torch.testing.assert_close(norms[0, k], g.norm(), **CLOSE)
        g = ((1 - h[24 - k, 0] ** 2) * g) @ W_hh
    per_word = (norms[:, -1] / norms[:, 0]) ** (1 / 24)
    assert low < per_word.min() and per_word.max() < high, (name, per_word)


@pytest.mark.parametrize(("page", "training", "settings"), [
    ("asst8_rnn", "last", {"batch_size": 32, "learning_rate": 3e-3}),
    ("asst8_text_cnn", "max", {})])
def test_a_network_reads_the_order_and_a_bag_of_words_cannot(
        page, training, settings, tmp_path):
    """On the embedded corpus: at least 95% of the turned reviews, and chance."""
    run = Run("reader", "quick", {}, out=tmp_path, sheet_data="imdb", data="embedded")
    data = run.load_reviews()
    net = run.trained(page, training, epochs=1, longest=60, reviews=6000, **settings)
    bag = bag_of_words.fit(data.train, data.val, len(data.words))
    test = data.test()
    of_turned, o = turned(data, test), infer(net, test, 60)
    o = o[:, 1] - o[:, 0] if o.ndim == 2 else o  # the CNN has an output for each class
    network, words = (correct(found, test.y)[of_turned].mean().item()
                      for found in (o, bag.outputs(test)))
    assert network >= 0.95 and words <= 0.5, (network, words)
