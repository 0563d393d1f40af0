r"""Exercise 3: the forward pass through a variational autoencoder, in pseudo-code.

Result. The encoder gives the mean and the log-variance of q(z|x). A sample z of it is drawn as
mu + s eps. The decoder gives the logits of the pixels, and the loss is -ELBO in nats:

    def forward(x):                                   # x       (B, P)
        h = relu(W_h x + b_h)                         # h       (B, H)
        mu = W_mu h + b_mu                            # mu      (B, L)
        logvar = W_s h + b_s                          # logvar  (B, L)    log s^2
        eps = sample of N(0, I)                       # eps     (B, L)
        z = mu + exp(logvar / 2) * eps                # z       (B, L)
        g = relu(W_g z + b_g)                         # g       (B, H)
        logits = W_x g + b_x                          # logits  (B, P)    no sigmoid
        rec = sum_p BCE(sigmoid(logits), x)           # rec     (B,)      -log p(x|z)
        kl = 1/2 sum_k (mu^2 + exp(logvar) - logvar - 1)        # kl      (B,)
        loss = mean of rec + kl over the batch        # loss    ()        -ELBO
        return z, logits, rec, kl, loss

There are B images of P pixels in [0, 1], H hidden units and L latents. With MNIST and a usual
network P = 784, H = 400 and L = 20. Murphy's numbers are (20.101) for z and (20.103) for kl.
(1) The network's second output is log s^2, which may be any real number. So exp(logvar / 2) is
    the standard deviation s, and it is positive without a constraint.
(2) eps does not depend on any weight. So the gradient of the loss reaches mu and logvar
    through z, which drawing z itself would not allow. That is the reparametrisation.
(3) z has the right law. As E eps = 0 and Cov eps = I, E z = mu and Cov z = diag(s) Cov(eps)
    diag(s) = diag(s^2); a linear map of a Gaussian is Gaussian.
(4) The sigmoid belongs into the loss, where it can be computed without overflow (claim 90).
(5) rec is summed over the pixels and kl over the latents. A mean in one of them would change
    the weight of the KL by P or by L. A mean is taken over the batch only.
To encode an image rather than to train, use z = mu. For black and white pixels rec is exactly
-log p(x|z). For grey x it is the mean of -log p(x'|z) over black and white images x', whose
pixels are 1 with probability x. Then its least value is not 0 (claim 70).

Check. Every tensor has its size, and its value by another program: evidence. Common errors
are refuted: log s^2 read as log s or s^2, one eps for all latents, two sigmoids, a mean for a
sum, the KL's sign. Murphy (2022), 20.3.5; Kingma and Welling (2014). What is proven of the
ELBO, of the gradients and of the optimum is in appendix/test_elbo.py.
"""
# sheet: S4.3b

from functools import partial

import torch
import torch.nn.functional as F
from kit import U, claim, close, holds, reals, refuted, signs
from torch.distributions import Bernoulli, Normal, kl_divergence

from minidl.gaussian import kl_to_std_normal, reparametrise
from minidl.losses import bce


def forward(x, weights, eps, sample=reparametrise, reconstruction=bce,
            regulariser=kl_to_std_normal):
    """The forward pass as above; weights: W and b of h, mu, s, g, x in this order."""
    W_h, b_h, W_mu, b_mu, W_s, b_s, W_g, b_g, W_x, b_x = weights
    h = (x @ W_h.T + b_h).relu()
    mu, logvar = h @ W_mu.T + b_mu, h @ W_s.T + b_s
    z = sample(mu, logvar, eps=eps)
    logits = (z @ W_g.T + b_g).relu() @ W_x.T + b_x
    rec, kl = reconstruction(logits, x), regulariser(mu, logvar)
    return mu, logvar, z, logits, rec, kl, (rec + kl).mean()


