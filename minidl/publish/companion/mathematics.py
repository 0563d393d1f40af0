r"""Plain-text mathematics, as the docstrings write it, into matplotlib's mathtext.

    KL = 1/2 sum_d (mu_d^2 + s_d^2 - log s_d^2 - 1)   becomes
    \mathrm{KL} = \frac{1}{2}\,\sum_{d}\,(\mu_{d}^{2} + s_{d}^{2} - \log s_{d}^{2} - 1)

The order of the signs stays, nothing is rearranged or simplified: what is shown can be read
back, and is as right as its source. What the grammar does not know stays text: an unbalanced
bracket, two numbers side by side, a code's names. Checked in tests/test_companion.py.
"""

import re

from minidl.publish.companion.letters import (
    ACCENTS,
    BIG,
    GREEK,
    LOGLIKE,
    PLAIN,
    RELATIONS,
    Token,
    tokenize,
)

DIFFERENTIAL = re.compile(r"d[A-Za-z]")
SHORT = 30  # letters of a formula that is not broken into lines


class Untranslatable(ValueError):
    """The grammar has no rule for this."""


def translate(text, display=False):
    """The mathtext of a whole text; Untranslatable where there is none.

    display: as on a line of its own, with tall fractions and limits above a sum's sign.
    """
    return " ".join(piece for *_, piece in pieces(tokenize(text), display))


def pieces(tokens, display):
    """(start, end, mathtext) of the parts between which a line may break."""
    if not tokens or any(token.kind in ("other", "else") for token in tokens):
        raise Untranslatable("this is no formula")
    return Parser(tokens, display).whole()


