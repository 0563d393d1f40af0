r"""PCA as a rival of autoencoders of images in [0, 1], on their terms and at any size.

    x_hat = clip(mean + W_d^T W_d (x - mean), 0, 1),   W_d: the first d components, of pca.fit

Clipping takes no pixel further away from an x in [0, 1]: this is PCA at its best. Checked in
tests/test_asst8_autoencoders.py.
"""

import bisect

from minidl.evaluation import evaluate
from minidl.losses import mse


def clipped(code, d):
    """-> the function x (B, ...) -> x_hat (B, ...) in [0, 1]; d = 0: of the mean image."""
    first = code._replace(components=code.components[:d], variance=code.variance[:d])
    return lambda x: first.decode(first.encode(x)).clamp(0, 1).view_as(x)


def mse_of(code, d, split):
    """The mean MSE over a split with the first d components."""
    x_hat = clipped(code, d)
    return evaluate(lambda x, _: mse(x_hat(x), x), split)


def size_of_same_mse(code, wanted, split):
    """The fewest components with which PCA has at most the MSE `wanted` over a split; one more
    than the code has where none are enough. By bisection: more components have less."""
    return bisect.bisect_left(range(len(code.components) + 1), True,
                              key=lambda d: mse_of(code, d, split) <= wanted)
