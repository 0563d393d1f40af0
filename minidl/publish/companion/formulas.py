"""Where in a sentence the formulas are.

A formula is a stretch of signs, symbols and numbers between words that the grammar accepts as
a whole, or what of it stands between commas. In doubt it is none.
"""

import itertools
from typing import NamedTuple

from minidl.publish.companion.letters import (
    BIG,
    GREEK,
    LOGLIKE,
    NAMED,
    PLAIN,
    RELATIONS,
    SMALL,
    SYMBOL,
    Token,
    tokenize,
)
from minidl.publish.companion.mathematics import Untranslatable, pieces

NOTHING = Token("", "", 0, True)    # before the first token, behind the last
JOINS = {*RELATIONS, "+", "*", "/", "||", "+-", "-"} - {"in"}


class Formula(NamedTuple):
    plain: str     # as it stands in the source
    mathtext: str


def split(text, weak=False, display=False):
    """The text in parts, in order: str, and Formula where it is certainly one.

    weak: a lone letter or bracket is one as well, as between the columns of an equation.
    """
    tokens, parts, done = tokenize(text), [], 0
    for run in _runs(tokens):
        run = _trimmed(run)
        if _cut(text, run):
            continue
        for start, end, mathtext in _formulas(run, weak, display):
            parts += [text[done:start], Formula(text[start:end], mathtext)]
            done = end
    return [part for part in [*parts, text[done:]] if part]


def _wordy(tokens, i):
    """Whether token i is prose, or nothing that a formula holds."""
    kind, text, _, spaced = token = tokens[i]
    before = tokens[i - 1] if i else NOTHING
    after = tokens[i + 1] if i + 1 < len(tokens) else NOTHING
    if kind in ("other", "else"):
        return True
    if text == ".":     # between two factors, u . v or w.x; else it ends a sentence
        return not ((spaced and after.spaced and after.text) or (
            _letter(before) and _letter(after) and not spaced and not after.spaced))
    if kind != "name" or len(text) == 1 or text in (*GREEK, *PLAIN, "kron"):
        return False
    if text in NAMED:
        return not any(t.kind == "sign" and t.text not in ",;.'" for t in (before, after))
    if text == "in":
        return not _member(tokens, i, before, after)
    if text in SMALL:
        return True
    if text in BIG or text in LOGLIKE:
        return not _operates(text, before, after)
    return not (SYMBOL.fullmatch(text) or before.text in ("_", "^", "{")
                or _operand(token, before, after, tokens[i + 2:i + 3]))


def _member(tokens, i, before, after):
    """Whether `in` is the sign: z in R^d, k in {2, 4}, sum_{n in c}."""
    braced = any(token.text == "{" for token in tokens[:i]) and before.kind == "name"
    return bool(before.text and before.kind in ("name", "number", "sign") and after.text) and (
        after.text in "[{RZNUC" or braced)


def _operates(text, before, after):
    """Whether sum, log, max, ... has something to work on, and is no noun."""
    if text in BIG and after.text != "_" and before.text and not (
            before.kind in ("sign", "number") or SYMBOL.fullmatch(before.text)):
        return False    # the sum w
    if after.kind == "name":
        return after.text not in SMALL and bool(
            SYMBOL.fullmatch(after.text) or after.text in (*LOGLIKE, *BIG)
            or before.kind == "sign")
    return after.text in ("_", "(", "|", "^", "'") or after.kind == "number"


def _operand(token, before, after, further):
    """Whether a word of several letters is a quantity: f(x), in + out, KL_{max}, SELU^2."""
    if not after.spaced and after.text == "_":      # test_l1 is code
        return len(token.text) == 2 or (bool(further) and further[0].text == "{")
    if not after.spaced and after.text in ("^", "(", "["):
        return True
    if not after.spaced and after.text == "=":
        return False    # a setting in code
    if before.text in ("(", "[") and not before.spaced and after.text in (")", "]", ","):
        return True
    left = not before.text or before.text == "E" or (
        before.kind == "sign" and before.text not in ",;.')]}|")
    right = not after.text or (after.kind == "sign" and after.text != "'")
    return left and right and (before.text in JOINS or after.text in JOINS)


def _trimmed(run):
    """Without the commas and brackets at its ends that belong to the sentence."""
    while run and run[-1].text in (",", ";", "(", "[", "{", "."):
        run = run[:-1]
    while run and run[0].text in (",", ";", ")", "]", "}", ".", "'"):
        run = run[1:]
    return run


def _cut(text, run):
    """Whether a run touches what is no formula, as in f(a: or #{x}, and so has no end."""
    before = text[run[0].start - 1:run[0].start] if run else ""
    after = text[run[-1].end:run[-1].end + 1] if run else ""
    return before not in ("", *' \u2003("') or after not in ("", *' \u2003":?!.,;)')


def _letter(token):
    return token.kind == "name" and len(token.text) == 1


def _runs(tokens):
    """The stretches of tokens between words."""
    run = []
    for i, token in enumerate(tokens):
        if _wordy(tokens, i):
            yield _without_article(run, followed=token.kind == "name")
            run = []
        else:
            run.append(token)
    yield run


def _without_article(run, followed):
    """Without an `a` at its end that belongs to the word behind it."""
    if followed and len(run) > 1 and run[-1].text == "a" and run[-1].spaced and (
            run[-2].text not in LOGLIKE) and (
            run[-2].kind != "sign" or run[-2].text in (",", ")", ";")):
        run = run[:-1]
    return run


def _formulas(run, weak, display):
    """(start, end, mathtext) of what parses in a run; else of its parts between commas."""
    run = _trimmed(run)
    if len(run) > 1 and run[0].text == "a" and run[1].spaced and run[1].kind == "name":
        run = run[1:]   # an article
    if not run or (not weak and (
            (run[0].text in RELATIONS and run[0].start) or
            (len(run) > 1 and run[0].text in ("+", "-", "*", "/") and run[1].spaced))):
        return  # the right side of something that was not understood
    if run[0].text in "([{" and not run[0].spaced and run[0].start and not weak:
        return  # the arguments of a code's function
    try:
        found = pieces(run, display)
        if weak or _strong(run):
            yield from found
        return
    except Untranslatable:
        pass
    part, parts, depth = [], [], 0
    for token in run:   # at the commas outside brackets
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if token.text in (",", ";") and not depth:
            part = parts.append(part) or []
        else:
            part.append(token)
    for piece in [*parts, part] if parts else []:
        yield from _formulas(piece, weak, display)


def _strong(run):
    """Whether a run is a formula even in a sentence: not a letter, a list or a plural(s)."""
    texts = [token.text for token in run]
    if all(t in LOGLIKE or t in BIG for t in texts):
        return False
    if any(t in ("_", "^", "||", "'") or t in RELATIONS for t in texts):
        return True
    if any(t in GREEK or t in BIG for t in texts):
        return True
    operands = [t for t in run if t.kind in ("name", "number")]
    signs = any(t.text in "+-*/" and t.spaced for t in run[1:])
    calls = any(b.text == "(" and not b.spaced and (_letter(a) or a.text in LOGLIKE)
                for a, b in itertools.pairwise(run))
    return (len(operands) > 1 and signs) or (calls and len(texts) > 3)
