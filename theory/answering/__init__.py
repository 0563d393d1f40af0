"""The checks of `python -m pytest theory --answers FILE`, for tests/answering.py.

theory/answers.py is the template of FILE. `calls` runs in FILE's process, `judged` outside it.
"""

from theory.answering import diagnosis
from theory.answering.diagnosis import D, Row
from theory.answering.questions import QUESTIONS
from theory.answering.witnesses import FOLDS, JUDGED

LIMIT, DTYPE = 10, D  # seconds of a call, the type of new tensors
PLACES = dict(sorted([*((name, place) for name, (place, _) in JUDGED.items()),
                      *((name, question.where) for name, question in QUESTIONS.items())],
                     key=lambda item: item[1]))


def with_docstring():
    """..."""
    ...


def without():
    ...


STUBS = with_docstring.__code__.co_code, without.__code__.co_code

def calls(name, answers):
    """What there is to do for an item: functions without arguments; None: not answered."""
    answer = answers.get(name, ...)
    code = getattr(getattr(answer, "__code__", None), "co_code", None)
    if answer is ... or code in STUBS or (
            isinstance(answer, dict) and all(value is ... for value in answer.values())):
        return None
    if name in JUDGED and name != "folds":
        return [lambda: plain(answer)]
    inputs = FOLDS if name == "folds" else QUESTIONS[name].inputs
    return [lambda args=args: plain(answer(*(
        arg.clone() if hasattr(arg, "clone") else arg for arg in args))) for args in inputs]


def plain(value):
    """Tensors, arrays and tuples as nested lists of numbers: what can be sent."""
    if value is ... or value is None:
        raise TypeError(f"found {value}: is a `return` missing?")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): None if v is ... else plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(v) for v in value]
    if not isinstance(value, bool | int | float):
        raise TypeError(f"found a {type(value).__name__}, expected numbers")
    return value


def judged(results):
    """What the calls of each name returned -> (status, words, details) of each."""
    rows = {}
    for name, returned in results.items():
        if name in QUESTIONS:
            rows[name] = diagnosis.judge(QUESTIONS[name], returned)
        else:
            words = JUDGED[name][1](returned if name == "folds" else returned[0])
            rows[name] = Row("wrong", words) if words else Row("correct")
    return {name: row[:3] for name, row in diagnosis.told_apart(rows).items()}
