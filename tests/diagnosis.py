"""Is an answer right, and if it is not, what was done instead?

A reader's values are compared with the right ones in every accepted form. If they differ, the
first of these that agrees on every input is the diagnosis: a known slip; the right answer on
changed arguments; a function of the right value; a condition on the arguments. Where only some
of several values are wrong, these are diagnosed. Checked in tests/test_answers.py.
"""

import inspect
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

D = torch.float64
TOLERANCE = 100 * 2.0**-24  # an answer may round to float32 in each of a hundred steps
LONGEST = 40                # of a larger value the first wrong entry is shown
ARGUMENTS = {"0": lambda x: 0 * x, "1": lambda x: x**0, "reversed": lambda x: x.flip(-1),
             "transposed": lambda x: x.mT, "negated": lambda x: -x, "halved": lambda x: x / 2,
             "doubled": lambda x: 2 * x, "larger by 1": lambda x: x + 1,
             "smaller by 1": lambda x: x - 1, "replaced by 1 / itself": lambda x: 1 / x,
             "replaced by 1 - itself": lambda x: 1 - x,
             "0 in the last entry": lambda x: x * (torch.arange(x.shape[-1], 0, -1) > 1),
             "reshaped, not transposed": lambda x: x.reshape(x.mT.shape).mT}
RESULTS = {"mean": torch.mean, "sum": torch.sum, "reverse": lambda x: x.flip(-1),
           "transpose": lambda x: x.mT, "exponential": torch.exp, "logarithm": torch.log,
           "sigmoid": torch.sigmoid, "logit": torch.logit, "root": torch.sqrt,
           "softmax": lambda x: x.softmax(-1), "absolute value": torch.abs,
           "difference from 1": lambda x: 1 - x}


class Row(NamedTuple):
    status: str              # "correct", "wrong" or "not answered"
    words: str = ""          # the diagnosis, or the form of a correct answer, in a line
    details: str = ""        # of a wrong one: the input, the reader's value, the right one
    transposed: bool = None  # of a Jacobian: a row per input? None: symmetric, or no Jacobian


@dataclass
class Question:
    """One answer: its place on the sheet, inputs, right values, and slips that students make.

    right and slips are functions of an input's arguments. rights: further right answers, by
    name. layouts: by name, equally good ways to write down what right or a slip returns.
    settle: brings what is free (a sign) into one form. parts: the names of several values.
    """
    where: str
    right: object
    inputs: list
    slips: dict
    rights: dict = field(default_factory=dict)
    layouts: dict = field(default_factory=lambda: {"": lambda value: value})
    settle: object = lambda values, *_: values
    parts: tuple = ()

    @property
    def names(self):
        return list(inspect.signature(self.right).parameters)

    def values(self, f, layout=""):
        """A function's tuple of tensors for every input; None: it does not fit the inputs."""
        try:
            return [self.settle(tuple(
                torch.as_tensor(v, dtype=D) for v in as_tuple(self.layouts[layout](f(*args)))),
                *args) for args in self.inputs]
        except Exception:  # of many kinds: a size, a stride of 0, a covariance that is none
            return None


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def unanswered(answer):
    """Whether an answer is `...`, or a function that does nothing else."""
    code = getattr(answer, "__code__", None)
    stubs = as_left.__code__.co_code, (lambda: None).__code__.co_code
    return answer is ... or (code is not None and code.co_code in stubs
                             and {*code.co_consts} <= {None, answer.__doc__})


def as_left():
    """..."""
    ...


def plain(value):
    """Tensors, arrays, tuples, sets as nested lists of numbers: what can be sent."""
    if value is ... or value is None:
        raise TypeError("found ... still" if value is ... else
                        "found None: is a `return` missing?")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(part) for part in value]
    if not isinstance(value, bool | int | float):
        raise TypeError(f"found a {type(value).__name__}, expected numbers")
    return value


def equal(a, b):
    """Two tensors agree, up to rounding relative to their largest entry; NaN equals NaN.

    One number may come as (1,) where () is right.
    """
    a = a.reshape(()) if b.dim() == 0 and a.numel() == 1 else a
    size = b.nan_to_num(0, 0, 0).abs().max().item() if b.numel() else 0
    return a.shape == b.shape and torch.allclose(a, b, 0, TOLERANCE * size, equal_nan=True)


