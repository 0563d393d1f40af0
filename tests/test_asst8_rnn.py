"""Assignment 8's recurrent network: its equations, its padding, its starts.

Two ways to the same number are compared in float64. A step sums 356 products, whose sizes add
up to 6 or so: it is off by 356 * 6 * 2^-53 = 2e-13. 30 steps are, times at most |W_hh|^30 =
1.16^30 = 86 (uniform within +- 1/16), 6e-10.
"""

import dataclasses

import asst8_rnn
import pytest
import torch
import torch.nn.functional as F
from asst8_rnn import BAG, BEST, CURED, PACKED, RECIPES, UNPACKED, SentimentRNN
from torch import nn

from minidl import bag_of_words, recurrence
from minidl.data.reviews import load, turned
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric
V, LONGEST = 118, 30
CLOSE = {"rtol": 0, "atol": 1e-9}  # of float64, see above


@pytest.fixture(scope="module")
def embedded():
    return load("embedded", say=lambda text: None)


def network_of(name, seed=0):
    torch.manual_seed(seed)
    return SentimentRNN(RECIPES[name], V, LONGEST).eval().double()


def some_reviews(B=6, T=17, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = torch.randint(1, T + 1, (B,), generator=generator)
    n[0] = T
    w = torch.randint(1, V, (B, T), generator=generator)
    return w * (torch.arange(T) < n[:, None]), n


# --- the network -----------------------------------------------------------------------------

def test_o_is_what_the_equations_say():
    """A loop over the words of each review, for what each recipe reads."""
    w, n = some_reviews()
    torch.manual_seed(0)
    recipes = [*RECIPES.values(), asst8_rnn.Recipe("torch", "mean")]
    for recipe in recipes:
        network = SentimentRNN(recipe, V, LONGEST).eval().double()
        W_xh, W_hh, b_ih, b_hh = network.rnn.parameters()
        for i, o in enumerate(network(w, n)):
            h, states = torch.zeros(256, dtype=torch.float64), []
            words = w[i, :n[i]].tolist()
            if recipe.read == "padding":
                words += [0] * (LONGEST - len(words))
            for word in words:
                h = torch.tanh(W_xh @ network.E.weight[word] + W_hh @ h + b_ih + b_hh)
                states.append(h)
            read = torch.stack(states).mean(dim=0) if recipe.read == "mean" else h
            torch.testing.assert_close(network.W_hq(read)[0], o, **CLOSE)


def test_the_parameters_are_the_formulas():
    """100 V + 91,648 + 257 with torch's two biases: theory/test_rnn.py, claim 72."""
    network = network_of(CURED)
    assert sum(p.numel() for p in network.parameters()) == 100 * V + 91_648 + 257


def test_trap_12_appended_padding_changes_no_score_by_a_bit():
    """Nor do the words of the others in the batch; what is read at T does change."""
    w, n = some_reviews()
    for name in (PACKED, CURED, BEST):
        network = network_of(name)
        o = network(w, n)
        for a in (1, 13, 200):
            assert torch.equal(network(F.pad(w, (0, a)), n), o), name
        alone = torch.cat([network(w[i:i + 1], n[i:i + 1]) for i in range(len(w))])
        torch.testing.assert_close(alone, o, **CLOSE)
        other = w + (w == 0) * 5  # what stands after the n-th word is not looked at
        assert torch.equal(network(other, n)[n < n.max()], o[n < n.max()])
    torch.manual_seed(0)
    naive = [SentimentRNN(RECIPES[UNPACKED], V, longest).eval() for longest in (17, 20)]
    naive[1].load_state_dict(naive[0].state_dict())
    difference = (naive[0](w, n) - naive[1](w, n)).abs()
    assert difference.max() > 1e-2, difference


def test_the_gradient_vanishes_from_torchs_start_and_not_from_the_cured_one():
    """Against a product of the factors diag(1 - h^2) W_hh, theory/test_rnn.py, (6)."""
    w = torch.randint(1, V, (4, 25), generator=torch.Generator().manual_seed(3))
    per_word = {}
    for name in (PACKED, CURED):
        network = network_of(name)
        h = list(network.rnn.states(network.E(w.T)))
        norms = recurrence.by_distance(network.W_hq(h[-1]), h, 25)
        per_word[name] = (norms[:, -1] / norms[:, 0]) ** (1 / 24)
        W_hh, g = network.rnn.weight_hh_l0, network.W_hq.weight[0]
        for k in range(25):  # from do/dh_n = W_hq on, one factor a word further back
            torch.testing.assert_close(norms[0, k], g.norm(), **CLOSE)
            g = ((1 - h[24 - k][0] ** 2) * g) @ W_hh
    assert per_word[PACKED].max() < 0.6 and per_word[CURED].min() > 0.95, per_word


def test_the_cured_network_reads_the_order_and_a_bag_of_words_cannot(embedded, tmp_path):
    """On the embedded corpus: at least 95% of the turned reviews, and chance."""
    run = Run("asst8_rnn", "quick", {}, out=tmp_path, sheet_data="imdb", data="embedded")
    network = asst8_rnn.build(run, RECIPES[CURED], len(embedded.words), 60)
    few = dataclasses.replace(embedded, train=embedded.train.of(torch.arange(1800)),
                              val=embedded.val.of(torch.arange(50)))
    asst8_rnn.train(run, CURED, network, few, 3, 32, 3e-3, "float32")
    test = embedded.test()
    of_turned = turned(embedded, test)
    bag = bag_of_words.fit(embedded.train, embedded.val, len(embedded.words))
    share = {name: asst8_rnn.right(o, test.y)[of_turned].mean().item() for name, o in (
        (CURED, asst8_rnn.logits(network, test)), (BAG, bag.outputs(test)))}
    assert share[CURED] >= 0.95 and share[BAG] <= 0.5, share


# --- minidl/recurrence.py -------------------------------------------------------------------

def test_a_push_is_the_score_less_that_of_the_review_without_the_word():
    """Of a sum over the words, the word's own part; of the network, by the definition."""
    value = torch.randn(V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    class Sum(nn.Module):
        def forward(self, w, n):
            return (value[w] * (torch.arange(w.shape[1]) < n[:, None])).sum(dim=1)

    w = torch.randint(1, V, (11,), generator=torch.Generator().manual_seed(1))
    for size in (1, 4, 64):
        torch.testing.assert_close(recurrence.pushes(Sum(), w, size), value[w], **CLOSE)
    network = network_of(CURED)
    found = recurrence.pushes(network, w)
    for t in range(11):
        without = torch.cat([w[:t], w[t + 1:]])[None]
        expected = network(w[None], torch.tensor([11])) - network(without, torch.tensor([10]))
        torch.testing.assert_close(found[t], expected[0], **CLOSE)


def test_shuffled_reviews_have_the_same_words_elsewhere_and_the_padding_where_it_was(
        generator):
    w, n = some_reviews(B=50, T=30)
    dealt = recurrence.shuffled(w, n, generator)
    assert torch.equal(dealt.sort(dim=1).values, w.sort(dim=1).values)
    assert torch.equal(dealt == 0, w == 0)
    assert (dealt != w).double().mean() > 0.3  # of 50 reviews of up to 30 words
    assert not torch.equal(dealt, recurrence.shuffled(w, n, generator))
    three = torch.tensor([[1, 2, 3]]).expand(6000, 3)
    found = recurrence.shuffled(three, torch.full((6000,), 3), generator)
    count = torch.bincount(found @ torch.tensor([100, 10, 1]))
    deviation = (6000 * 1 / 6 * 5 / 6) ** 0.5  # of a binomial count, 29
    assert count[count > 0].tolist() == pytest.approx([1000] * 6, abs=5 * deviation)
