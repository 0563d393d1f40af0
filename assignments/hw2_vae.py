r"""Homework 2, advanced: a convolutional variational autoencoder (VAE), in nats per image.

    python assignments/hw2_vae.py                under 5 minutes on 2 CPU cores

The network is ex2_conv_ae.py's, with 2 D outputs of the encoder and no sigmoid in the decoder.
BCE is a sum over 784 pixels, KL over D latents; only images are averaged over. Warm-up: the
weight beta of KL rises from 0 to 1 in the first tenth of the training (hw2_vae_study.py). So
latents are used before they cost. A network with 2 latents is drawn as a plane.

    mu, log s^2 = encoder(x),   q(z|x) = N(mu, diag(s^2)),   p(z) = N(0, I),   z in R^D
    z = mu + s eps, eps ~ N(0, I),   p(x|z) = Bernoulli(x_hat), x_hat = sigmoid(decoder(z))
    minimise   -ELBO = E_x [ BCE + KL ],   an upper bound of E_x -log p(x)
    BCE = -log p(x|z) = -sum_p [x_p log x_hat_p + (1 - x_p) log(1 - x_hat_p)]
    KL(q(z|x) || p(z)) = 1/2 sum_d (mu_d^2 + s_d^2 - log s_d^2 - 1)   minidl/gaussian.py
"""
# sheet: S0.5a

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import augment, losses
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.gaussian import kl_to_std_normal, reparametrise
from minidl.lab import cli, infer, paired
from minidl.schedules import one_cycle
from minidl.vae import active_units, elbo_terms


def train(run, name, data, D, epochs, beta):
    """Minimise BCE + beta(t) KL, t in (0, 1] the share of the steps. -> encoder, decoder."""
    s = run.settings
    encoder = run.network(Encoder(2 * D, s["filters"], s["hidden"]), bits=16)
    decoder = run.network(nn.Sequential(          # without the sigmoid: z -> logits
        *list(Decoder(D, s["filters"], s["hidden"]))[:-1]), bits=16)
    steps = epochs * steps_per_epoch(data.train, s["batch_size"])
    # beta2 is 0.97: 0.999 averages squared gradients over 1,000 steps, too many here
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()],
                                  s["learning_rate"], betas=(0.9, 0.97), fused=True)
    schedule = one_cycle(optimizer, steps)
    for _ in run.epochs(epochs, name, encoder=encoder, decoder=decoder, optimizer=optimizer,
                        schedule=schedule):
        for x, _ in batches(data.train, s["batch_size"], run.generator):
            t = (schedule.last_epoch + 1) / steps
            if s.get("augmented") and t <= 0.6:         # the other steps see unchanged images
                x = augment.random_affine(x, run.noise, degrees=7, scale=0.07, shear=0.07,
                                          share=s["augmented"])
            mu, logvar = encoder(x).chunk(2, dim=1)     # (B, 2D) -> (B, D) twice
            z = reparametrise(mu, logvar, run.noise)
            bce = losses.bce(decoder(z), x).mean()      # of sums over pixels
            kl = kl_to_std_normal(mu, logvar).mean()    # of sums over latents
            loss = bce + beta(t) * kl                   # -ELBO, once beta is 1
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_bce=bce, train_kl=kl)
        val = elbo_terms(encoder, decoder, data.val.x, run.seed)
        run.log(val_bce=val.bce.mean(), val_kl=val.kl.mean())
    return encoder, decoder


def main(run,
         latent: "D, dimension of the code; 1 to 783" = 20,
         epochs: "passes over the training images; amount" = 19,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         filters: "in the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         augmented: "share of augmented images, in the first 60% of steps; 0 to 1" = 0.0,
         plane_epochs: "epochs of the network with two latents; amount" = 3,
         images: "training images used, validation included; amount" = 60_000):
    data, networks, title = run.load(images), [], f"{latent} latents"
    for name, D, n in (("two latents", 2, plane_epochs), (title, latent, epochs)):
        run.seed_everything(run.seed)
        networks.append(train(run, name, data, D, n, beta=lambda t: min(1, t / 0.1)))
    (_, plane_decoder), (_, decoder) = networks

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    plane, found = (elbo_terms(*pair, test.x, run.seed) for pair in networks)
    run.scores("nats per image", test_nats=found.bce.mean() + found.kl.mean(),
               test_bce=found.bce, test_kl=found.kl,
               test_nats_2_latents=plane.bce.mean() + plane.kl.mean())
    run.curves("loss", f"{title}, the two terms of -ELBO", "nats per image", log_y=True)
    i = first_of_each_class(test.y)
    run.pictures("reconstructions", "first test image of each class; below, its -ELBO in nats",
                 (found.bce + found.kl)[i.cpu()], input=to_unit(test.x[i]),
                 **{title: infer(decoder, found.mu[i]).sigmoid(),
                    "two latents": infer(plane_decoder, plane.mu[i]).sigmoid()})
    z = torch.randn(40, latent, generator=torch.Generator().manual_seed(run.seed))
    run.pictures("samples", f"{title}, z ~ N(0, I) decoded",
                 samples=infer(decoder, z.to(run.device)).sigmoid())
    # at the quantiles of N(0, 1): each image stands for the same probability under p(z)
    q = torch.special.ndtri((torch.arange(15, device=run.device) + 0.5) / 15)
    rows = {f"{b:.1f}": torch.stack([q, b.expand(15)], dim=1) for b in q.flip(0)}
    run.pictures("plane", "two latents, the plane decoded: z_1 to the right, z_2 upwards",
                 [f"{a:.1f}" for a in q.tolist()],
                 **{b: infer(plane_decoder, z).sigmoid() for b, z in rows.items()})
    difference = paired(plane.bce + plane.kl, found.bce + found.kl)
    run.claim("With more latents and more epochs, -ELBO is lower than with two latents.",
              difference)
    active = active_units(found.mu)
    run.claim("Every latent is in use: its posterior mean depends on x.",
              active.all(), latents_in_use=active.sum(), of=latent)


SIZES = {"quick": {"epochs": 1, "plane_epochs": 1, "images": 1500},
         "full": {"epochs": 80, "filters": 32, "hidden": 512, "learning_rate": 5e-3,
                  "augmented": 0.5, "plane_epochs": 10}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