def forward_by_distributions(x, weights, eps):
    """The same with PyTorch's layers and torch.distributions."""
    W_h, b_h, W_mu, b_mu, W_s, b_s, W_g, b_g, W_x, b_x = weights
    h = F.relu(F.linear(x, W_h, b_h))
    q = Normal(F.linear(h, W_mu, b_mu), F.linear(h, W_s, b_s).exp().sqrt())
    z = q.mean + q.stddev * eps
    logits = F.linear(F.relu(F.linear(z, W_g, b_g)), W_x, b_x)
    p = Bernoulli(logits=logits, validate_args=False)             # x is grey, not 0 or 1
    rec = -p.log_prob(x).sum(1)
    kl = kl_divergence(q, Normal(torch.zeros_like(z), torch.ones_like(z))).sum(1)
    return q.mean, q.variance.log(), z, logits, rec, kl, rec.mean() + kl.mean()


def weights_of(P, H, L):
    shapes = [(H, P), (H,), (L, H), (L,), (L, H), (L,), (H, L), (H,), (P, H), (P,)]
    return [reals(*shape, seed=i) / shape[-1]**0.5 for i, shape in enumerate(shapes)]


def at_signs(mu, logvar):
    """mu, logvar (L,) -> eps in {-1, 1}^L and both repeated for each: (2^L, L) three times."""
    eps = signs(len(mu))
    return mu.expand_as(eps), logvar.expand_as(eps), eps


BROKEN_SAMPLES = [
    lambda mu, logvar, eps: mu + logvar.exp() * eps,              # s^2 for s
    lambda mu, logvar, eps: mu + 1.001 * (logvar / 2).exp() * eps,
    lambda mu, logvar, eps: (logvar / 2).exp() * eps]             # no mu


@claim(63, "float", "exercise 3")
def test_vae_forward_pass_shapes_and_steps():
    """Every tensor of the pseudo-code has its size, at sizes that are pairwise distinct and at
    MNIST's, and its value by torch's layers and distributions. Bound: 100 roundings of
    values below 100."""
    B, P, H, L = 2, 7, 5, 3
    x, eps = torch.sigmoid(reals(B, P, seed=1)), reals(B, L, seed=2)
    weights = weights_of(P, H, L)

    def check(forward):
        ours = forward(x, weights, eps)
        sizes = [tuple(tensor.shape) for tensor in ours]
        holds(sizes == [(B, L), (B, L), (B, L), (B, P), (B,), (B,), ()], sizes)
        for a, b in zip(ours, forward_by_distributions(x, weights, eps), strict=True):
            close(a, b, 100 * 100 * U)

    check(forward)
    of_mnist = forward(reals(4, 784), weights_of(784, 400, 20), reals(4, 20))
    holds([tuple(tensor.shape) for tensor in of_mnist]
          == [(4, 20), (4, 20), (4, 20), (4, 784), (4,), (4,), ()])
    refuted(check, *(partial(forward, sample=broken) for broken in BROKEN_SAMPLES),
            partial(forward, reconstruction=lambda a, x: bce(a.sigmoid(), x)),  # two sigmoids
            partial(forward, reconstruction=lambda a, x: bce(a, x) / P),        # a mean
            partial(forward, regulariser=lambda m, v: kl_to_std_normal(m, v) / L),
            partial(forward, regulariser=lambda m, v: -kl_to_std_normal(m, v)))


@claim(64, "float", "exercise 3")
def test_reparametrised_sample_has_mean_mu_and_covariance_diag():
    """Step (3) over eps in {-1, 1}^L, which has mean 0 and covariance I like N(0, I), for L up
    to 5. One eps for all latents, exp(logvar) or logvar for s, and 0.1 % are refuted."""
    def check(sample):
        for n in range(1, 6):
            mu, logvar = reals(2, n, seed=n)
            z = sample(*at_signs(mu, logvar))
            rounding = 32 * n * U * (1 + z.abs().max())**2
            close(z.mean(dim=0), mu, rounding)
            close((z - mu).T @ (z - mu) / len(z), logvar.exp().diag(), rounding)

    def ours(mu, logvar, eps):
        return reparametrise(mu, logvar, eps=eps)

    check(ours)
    refuted(check, *BROKEN_SAMPLES, lambda mu, logvar, eps: mu + logvar * eps,
            lambda mu, logvar, eps: ours(mu, logvar, eps[:, :1].expand_as(mu)))
