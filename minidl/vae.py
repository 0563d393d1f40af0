r"""What a VAE's latents carry, and what -ELBO lies between. All in nats.

    q(z|x) = N(mu(x), diag(s(x)^2)),   p(z) = N(0, I),   logvar = log s^2

-ELBO's own terms are losses.bce and gaussian.kl_to_std_normal. Checked in
tests/test_hw2_vae.py.
"""

import math

import torch

from minidl.gaussian import kl_to_std_normal


def kl_per_latent(mu, logvar):
    r"""E_x KL(q(z_d|x) || p(z_d)), what latent d costs an image: (N, D) twice -> (D,).

    The KL of a diagonal Gaussian is the sum over its latents, so these sum to the mean KL.
    """
    N, D = mu.shape
    return kl_to_std_normal(mu.reshape(-1, 1), logvar.reshape(-1, 1)).view(N, D).mean(dim=0)


def active_units(mu, threshold=0.01):
    r"""Whether Var_x(mu_d(x)) > threshold: (N, D) -> (D,) of True and False.

    A latent whose mean is the same for every image tells nothing of it. Burda et al. (2016),
    Importance Weighted Autoencoders, section 5.2, with the same threshold.
    """
    return mu.var(dim=0, correction=0) > threshold


def importance_bound(log_weights):
    r"""L_K = log 1/K sum_k w_k,   w_k = p(x, z_k) / q(z_k|x),   z_k ~ q(z|x) independent.

    log w (K, B) -> (B,); gaussian.elbo_joint gives each log w_k. L_1 is the ELBO at one z, and
    E L_K <= E L_{K+1} <= log p(x), to which it tends: Burda et al. (2016), theorem 1.
    """
    return log_weights.logsumexp(dim=0) - math.log(len(log_weights))


def pixel_entropy(x):
    r"""H(x) = -sum_p [x_p log x_p + (1 - x_p) log(1 - x_p)], the least losses.bce of x.

    (B, ...) in [0, 1] -> (B,). 0 of black and white images. theory/test_vae.py, step (9).
    """
    return (torch.special.entr(x) + torch.special.entr(1 - x)).flatten(1).sum(dim=1)
