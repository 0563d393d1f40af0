"""Assignment 8's 1-D CNN: sizes, the forward pass by loops, padding.

Two ways to the same number are compared in float64: sums of 24 and of 9 products, each of
numbers of size 10 at the most, are off by 33 * 100 * 24 * 2^-53 = 1e-11.
"""

import pytest
import torch
import torch.nn.functional as F
from asst8_text_cnn import TextCNN

from minidl.lab.layers import layer_rows

pytestmark = pytest.mark.numeric
CLOSE = {"rtol": 0, "atol": 1e-10}  # of float64, see above
D64, WORDS, CHANNELS = torch.float64, 13, {2: 4, 4: 5}  # Figure 15.14's, as in theory/


def network():
    """The figure's network, its words as large as its biases, so that all of it matters."""
    torch.manual_seed(0)
    made = TextCNN(WORDS, 6, CHANNELS)
    made.E.weight.data *= 10
    return made.eval()


def batch(*lengths):
    """Reviews of these lengths -> w (B, T), n (B,)."""
    torch.manual_seed(0)
    n = torch.tensor(lengths)
    w = torch.randint(1, WORDS, (len(n), int(n.max())))
    return w * (torch.arange(w.shape[1]) < n[:, None]), n


# --- sizes ----------------------------------------------------------------------------------

def test_the_sizes_of_figure_15_14_and_its_197_parameters_beside_the_table():
    rows = layer_rows(network(), *batch(11))
    assert [(row["output shape"], row["parameters"]) for row in rows] == [
        ("B x 11 x 6", 6 * WORDS), ("B x 4 x 10", 52), ("B x 4", 0), ("B x 5 x 8", 125),
        ("B x 5", 0), ("B x 9", 0), ("B x 2", 20), ("", 197 + 6 * WORDS)]


# --- the forward pass -----------------------------------------------------------------------

def by_loops(net, w, n):
    """o of one review w (T,) as the script's docstring has it; one window at least."""
    X, m = net.E.weight[F.pad(w[:n], (0, max(0, 4 - n)))], []
    for convolution in net.convolutions:
        W, b = convolution.weight, convolution.bias
        C, D, k = W.shape
        for c in range(C):
            Z = [b[c] + sum(W[c, d, u] * X[i + u, d] for u in range(k) for d in range(D))
                 for i in range(max(n - k, 0) + 1)]
            m.append(max(z.clamp(min=0) for z in Z))
    return net.output.weight @ torch.stack(m) + net.output.bias


def test_the_forward_pass_is_the_docstrings_equations():
    """Of short reviews, too: one of fewer than k words has one window, with zeros after it."""
    net, (w, n) = network().to(D64), batch(7, 5, 4, 3, 2, 1)
    found = net(w, n)
    for i in range(len(n)):
        torch.testing.assert_close(found[i], by_loops(net, w[i], int(n[i])), **CLOSE)


def test_trap_13_the_maximum_over_time_is_a_maximum():
    """A review read four times over has the windows of one that is read twice, others as
    often: the same maximum, but another mean."""
    w = batch(9)[0].repeat(1, 2)
    (n, more), longer = torch.tensor([[18], [36]]), w.repeat(1, 2)
    net = network().to(D64)
    torch.testing.assert_close(net(longer, more), net(w, n), **CLOSE)


# --- padding and batches --------------------------------------------------------------------

def test_trap_12_no_score_depends_on_what_stands_after_the_nth_word():
    """More padding, other words, or a padding whose windows would win if they counted."""
    net, (w, n) = network().to(D64), batch(9, 4, 6)
    o = net(w, n)
    for changed in (F.pad(w, (0, 13)), torch.where(w > 0, w, WORDS - 1)):
        assert torch.equal(net(changed, n), o)
    net.E.weight.data[0] = 100.0
    torch.testing.assert_close(net(w, n), o, **CLOSE)
