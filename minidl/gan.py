r"""The losses of a GAN's two players, in nats an image, from logits a, D(x) = sigmoid(a(x)).

    min over G  max over D   V = E_x log D(x) + E_z log(1 - D(G(z)))

-V is the cross-entropy of telling real from made. Goodfellow et al. (2014). The optima and the
slopes are proven in theory/appendix/test_gan_simclr.py.
"""

import torch.nn.functional as F


def discriminator_loss(real, fake):
    r"""-log D(x) - log(1 - D(G(z))), whose mean D lowers: -V.

    Logits (B,) of real and (B,) of made images -> (B,). 2 log 2 = 1.386 where D(x) = 1/2
    everywhere; 0 where it tells them apart for certain.
    """
    return -F.logsigmoid(real) - F.logsigmoid(-fake)


def saturating(fake):
    r"""log(1 - D(G(z))), G's own term of V: (B,) -> (B,). Its slope, -sigmoid(a), is next to 0
    where D is sure of a made image, a -> -infinity."""
    return F.logsigmoid(-fake)  # softplus would do, but for torch's shortcut beyond 20


def non_saturating(fake):
    r"""-log D(G(z)), (B,) -> (B,): it falls where `saturating` falls, and its slope there is
    -sigmoid(-a), -1/2 or steeper for a <= 0."""
    return -F.logsigmoid(fake)
