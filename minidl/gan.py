r"""The losses of a GAN's two players, in nats per image, from logits a, D(x) = sigmoid(a(x)).

    min over G  max over D   V = E_x log D(x) + E_z log(1 - D(G(z)))

-V is the cross-entropy of classifying real and generated images. Goodfellow et al. (2014).
Optima and slopes are proven in theory/appendix/test_gan_simclr.py. Logits (B,) -> (B,).
"""

import torch.nn.functional as F


def discriminator_loss(real, fake):
    r"""-log D(x) - log(1 - D(G(z))), whose mean, -V, D minimises: 2 log 2 at D(x) = 1/2."""
    return -F.logsigmoid(real) - F.logsigmoid(-fake)


def saturating(fake):
    r"""log(1 - D(G(z))), G's own term of V. Its derivative -sigmoid(a) is nearly 0 where D is
    sure that an image is generated, a -> -infinity."""
    return F.logsigmoid(-fake)  # softplus would do, but for torch's shortcut beyond 20


def non_saturating(fake):
    r"""-log D(G(z)): it falls where `saturating` falls. Its derivative -sigmoid(-a) is -1/2 or
    steeper for a <= 0."""
    return -F.logsigmoid(fake)
