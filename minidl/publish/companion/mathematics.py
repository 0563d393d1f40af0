r"""Plain-text mathematics, as the docstrings write it, found in a text and set in mathtext.

    KL = 1/2 sum_d (mu_d^2 + s_d^2 - log s_d^2 - 1)   becomes
    \mathrm{KL} = \frac{1}{2}\,\sum_{d}\,(\mu_{d}^{2} + s_{d}^{2} - \log s_{d}^{2} - 1)

which is LaTeX as well, with amsmath and amssymb. The order of the signs stays; nothing is
rearranged or simplified, so the formula says what its source says. What the grammar does not
know stays text: an unbalanced bracket, two numbers side by side, names of code. Checked in
tests/test_companion.py.
"""

import itertools
import re
from typing import NamedTuple

GREEK = {name: rf"\{name}" for name in (
    "alpha", "beta", "gamma", "delta", "eta", "theta", "lambda", "mu", "nu", "pi", "rho",
    "sigma", "tau", "phi", "psi", "omega")} | {"eps": r"\epsilon", "lam": r"\lambda"}
BIG = {"sum": r"\sum", "prod": r"\prod"}
OPERATORS = BIG | {name: rf"\{name}" for name in (
    "log", "exp", "det", "max", "min", "tanh", "cos", "sin")}
OPERATORS |= {name: rf"\operatorname{{{name}}}" for name in (
    "argmax", "argmin", "tr", "diag", "Var", "Cov", "sign", "relu", "sigmoid", "softmax",
    "clip", "vec", "logit")}
RELATIONS = {"=": "=", "<=": r"\leq", ">=": r"\geq", "!=": r"\neq", "<": "<", ">": ">",
             "->": r"\rightarrow", "<-": r"\leftarrow", "~": r"\sim", "in": r"\in"}
SUMS = {"+": " + ", "-": " - ", "+-": r" \pm "}
PRODUCTS = {"*": r" \ast ", ".": r" \cdot ", "kron": r" \otimes "}
CLOSE = {"(": ")", "[": "]", "{": "}"}
NAMED = {"logits", "logvar", "mse", "bce", "jump", "BCE", "ELBO"}
PLAIN = {"lr", "al", "kl", "CE", "TV", "KL"}  # of two letters, and no product
SMALL = set(re.findall(r"\w+", """
    a an and are as at be but by can do each every for from go has have he if in is it its me
    my no not of on one only or over per so than that the then there this to up us was we what
    when where which whose with"""))  # words that stand beside formulas, and are none
SYMBOL = re.compile(rf"d?([A-Za-z]|{'|'.join(GREEK)}|KL)\d*")
DIFFERENTIAL = re.compile(r"d[A-Za-z]")
SHORT = 30  # letters of a formula that is not broken into lines
TOKEN = re.compile(r"""
    (?P<other> \ {2,} | \u2003 | `[^`]*` | [\w.-]*/[\w./-]*\.\w+ | --\w[\w-]* | ==
        | \b[A-Za-z]{2,}\w*(?:-[A-Za-z0-9]+)+ | (?<!\()\b[123]-D\b | \b\w-[a-z]{2,}\b
        | [A-Za-z]{2,}/[A-Za-z]{4,} | [A-Za-z][A-Za-z0-9]+(?:_\w+)*(?:\.[A-Za-z]\w*)+
        | [A-Za-z]\.[A-Za-z]{2,} | \w+'[a-z]{1,2}\b
        | (?<!\S)\((?:\d+(?:\.\d+)?|[a-z])\) | \[H\d\])
  | (?P<times> \d+x\d+)
  | (?P<number> \d{1,3}(?:,\d{3})+ | \d+(?:\.\d+)?(?:e-?\d+)?)
  | (?P<name> [A-Za-z][A-Za-z0-9]*)
  | (?P<sign> <= | >= | != | -> | <- | \+- | \|\| | \.\.\.? | [-+*/^_=<>~|()\[\]{},;.'])
  | (?P<else> \S)""", re.X)


