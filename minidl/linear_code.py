r"""PCA as a rival of autoencoders of images in [0, 1], on their terms and at any size.

    x_hat = clip(mean + W_d^T W_d (x - mean), 0, 1),   W_d: the first d components, of pca.fit

Clipping takes no pixel further away from an x in [0, 1]: this is PCA at its best. Checked in
tests/test_asst8_autoencoders.py.
"""

import bisect

from minidl.evaluation import evaluate
from minidl.losses import bce, mse

MARGINS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0001)


def first(code, d):
    """The PCA with the first d of its components; with none it is the mean image."""
    return code._replace(components=code.components[:d], variance=code.variance[:d])


def clipped(code):
    """-> the function x (B, ...) -> x_hat (B, ...) in [0, 1]."""
    return lambda x: code.decode(code.encode(x)).clamp(0, 1).view_as(x)


def margin(code, split):
    r"""The m of MARGINS with the least BCE of x_hat clipped to [m, 1 - m], over a split.

    At m = 0 a pixel of x_hat = 0 where x > 0 costs infinitely many nats. Choose it on
    validation images: the best m depends on how wrong the code is.
    """
    x_hat = clipped(code)
    return min(MARGINS, key=lambda m: evaluate(
        lambda x, _: bce(x_hat(x).logit(eps=m), x), split))


def mse_of(code, d, split):
    """The mean MSE over a split with the first d components."""
    x_hat = clipped(first(code, d))
    return evaluate(lambda x, _: mse(x_hat(x), x), split)


def size_of_same_mse(code, wanted, split):
    """The fewest components with which PCA has at most the MSE `wanted` over a split; one more
    than the code has where none are enough. By bisection: more components have less."""
    return bisect.bisect_left(range(len(code.components) + 1), True,
                              key=lambda d: mse_of(code, d, split) <= wanted)
