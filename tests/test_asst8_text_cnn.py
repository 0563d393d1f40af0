"""Assignment 8's 1-D CNN: sizes, the forward pass by loops, padding, which phrases decide.

Two ways to the same number are compared in float64: sums of 24 and of 9 products, each of
numbers of size 10 at the most, are off by 33 * 100 * 24 * 2^-53 = 1e-11.
"""

import asst8_text_cnn
import pytest
import torch
import torch.nn.functional as F
from asst8_text_cnn import MaxOverTime, MeanOverTime, TextCNN, trained_numbers

from minidl import bag_of_words
from minidl.data import grammar
from minidl.data.reviews import Corpus, Reviews, outputs, turned
from minidl.lab import phrases
from minidl.lab.layers import layer_rows
from minidl.lab.precision import autocast
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric
CLOSE = {"rtol": 0, "atol": 1e-10}  # of float64, see above
D64, WORDS, CHANNELS = torch.float64, 13, {2: 4, 4: 5}  # Figure 15.14's, as in theory/
POOLS = [MaxOverTime(), MeanOverTime()]


def network(pool=None, seed=0, channels=CHANNELS):
    """The figure's network, its words as large as its biases, so that all of it matters."""
    torch.manual_seed(seed)
    made = TextCNN(WORDS, 6, channels, pool=pool)
    made.E.weight.data *= 10
    return made.eval()


def corpus_of(train, test):
    """So many reviews of the embedded corpus are all that there are."""
    texts = list(grammar.texts(train, test))
    return lambda: texts


def batch(*lengths, seed=0):
    """Reviews of these lengths -> w (B, T), n (B,)."""
    torch.manual_seed(seed)
    n = torch.tensor(lengths)
    w = torch.randint(1, WORDS, (len(n), int(n.max())))
    return w * (torch.arange(w.shape[1]) < n[:, None]), n


def split_of(w, n, y=None):
    words = torch.cat([row[:k] for row, k in zip(w, n.tolist(), strict=True)])
    starts = torch.cat([n.new_zeros(1), n.cumsum(0)])
    return Reviews(words.int(), starts, torch.arange(len(n)) % 2 if y is None else y)


CORPUS = Corpus("some", "some words", ("(padding)", *"abcdefghijkl"), *3 * [None])


# --- sizes ----------------------------------------------------------------------------------

def test_the_sizes_of_figure_15_14_and_its_197_numbers_beside_the_table():
    rows = layer_rows(network(), *batch(11))
    assert [(row["output shape"], row["parameters"]) for row in rows] == [
        ("B x 11 x 6", 6 * WORDS), ("B x 4 x 10", 52), ("B x 4", 0), ("B x 5 x 8", 125),
        ("B x 5", 0), ("B x 9", 0), ("B x 2", 20), ("", 197 + 6 * WORDS)]
    assert trained_numbers(WORDS, 6, CHANNELS) == 197 + 6 * WORDS


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
    """Against the largest of the windows; and a review read four times over has the windows
    of one that is read twice, others as often: the same maximum, another mean."""
    w = batch(9)[0].repeat(1, 2)
    (n, more), longer = torch.tensor([[18], [36]]), w.repeat(1, 2)
    net, mean = network().to(D64), network(MeanOverTime()).to(D64)
    m = [Z.relu().flatten(2).max(dim=2).values for Z, _ in net.windows(w, n)]
    torch.testing.assert_close(net(w, n), net.output(torch.cat(m, dim=1)), **CLOSE)
    torch.testing.assert_close(net(longer, more), net(w, n), **CLOSE)
    assert not torch.allclose(mean(longer, more), mean(w, n), **CLOSE)


def test_the_gradient_reaches_the_words_of_winning_windows_and_never_padding():
    net, (w, n) = network(), batch(12, 3, 1)
    net(w, n).square().sum().backward()
    gradient = net.E.weight.grad
    assert torch.equal(gradient[0], torch.zeros(6))
    found = phrases.winners(net, split_of(w, n))
    won = {int(i) for c in range(9) for review in range(3) if found.m[review, c] > 0
           for i in w[review, found.at[review, c]:found.at[review, c] + found.k[c]]}
    assert {i for i in range(1, WORDS) if gradient[i].any()} == won - {0}


# --- padding and batches --------------------------------------------------------------------

@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [(9, 6, 4, 3, 1), (2, 1)])
def test_trap_12_words_after_the_nth_change_no_bit(pool, precision, lengths):
    """More padding, or any other numbers after the n-th word."""
    net, (w, n) = network(pool), batch(*lengths)
    with autocast("cpu", precision):
        o = net(w, n)
        for more in (1, 5, 100):
            assert torch.equal(net(F.pad(w, (0, more)), n), o)
        other = torch.where(torch.arange(w.shape[1]) < n[:, None], w, WORDS - 1)
        assert torch.equal(net(other, n), o)
    careless = net(F.pad(w, (0, 5)), torch.full_like(n, w.shape[1] + 5))
    assert not torch.allclose(careless, o.float(), atol=1e-3)


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
    o = outputs(net, split, 40)
    order = torch.randperm(len(n), generator=torch.Generator().manual_seed(1))
    for i, batch_size in (order, 5), (order, 39), (torch.arange(39), 1):
        again = outputs(net, split.of(i), 40, batch_size=batch_size)
        torch.testing.assert_close(again, o[i], **CLOSE)


# --- training -------------------------------------------------------------------------------

