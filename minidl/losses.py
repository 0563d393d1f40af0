r"""Losses and metrics with an equation, one value per example.

A loss here returns (B,), one number per example. The training loop takes the mean over the
batch, where the reader sees it. Checked in tests/test_metrics.py.
"""

import torch.nn.functional as F


def l1(x_hat, x):
    r"""Mean absolute error per pixel: l1_b = 1/P sum_p |x_hat_bp - x_bp|.

    (B, ...), (B, ...) -> (B,): the mean over the P values of an example, not over the batch.
    In the unit of a pixel, [0, 1]. The best constant x_hat is a pixel's median, not its mean.
    """
    _same_shape(x_hat, x)
    return (x_hat - x).abs().flatten(1).mean(dim=1)


def mse(x_hat, x):
    r"""Mean squared error per pixel: mse_b = 1/P sum_p (x_hat_bp - x_bp)^2.

    (B, ...), (B, ...) -> (B,): the mean over the P values of an example, not over the batch.
    """
    _same_shape(x_hat, x)
    return (x_hat - x).square().flatten(1).mean(dim=1)


def bce(logits, x):
    r"""Binary cross-entropy, in nats per example: the sum over its P values, not their mean.

        bce_b = -sum_p [x_bp log x_hat_bp + (1 - x_bp) log(1 - x_hat_bp)]
        x_hat = sigmoid(logits)

    (B, ...), (B, ...) -> (B,), x in [0, 1]. For x of 0 and 1 it is -log p(x|z) of a VAE whose
    pixels are Bernoulli. For grey x it is the mean over such images, drawn with probability x.
    Its minimum for grey pixels is their entropy, not 0: theory/appendix/test_elbo.py.
    """
    _same_shape(logits, x)
    values = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return values.flatten(1).sum(dim=1)


def _same_shape(x_hat, x):
    # (B, 784) against (B, 1, 28, 28) would broadcast to (B, 1, B, 784) without an error
    if x_hat.shape != x.shape:
        raise ValueError(f"shapes differ: {tuple(x_hat.shape)} and {tuple(x.shape)}")
