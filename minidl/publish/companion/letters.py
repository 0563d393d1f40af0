"""The letters of plain-text mathematics: names that mean a symbol, and how a line is cut."""

import re
from typing import NamedTuple

GREEK = ["alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "kappa", "lambda", "mu",
         "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma",
         "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi", "Omega"]
GREEK = {name: rf"\{name}" for name in GREEK}
GREEK |= {"eps": r"\epsilon", "epsilon": r"\epsilon", "lam": r"\lambda"}
BIG = {"sum": r"\sum", "prod": r"\prod"}
LOGLIKE = {name: rf"\{name}" for name in (
    "log", "exp", "det", "max", "min", "tanh", "cos", "sin")}
LOGLIKE |= {name: rf"\operatorname{{{name}}}" for name in (
    "argmax", "argmin", "tr", "diag", "Var", "Cov", "sign", "relu", "sigmoid", "softmax",
    "clip", "vec", "logit")}
LOGLIKE |= {"log2": r"\log_{2}"}
ACCENTS = {"hat": r"\hat", "bar": r"\bar", "tilde": r"\tilde"}
RELATIONS = {"=": "=", "<=": r"\leq", ">=": r"\geq", "!=": r"\neq", "<": "<", ">": ">",
             "->": r"\rightarrow", "<-": r"\leftarrow", "~": r"\sim", "in": r"\in"}
NAMED = {"logits", "logvar", "mse", "bce", "jump", "KL", "BCE", "JSD", "ELBO"}
PLAIN = {"lr", "al", "mh", "vh", "kl", "CE", "TV", "KL"}  # of two letters, and no product
SMALL = set(re.findall(r"\w+", """
    a an and are as at be but by can do each every for from go has have he if in is it its me
    my no not of on one only or over per so than that the then there this to up us was we what
    when where which whose with"""))  # words that stand beside formulas, and are none
SYMBOL = re.compile(rf"d?([A-Za-z]|{'|'.join(GREEK)}|KL)\d*")

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


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    spaced: bool   # a space before it

    @property
    def end(self):
        return self.start + len(self.text)


def tokenize(text):
    """All tokens; a space counts before the first one."""
    return [Token(m.lastgroup, m[0], m.start(), m.start() == 0 or text[m.start() - 1] == " ")
            for m in TOKEN.finditer(text)]
