"""A schedule of the learning rate."""

import math

from torch.optim.lr_scheduler import LambdaLR


def one_cycle(optimizer, steps, warm_up=0.1):
    r"""The optimizer's learning rate times f(t) at step t = 0 ... steps - 1.

        f(t) = (t + 1) / w                                  for t < w = warm_up steps
        f(t) = 1/2 (1 + cos(pi (t - w) / (steps - w)))      after that, down to 0

    A high rate trains fast, and the falling rate then lets the weights converge. After Smith
    and Topin (2019).
    """
    w = max(1, round(warm_up * steps))

    def factor(t):
        if t < w:
            return (t + 1) / w
        return 0.5 * (1 + math.cos(math.pi * (t - w) / max(1, steps - w)))

    return LambdaLR(optimizer, factor)
