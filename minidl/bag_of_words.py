r"""Bags of words: logistic regression on the words of a review, or on its words and pairs.

    x_v = 1 if v occurs in the review, else 0        v: a word, or two words side by side
    o = sum_v x_v r_v beta_v + b,   p(positive) = sigmoid(o)
    minimise   1/N sum_n -log p(y_n | x_n) + lambda |beta|^2          (convex: one minimum)

Words alone, r = 1: two reviews of the same words get the same answer. A network that is better
gains from the order of the words. With pairs, r is naive Bayes' log-ratio (Wang and
Manning 2012). Its counts are those of the positive reviews (p) and the negative ones (q):

    r_v = log((p_v / |p|_1) / (q_v / |q|_1)),   p_v = 1 + sum_{n: y_n = 1} x_nv

lambda is chosen on validation. Checked in tests/test_bag_of_words.py.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

LAMBDAS = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)


class BagOfWords(NamedTuple):
    V: int
    pairs: bool
    longest: int | None    # words read of each review, from its end
    v: torch.Tensor        # (M,), sorted: the numbers of the words and pairs that it knows
    weight: torch.Tensor   # (M,), r_v beta_v
    b: torch.Tensor        # ()
    penalty: float         # lambda
    val_accuracy: float

    def outputs(self, split):
        """-> o (N,), the logit of "positive" of each review of a split."""
        review, v = _occurring(split, self.V, self.pairs, self.longest)
        place = torch.searchsorted(self.v, v).clamp(max=len(self.v) - 1)
        known = self.v[place] == v
        return _outputs(review[known], place[known], self.weight, self.b, len(split.y))


def fit(train, val, V, pairs=False, longest=None, lambdas=LAMBDAS):
    """The BagOfWords of V words, with the lambda of the highest validation accuracy."""
    review, v = _occurring(train, V, pairs, longest)
    v, place = v.unique(return_inverse=True)
    y, r = train.y.float(), torch.ones(len(v), device=train.y.device)
    if pairs:
        p, q = (r.index_add(0, place, of_class[review]) for of_class in (y, 1 - y))
        r = ((p / p.sum()) / (q / q.sum())).log()
    beta, b, found = torch.zeros_like(r), r.new_zeros(()), []
    for penalty in lambdas:  # from the strongest on, each starts where the last one ended
        beta, b = _minimum(review, place, r, y, penalty, beta, b)
        bag = BagOfWords(V, pairs, longest, v, r * beta, b, penalty, 0.0)
        right = ((bag.outputs(val) > 0) == (val.y == 1)).cpu().double().mean().item()
        found.append(bag._replace(val_accuracy=right))
    return max(found, key=lambda bag: bag.val_accuracy)


def _minimum(review, place, r, y, penalty, beta, b):
    beta, b = beta.clone().requires_grad_(), b.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([beta, b], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        o = _outputs(review, place, r * beta, b, len(y))
        loss = F.binary_cross_entropy_with_logits(o, y) + penalty * (beta**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return beta.detach(), b.detach()


def _occurring(split, V, pairs, longest):
    """-> the reviews (M,) and the words or pairs v (M,) that occur in them, once each.

    A word is its number; word w after word u is the pair (u + 1) V + w.
    """
    w, total = split.w.long(), V * (V + 1)
    review = torch.arange(len(split.y), device=w.device).repeat_interleave(split.lengths)
    left = split.starts[review + 1] - torch.arange(len(w), device=w.device)
    read = left <= (longest or len(w))  # left: the word itself and those behind it
    found = (review * total + w)[read]
    if pairs:
        both = read[:-1] & (review[1:] == review[:-1])
        pair = review[1:] * total + (w[:-1] + 1) * V + w[1:]
        found = torch.cat([found, pair[both]])
    found = found.unique()
    return found // total, found % total


def _outputs(review, place, weight, b, N):
    return b + weight.new_zeros(N).index_add(0, review, weight[place])
