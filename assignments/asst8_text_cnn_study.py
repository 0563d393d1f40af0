r"""Assignment 8, exercise 5, further: which phrases decide what the 1-D CNN answers?

    o_1 - o_0 = sum_c v_c m_c + a_1 - a_0,    v = V[1] - V[0],    m_c = max_i ReLU(Z[i, c])

    python assignments/asst8_text_cnn_study.py      with the network of asst8_text_cnn.py

In each channel c one window of k words has the maximum: it wins. A window adds v_c m_c to the
log-odds of "positive" for each channel that it wins. These parts and a_1 - a_0 add up to the
answer exactly, which a network with the mean over time does not offer: there every window has
a share in every channel. minidl/lab/phrases.py takes the answers apart.

That a phrase has a large part does not yet mean that the answer depends on it: without it, the
next window wins its channels. So the words of the window with the largest part towards the
answer are replaced by the unknown word, and the network answers anew. Beside it the same for
a winning window drawn at random. All is measured on validation reviews.
"""
# sheet: S4.5a

import _path  # noqa: F401
import torch

from minidl.data.reviews import CLASSES
from minidl.lab import cli, infer, paired, phrases, plot


def main(run,
         shown: "phrases of each class in the figure" = 10,
         often: "times that a phrase in the figure has won; amount" = 5,
         vocabulary: "most frequent words that have a number" = 20_000,
         reviews: "training reviews used, validation included; amount" = 25_000):
    data = run.load_reviews(reviews, vocabulary)
    net = run.trained("asst8_text_cnn", "max", vocabulary=vocabulary, reviews=reviews)
    parts = phrases.parts(net, data.val)
    run.results.figure("phrases", plot.dots(
        {phrase: values for sign in (1, -1) for phrase, values in phrases.strongest(
            data, data.val, parts, sign, shown, often).items()},
        f"{run.title}: the phrases that decide most, validation reviews",
        f"what a window adds to the log-odds of {CLASSES[1]}, nats"))

    # --- does the answer depend on them? -----------------------------------------------------
    answer = infer(net, data.val).argmax(dim=1)
    towards = (2 * answer - 1)[parts.review] * parts.value  # a part's share in the answer
    at_random = torch.rand(len(towards), generator=run.generator).to(towards)
    changed = {name: infer(net, phrases.erased(data.val, parts.first_by(score))).argmax(dim=1)
               != answer for name, score in (("largest", towards), ("random", at_random))}
    run.scores("fraction", answers_changed_without=changed)
    run.claim("Without the window with the largest part, more answers change than without "
              "another window that wins.", paired(changed["largest"], changed["random"]))
    run.claim("Most answers do not depend on one window alone.",
              changed["largest"].double().mean() < 0.5)


SIZES = {"quick": {"often": 2, "vocabulary": 2000, "reviews": 6000}}

if __name__ == "__main__":
    cli.start(main, data="imdb", **SIZES)
