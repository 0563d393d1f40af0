"""A script's settings, out of the signature of its main.

    latent: "d, dimension of the code; 1 to 783" = 12
    batch_size: "images per step; >= 2" = 128
    epochs: "passes over the data; amount" = 10

A keyword is a flag, its default the flag's default and type. The annotation is the flag's
help. Semicolons at its end separate bounds (`>= a`, `a to b`, `one of a, b`) and `amount`. An
amount says how much is computed, not what; a restamp runs it at its --quick value. Without
bounds, a number is at least 0; a whole one is at least 1, unless its default is 0. Whole
numbers that are not amounts are at most LARGEST. Checked in tests/test_cli.py.
"""

import argparse
import inspect
import math
import re

LARGEST = 100_000  # a layer's width or a batch: a larger one would run out of memory, late


def parameters(main):
    """main's keywords: name, default, annotation."""
    return list(inspect.signature(main).parameters.values())[1:]  # the first is the run


def settings(main, sizes, size):
    """A script's settings in a size: its main's defaults, then what the size changes."""
    return {p.name: p.default for p in parameters(main)} | sizes.get(size, {})


def amounts(main):
    """The settings that say how much."""
    return [p.name for p in parameters(main) if "amount" in _split(p)[1]]


def words(parameter):
    """A flag's help: the annotation's text, and its bounds."""
    text, terms = _split(parameter)
    return ", ".join([text, *(term for term in terms if term != "amount")])


def reader(parameter):
    """The type of a flag, for argparse: text -> value, or a sentence with the mistake."""
    kind = type(parameter.default)
    if kind not in (int, float, str):
        raise TypeError(f"a setting is an int, a float or a str, not {parameter.default!r}")
    low, high, choices = _bounds(parameter)

    def read(text):
        try:
            value = kind(text)
            finite = kind is str or math.isfinite(value)
        except (ValueError, OverflowError):  # also a whole number of 400 digits
            value = None
        if kind is str:
            if choices and value not in choices:
                raise argparse.ArgumentTypeError(
                    f"found {text!r}, expected one of {', '.join(choices)}")
            return value
        if value is None or not finite or not low <= value <= high:
            number = "a whole number" if kind is int else "a number"
            upper = f" and at most {high}" if high < math.inf else ""
            raise argparse.ArgumentTypeError(
                f"found {text!r}, expected {number} of at least {low}{upper}")
        return value
    return read


def _split(parameter):
    """-> a flag's help and the terms at its end."""
    text, terms = parameter.annotation, []
    while match := re.fullmatch(r"(.*); (amount|>= \S+|\S+ to \S+|one of .*)", text):
        text, term = match.groups()
        terms.insert(0, term)
    return text, terms


def _bounds(parameter):
    """-> the least and the largest value, and the choices of a word."""
    default, choices = parameter.default, ()
    low, high = (min(1, default) if type(default) is int else 0), math.inf
    terms = _split(parameter)[1]
    for term in terms:
        if term.startswith(">= "):
            low = type(default)(term[3:])
        elif term.startswith("one of "):
            choices = term[7:].split(", ")
        elif term != "amount":
            low, high = (type(default)(end) for end in term.split(" to "))
    if type(default) is int and high == math.inf and "amount" not in terms:
        high = max(LARGEST, default)
    return low, high, choices
