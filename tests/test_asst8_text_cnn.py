"""Assignment 8's 1-D CNN: sizes, the forward pass by loops, padding, which phrases decide.

Two ways to the same number are compared in float64: sums of 24 and of 9 products, each of
numbers of size 10 at the most, are off by 33 * 100 * 24 * 2^-53 = 1e-11.
"""

from types import SimpleNamespace

import asst8_text_cnn
import pytest
import torch
import torch.nn.functional as F
import whole_runs
from asst8_text_cnn import MaxOverTime, MeanOverTime, TextCNN

from minidl.data import grammar
from minidl.data.reviews import Corpus, Reviews, load, turned
from minidl.lab import infer, phrases
from minidl.lab.layers import layer_rows

pytestmark = pytest.mark.numeric
CLOSE = {"rtol": 0, "atol": 1e-10}  # of float64, see above
D64, WORDS, CHANNELS = torch.float64, 13, {2: 4, 4: 5}  # Figure 15.14's, as in theory/
POOLS = [MaxOverTime(), MeanOverTime()]


def network(pool=None, channels=CHANNELS):
    """The figure's network, its words as large as its biases, so that all of it matters."""
    torch.manual_seed(0)
    made = TextCNN(WORDS, 6, channels, pool=pool)
    made.E.weight.data *= 10
    return made.eval()


def batch(*lengths):
    """Reviews of these lengths -> w (B, T), n (B,)."""
    torch.manual_seed(0)
    n = torch.tensor(lengths)
    w = torch.randint(1, WORDS, (len(n), int(n.max())))
    return w * (torch.arange(w.shape[1]) < n[:, None]), n


def split_of(w, n):
    words = torch.cat([row[:k] for row, k in zip(w, n.tolist(), strict=True)])
    starts = torch.cat([n.new_zeros(1), n.cumsum(0)])
    return Reviews(words.int(), starts, torch.arange(len(n)) % 2)


# --- sizes ----------------------------------------------------------------------------------

def test_the_sizes_of_figure_15_14_and_its_197_parameters_beside_the_table():
    rows = layer_rows(network(), *batch(11))
    assert [(row["output shape"], row["parameters"]) for row in rows] == [
        ("B x 11 x 6", 6 * WORDS), ("B x 4 x 10", 52), ("B x 4", 0), ("B x 5 x 8", 125),
        ("B x 5", 0), ("B x 9", 0), ("B x 2", 20), ("", 197 + 6 * WORDS)]


# --- the forward pass -----------------------------------------------------------------------

def by_loops(net, w, n, over_time):
    """o of one review w (T,) as the script's docstring has it; one window at least."""
    X, m = net.E.weight[F.pad(w[:n], (0, max(0, 4 - n)))], []
    for convolution in net.convolutions:
        W, b = convolution.weight, convolution.bias
        C, D, k = W.shape
        for c in range(C):
            Z = [b[c] + sum(W[c, d, u] * X[i + u, d] for u in range(k) for d in range(D))
                 for i in range(max(n - k, 0) + 1)]
            m.append(over_time([z.clamp(min=0) for z in Z]))
    return net.output.weight @ torch.stack(m) + net.output.bias


@pytest.mark.parametrize("pool, over_time", [
    (MaxOverTime(), max), (MeanOverTime(), lambda z: sum(z) / len(z))])
def test_the_forward_pass_is_the_docstrings_equations(pool, over_time):
    """Of short reviews, too: one of fewer than k words has one window, with zeros after it."""
    net, (w, n) = network(pool).to(D64), batch(7, 5, 4, 3, 2, 1)
    found = net(w, n)
    for i in range(len(n)):
        expected = by_loops(net, w[i], int(n[i]), over_time)
        torch.testing.assert_close(found[i], expected, **CLOSE)


def test_trap_13_the_maximum_over_time_is_a_maximum():
    """A review read four times over has the windows of one that is read twice, others as
    often: the same maximum, another mean."""
    w = batch(9)[0].repeat(1, 2)
    (n, more), longer = torch.tensor([[18], [36]]), w.repeat(1, 2)
    net, mean = network().to(D64), network(MeanOverTime()).to(D64)
    torch.testing.assert_close(net(longer, more), net(w, n), **CLOSE)
    assert not torch.allclose(mean(longer, more), mean(w, n), **CLOSE)