class Parser:
    """Recursive descent; each method returns the mathtext of what it has read."""

    def __init__(self, tokens, display):
        self.tokens, self.display, self.i = tokens, display, 0

    def peek(self, ahead=0):
        at = self.i + ahead
        return self.tokens[at] if at < len(self.tokens) else Token("end", "", -1, True)

    def take(self):
        self.i += 1
        return self.tokens[self.i - 1]

    def expect(self, text):
        if self.peek().text != text:
            raise Untranslatable(f"found {self.peek().text!r}, expected {text!r}")
        return self.take()

    def whole(self):
        """Pieces (start, end, mathtext) between which a line may break: before a relation."""
        pieces = []
        while self.peek().kind != "end":
            start, sign = self.peek().start, ""
            if self.peek().text in RELATIONS:
                sign = self.relation().strip()
            text = self.sum()
            while self.peek().text == ",":
                text += self.take().text + r"\;"
                if self.peek().kind == "end":
                    raise Untranslatable("a comma at the end")
                if self.peek().text not in RELATIONS:
                    break
            end = self.tokens[self.i - 1].end
            if pieces and end - pieces[-1][0] < SHORT:
                start, before = pieces.pop()[0::2]
                text = f"{before} {sign} {text}"
            elif sign:
                text = rf"{{{sign}}}\;{text}"   # in braces: it brings no space before it
            pieces.append((start, end, text))
        return pieces

    def inner(self, close):
        """What stands in a bracket: terms with commas, relations and bars between them."""
        text, opened = "", self.peek().spaced
        while self.peek().text != close:
            token = self.peek()
            if token.text in RELATIONS:
                text += f" {self.relation()}"
            elif token.text in (",", ";") and text:
                text += self.take().text + (r"\," if self.peek().text != close else "")
            elif token.text == "||" and text:
                self.take()
                text += r"\,\Vert\,"
            elif token.text == "|" and text and token.spaced == self.peek(1).spaced:
                self.take()     # p(x|z) or p(x | z), not p(x |z|)
                text += r"\mid " if close != "}" else "|"
            elif token.kind == "end":
                raise Untranslatable(f"no {close}")
            else:
                if text and text[-1] not in " ,|" and not opened:
                    raise Untranslatable(f"found {token.text!r}")
                text += self.sum()
                opened = False
        self.take()
        return text

    def relation(self):
        sign = self.take().text
        self.real = sign == "in" and self.peek().text in ("R", "Z", "N")    # in R^d
        return RELATIONS[sign] + " "

    def sum(self):
        text = ""
        if self.peek().text in ("+", "-", "+-"):
            text = {"+": "+", "-": "-", "+-": r"\pm "}[self.take().text]
        text += self.product()
        while self.peek().text in ("+", "-", "+-"):
            token = self.take()
            if token.text == "-" and token.spaced and not self.peek().spaced:
                text += r"\;{-}" + self.product()  # E -log p: a factor with a sign, no minus
            else:
                text += {"+": " + ", "-": " - ", "+-": r" \pm "}[token.text] + self.product()
        return text

    def product(self):
        text, wants = self.factor()
        while True:
            token, after = self.peek(), self.peek(1)
            if token.text == "*":
                self.take()
                text, wants = text + r" \ast " + self.one(), False
            elif token.text == "." and token.spaced == after.spaced:
                self.take()
                text, wants = text + r" \cdot " + self.one(), False
            elif token.text == "/":
                text, wants = self.quotient(text, token), False
            elif token.text == "kron":
                self.take()
                text, wants = text + r" \otimes " + self.one(), False
            elif self.starts(token):
                if token.kind == "number" and not wants:
                    raise Untranslatable("two numbers, or a number behind its factor")
                gap = r"\," if token.spaced and not self.spacing else " "
                more, wants = self.factor()
                text += gap + more
            else:
                return text

    def one(self):
        sign = self.take().text if self.peek().text == "-" else ""
        return sign + self.factor()[0]

    def quotient(self, text, slash):
        """a/b with nothing but an atom above and below; a line with / for anything else."""
        before, at = self.tokens[self.i - 1], self.i
        last = self.last if at == self.last_end else None
        first = self.last_start
        self.take()
        tight = not slash.spaced and not self.peek().spaced
        below = self.one()
        follows = self.starts(self.peek()) and not self.peek().spaced
        both = before.text == last and last.isdigit() and below.isdigit()
        differential = [DIFFERENTIAL.match(self.tokens[i].text) is not None
                        for i in (first, at + 1)]
        if tight and last and text.endswith(last) and not follows and (
                last == "d" or differential[0] == differential[1]) and (
                both or (self.display and not below.startswith("-"))):
            frac = r"\frac" if both else r"\dfrac"
            return text[:-len(last)] + rf"{frac}{{{_bare(last)}}}{{{_bare(below)}}}"
        return text + (" / " if slash.spaced else "/") + below

    def starts(self, token):
        """Whether a token begins a factor."""
        if token.text == "|":
            return token.spaced and not self.peek(1).spaced and not self.closing
        return (token.kind in ("name", "number", "times") and token.text not in (
            "in", "kron")) or (
            token.text in ("(", "[", "{", "...", ".."))

    closing = False     # within |...|, where the next bar at the end of a word closes
    last, last_start, last_end, spacing, real = "", 0, -1, False, False

    def factor(self):
        """An atom with its subscripts, powers and arguments; and whether it wants an operand,
        as log and sum do."""
        token, start = self.peek(), self.i
        if token.text in BIG or token.text in LOGLIKE:
            text, wants = self.operator(), True
        else:
            text, wants = self.atom(), token.text == "E"
        self.spacing = token.text in LOGLIKE    # which brings its own space
        self.last, self.last_start, self.last_end = text, start, self.i
        return text, wants

    def operator(self):
        name = self.take().text
        symbol = BIG.get(name) or LOGLIKE[name]
        if name in BIG and not self.display:
            symbol = f"{{{symbol}}}"    # its limits beside it, not above: the lines stay even
        text = symbol + self.scripts()
        if text == symbol and name in LOGLIKE and not self.starts(self.peek()):
            raise Untranslatable(f"{name} of nothing")
        if self.peek().text == "(" and not self.peek().spaced:
            text += self.bracket()
            if self.peek().text in ("^", "_") and not self.peek().spaced:
                text += self.scripts()
        return text

    def atom(self):
        token = self.peek()
        if token.kind == "number":
            self.take()
            text = re.sub(r"(.+)e(-?\d+)", r"\1 \\cdot 10^{\2}", token.text)
            return text.replace(",", "{,}") + self.scripts()
        if token.kind == "times":
            return self.take().text.replace("x", r" \times ")
        if token.text in ("...", ".."):
            self.take()
            return r"\ldots "
        if token.text in ("(", "[", "{"):
            text = self.bracket()
            power = self.scripts(transposed=True)
            return text + power
        if token.text == "|":
            return self.absolute()
        if token.kind == "name":
            return self.named()
        raise Untranslatable(f"found {token.text!r}")

    def bracket(self):
        opening = self.take().text
        before, self.closing = self.closing, False
        close = {"(": ")", "[": "]", "{": "}"}[opening]
        inside = self.inner(close) if self.peek().text != close else self.take() and ""
        self.closing = before
        left, right = (r"\{", r"\}") if opening == "{" else (opening, close)
        if self.display and re.search(r"\\(sum|prod|d?frac)", inside):
            left, right = rf"\left{left}", rf"\right{right}"
        return f"{left}{inside}{right}"

    def absolute(self):
        self.take()
        if self.peek().spaced or self.closing:
            raise Untranslatable("a bar")
        self.closing = True
        inside = self.sum()
        self.closing = False
        if self.peek().spaced:
            raise Untranslatable("a bar that does not close")
        self.expect("|")
        return rf"|{inside}|" + self.scripts()

    def named(self):
        token = self.take()
        name, after = token.text, self.peek()
        call = after.text == "(" and not after.spaced
        if name == "sqrt" and call:
            self.take()
            return rf"\sqrt{{{self.inner(')')}}}"
        base, sub = _symbol(name, call)
        if self.real:
            base, self.real = rf"\mathbb{{{base}}}", False
        if sub and after.text == "_" and not after.spaced:
            base, sub = rf"\mathrm{{{name}}}", ""     # l1_b
        scripts = self.scripts(sub=sub, accent=True, transposed=name not in GREEK)
        text = (f"{self.hat}{{{base}}}" if self.hat else base) + scripts
        while self.peek().text in ("(", "[") and not self.peek().spaced:
            bracket = self.bracket()
            if name == "N" and text == "N" and "," in bracket:
                text = r"\mathcal{N}"
            text += bracket
            if self.peek().text in ("^", "_"):
                text += self.scripts(transposed=True)
        return text

    def scripts(self, sub="", accent=False, transposed=False):
        """Subscript, power, prime and star behind an atom; its accent is left in self.hat."""
        power, self.hat = "", ""
        while not self.peek().spaced:
            token = self.peek()
            if token.text == "_" and accent and not sub and self.peek(1).text in ACCENTS:
                self.take()
                self.hat = ACCENTS[self.take().text]
            elif token.text == "_" and not sub:
                self.take()
                sub = self.script()
            elif token.text == "^" and not power:
                self.take()
                power = self.script()
                if power == "T" and transposed:
                    power = r"\mathrm{T}"
            elif token.text == "'" and not power.strip("'"):
                self.take()
                power += "'"
            elif token.text == "*" and not power and self.peek(1).text in ("=", ")", "", ","):
                self.take()
                power = r"\ast"
            else:
                break
            if self.peek().text in ("_", "^") and ((sub and self.peek().text == "_") or (
                    power and self.peek().text == "^")):
                raise Untranslatable("two subscripts or powers")
        power = power.replace("'", r"\prime") if power.startswith("'") else power
        return (f"_{{{sub}}}" if sub else "") + (f"^{{{power}}}" if power else "")

    def script(self):
        """What stands behind _ or ^: too small for fractions."""
        display, self.display = self.display, False
        text = self.exponent()
        self.display = display
        return text

    def exponent(self):
        if self.peek().text == "{":
            self.take()
            return self.inner("}")
        if self.peek().text == "(":
            self.take()
            return self.inner(")")
        sign = self.take().text if self.peek().text == "-" else ""
        token = self.take() if self.peek().kind in ("name", "number") else self.expect("*")
        text = r"\ast" if token.text == "*" else _letters(token.text)
        if token.kind == "number" and self.peek().kind == "name" and not self.peek().spaced:
            text += _letters(self.take().text)      # v_2N
        return sign + text


def _symbol(name, call=False):
    """A name as a symbol, and the digits at its end as its subscript."""
    letters, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()
    if letters in GREEK:
        return GREEK[letters], digits
    if len(letters) == 1:
        return letters, digits
    if letters[0] == "d" and (len(letters) == 2 or letters[1:] in (*GREEK, "KL")):
        rest = GREEK.get(letters[1:]) or letters[1:]
        return "d" + (rf"\mathrm{{{rest}}}" if rest == "KL" else rest), digits
    if len(letters) == 2 and name not in PLAIN and not digits and not call:
        return name, ""
    return rf"\mathrm{{{name}}}", ""


def _letters(name):
    """The same within a subscript, where ij are two letters."""
    if name in GREEK or len(name) < 3 or name.isdigit():
        return GREEK.get(name, name)
    return rf"\mathrm{{{name}}}"


def _bare(text):
    """A denominator without the brackets that the line of a fraction replaces."""
    inside = text.removeprefix(r"\left").replace(r"\right)", ")")[1:-1]
    return inside if text[-1:] == ")" and text.lstrip("\\left")[:1] == "(" and (
        _balanced(inside)) else text


def _balanced(text):
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0