def agree(given, candidate, parts=None):
    """Every value of every input agrees, or those with an index in parts."""
    return candidate is not None and all(
        equal(a[p], b[p]) for a, b in zip(given, candidate, strict=True)
        for p in (range(len(b)) if parts is None else parts))


def judge(question, returned):
    """What was returned for each input, then for the first again, as lists -> the Row."""
    (*returned, again), given = returned, []
    for args, value in zip(question.inputs, returned, strict=True):
        try:
            given.append(question.settle(read(question, value), *args))
        except ValueError as error:
            return Row("wrong", str(error), "\n".join(
                [*arguments(question, args), f"yours: {text(value)}"]))
    forms = {(name, layout): question.values(right, layout) for (name, right), layout in
             itertools.product({"": question.right, **question.rights}.items(),
                               question.layouts)}
    fitting = [names for names, right in forms.items() if agree(given, right)]
    if fitting:
        sides = {"row per input" in layout for _, layout in fitting}
        jacobian = any("row per input" in layout for layout in question.layouts)
        return Row("correct", ", ".join(filter(None, fitting[0])),
                   transposed=sides.pop() if jacobian and len(sides) == 1 else None)
    right = max(forms.values(), key=lambda right: closeness(given, right))
    first = next(i for i, (a, b) in enumerate(zip(given, right, strict=True))
                 if not all(map(equal, a, b)))
    words = diagnosis(question, given, right)
    if str(returned[0]) != str(again):  # as texts, in which NaN equals NaN
        words = "called again with the same input it returns other values"
    return Row("wrong", words, "\n".join(
        [*arguments(question, question.inputs[first]),
         *differences(question, given[first], right[first])]))


def read(question, value):
    """Nested lists -> a tuple of tensors, one for each part."""
    n = len(question.parts)
    if n and (not isinstance(value, list) or len(value) != n):
        raise ValueError(f"expected {n} values: {', '.join(question.parts)}")
    try:
        return tuple(torch.tensor(v, dtype=D) for v in (value if n else [value]))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError("expected numbers in a rectangular array") from None


def closeness(given, right):
    """How many values have the right's shape, and how many of their entries agree."""
    pairs = [(a, b) for x, y in zip(given, right, strict=True)
             for a, b in zip(x, y, strict=True) if a.shape == b.shape]
    return len(pairs), sum((a - b).isclose(0 * b).sum().item() for a, b in pairs)


def diagnosis(question, given, right):
    """What was done instead, in words."""
    wrong = [p for p in range(len(right[0])) if not agree(given, right, [p])]
    names = [question.parts[p] for p in wrong] if question.parts else []
    some = f"only {', '.join(names)}: " if 0 < len(names) < len(question.parts) else ""
    for parts, before in (None, ""), (wrong, some):
        for words, f in itertools.chain(question.slips.items(), changed(question)):
            if any(agree(given, question.values(f, layout), parts)
                   for layout in question.layouts):
                return before + words
    for p, part in zip(wrong, names or [""], strict=True):
        found = of_the_right_value(question, [v[p] for v in given], [v[p] for v in right])
        if found:
            return (some or part + ": " * bool(part)) + found
    return some + (condition(question, given, right) or "no slip that is known here")


def changed(question):
    """The right answer on other arguments: (words, function)."""
    right, names = question.right, list(enumerate(question.names))
    for (i, a), (j, b) in itertools.combinations(names, 2):
        def exchanged(*args, i=i, j=j):
            if type(args[i]) is not type(args[j]):
                raise TypeError
            args = list(args)
            args[i], args[j] = args[j], args[i]
            return right(*args)
        yield f"right if {a} and {b} were exchanged", exchanged
    for (i, name), (how, change) in itertools.product(names, ARGUMENTS.items()):
        def with_one_changed(*args, i=i, change=change):
            return right(*args[:i], change(args[i]), *args[i + 1:])
        yield f"right if {name} were {how}", with_one_changed


