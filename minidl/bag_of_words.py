r"""The bag of words: logistic regression on which words a review has, not where or how often.

    x_v = 1 if word v occurs, else 0,    o = sum_v x_v beta_v + b,    p(positive) = sigmoid(o)
    minimise   1/N sum_n -log p(y_n | x_n) + lambda |beta|^2          (convex: one minimum)

The honest yardstick of what reading in order is worth: two reviews of the same words get the
same answer. lambda is chosen on validation. Checked in tests/test_reviews.py.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

LAMBDAS = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)


class BagOfWords(NamedTuple):
    beta: torch.Tensor  # (V,), 0 for the padding
    b: torch.Tensor     # ()
    penalty: float      # lambda
    val_accuracy: float

    def outputs(self, split):
        """-> o (N,), the logit of "positive" of each review of a split."""
        return _outputs(*_pairs(split, len(self.beta)), self.beta, self.b, len(split.y))


def fit(train, val, V, lambdas=LAMBDAS):
    """The BagOfWords of a vocabulary of V words that is most often right on validation."""
    pairs, y = _pairs(train, V), train.y.float()
    beta, b = torch.zeros(V, device=y.device), torch.zeros((), device=y.device)
    found = []
    for penalty in lambdas:  # from the strongest on, each starts where the last one ended
        beta, b = _minimum(pairs, y, penalty, beta, b)
        bag = BagOfWords(beta, b, penalty, 0.0)
        right = ((bag.outputs(val) > 0) == (val.y == 1)).cpu().double().mean().item()
        found.append(bag._replace(val_accuracy=right))
    return max(found, key=lambda bag: bag.val_accuracy)


def _minimum(pairs, y, penalty, beta, b):
    beta, b = beta.clone().requires_grad_(), b.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([beta, b], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(_outputs(*pairs, beta, b, len(y)), y)
        loss = loss + penalty * (beta**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return beta.detach(), b.detach()


def _pairs(split, V):
    """-> the reviews (M,) and words (M,) of all pairs in which the word occurs, once each."""
    review = torch.arange(len(split.y), device=split.w.device)
    review = review.repeat_interleave(split.lengths)
    pairs = (review * V + split.w).unique()
    return pairs // V, pairs % V


def _outputs(review, word, beta, b, N):
    return b + beta.new_zeros(N).index_add(0, review, beta[word])