def test_the_gradient_reaches_the_words_of_winning_windows_and_never_padding():
    net, (w, n) = network(), batch(12, 3, 1)
    net(w, n).square().sum().backward()
    gradient, split = net.E.weight.grad, split_of(w, n)
    where, inside = phrases.places(split, phrases.parts(net, split))
    won = set(split.w[where[inside]].tolist())
    assert {i for i in range(WORDS) if gradient[i].any()} == won and 0 not in won


# --- padding and batches --------------------------------------------------------------------

@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("bits", [32, 16])
@pytest.mark.parametrize("lengths", [(9, 6, 4, 3, 1), (2, 1)])
def test_trap_12_words_after_the_nth_change_no_bit(pool, bits, lengths):
    """More padding, or any other numbers after the n-th word."""
    net, (w, n) = network(pool), batch(*lengths)
    with torch.autocast("cpu", torch.bfloat16, enabled=bits == 16):
        o = net(w, n)
        for more in (1, 5, 100):
            assert torch.equal(net(F.pad(w, (0, more)), n), o)
        other = torch.where(torch.arange(w.shape[1]) < n[:, None], w, WORDS - 1)
        assert torch.equal(net(other, n), o)


def test_trap_12_a_window_on_padding_does_not_win_even_where_it_would():
    net, (w, n) = network().to(D64), batch(9, 4, 6)
    o = net(w, n)
    net.E.weight.data[0] = 100.0
    torch.testing.assert_close(net(w, n), o, **CLOSE)
    careless = net(w, torch.full_like(n, 9))
    assert not torch.allclose(careless[1:], o[1:], atol=1) and torch.equal(careless[0], o[0])


@pytest.mark.parametrize("pool", POOLS)
def test_the_order_and_the_size_of_batches_change_no_score(pool):
    net, (w, n) = network(pool).to(D64), batch(*range(1, 40))
    split = split_of(w, n)
    o, order = infer(net, split), torch.randperm(39)
    torch.testing.assert_close(infer(net, split.of(order)), o[order], **CLOSE)
    torch.testing.assert_close(torch.cat([infer(net, split.of(i[None])) for i in order]),
                               o[order], **CLOSE)


# --- training -------------------------------------------------------------------------------

@pytest.fixture
def script(tmp_path, monkeypatch):
    """script.run(sizes of the embedded corpus, flags); its nets in the order they are made
    (the figure's, one for its sizes, maximum, mean), and seen, (w, n) of every step."""
    script = SimpleNamespace(nets=[], seen=[])

    class Watched(TextCNN):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            script.nets.append(self)

        def forward(self, w, n):
            if self.training:
                script.seen.append((w, n))
            return super().forward(w, n)

    def run(texts, *flags):
        every = list(grammar.texts(*texts))
        monkeypatch.setattr(grammar, "texts", lambda: every)
        monkeypatch.setattr(asst8_text_cnn, "TextCNN", Watched)
        whole_runs.start("asst8_text_cnn", tmp_path, "--data", "embedded", *flags, data="imdb")

    script.run = run
    return script


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_words_that_a_step_does_not_see_are_unknown_and_padding_stays(script, share):
    script.run((300, 40), "--word-dropout", str(share))
    unseen = sum(int((w == 1).sum()) for w, _ in script.seen)
    words = sum(int(n.sum()) for _, n in script.seen)
    # five deviations of the number of unseen words; without dropout each word is known
    assert words and abs(unseen - share * words) <= 5 * (share * (1 - share) * words) ** 0.5
    for w, n in script.seen:
        assert torch.equal(w > 0, torch.arange(w.shape[1]) < n[:, None])
    assert not any(net.E.weight[0].any() for net in script.nets)


