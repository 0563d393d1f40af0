"""minidl: deep learning from scratch. The formulas of the lectures, one concept per file.

    data/       data sets: images, film reviews, points
    lab/        what a run needs besides: command line, checkpoints, figures
    publish/    pages made from the source and from finished runs: companion, report, README
"""


class UserError(ValueError):
    """A mistake that the user can correct: one sentence, and no traceback."""
