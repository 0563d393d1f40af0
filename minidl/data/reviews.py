r"""Film reviews as numbers of words: IMDb from its archive; a vocabulary; padded batches.

    text -> words -> numbers        "It isn't GOOD.<br />" -> it isn't good -> 9 214 51

Words are runs of letters, digits and inner apostrophes, in lower case. `!` and `?` are words
too, since they show the writer's mood. Number 0 is padding, 1 a word that is not in the
vocabulary, 2 the most frequent word. The vocabulary comes from the training split alone. A
word that only test reviews have is unknown, as it would be to a finished program. A review
without a word becomes one unknown word, so that each review has a score. Checked in
tests/test_reviews.py. The embedded corpus that replaces IMDb is in minidl/data/grammar.py.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

import data_download
from minidl.data import review_sources
from minidl.data.images import LEAST
from minidl.data.review_sources import UNKNOWN
from minidl.data.sources import DataError

PADDING = "(padding)"
CLASSES = ("negative", "positive")


class Reviews(NamedTuple):
    w: torch.Tensor       # (total,) int32: all words' numbers, one review after another
    starts: torch.Tensor  # (N + 1,) int64: review i is w[starts[i]:starts[i + 1]]
    y: torch.Tensor       # (N,) int64: 0 negative, 1 positive

    @property
    def lengths(self):
        return self.starts.diff()

    def padded(self, index, longest):
        """-> w (B, T) int64, n (B,): the reviews of `index`, 0 after their n words.

        A review of more than `longest` words keeps its last: a reviewer ends with the
        verdict. T is the largest n.
        """
        whole = self.lengths[index]
        n = whole.clamp(max=longest)
        first = self.starts[index] + whole - n
        t = torch.arange(int(n.max()), device=n.device)
        inside = t < n[:, None]
        return self.w[(first[:, None] + t) * inside].long() * inside, n

    def of(self, index):
        """The reviews at `index` (n,), in its order."""
        n = self.lengths[index]
        starts = torch.cat([n.new_zeros(1), n.cumsum(0)])
        where = torch.arange(int(starts[-1]), device=n.device)
        where += (self.starts[index] - starts[:-1]).repeat_interleave(n)
        return Reviews(self.w[where], starts, self.y[index])


@dataclass(frozen=True)
class Corpus:
    """Training and validation reviews on the device; the test reviews only by `test()`."""

    name: str
    title: str       # for figures and findings
    digest: str      # of all reviews: it tells two sets of the same name apart
    words: tuple     # number -> word
    train: Reviews
    val: Reviews
    held_back: Reviews

    def test(self):
        """The test split: read it once and last, when all is chosen on validation."""
        return self.held_back


def load(wanted="auto", data_dir=None, *, device="cpu", seed=0, reviews=None,
         vocabulary=20_000, say=print):
    """IMDb, or what `wanted` names instead, as a Corpus.

    wanted      "auto" (IMDb from disk or its mirror, else the embedded corpus), "imdb",
                "embedded", or a folder with train/neg, train/pos, test/neg and test/pos.
    reviews     training reviews used, validation included (None: all), and the same share of
                the test reviews. The seed draws both, and the tenth held out for validation.
    vocabulary  the most frequent words of the training reviews that get a number.
    Errors: DataError, data_download.DownloadError; each one sentence.
    """
    folder = data_download.data_dir(data_dir)
    name, title, digest, texts = review_sources.find(wanted, folder, say)
    every = Reviews(*(torch.from_numpy(part) for part in (texts.w, texts.starts, texts.y)))
    generator = torch.Generator().manual_seed(seed)

    def drawn(of_test):
        index = torch.from_numpy(texts.test == of_test).nonzero().flatten()
        return index[torch.randperm(len(index), generator=generator)]

    order, test = drawn(False), drawn(True)
    n = min(reviews or len(order), len(order))
    test = test[:max(LEAST, round(n / len(order) * len(test)))]
    val, train = order[:max(1, n // 10)], order[max(1, n // 10):n]
    if len(every.y[train].unique()) < 2 or len(test) < LEAST:
        raise DataError(f"{title}: found {len(train)} training and {len(test)} test reviews, "
                        f"expected some of both classes and {LEAST}: try a larger "
                        "--reviews")
    count = torch.bincount(every.of(train).w, minlength=len(texts.words))
    if UNKNOWN in texts.words:  # stands for an empty review: number 1, not one of its own
        count[texts.words.index(UNKNOWN)] = 0
    frequent = count.argsort(descending=True, stable=True)[:vocabulary]
    frequent = frequent[count[frequent] > 0]
    number = torch.full((len(texts.words),), 1, dtype=torch.int32)
    number[frequent] = torch.arange(2, 2 + len(frequent), dtype=torch.int32)

    def numbered(index):
        w, starts, y = every.of(index)
        return Reviews(number[w].to(device), starts.to(device), y.to(device))

    known = tuple(texts.words[i] for i in frequent.tolist())
    say(f"Data: {title}, {len(train):,} training and {len(val):,} validation reviews, "
        f"{len(known):,} words")
    return Corpus(name, title, digest, (PADDING, UNKNOWN, *known), numbered(train),
                  numbered(val), numbered(test))


def batches(split, batch_size, generator, longest):
    """Yield (w (B, T), n (B,), y (B,)), T the longest of the batch, in the generator's order.

    Reviews of similar length share a batch; otherwise half of the work would be padding. 40
    batches at a time are sorted by length; then the batches are shuffled. Reviews that do not
    fill a batch are left out, others each time.
    """
    size = min(batch_size, len(split.y))
    order = torch.randperm(len(split.y), generator=generator)
    order = order[:len(order) // size * size]
    n = split.lengths.cpu().clamp(max=longest)
    alike = torch.cat([part[n[part].argsort(stable=True)] for part in order.split(40 * size)])
    alike = alike.view(-1, size)
    for index in alike[torch.randperm(len(alike), generator=generator)].to(split.y.device):
        yield *split.padded(index, longest), split.y[index]


@torch.no_grad()
def outputs(network, split, longest, batch_size=256):
    """network(w, n) of every review in the split's order, (N,) or (N, ...).

    Reviews of similar length share a batch, fewer if they are long, so that memory is bounded.
    """
    n = split.lengths.clamp(max=longest)
    order, parts, done = n.argsort(stable=True), [], 0
    while done < len(order):
        following = order[done:done + batch_size]
        following = following[:max(1, 2**16 // int(n[following[-1]]))]
        parts.append(network(*split.padded(following, longest)))
        done += len(following)
    together = torch.cat(parts)
    result = torch.empty_like(together)
    result[order] = together
    return result
