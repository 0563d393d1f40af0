"""The checks of `python -m pytest theory --answers FILE`, for tests/answering.py.

theory/answers.py is the template of FILE. `calls` runs in FILE's process, `judged` outside it.
"""

import diagnosis

from theory.answering.questions import QUESTIONS
from theory.answering.witnesses import FOLDS, JUDGED

LIMIT, DTYPE = 10, diagnosis.D  # seconds of a call, the type of new tensors
PLACES = dict(sorted([*((name, place) for name, (place, _) in JUDGED.items()),
                      *((name, question.where) for name, question in QUESTIONS.items())],
                     key=lambda item: item[1]))


def calls(name, answers):
    """What there is to do for an item: functions without arguments; None: not answered."""
    answer = answers.get(name, ...)
    if diagnosis.unanswered(answer) or (
            isinstance(answer, dict) and all(value is ... for value in answer.values())):
        return None
    if name in JUDGED and name != "folds":
        return [lambda: diagnosis.plain(answer)]
    # the first input twice: an answer may draw, or keep something of the call before
    inputs = FOLDS if name == "folds" else [*QUESTIONS[name].inputs, QUESTIONS[name].inputs[0]]
    return [lambda args=args: diagnosis.plain(answer(*(
        arg.clone() if hasattr(arg, "clone") else arg for arg in args))) for args in inputs]


def judged(results):
    """What the calls of each name returned -> (status, words, details) of each."""
    rows = {}
    for name, returned in results.items():
        if name in QUESTIONS:
            rows[name] = diagnosis.judge(QUESTIONS[name], returned)
        else:
            words = JUDGED[name][1](returned if name == "folds" else returned[0])
            rows[name] = diagnosis.Row("wrong" if words else "correct", words or "")
    return {name: row[:3] for name, row in diagnosis.told_apart(rows).items()}