class Untranslatable(ValueError):
    """The grammar has no rule for this."""


class Formula(NamedTuple):
    plain: str     # as it stands in the source
    mathtext: str


class Token(NamedTuple):
    kind: str      # "" before the first token and behind the last
    text: str
    spaced: bool   # a space before it, or nothing
    start: int
    end: int


NOTHING = Token("", "", True, -1, -1)


def tokenize(text):
    return [Token(m.lastgroup, m[0], f" {text}"[m.start()] == " ", *m.span())
            for m in TOKEN.finditer(text)]


def latex(text, plain, weak=False):
    """The text for LaTeX: formulas between dollars, all else as `plain` writes it."""
    return "".join(f"${part.mathtext}$" if isinstance(part, Formula) else plain(part)
                   for part in split(text, weak))


# --- where in a sentence the formulas are ---------------------------------------------------
# A formula is a sequence of signs, symbols and numbers between words. The grammar accepts it
# as a whole, or the part of it between two commas. In doubt it is text.

def split(text, weak=False, display=False):
    """The text in parts, in order: str, and Formula where it is certainly one.

    weak: a lone letter or bracket is one as well, as between the columns of an equation.
    display: as on a line of its own, with tall fractions and limits above a sum's sign.
    """
    parts, done = [], 0
    for run in map(_trimmed, _runs(tokenize(text))):
        if _cut(text, run):
            continue
        for start, end, mathtext in _formulas(run, weak, display):
            parts += [text[done:start], Formula(text[start:end], mathtext)]
            done = end
    return [part for part in [*parts, text[done:]] if part]


def _runs(tokens):
    """The stretches of tokens between words."""
    run = []
    for before, token, after in zip([NOTHING, *tokens], tokens, [*tokens[1:], NOTHING],
                                    strict=False):
        if _wordy(before, token, after, any(t.text == "{" for t in run)):
            if len(run) > 1 and run[-1].text == "a" and token.kind == "name" and (
                    run[-2].kind != "sign" or run[-2].text in ",);"):
                run.pop()   # the article of the word
            yield run
            run = []
        else:
            run.append(token)
    yield run


def _wordy(before, token, after, braced):
    """Whether a token between two others is prose, or nothing that a formula holds."""
    kind, text, spaced, *_ = token
    if kind in ("other", "else"):
        return True
    if text == ".":     # between two factors, u . v or w.x; else it ends a sentence
        return spaced != after.spaced or not (spaced or _letter(before))
    if kind != "name" or len(text) == 1 or text in (*PLAIN, "kron"):
        return False
    if text in NAMED:
        return not any(t.kind == "sign" and t.text not in ",;.'" for t in (before, after))
    if text == "in":    # z in R^d, k in {2, 4}, sum_{n in c}
        return not (braced or after.text in [*"[{RZNUC"])
    if text in SMALL:
        return True
    if text in OPERATORS:
        return not _operates(text, before, after)
    return not (SYMBOL.fullmatch(text) or before.text in ("_", "{")
                or _operand(before, token, after))


def _letter(token):
    return token.kind == "name" and len(token.text) == 1


def _operates(text, before, after):
    """Whether sum, log, max, ... has something to work on, and is not a noun."""
    if text in BIG and after.text != "_" and before.kind not in ("sign", "number"):
        return False    # the sum w
    if after.kind == "name":
        return after.text not in SMALL and bool(
            SYMBOL.fullmatch(after.text) or after.text in OPERATORS)
    return after.text in ("_", "(", "|", "^", "'") or after.kind == "number"


def _operand(before, token, after):
    """Whether a word of several letters is a quantity: f(x), in + out, KL_{max}, SELU^2."""
    if after.text == "_":
        return len(token.text) == 2     # test_l1 is code
    if not after.spaced and after.text in ("^", "(", "[", "="):
        return after.text != "="    # a setting in code
    if before.text in ("(", "[") and not before.spaced and after.text in (")", "]", ","):
        return True
    joins = {*RELATIONS, *SUMS, "*", "/"}
    left = before.text in ("", "E") or (before.kind == "sign"
                                        and before.text not in ",;.')]}|")
    return left and after.kind in ("", "sign") and bool({before.text, after.text} & joins)


