r"""How a network reads: which words push a score, from how far back, and whether order counts.

A network gives each review a score o(w), the log-odds of "positive". Checked in
tests/test_asst8_rnn.py.
"""

import torch

from minidl.losses import evaluating


@torch.no_grad()
def pushes(network, w, batch_size=64):
    """o(w) - o(w without its t-th word), for every t, in nats: w (T,) of 2 or more -> (T,).

    The network is asked about T shorter reviews: no derivative, so no assumption that the
    score is nearly linear in a word.
    """
    T = len(w)
    others = ~torch.eye(T, dtype=torch.bool, device=w.device)
    without = w.expand(T, T)[others].view(T, T - 1)
    with evaluating(network):
        o = network(w[None], torch.tensor([T], device=w.device))
        n = torch.full((T,), T - 1, device=w.device)
        parts = [network(*pair) for pair in zip(without.split(batch_size),
                                                n.split(batch_size), strict=True)]
    return o - torch.cat(parts)


def by_distance(o, h, n):
    """|do/dh_{n-k}|, k = 0 ... n - 1: o (B,), h (T states (B, h)) that lead to it -> (B, n).

    All the gradient there is, whatever way it takes from h_{n-k} to o. n is a whole number:
    the reviews are of one length.
    """
    gradients = torch.autograd.grad(o.sum(), h[:n])  # of a review's o its own states only
    return torch.stack(gradients[::-1], dim=1).norm(dim=2)


def shuffled(w, n, generator):
    """The words of each review in a new order, the padding where it was: -> w (B, T)."""
    place = torch.rand(w.shape, generator=generator).to(w.device)
    after = torch.arange(w.shape[1], device=w.device) >= n[:, None]
    return w.gather(1, place.masked_fill(after, 2.0).argsort(dim=1))
