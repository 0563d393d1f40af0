"""minidl/recurrence.py: the states, and the way back through time, against torch's own."""

import pytest
import torch
from torch import nn

from minidl.recurrence import recurrence

pytestmark = pytest.mark.numeric


def some(T=6, B=3, h=4, dtype=torch.float64):
    """a, and a W of which |W| <= 1, so that no rounding grows on its way through time."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(T, B, h, generator=g, dtype=dtype)
    W = torch.randn(h, h, generator=g, dtype=dtype)
    W /= max(W.abs().sum(dim=0).max(), W.abs().sum(dim=1).max())
    return a.requires_grad_(), W.requires_grad_()


def assert_close(got, expected, a):
    """u = 2^-53, |a| < 4. h_t is off by e = (h + 3) 5 u a step, T e in all; d_t, at most T, by
    2 T^2 e + (h + 4) T u a step, T times; dL/dW = sum d h by T B of both. Two sides, so twice.
    """
    T, B, h = a.shape
    e = (h + 3) * 5 * 2**-53
    off = T * (2 * T**2 * e + (h + 4) * T * 2**-53)
    torch.testing.assert_close(got, expected, rtol=0, atol=2 * T * B * (off + T * T * e))


def gradients(f, a, W, read):
    """dL/da, dL/dW of L = sum (read * h)."""
    return torch.autograd.grad((f(a, W) * read).sum(), (a, W))


def test_states_and_gradients_are_torchs_own_wherever_the_states_are_read():
    a, W = some()
    rnn = nn.RNN(4, 4, bias=False).double()
    rnn.weight_ih_l0.data, rnn.weight_hh_l0.data = torch.eye(4).double(), W.detach()
    last = torch.zeros(6, 3, 4)
    last[-1] = 1
    for read in (torch.rand(6, 3, 4, dtype=torch.float64), last):
        ours = gradients(lambda a, W: recurrence(a * 1, W), a, W, read)
        theirs = torch.autograd.grad((rnn(a)[0] * read).sum(), (a, rnn.weight_hh_l0))
        for mine, their in zip(ours, theirs, strict=True):
            assert_close(mine, their, a)
    assert_close(recurrence(a * 1, W), rnn(a)[0], a)


def test_one_word_and_a_review_of_its_own():
    a, W = some(T=1)
    assert_close(recurrence(a * 1, W), a.tanh(), a)
    d, dW = gradients(lambda a, W: recurrence(a * 1, W), a, W, torch.ones(1, 3, 4))
    assert_close(d, 1 - a.tanh() ** 2, a)
    assert torch.equal(dW, torch.zeros_like(W))  # nothing came before
