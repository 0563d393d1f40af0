"""minidl/recurrence.py: the states, and the way back through time, against torch's own."""

import pytest
import torch
from torch import nn

from minidl.recurrence import recurrence

pytestmark = pytest.mark.numeric


def reals(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("a", "W", "last"), [
    (reals(6, 3, 4), reals(4, 4, seed=1) / 8, False),
    # W keeps lengths and a is small, so the first word still matters at the last
    (0.02 * reals(120, 40, 3), 0.98 * torch.eye(3).double().roll(1, 0), True),
    (reals(1, 3, 4), reals(4, 4, seed=1), False)], ids=["all read", "long", "one word"])
def test_states_and_gradients_are_torchs_own(a, W, last):
    """Where the last state is read, or all. Roundings add up over 120 words and 40 reviews,
    both ways: 1e-10 is far above."""
    T, B, h = a.shape
    rnn = nn.RNN(h, h, bias=False).double()
    rnn.weight_ih_l0.data, rnn.weight_hh_l0.data = torch.eye(h).double(), W.clone()
    read = reals(T, B, h, seed=2)
    read[:-1] *= not last
    a, W = a.clone().requires_grad_(), W.clone().requires_grad_()
    ours, theirs = recurrence(a * 1, W), rnn(a)[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    found = torch.autograd.grad((ours * read).sum(), (a, W))
    expected = torch.autograd.grad((theirs * read).sum(), (a, rnn.weight_hh_l0))
    assert expected[0][0].abs().max() > 0.01
    for mine, their in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-10)