def _trimmed(run):
    """Without the commas and brackets at its ends that belong to the sentence."""
    while run and run[-1].text in (",", ";", "(", "[", "{", "."):
        run = run[:-1]
    while run and run[0].text in (",", ";", ")", "]", "}", ".", "'"):
        run = run[1:]
    return run


def _cut(text, run):
    """Whether a run touches what is not a formula, as in f(a: or #{x}, and so has no end."""
    before = text[run[0].start - 1:run[0].start] if run else ""
    after = text[run[-1].end:run[-1].end + 1] if run else ""
    return before not in ("", *' \u2003("') or after not in ("", *' \u2003":?!.,;)')


def _formulas(run, weak, display):
    """(start, end, mathtext) of what parses in a run; else of its parts between commas."""
    run = _trimmed(run)
    if len(run) > 1 and run[0].text == "a" and run[1].kind == "name":
        run = run[1:]   # an article
    if not run or (not weak and (
            (run[0].text in RELATIONS and run[0].start) or
            (len(run) > 1 and run[0].text in ("+", "-", "*", "/") and run[1].spaced))):
        return  # the right side of something that was not understood
    try:
        found = Parser(run, display).whole()
        if weak or _strong(run):
            yield from found
        return
    except Untranslatable:
        pass
    parts, depth = [[]], 0
    for token in run:   # at the commas outside brackets
        depth += (token.text in CLOSE) - (token.text in CLOSE.values())
        if token.text in (",", ";") and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    for part in parts if len(parts) > 1 else []:
        yield from _formulas(part, weak, display)


def _strong(run):
    """Whether a run is a formula even in a sentence. A letter, a list or plural(s) is not."""
    if any(t.text in ("_", "^", "||", "'", *RELATIONS, *GREEK) for t in run):
        return True
    signs = any(t.text in "+-*/" and t.spaced for t in run[1:])
    calls = any(b.text == "(" and not b.spaced and (_letter(a) or a.text in OPERATORS)
                for a, b in itertools.pairwise(run))
    return signs or (calls and len(run) > 3)


# --- a formula's grammar --------------------------------------------------------------------