def of_the_right_value(question, given, right):
    """What one wrong value has to do with the right one, or nothing."""
    pairs = list(zip(given, right, strict=True))
    for name, f in RESULTS.items():
        if (name != "transpose" or right[0].dim() > 1) and all(
                equal(a, f(b)) for a, b in pairs):
            return f"the {name} of the right value"
    for a, b in pairs:
        if a.shape != b.shape and (b.dim() or a.numel() != 1):
            but = "right, but " * all(equal(a.flatten(), b.flatten()) for a, b in pairs)
            return f"{but}its shape is {list(a.shape)}, expected {list(b.shape)}"
        if not a.isfinite().all():
            return "it is not finite"
    factors = [((a * b).sum() / (b * b).sum()).item() if b.any() else 0.0 for a, b in pairs]
    if all(equal(a, c * b) for c, (a, b) in zip(factors, pairs, strict=True)):
        if max(factors) - min(factors) <= TOLERANCE:
            return f"{factors[0]:.4g} times the right value"
        for name, sizes in every_size(question):
            for how, power in (("divided", -1), ("multiplied", 1)) if min(sizes) else ():
                if all(abs(c - n**power) <= TOLERANCE * n
                       for c, n in zip(factors, sizes, strict=True)):
                    return f"the right value {how} by {name}"
    c = (given[0] - right[0]).flatten()[0]
    if all(equal(a, b + c) for a, b in pairs):
        return f"the right value plus {c:.4g}"
    if all(equal(a.flatten().sort()[0], b.flatten().sort()[0]) and not equal(a, b)
           for a, b in pairs):
        return "the right values in another order"
    return ""


def every_size(question):
    """Each axis of each argument, and each integer: (its name, its value in every input)."""
    for name, column in zip(question.names, zip(*question.inputs, strict=True), strict=True):
        if torch.is_tensor(column[0]):
            for axis in range(column[0].dim()):
                yield f"{name}.shape[{axis}]", [arg.shape[axis] for arg in column]
        elif isinstance(column[0], int):
            yield name, column


def condition(question, given, right):
    """An integer, such as a stride, that is larger in all wrong inputs than in right ones."""
    wrong = [not all(map(equal, a, b)) for a, b in zip(given, right, strict=True)]
    for name, numbers in every_size(question):  # no axis: of so many, some fit by chance
        for least in [] if "." in name else sorted(set(numbers)):
            if wrong == [n > least for n in numbers]:
                return f"wrong only where {name} > {least}"
    return "" if all(wrong) else f"wrong for {wrong.count(True)} of {len(wrong)} inputs"


def arguments(question, args):
    return [f"{name} = {text(arg)}" for name, arg in zip(question.names, args, strict=True)]


def differences(question, given, right):
    """The reader's value beside the right one, of each part that is wrong."""
    for name, a, b in zip(question.parts or [""], given, right, strict=True):
        if not equal(a, b):
            where = ""
            if a.shape == b.shape and a.numel() > LONGEST:
                index = tuple((~a.isclose(b)).nonzero()[0].tolist())
                a, b, where = a[index], b[index], str(list(index))
            yield f"yours: {name}{where} = {text(a)}".replace("  = ", " ")
            yield f"right: {name}{where} = {text(b)}".replace("  = ", " ")


def text(value):
    """A value as a reader would write it, in four digits; a function by its docstring."""
    if callable(value):
        return value.__doc__
    value = value.tolist() if torch.is_tensor(value) else value
    if isinstance(value, list):
        rest = ", ..." if len(value) > LONGEST else ""
        return f"[{', '.join(map(text, value[:LONGEST]))}{rest}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def told_apart(rows):
    """Of several Jacobians that are not symmetric, the odd ones out are told so."""
    layouts = {name: row.transposed for name, row in rows.items()
               if row.transposed is not None}
    by_input = sum(layouts.values())
    for name, transposed in layouts.items():
        if by_input * 2 != len(layouts) and transposed != (by_input * 2 > len(layouts)):
            side = "output" if transposed else "input"
            rows[name] = rows[name]._replace(words="; ".join(filter(None, [
                rows[name].words, f"the other Jacobians have a row per {side}"])))
    return rows
