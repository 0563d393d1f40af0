r"""Homework 2, advanced: a generative adversarial network (GAN) of Fashion-MNIST.

    python assignments/hw2_gan.py            under 5 minutes on 2 CPU cores

G and D are those of DCGAN (Radford et al. 2016), with two convolutions for 28 x 28 pixels. No
loss of a GAN measures how good its images are. Homework 1's CNN does. Which classes does it
recognise? How far are its features from those of real images (minidl/frechet.py)? This is no
Inception FID: do not compare it with published ones. hw2_gan_study.py compares losses of G.

    min over G  max over D   V = E_x log D(x) + E_z log(1 - D(G(z))),   z ~ N(0, I)
    G minimises   E_z -log D(G(z)), since its term of V is flat where D rejects the images
    D minimises   E_x -log D(x) + E_z -log(1 - D(G(z)))  =  -V     (2 log 2 = 1.386: D = 1/2)
"""
# sheet: S0.5b

import _path  # noqa: F401
import torch
from torch import nn

from minidl.data import batches, to_unit
from minidl.frechet import frechet_distance
from minidl.gan import discriminator_loss, non_saturating
from minidl.lab import cli, infer, paired
from minidl.representation import nearest


class Generator(nn.Sequential):
    """z (B, latent) -> images (B, 1, 28, 28) in [0, 1]."""

    def __init__(self, latent=64, f=32):
        super().__init__(
            nn.Linear(latent, 49 * 2 * f, bias=False), nn.Unflatten(1, (2 * f, 7, 7)),
            nn.BatchNorm2d(2 * f), nn.ReLU(),
            nn.ConvTranspose2d(2 * f, f, 4, stride=2, padding=1, bias=False),  # (B, f, 14, 14)
            nn.BatchNorm2d(f), nn.ReLU(),
            nn.ConvTranspose2d(f, 1, 4, stride=2, padding=1), nn.Sigmoid())    # (B, 1, 28, 28)


class Discriminator(nn.Sequential):
    """x (B, 1, 28, 28) -> a (B,), the logit of D(x), the probability that x is real."""

    def __init__(self, f=32):
        super().__init__(
            nn.Conv2d(1, f, 4, stride=2, padding=1), nn.LeakyReLU(0.2),        # (B, f, 14, 14)
            nn.Conv2d(f, 2 * f, 4, stride=2, padding=1, bias=False),           # (B, 2f, 7, 7)
            nn.BatchNorm2d(2 * f), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(49 * 2 * f, 1), nn.Flatten(0))             # (B,)


