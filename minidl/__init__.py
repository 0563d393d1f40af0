"""minidl: deep learning from scratch. Here lies the subject, one concept a file.

    data/       where examples come from
    lab/        what a run needs and no lecture names: command line, checkpoints, figures
    publish/    what is made of the source and of finished runs: companion, report, README
"""


class UserError(ValueError):
    """What the user can mend: one sentence, and no traceback."""
