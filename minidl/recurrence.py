r"""A simple recurrent network through time, and back through time, by hand.

    h_t = tanh(a_t + W h_{t-1}),   h_0 = 0,   t = 1 ... T        a_t: what word t adds
    g_t = dL/dh_t where h_t is read,   d_t = dL/da_t

    d_t   = (1 - h_t^2) (g_t + W^T d_{t+1}),   d_{T+1} = 0       the factors of step (4)
    dL/dW = sum_t d_t h_{t-1}^T

autograd would do the same a word at a time: 2 T small products and T sums for dL/dW, where one
product of all words' d with all words' h does. Proven in theory/test_rnn.py, step (4); checked
against torch.nn.RNN in tests/test_recurrence.py.
"""

import torch
from torch.autograd.function import once_differentiable

from minidl.evaluation import evaluating


def recurrence(a, W):
    """a (T, B, h), overwritten; W (h, h) -> all states (T, B, h), a review a row.

    Within torch.autocast dL/dW is a product in its type. The states themselves are in float32
    at least: what one word's rounding loses would be carried through all that follow.
    """
    a = a if a.dtype is torch.float64 else a.float()
    return _Recurrence.apply(a, W)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, W):
        kind = h.device.type
        rounded = torch.is_autocast_enabled(kind)
        ctx.dtype = torch.get_autocast_dtype(kind) if rounded else h.dtype
        W_T = W.T.contiguous()
        h[0].tanh_()
        for t in range(1, len(h)):
            h[t].addmm_(h[t - 1], W_T).tanh_()  # in a's place: a_t is not needed again
        ctx.mark_dirty(h)
        ctx.save_for_backward(h, W)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        h, W = ctx.saved_tensors
        d, at_h = torch.empty_like(h), g[-1]
        for t in reversed(range(len(h))):
            torch.mul(at_h, 1 - h[t] ** 2, out=d[t])
            if t:
                at_h = torch.addmm(g[t - 1], d[t], W)  # g_{t-1} + W^T d_t
        d_t, before = (x.flatten(0, 1).to(ctx.dtype) for x in (d[1:], h[:-1]))
        return d, (d_t.T @ before).to(W.dtype)


# --- how a recurrent network reads: a score o(w), the log-odds of "positive" ---------------

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
