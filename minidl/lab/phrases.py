r"""Which phrases decide: what a 1-D CNN with maximum over time answers, taken apart.

    o_1 - o_0 = sum_c v_c m_c + a_1 - a_0,    v = V[1] - V[0],    m_c = ReLU(Z[i*_c, c])

In each channel c one window i*_c wins, k words of the review. What a window adds to the
log-odds is the sum of v_c m_c over the channels that it wins, so the windows' parts and
a_1 - a_0 add up to the answer exactly. Checked in tests/test_asst8_text_cnn.py.
"""

import math
from typing import NamedTuple

import torch

from minidl.evaluation import evaluating
from minidl.lab.network import infer


class Parts(NamedTuple):
    """What P windows add to o_1 - o_0, in the order of their reviews."""

    review: torch.Tensor  # (P,)
    at: torch.Tensor      # (P,), the window's first word
    k: torch.Tensor       # (P,), its words
    value: torch.Tensor   # (P,), nats

    def where(self, chosen):
        """The parts for which `chosen` (P,) holds."""
        return Parts(*(part[chosen] for part in self))

    def first_by(self, score):
        """Of each review the part with the largest score (P,); all of them where it ties."""
        reviews = int(self.review.max()) + 1 if len(score) else 0
        largest = score.new_full((reviews,), -math.inf)
        largest.scatter_reduce_(0, self.review, score, "amax")
        return self.where(score == largest[self.review])


@torch.no_grad()
def parts(network, split):
    """The Parts of a split's answers, of each window that wins in some channel.

    network: one with `convolutions`, `pool` and `output`, as in asst8_text_cnn.
    """
    pooled = []
    hook = network.pool.register_forward_hook(lambda _, given, m: pooled.append(torch.stack(
        [m, given[0].masked_fill(~given[1], -math.inf).argmax(dim=2).to(m)])))

    def largest(w, n):
        pooled.clear()
        network(w, n)
        return torch.cat(pooled, dim=2).transpose(0, 1)  # (B, 2, M), M channels of all k

    with evaluating(network):
        m, at = infer(largest, split).unbind(dim=1)  # (N, M) each
    hook.remove()
    v = network.output.weight[1] - network.output.weight[0]
    k = torch.cat([torch.full((layer.out_channels,), layer.kernel_size[0])
                   for layer in network.convolutions]).to(v.device)
    review, c = (m > 0).nonzero(as_tuple=True)
    windows = torch.stack([review, at[review, c].long(), k[c]])
    windows, index = windows.unique(dim=1, return_inverse=True)
    value = v.new_zeros(windows.shape[1]).index_add(0, index, m[review, c] * v[c])
    return Parts(*windows, value)


def places(split, found):
    """Where the words of P windows stand in split.w, and which are the window's and the
    review's: (P, largest k), (P, largest k)."""
    u = torch.arange(int(found.k.max()) if len(found.k) else 1, device=split.w.device)
    where = (split.starts[found.review] + found.at)[:, None] + u
    inside = (u < found.k[:, None]) & (where < split.starts[found.review + 1][:, None])
    return where * inside, inside


def strongest(corpus, split, found, sign, n, often=1):
    """The n phrases whose Parts add most to o_1 - o_0 over all reviews (sign 1), or take most
    away (sign -1), of those that won so `often`: phrase -> its values, one a window."""
    where, inside = places(split, found)
    words, index = (split.w[where] * inside).unique(dim=0, return_inverse=True)
    total = found.value.new_zeros(len(words)).index_add(0, index, found.value)
    total *= index.bincount(minlength=len(words)) >= often
    best = (sign * total).argsort(descending=True, stable=True)[:n]
    return {" ".join(corpus.text(words[i])): found.value[index == i].tolist()
            for i in best if sign * total[i] > 0}


def erased(split, found):
    """The split with every word of these windows replaced by the unknown word, number 1."""
    where, inside = places(split, found)
    w = split.w.clone()
    w[where[inside]] = 1
    return split._replace(w=w)
