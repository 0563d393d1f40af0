"""minidl/recurrence.py: the states, and the way back through time, against torch's own."""

import torch
from torch import nn

from minidl.recurrence import recurrence


def some(T=6, B=3, h=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return (torch.randn(T, B, h, generator=g, dtype=dtype).requires_grad_(),
            (0.5 * torch.randn(h, h, generator=g, dtype=dtype)).requires_grad_())


def gradients(f, a, W, read):
    """dL/da, dL/dW of L = sum (read * h)."""
    return torch.autograd.grad((f(a, W) * read).sum(), (a, W))


def test_by_hand_one_number_three_words():
    """h = 1 wide, W = 2: d_3, d_2, d_1 written out."""
    a = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64).view(3, 1, 1).requires_grad_()
    W = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)
    h = recurrence(a * 1, W)
    h_1 = torch.tensor(0.1, dtype=torch.float64).tanh()
    h_2 = (-0.2 + 2 * h_1).tanh()
    h_3 = (0.3 + 2 * h_2).tanh()
    torch.testing.assert_close(h.flatten(), torch.stack([h_1, h_2, h_3]))
    d_3 = 1 - h_3**2
    d_2 = (1 - h_2**2) * 2 * d_3
    d_1 = (1 - h_1**2) * 2 * d_2
    found = torch.autograd.grad(h[-1].sum(), (a, W))
    torch.testing.assert_close(found[0].flatten(), torch.stack([d_1, d_2, d_3]))
    torch.testing.assert_close(found[1][0, 0], d_3 * h_2 + d_2 * h_1)


def test_states_and_gradients_are_torchs_own_wherever_the_states_are_read():
    a, W = some()
    rnn = nn.RNN(4, 4, bias=False).double()
    rnn.weight_ih_l0.data, rnn.weight_hh_l0.data = torch.eye(4).double(), W.detach()
    reads = {"all": torch.rand(6, 3, 4, dtype=torch.float64), "last": torch.zeros(6, 3, 4)}
    reads["last"][-1] = 1
    for words, read in reads.items():
        ours = gradients(lambda a, W: recurrence(a * 1, W), a, W, read)
        theirs = torch.autograd.grad((rnn(a)[0] * read).sum(), (a, rnn.weight_hh_l0))
        for mine, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, their, msg=words)
    torch.testing.assert_close(recurrence(a * 1, W), rnn(a)[0])


def test_finite_differences_agree_and_refute_a_way_back_without_w():
    a, W = some(T=4, B=2, h=3)
    assert torch.autograd.gradcheck(lambda a, W: recurrence(a * 1, W), (a, W))
    read = torch.zeros(4, 2, 3, dtype=torch.float64)
    read[-1] = 1
    d, _ = gradients(lambda a, W: recurrence(a * 1, W), a, W, read)
    h = recurrence(a * 1, W)
    forgotten = (1 - h[2] ** 2) * d[3]  # W^T left out
    assert (forgotten - d[2]).abs().max() > 0.05


def test_one_word_and_a_review_of_its_own():
    a, W = some(T=1)
    torch.testing.assert_close(recurrence(a * 1, W), a.tanh())
    d, dW = gradients(lambda a, W: recurrence(a * 1, W), a, W, torch.ones(1, 3, 4))
    torch.testing.assert_close(d, 1 - a.tanh() ** 2)
    assert torch.equal(dW, torch.zeros_like(W))  # nothing came before


def test_in_bfloat16_the_states_stay_float32_and_only_the_sum_for_w_is_rounded():
    a, W = some(T=30, B=8, h=16, dtype=torch.float32)

    def rounded(a, W):
        with torch.autocast("cpu", torch.bfloat16):
            return recurrence(a * 1, W)

    read = torch.ones(30, 8, 16)
    plain = gradients(lambda a, W: recurrence(a * 1, W), a, W, read)
    fast = gradients(rounded, a, W, read)
    assert torch.equal(rounded(a, W), recurrence(a * 1, W)) and torch.equal(plain[0], fast[0])
    error = (plain[1] - fast[1]).norm() / plain[1].norm()
    assert 0 < error < 2**-7