def main(run,
         latent: "dimension of z" = 64,
         epochs: "passes over the training images; amount" = 11,
         filters: "in D's first convolution; its second has twice as many" = 32,
         batch_size: "images per step; >= 2" = 64,
         learning_rate: "of Adam, for both G and D" = 5e-4,
         samples: "generated images that are evaluated; >= 2; amount" = 10_000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    cnn = run.trained("hw1_classification", "CNN", images=images)
    real = infer(cnn[:-1], data.train.x[:min(samples, len(data.train.x) // 2)])  # features
    run.seed_everything(run.seed)
    G, D = players(run, latent, filters)
    # beta1 is 0.5: with the usual 0.9, a mean over ten gradients, G and D oscillate
    opt_G, opt_D = (torch.optim.Adam(net.parameters(), learning_rate, betas=(0.5, 0.999),
                                     fused=True) for net in (G, D))
    z = codes(len(real), latent, run.seed, run.device)          # the same in every epoch
    for epoch in run.epochs(epochs, "GAN", G=G, D=D, opt_G=opt_G, opt_D=opt_D):
        for x, _ in batches(data.train, batch_size, run.generator):
            x_hat = G(torch.randn(len(x), latent, device=run.device))
            # --- player D: minimise E -log D(x) + E -log(1 - D(G(z))) ----------------------
            a_real, a_made = D(x), D(x_hat.detach())            # no gradient reaches G here
            loss_D = discriminator_loss(a_real, a_made).mean()
            opt_D.zero_grad(); loss_D.backward(); opt_D.step()
            # --- player G: minimise E -log D(G(z)), with the D that was just updated -------
            a_hat = D(x_hat)
            loss_G = non_saturating(a_hat).mean()
            opt_G.zero_grad(); loss_G.backward(); opt_G.step()
            run.track(len(x), real=a_real.sigmoid().mean(), made=a_made.sigmoid().mean())
        run.log(distance=frechet_distance(infer(cnn[:-1], infer(G, z)), real))
        if epoch in {1, 2, epochs // 4, epochs // 2, epochs}:
            run.keep(f"epoch {epoch}", infer(G, z[:20]))
    run.layers(G, z[:2], name="layers_generator")
    run.layers(D, infer(G, z[:2]), name="layers_discriminator")
    measure(run, data, cnn, real, infer(G, codes(samples, latent, run.seed + 1, run.device)))


def players(run, latent, filters):
    """New G and D. As in DCGAN, weights ~ N(0, 0.02^2), except biases and normalisation."""
    G, D = Generator(latent, filters), Discriminator(filters)
    for w in (w for w in (*G.parameters(), *D.parameters()) if w.dim() > 1):
        nn.init.normal_(w, std=0.02)
    return run.network(G, bits=16), run.network(D, bits=16)


def codes(n, latent, seed, device):
    """z (n, latent), the same whatever was drawn before."""
    return torch.randn(n, latent, generator=torch.Generator().manual_seed(seed)).to(device)


def measure(run, data, cnn, real, x_hat):
    """Compare generated images x_hat with test images, which are read here, once."""
    test, train = to_unit(data.test().x), to_unit(data.train.x)
    distance, target = run.history["distance"], infer(cnn[:-1], test)
    floor = frechet_distance(real, target)
    run.scores("squared Frechet distance from the test images, features of homework 1's CNN",
               frechet_distance=frechet_distance(infer(cnn[:-1], x_hat), target),
               frechet_floor=floor)
    run.curves("distance", "distance from training images", "squared Frechet distance",
               log_y=True, generated=distance, test_images=floor)
    run.curves("players", "D's output, mean over an epoch", "D(x), probability: real",
               real_images=run.history["real"], generated=run.history["made"])
    run.claim("The Frechet distance from real images fell during training.",
              distance[-1] < distance[0], first_epoch=distance[0], last_epoch=distance[-1])

    shares = infer(cnn, x_hat).argmax(dim=1).bincount() / len(x_hat)
    covered, largest = int((shares >= 0.01).sum()), shares.max().item()
    missing = len(data.classes) - covered
    run.scores("classes, each at least 1%", table="classes", classes_covered=covered)
    run.scores("fraction", table="largest_class", largest_class_share=largest)
    run.claim("Every class is generated, and none makes up more than a fifth of the images.",
              missing == 0 and largest <= 0.2, classes=covered, largest_share=largest)

    n, (*_, shown) = min(1000, len(x_hat), len(test)), run.kept.values()  # last epoch's
    away = {name: nearest(x[:n], train)[0] / 28      # RMS: there are 28^2 pixels
            for name, x in (("generated", x_hat), ("test images", test))}
    run.scores("RMS per pixel, to the nearest training image", table="copies", distance=away)
    run.pictures("samples_over_time", "images generated from the same 20 codes", **run.kept,
                 nearest_training_images=train[nearest(shown, train)[1]])
    run.claim("On average, generated images are further from the nearest training image than "
              "test images are: they are no copies.", paired(*away.values()))


SIZES = {"quick": {"epochs": 2, "filters": 8, "batch_size": 32, "samples": 300,
                   "images": 1500},
         "full": {"epochs": 40, "filters": 64, "learning_rate": 2e-4}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
