r"""A simple recurrent network through time, and back through time, by hand.

    h_t = tanh(a_t + W h_{t-1}),   h_0 = 0,   t = 1 ... T        a_t: what word t adds
    g_t = dL/dh_t where h_t is read,   d_t = dL/da_t

    d_t   = (1 - h_t^2) (g_t + W^T d_{t+1}),   d_{T+1} = 0       from the last word on
    dL/dW = sum_t d_t h_{t-1}^T

autograd would do the same word by word, with 2 T small products and T sums for dL/dW. Here
dL/dW is a single product of all words' d with all words' h. Proven in
theory/appendix/test_bptt.py, (3); checked against torch.nn.RNN in tests/test_recurrence.py.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


def recurrence(a, W):
    """a (T, B, h), overwritten; W (h, h) -> all states (T, B, h), a review a row.

    Within torch.autocast, dL/dW is computed in its type. The states are in float32 or better,
    since the rounding error of one word is passed on to all words after it.
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


def gradient_norms(rnn, head, x):
    """|do/dh_{T-k}|, k = 0 ... T - 1, of o = head(h_T): how far back the gradient reaches.

    rnn a torch.nn.RNN, x (T, B, d) -> (B, T). Each state is a tensor of its own, so that
    autograd can give the gradient of o by each of them.
    """
    h, W, states = x.new_zeros(x.shape[1], rnn.hidden_size), rnn.weight_hh_l0, []
    for a_t in F.linear(x, rnn.weight_ih_l0, rnn.bias_ih_l0 + rnn.bias_hh_l0):
        h = torch.tanh(a_t + h @ W.T)  # a review a row
        states.append(h)
    gradients = torch.autograd.grad(head(h).sum(), states)  # an o depends on its own review
    return torch.stack(gradients[::-1], dim=1).norm(dim=2)
