r"""The embedded corpus: film reviews drawn from a small grammar in which order matters.

It replaces IMDb where neither the file nor a network is available. Half of its reviews are
plain: all their opinions agree with the label, and counting words is enough. The other half
are turned: they hold an opinion and its opposite, and the order decides the label,

    not GOOD but BAD | the N was GOOD but the M was BAD          -> negative
    at first i found it GOOD ... in the end i found it BAD       -> negative
    i hoped for something GOOD and what i got was BAD            -> negative

Claim.  No bag of words classifies more than half of the turned reviews correctly.
Proof.  (1) Each turned review has a twin, its two opinions exchanged: the same words equally
            often, so the same bag, and the opposite label.
        (2) A bag of words gives twins the same answer: it is right on at most one of them.
A recurrent network reads the order. Checked in tests/test_reviews.py.
"""

import random

TITLE = "embedded corpus (reviews from a small grammar, not IMDb)"
GOOD, BAD, NOUNS, FILL = (line.split() for line in (
    "good great superb lovely wonderful brilliant funny touching clever gripping beautiful",
    "bad awful terrible dull boring stupid weak tedious clumsy pointless ugly",
    "acting plot music story ending script camera dialogue cast pace humour direction",
    "friday ninety sister friend wife full dog horse paris london rome lagos beginning"))
ASIDES = [
    "we saw it on a {} evening", "it runs for {} minutes", "my {} came along",
    "the room was almost {}", "it is set in {}", "there is a scene with a {}",
    "it was shown with subtitles", "the {} takes some time"]
PLAIN = ["the {noun} was {a}", "i found the {noun} {a}", "what a {a} film",
         "such {a} {noun}", "the {noun} is {a} and {b}"]
TURNED = ["the {noun} was not {a} but {b}", "the {noun} was {a} but the {other} was {b}",
          "at first i found it {a} ; {aside} ; in the end i found it {b}",
          "i hoped for something {a} and what i got was {b}",
          "it looked {a} ; {aside} ; {aside2} ; then it turned {b}"]


def texts(train=6000, test=2000, seed=0):
    """Yield (folder, text), folders as in IMDb: "train/pos" ...; always the same reviews.

    Half of each split are turned reviews, in pairs of twins; half of all are positive.
    """
    for split, n in (("train", train), ("test", test)):
        draw = random.Random(f"{seed} {split}")
        for _ in range(n // 4):
            yield from ((f"{split}/{kind}", text) for kind, text in _twins(draw))
            for kind in ("neg", "pos"):
                yield f"{split}/{kind}", _plain(draw, kind)


def _twins(draw):
    template, good, bad = draw.choice(TURNED), draw.choice(GOOD), draw.choice(BAD)
    noun, other = draw.sample(NOUNS, 2)
    keep = {"noun": noun, "other": other, "aside": _aside(draw), "aside2": _aside(draw)}
    before, after = _asides(draw), _asides(draw)
    for kind, a, b in (("neg", good, bad), ("pos", bad, good)):
        yield kind, _joined(*before, template.format(a=a, b=b, **keep), *after)


def _plain(draw, kind):
    words = GOOD if kind == "pos" else BAD
    parts = [*_asides(draw), *_asides(draw)]
    for _ in range(draw.randint(1, 2)):
        part = draw.choice(PLAIN).format(noun=draw.choice(NOUNS), a=draw.choice(words),
                                         b=draw.choice(words))
        parts.insert(draw.randint(0, len(parts)), part)
    return _joined(*parts)


def _asides(draw):
    return [_aside(draw) for _ in range(draw.randint(0, 3))]


def _aside(draw):
    return draw.choice(ASIDES).format(draw.choice(FILL))


def _joined(*parts):
    return " . ".join(parts)