class Parser:
    """Recursive descent; each method returns the mathtext of what it has read."""

    def __init__(self, tokens, display):
        self.tokens, self.display, self.i = tokens, display, 0
        self.last = "", "", ""   # factor: its mathtext, that without brackets, first token
        self.real = False        # behind `in`, where R^d is a set
        self.spacing = False     # behind log, which brings its own space

    def peek(self, ahead=0):
        at = self.i + ahead
        return self.tokens[at] if at < len(self.tokens) else NOTHING

    def take(self):
        self.i += 1
        return self.tokens[self.i - 1]

    def whole(self):
        """Pieces (start, end, mathtext) between which a line may break: before a relation."""
        pieces = []
        while self.peek().kind:
            start = self.peek().start
            sign = self.relation() if self.peek().text in RELATIONS else ""
            text = self.sum()
            if self.peek().text == ",":
                text += self.take().text + r"\;"
            end = self.tokens[self.i - 1].end
            if pieces and end - pieces[-1][0] < SHORT:
                start, before = pieces.pop()[0::2]
                text = f"{before} {sign}{text}"
            elif sign:
                text = rf"{{{sign.strip()}}}\;{text}"   # in braces: no space before it
            pieces.append((start, end, text))
        return pieces

    def inner(self, close):
        """What stands in a bracket: terms with commas, relations and bars between them."""
        text = ""
        while self.peek().text != close:
            token = self.peek()
            if token.text in RELATIONS:
                text += f" {self.relation()}"
            elif token.text in (",", ";"):
                text += self.take().text + (r"\," if self.peek().text != close else "")
            elif token.text == "||":
                self.take()
                text += r"\,\Vert\,"
            elif token.text == "|" and text and token.spaced == self.peek(1).spaced:
                self.take()     # p(x|z) or p(x | z), not p(x |z|)
                text += r"\mid " if close != "}" else "|"
            else:
                text += self.sum()
        self.take()
        return text

    def relation(self):
        sign = self.take().text
        self.real = sign == "in" and self.peek().text == "R"    # in R^d
        return RELATIONS[sign] + " "

    def sum(self):
        text = SUMS[self.take().text].lstrip() if self.peek().text in SUMS else ""
        text += self.product()
        while self.peek().text in SUMS:
            token = self.take()
            minus = token.text == "-" and token.spaced and not self.peek().spaced
            text += r"\;{-}" if minus else SUMS[token.text]  # E -log p: a factor with a sign
            text += self.product()
        return text

    def product(self):
        text, wants = self.factor()
        while True:
            token = self.peek()
            if token.text in PRODUCTS:
                text += PRODUCTS[self.take().text] + self.factor()[0]
                wants = False
            elif token.text == "/":
                text, wants = self.quotient(text), False
            elif self.starts(token):
                if token.kind == "number" and not wants:
                    raise Untranslatable("two numbers, or a number behind its factor")
                gap = r"\," if token.spaced and not self.spacing else " "
                more, wants = self.factor()
                text += gap + more
            else:
                return text

    def quotient(self, text):
        """a/b with nothing but an atom above and below; a line with / for anything else."""
        slash, (last, above, first) = self.take(), self.last
        below = self.factor()[0]
        _, under, second = self.last
        follows = self.starts(self.peek()) and not self.peek().spaced
        numbers = last.isdigit() and below.isdigit()
        alike = last == "d" or bool(DIFFERENTIAL.match(first)) == bool(
            DIFFERENTIAL.match(second))
        if text.endswith(last) and not slash.spaced and not follows and alike and (
                numbers or self.display):
            frac = r"\frac" if numbers else r"\dfrac"
            return text[:-len(last)] + rf"{frac}{{{above}}}{{{under}}}"
        return text + (" / " if slash.spaced else "/") + below

    def starts(self, token):
        """Whether a token begins a factor."""
        if token.text == "|":
            return token.spaced and not self.peek(1).spaced
        return token.text in (*CLOSE, "...", "..") or (
            token.kind in ("name", "number") and token.text not in ("in", "kron"))

    def factor(self):
        """An atom with its subscripts, powers and arguments; and whether it wants an operand,
        as log and sum do."""
        first = self.peek().text
        text = self.operator() if first in OPERATORS else self.atom()
        self.spacing = first in OPERATORS and first not in BIG
        bare = text     # the line of a fraction replaces a bracket
        if first == "(":
            bare = re.sub(r"^(\\left)?\(|(\\right)?\)$", "", text)
        self.last = text, bare, first
        return text, first in OPERATORS or first == "E"

    def operator(self):
        name = self.take().text
        symbol = OPERATORS[name]
        if name in BIG and not self.display:
            symbol = f"{{{symbol}}}"    # its limits beside it, not above: the lines stay even
        text = symbol + self.scripts()
        if text == symbol and not self.starts(self.peek()):
            raise Untranslatable(f"{name} of nothing")
        if self.peek().text == "(" and not self.peek().spaced:
            text += self.bracket() + self.scripts()
        return text

    def atom(self):
        token = self.peek()
        if token.kind == "number":
            self.take()
            text = re.sub(r"(.+)e(-?\d+)", r"\1 \\cdot 10^{\2}", token.text)
            return text.replace(",", "{,}") + self.scripts()
        if token.kind == "times" or token.text in ("...", ".."):
            self.take()
            return re.sub(r"\.+", r"\\ldots ", token.text.replace("x", r" \times "))
        if token.text in CLOSE:
            return self.bracket() + self.scripts(transposed=True)
        if token.text == "|":
            return self.absolute()
        if token.kind == "name":
            return self.named()
        raise Untranslatable(f"found {token.text!r}")

    def bracket(self):
        opening = self.take().text
        inside = self.inner(CLOSE[opening])
        left, right = (r"\{", r"\}") if opening == "{" else (opening, CLOSE[opening])
        if self.display and re.search(r"\\(sum|prod|d?frac)", inside):
            left, right = rf"\left{left}", rf"\right{right}"
        return f"{left}{inside}{right}"

    def absolute(self):
        self.take()
        inside = self.sum()
        if self.peek().text != "|":
            raise Untranslatable("a bar that does not close")
        self.take()
        return rf"|{inside}|" + self.scripts()

    def named(self):
        name, after = self.take().text, self.peek()
        if name == "sqrt" and after.text == "(":
            self.take()
            return rf"\sqrt{{{self.inner(')')}}}"
        base, sub = _symbol(name)
        if self.real:
            base, self.real = rf"\mathbb{{{base}}}", False
        if sub and after.text == "_":
            base, sub = rf"\mathrm{{{name}}}", ""     # l1_b
        if after.text == "_" and self.peek(1).text == "hat":
            self.i += 2
            base = rf"\hat{{{base}}}"
        text = base + self.scripts(sub, transposed=name not in GREEK)
        while self.peek().text in ("(", "[") and not self.peek().spaced:
            bracket = self.bracket()
            if text == "N":
                text = r"\mathcal{N}"
            text += bracket + self.scripts(transposed=True)
        return text

    def scripts(self, sub="", transposed=False):
        """Subscript, power, prime and star behind an atom."""
        power = ""
        while not self.peek().spaced:
            sign, after = self.peek().text, self.peek(1).text
            if sign == "_" and not sub:
                self.take()
                sub = self.script()
            elif sign == "^" and not power:
                self.take()
                power = self.script()
                if power == "T" and transposed:
                    power = r"\mathrm{T}"
            elif sign == "'" and not power.strip(r"\prime"):
                self.take()
                power += r"\prime"
            elif sign == "*" and not power and after in ("=", ")"):
                self.take()
                power = r"\ast"
            else:
                break
        if self.peek().text in ("_", "^"):
            raise Untranslatable("two subscripts or powers")
        return (f"_{{{sub}}}" if sub else "") + (f"^{{{power}}}" if power else "")

    def script(self):
        """What stands behind _ or ^: too small for fractions."""
        if self.peek().text in ("{", "("):
            display, self.display = self.display, False
            text = self.inner(CLOSE[self.take().text])
            self.display = display
            return text
        sign = self.take().text if self.peek().text == "-" else ""
        token = self.peek()
        if token.kind not in ("name", "number") and token.text != "*":
            raise Untranslatable(f"found {token.text!r} as a power")
        self.take()
        text = r"\ast" if token.text == "*" else _letters(token.text)
        if token.kind == "number" and self.peek().kind == "name" and not self.peek().spaced:
            text += _letters(self.take().text)      # v_2N
        return sign + text


def _symbol(name):
    """A name as a symbol, and the digits at its end as its subscript."""
    letters, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()
    if letters in GREEK or len(letters) == 1:
        return GREEK.get(letters, letters), digits
    if letters[0] == "d" and (len(letters) == 2 or letters[1:] in (*GREEK, "KL")):
        return "d" + (r"\mathrm{KL}" if letters == "dKL" else _letters(letters[1:])), digits
    if len(letters) == 2 and name not in PLAIN and not digits:
        return name, ""     # a product
    return rf"\mathrm{{{name}}}", ""


def _letters(name):
    """The same within a subscript, where ij are two letters."""
    if name in GREEK or len(name) < 3 or name.isdigit():
        return GREEK.get(name, name)
    return rf"\mathrm{{{name}}}"