def test_a_network_is_taken_as_it_was_with_the_least_validation_loss(script, monkeypatch):
    losses, weights = iter([0.3, 0.1, 0.2, 0.1, 0.2, 0.3]), []

    def rigged(o, y):
        weights.append(script.nets[-1].E.weight.detach().clone())
        return next(losses), 0.5

    monkeypatch.setattr(asst8_text_cnn, "nats_and_accuracy_of", rigged)
    script.run((100, 20), "--epochs", "3")
    for net, best in zip(script.nets[2:], (1, 3), strict=True):
        assert [torch.equal(net.E.weight, w) for w in weights] == [i == best for i in range(6)]


def test_order_is_read_where_a_bag_of_words_is_at_chance(script):
    """On the half of the embedded corpus whose twins have the same words in another order: a
    bag is right on exactly half of them, tests/test_reviews.py."""
    script.run((1000, 200), "--epochs", "3")
    data = load("embedded", vocabulary=2000)
    test = data.test()
    right = infer(script.nets[2], test).argmax(dim=1) == test.y
    assert right[turned(data, test)].double().mean() > 0.9


# --- which phrases decide -------------------------------------------------------------------

def test_what_the_windows_add_is_all_of_the_answer():
    net, (w, n) = network().to(D64), batch(12, 12, 5, 3, 1)
    parts = phrases.parts(net, split_of(w, n))
    o, a = net(w, n), net.output.bias
    total = torch.zeros(5, dtype=D64).index_add(0, parts.review, parts.value)
    torch.testing.assert_close(total, o[:, 1] - o[:, 0] - (a[1] - a[0]), **CLOSE)
    places = list(zip(*(part.tolist() for part in parts[:3]), strict=True))
    assert len(set(places)) == len(places)


def test_a_channel_that_knows_a_phrase_finds_it_in_every_review():
    """W is 1 where b follows a: the window, its words, and what it adds, by hand."""
    net = TextCNN(WORDS, WORDS, {2: 1, 3: 1})  # integers: all of it is exact
    net.E.weight.data = torch.eye(WORDS)
    for convolution in net.convolutions:
        convolution.weight.data.zero_()
        convolution.bias.data.fill_(-1.0)
    net.convolutions[0].weight.data[0, 1, 0] = net.convolutions[0].weight.data[0, 2, 1] = 1
    net.output.weight.data = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    w = torch.tensor([[5, 1, 2, 6], [2, 1, 3, 4], [1, 2, 0, 0]])  # e a b f, b a c d, a b
    split = split_of(w, torch.tensor([4, 4, 2]))
    corpus = Corpus("some", "some words", "", ("(padding)", *"abcdefghijkl"), *3 * [None])
    parts = phrases.parts(net, split)
    assert [part.tolist() for part in parts] == [[0, 2], [1, 0], [2, 2], [3, 3]]
    assert phrases.strongest(corpus, split, parts, 1, 1, often=2) == {"a b": [3, 3]}
    assert phrases.strongest(corpus, split, parts, 1, 1, often=3) == {}
    assert phrases.erased(split, parts).w.tolist() == [5, 1, 1, 6, 2, 1, 3, 4, 1, 1]
    assert len(phrases.parts(net, phrases.erased(split, parts)).value) == 0  # nothing wins


def test_the_first_part_of_each_review_is_the_one_with_the_largest_score():
    parts = phrases.Parts(torch.tensor([0, 0, 2, 2]), torch.arange(4), torch.full((4,), 3),
                          torch.tensor([1.0, 2, -4, -5]))
    assert parts.first_by(parts.value).at.tolist() == [1, 2]
    assert parts.first_by(-parts.value).at.tolist() == [0, 3]


def test_a_network_of_which_no_channel_gets_above_0_has_no_phrase():
    net, (w, n) = network(), batch(5, 3)
    for convolution in net.convolutions:
        convolution.bias.data.fill_(-1000.0)
    split = split_of(w, n)
    parts = phrases.parts(net, split)
    assert len(parts.value) == 0 and phrases.strongest(None, split, parts, 1, 3) == {}
    assert torch.equal(phrases.erased(split, parts.first_by(parts.value)).w, split.w)
