r"""Which phrases decide: what a 1-D CNN with maximum over time answers, taken apart.

    o_1 - o_0 = sum_c v_c m_c + a_1 - a_0,    v = V[1] - V[0],    m_c = ReLU(Z[i*_c, c])

In each channel c one window i*_c wins, k words of the review. What a window adds to the
log-odds is the sum of v_c m_c over the channels that it wins, so the windows' parts and
a_1 - a_0 add up to the answer exactly. Checked in tests/test_asst8_text_cnn.py.
"""

import itertools
import math
from typing import NamedTuple

import torch

from minidl.data.reviews import CLASSES, outputs
from minidl.evaluation import evaluating
from minidl.lab import plot
from minidl.lab.results import markdown


class Winners(NamedTuple):
    """Of N reviews and the M channels of all window sizes together."""

    m: torch.Tensor   # (N, M), 0 where no window gets above 0
    at: torch.Tensor  # (N, M), the first word of the window that won
    k: torch.Tensor   # (M,), words of a window
    v: torch.Tensor   # (M,), towards class 1 where positive


class Parts(NamedTuple):
    """What P windows add to o_1 - o_0."""

    review: torch.Tensor  # (P,)
    at: torch.Tensor      # (P,), the window's first word
    k: torch.Tensor       # (P,), its words
    value: torch.Tensor   # (P,), nats

    def where(self, chosen):
        """The parts for which `chosen` (P,) holds."""
        return Parts(*(part[chosen] for part in self))


@torch.no_grad()
def winners(network, split, batch_size=64):
    """The Winners of a network with `windows`, `convolutions`, `output` (asst8_text_cnn)."""
    def largest(w, n):
        found = [Z.masked_fill(~inside, -math.inf).max(dim=2)
                 for Z, inside in network.windows(w, n)]
        m, at = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        return torch.stack([m.relu(), at.to(m)], dim=1)  # (B, 2, M)

    with evaluating(network):
        both = outputs(largest, split, int(split.lengths.max()), batch_size=batch_size)
    k = torch.cat([torch.full((layer.out_channels,), layer.kernel_size[0])
                   for layer in network.convolutions]).to(both.device)
    V = network.output.weight
    return Winners(both[:, 0], both[:, 1].long(), k, V[1] - V[0])


def parts(found):
    """Winners -> Parts, each window once a review with all that it adds."""
    review, c = (found.m > 0).nonzero(as_tuple=True)
    at, k, value = found.at[review, c], found.k[c], found.m[review, c] * found.v[c]
    ends, sizes = int(found.at.max()) + 1, int(found.k.max()) + 1
    window, index = ((review * ends + at) * sizes + k).unique(return_inverse=True)
    total = value.new_zeros(len(window)).index_add(0, index, value)
    return Parts(window // sizes // ends, window // sizes % ends, window % sizes, total)


def words_in(split, review, at, k):
    """The words of P windows, their reviews, first words and sizes (P,) -> (P, largest k).

    0 after a window's last word, and after the review's.
    """
    u = torch.arange(int(k.max()) if len(k) else 1, device=at.device)
    where = (split.starts[review] + at)[:, None] + u
    inside = (u < k[:, None]) & (where < split.starts[review + 1][:, None])
    return split.w[where * inside] * inside


def texts(corpus, split, review, at, k):
    """The same in words: ["one of the best", ...]."""
    return [" ".join(corpus.text(w)) for w in words_in(split, review, at, k)]


def fires_most_on(corpus, split, found, c, n, among=100):
    """The n phrases at which channel c is largest, each once, of the reviews with most of
    it."""
    i = found.m[:, c].argsort(descending=True, stable=True)[:among]
    k = found.k[c].expand(len(i))
    return list(dict.fromkeys(texts(corpus, split, i, found.at[i, c], k)))[:n]


def strongest(corpus, split, found, sign, n, often=1):
    """The n phrases whose Parts add most to o_1 - o_0 over all reviews (sign 1), or take most
    away (sign -1), of those that won so `often`: phrase -> its values, one a window."""
    words, index = words_in(split, *found[:3]).unique(dim=0, return_inverse=True)
    total = found.value.new_zeros(len(words)).index_add(0, index, found.value)
    total *= index.bincount(minlength=len(words)) >= often
    best = (sign * total).argsort(descending=True, stable=True)[:n]
    return {" ".join(corpus.text(words[i])): found.value[index == i].tolist()
            for i in best if sign * total[i] > 0}


def apart(found, sign, n):
    """The n Parts of a review that add most (sign 1) or take most away, no two with a word in
    common, as indices."""
    taken, chosen = set(), []
    for p in (sign * found.value).argsort(descending=True, stable=True).tolist():
        words = set(range(int(found.at[p]), int(found.at[p] + found.k[p])))
        if len(chosen) < n and not words & taken:
            chosen.append(p)
            taken |= words
    return chosen


def show_filters(run, data, network, filters=3, shown=4):
    """Of each k, the filters with most weight on either class, and where they fire most; the
    phrases that add most to the log-odds over all validation reviews."""
    found, rows, dots = winners(network, data.val), [], {}
    found_parts = parts(found)
    for k, sign in itertools.product(found.k.unique().tolist(), (1, -1)):
        own, towards = (found.k == k).nonzero().flatten(), CLASSES[sign > 0]
        for c in own[(sign * found.v[own]).argsort(descending=True)[:filters]]:
            fires = fires_most_on(data, data.val, found, c, shown)
            rows.append({"k": k, "towards": towards, "weight v": found.v[c].item(),
                         "fires most on": " | ".join(fires)})
        dots |= strongest(data, data.val, found_parts.where(found_parts.k == k), sign, filters,
                          often=5)
    run.results.table("filters", rows, f"{data.title}: filters with most weight on a class, "
                      "and the windows of validation reviews on which they fire most")
    print(markdown(rows))
    run.results.figure("phrases", plot.dots(
        dots, f"{data.title}: the phrases that decide most, validation reviews",
        f"what a window adds to the log-odds of {CLASSES[1]}, nats"))
    for row in (max(rows, key=lambda row: row["weight v"]),
                min(rows, key=lambda row: row["weight v"])):
        run.results.finding(
            f"The filter with most weight towards {row['towards']} reads {row['k']} words and "
            f"fires most on: {row['fires most on'].replace(' | ', ', ')}.")


def show_right_where_the_other_is_wrong(run, data, split, network, o, other, name, each=4):
    """Of each class the reviews of which the network, o (N, 2), is surest among those that the
    other, (N, 2), gets wrong, and the phrases that add most towards the truth."""
    sign, rows = 2 * split.y - 1, []
    odds, others = (sign * (values[:, 1] - values[:, 0]) for values in (o, other))
    for y, kind in enumerate(CLASSES):
        own = ((others < 0) & (odds > 0) & (split.y == y)).nonzero().flatten()
        for j in own[odds[own].argsort(descending=True, stable=True)[:each]]:
            one = split.of(j[None])
            found = parts(winners(network, one))
            best = found.where(apart(found, sign[j], 3))
            rows.append({"review": kind, "words": int(split.lengths[j]),
                         f"log-odds of the truth, {name}": others[j].item(),
                         "CNN": odds[j].item(),
                         "what adds most": " | ".join(texts(data, one, *best[:3]))})
    if rows:
        run.results.table("right_where_the_other_is_wrong", rows, f"{data.title}: reviews "
                          f"that the CNN tells right and the {name} does not")
        print(markdown(rows))