def test_words_that_a_step_does_not_see_are_unknown_and_padding_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(grammar, "texts", corpus_of(300, 40))
    run = Run("asst8_text_cnn", "quick", {}, out=tmp_path, sheet_data="imdb", data="embedded")
    data, seen = run.load_reviews(), []

    class Watched(TextCNN):
        def forward(self, w, n):
            if self.training:
                inside = torch.arange(w.shape[1]) < n[:, None]
                seen.append(((w == 1) & inside).sum() / inside.sum())
                assert torch.equal(w > 0, inside)
            return super().forward(w, n)

    for share in (0.0, 0.25):
        seen.clear()
        net = Watched(len(data.words), 6, CHANNELS)
        start = net.E.weight.detach().clone()
        asst8_text_cnn.train(run, f"{share}", net, data, 1, 20, 1e-3, share, 100, "float32")
        # 270 reviews of 10 words or more: five deviations of a share of 2,700 are 0.042
        assert torch.stack(seen).mean().item() == pytest.approx(share, abs=0.042)
        assert torch.equal(net.E.weight[0], torch.zeros(6))
        assert not torch.equal(net.E.weight, start)


def test_a_network_is_taken_as_it_was_with_the_least_validation_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(grammar, "texts", corpus_of(100, 20))
    run = Run("s", "quick", {}, out=tmp_path, sheet_data="imdb", data="embedded")
    data, losses, words = run.load_reviews(), iter([0.3, 0.1, 0.2]), []
    trained = TextCNN(len(data.words), 6, CHANNELS)

    def rigged(o, y):
        words.append(trained.E.weight.detach().clone())
        return next(losses), 0.5

    monkeypatch.setattr(asst8_text_cnn, "nats_and_accuracy_of", rigged)
    asst8_text_cnn.train(run, "some", trained, data, 3, 32, 1e-2, 0.0, 50, "float32")
    assert [torch.equal(trained.E.weight, w) for w in words] == [False, True, False]


def test_order_is_read_where_a_bag_of_words_is_at_chance(tmp_path, monkeypatch):
    """On the half of the embedded corpus whose twins have the same words in another order. The
    bag gives both twins one answer, so it is right on exactly half of them."""
    monkeypatch.setattr(grammar, "texts", corpus_of(1500, 200))
    run = Run("s", "quick", {}, out=tmp_path, sheet_data="imdb", data="embedded")
    data = run.load_reviews()
    run.seed_everything(0)
    net = TextCNN(len(data.words), 16, {5: 16})
    asst8_text_cnn.train(run, "n", net, data, 4, 32, 2e-2, 0.0, 100, "float32")
    test = data.test()
    of_turned = turned(data, test)
    o = outputs(net.eval(), test, 100).detach()
    right = (o.argmax(dim=1) == test.y)[of_turned].double().mean()
    bag = bag_of_words.fit(data.train, data.val, len(data.words), (1e-3,))
    assert ((bag.outputs(test) > 0) == (test.y == 1))[of_turned].double().mean() == 0.5
    assert right > 0.9, right


# --- which phrases decide -------------------------------------------------------------------

def test_what_the_windows_add_is_all_of_the_answer():
    net, (w, n) = network().to(D64), batch(12, 12, 5, 3, 1)
    split = split_of(w, n)
    parts = phrases.parts(phrases.winners(net, split))
    o, a = net(w, n), net.output.bias
    total = torch.zeros(5, dtype=D64).index_add(0, parts.review, parts.value)
    torch.testing.assert_close(total, o[:, 1] - o[:, 0] - (a[1] - a[0]), **CLOSE)
    places = list(zip(*(part.tolist() for part in parts[:3]), strict=True))
    assert len(set(places)) == len(places) and max(map(places.count, places)) == 1


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
    found = phrases.winners(net, split)
    assert found.m[:, 0].tolist() == [1, 0, 1] and found.at[[0, 2], 0].tolist() == [1, 0]
    assert found.k.tolist() == [2, 3] and found.v.tolist() == [3, 0]
    parts = phrases.parts(found)
    strongest = phrases.strongest(CORPUS, split, parts, 1, 1)
    assert strongest == {"a b": [3.0, 3.0]}
    assert phrases.strongest(CORPUS, split, parts, 1, 1, often=2) == strongest
    assert phrases.fires_most_on(CORPUS, split, found, 0, 1) == ["a b"]
    assert phrases.texts(CORPUS, split, torch.tensor([2, 0]), torch.tensor([1, 0]),
                         torch.tensor([3, 3])) == ["b", "e a b"]  # cut at the review's end


def test_a_network_of_which_no_channel_gets_above_0_has_no_phrase():
    net, (w, n) = network(), batch(5, 3)
    for convolution in net.convolutions:
        convolution.bias.data.fill_(-1000.0)
    split = split_of(w, n)
    parts = phrases.parts(phrases.winners(net, split))
    assert len(parts.value) == 0
    assert phrases.strongest(CORPUS, split, parts, 1, 3) == {}
    assert phrases.texts(CORPUS, split, *parts[:3]) == []


def test_phrases_of_a_review_do_not_overlap():
    parts = phrases.Parts(torch.zeros(4).long(), torch.tensor([0, 1, 3, 6]),
                          torch.tensor([3, 3, 3, 2]), torch.tensor([1.0, 2, 0.5, -4]))
    assert phrases.apart(parts, 1, 2) == [1, 3]
    assert phrases.apart(parts, -1, 3) == [3, 2, 0]
