r"""Homework 2, advanced: a convolutional variational autoencoder, in nats an image.

    q(z|x) = N(mu(x), diag(s(x)^2)),   p(z) = N(0, I),   p(x|z) = prod_p Ber(x_p; p_p(z))
    minimise   E_x [ E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)) ] = E_x [ BCE + beta KL ]

    python assignments/hw2_vae.py                under 5 minutes on 2 CPU cores
    python assignments/hw2_vae.py --full         the number in the README

With beta = 1 this is -ELBO, an upper bound of -log p(x). BCE is summed over the 784 pixels, KL
over the latents, and both are averaged over images only: a mean over pixels would be
beta = 784. beta rises from 0 to 1 over the first tenth of the training. The network is
exercise 2's, with mu and log s^2 as its code and logits at its end. On validation and test
images BCE is taken at one z an image, drawn by the seed, and KL exactly.

(a) -ELBO, which latents are used, a tighter bound. (b) Reconstructions, samples, lines.
(c) Two latents: the plane decoded, and where the classes lie. Other beta and the failure case,
posterior collapse, are in hw2_vae_study.py.
Grey pixels in a Bernoulli p(x|z), as is usual: the least BCE is their entropy, not 0, and
these nats are not those of black and white digits. On MNIST, so that they can be compared with
published ones; --data fashion-mnist gives the sheet's images. Left out are richer posteriors
and priors; the derivations are in theory/test_vae.py.
"""
# sheet: S0.5a

from typing import NamedTuple

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl.augment import random_affine
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.evaluation import evaluating, per_example
from minidl.gaussian import elbo_joint, kl_to_std_normal, reparametrise
from minidl.lab import cli, plot
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.precision import autocast
from minidl.lab.run import RunError
from minidl.losses import bce
from minidl.representation import nearest
from minidl.schedules import one_cycle
from minidl.vae import active_units, importance_bound, kl_per_latent, pixel_entropy

NATS, PLANE = "nats an image", "two latents"


class VAE(nn.Module):
    def __init__(self, latent, filters, hidden):
        super().__init__()
        self.encoder = Encoder(2 * latent, filters, hidden)
        self.decoder = nn.Sequential(*list(Decoder(latent, filters, hidden))[:-1])  # logits

    def encode(self, x):
        """x (B, 1, 28, 28) -> mu, logvar (B, D) each."""
        return self.encoder(x).float().chunk(2, dim=1)  # (B, 2D) -> (B, D) twice

    def forward(self, x):
        """-> the decoded mean of q(z|x), in [0, 1]."""
        return self.decoder(self.encode(x)[0]).sigmoid()


class Measured(NamedTuple):
    bce: torch.Tensor     # (N,) at one z ~ q(z|x)
    kl: torch.Tensor      # (N,)
    mu: torch.Tensor      # (N, D)
    logvar: torch.Tensor  # (N, D)


def main(run,
         latent: "D, numbers in the latent code" = 20,
         epochs: "passes over the training images; amount" = 24,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         warm_up: "share of the training in which beta rises from 0 to 1" = 0.1,
         augmented: "share of images turned and slanted, in the first 60% of steps" = 0.0,
         plane_epochs: "the same passes with 2 latents; amount" = 5,
         draws: "K, codes an image of the tighter bound; amount" = 50,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    if latent >= 784 or batch_size < 2:
        raise RunError(f"--latent {latent} --batch-size {batch_size}: expected fewer numbers "
                       "than the 784 pixels and, for batch normalisation, 2 images or more")
    data = run.load(images)
    networks, histories = {}, {}
    for name, D, n in ((f"{latent} latents", latent, epochs), (PLANE, 2, plane_epochs)):
        run.seed_everything(run.seed)
        networks[name] = VAE(D, filters, hidden).to(run.device)
        train(run, name, networks[name], data.train, data.val, n, batch_size, learning_rate,
              precision, lambda t: min(1, t / warm_up) if warm_up else 1, augmented)
        histories[name] = run.history
    vae, plane = networks.values()
    rows = layer_rows(vae, to_unit(data.val.x[:1]))
    run.results.table("layers", rows, f"The encoder and the decoder, {latent} latents")
    run.results.number("parameters", parameter_count(vae), "trainable numbers")

    test, title = data.test(), f"{data.title}, {latent} latents"  # read once
    with torch.no_grad(), evaluating(*networks.values()):
        found = measure(run, vae, test, precision)
        show_bounds(run, vae, data, test, found, draws, precision, title)
        show_loss(run, histories[f"{latent} latents"], title)
        show_latents(run, found, title)
        show_reconstructions(run, networks, data, test, found, title)
        show_lines(run, vae, data, test, found, title)
        show_samples(run, vae, data, test, latent, title)
        show_plane(run, plane, data, test, precision)


def train(run, name, vae, split, val, epochs, batch_size, learning_rate, precision, beta,
          augmented=0.0):
    """Minimise BCE + beta(t) KL; t in (0, 1] is the share of the training's steps."""
    steps = epochs * steps_per_epoch(split, batch_size)
    # betas: with so few steps, the mean of squared gradients should forget sooner than 0.999
    optimizer = torch.optim.AdamW(vae.parameters(), lr=learning_rate, betas=(0.9, 0.97),
                                  fused=True)
    schedule = one_cycle(optimizer, steps)
    for _ in run.epochs(epochs, name, vae=vae, optimizer=optimizer, schedule=schedule):
        vae.train()
        for x, _ in batches(split, batch_size, run.generator):
            t = (schedule.last_epoch + 1) / steps
            if augmented and t <= 0.6:  # the rest settles on pixels that are not interpolated
                x = random_affine(x, run.generator, degrees=7, scale=0.07, shear=0.07,
                                  share=augmented)
            with autocast(run.device, precision):
                mu, logvar = vae.encode(x)
                logits = vae.decoder(reparametrise(mu, logvar, run.generator))
            reconstruction = bce(logits.float(), x).mean()  # of sums over pixels
            kl = kl_to_std_normal(mu, logvar).mean()        # of sums over latents
            loss = reconstruction + beta(t) * kl
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_bce=reconstruction, train_kl=kl)
        found = measure(run, vae, val, precision)
        run.log(val_bce=mean(found.bce), val_kl=mean(found.kl))


def measure(run, vae, split, precision):
    """The ELBO's terms of every image of a split, at the same z whenever it is asked for."""
    generator = torch.Generator().manual_seed(run.seed)

    def terms(x, _):
        with autocast(run.device, precision):
            mu, logvar = vae.encode(x)
        cost = bce_at(vae, reparametrise(mu, logvar, generator), x, precision)
        return torch.cat([cost.unsqueeze(1), mu, logvar], dim=1)  # (B, 1 + 2D)

    cost, codes = per_example(terms, split, vae).tensor_split([1], dim=1)
    mu, logvar = codes.chunk(2, dim=1)
    return Measured(cost.squeeze(1), kl_to_std_normal(mu, logvar), mu, logvar)


def bce_at(vae, z, x, precision):
    """-log p(x|z) of each image at its code: (B, D), (B, 1, 28, 28) -> (B,)."""
    with autocast(x.device, precision):
        logits = vae.decoder(z)
    return bce(logits.float(), x)


def mean(values):
    return values.double().mean().item()


# --- (a) the ELBO, what it lies between, its latents ----------------------------------------

def show_bounds(run, vae, data, test, found, draws, precision, title):
    """-ELBO beside the importance-weighted bound, the pixels' entropy and a constant."""
    generator = torch.Generator().manual_seed(run.seed + 1)
    counts = [*(k for k in (1, 2, 5, 10, 20, 50, 100, 200) if k < draws), draws]

    def bounds(x, _):
        with autocast(run.device, precision):
            mu, logvar = vae.encode(x)
        z = [reparametrise(mu, logvar, generator) for _ in range(draws)]
        log_weights = torch.stack([  # (K, B)
            elbo_joint(-bce_at(vae, z_k, x, precision), z_k, mu, logvar) for z_k in z])
        return torch.stack([-importance_bound(log_weights[:k]) for k in counts], dim=1)

    tighter = per_example(bounds, test, vae).double().mean(dim=0).tolist()
    cost, kl = mean(found.bce), mean(found.kl)
    nats, level = cost + kl, constant_nats(data, test)
    entropy = mean(per_example(lambda x, _: pixel_entropy(x), test))
    for name, value in (("nats", nats), ("bce", cost), ("kl", kl), ("iwae_nats", tighter[-1]),
                        ("constant_nats", level), ("pixel_entropy", entropy)):
        run.results.number(f"test_{name}", value, NATS, n=len(test.x))
    run.results.figure("bound", plot.curves(
        {"importance-weighted": (counts, tighter), "-ELBO": nats},
        f"{title}: upper bounds of -log p(x), test images", "K, codes an image", NATS,
        log_x=True))
    finding = run.results.finding
    finding(f"{title}: -ELBO is {nats:.2f} nats an image over the {len(test.x):,} test "
            f"images: BCE {cost:.2f} + KL {kl:.2f}, at one z an image.")
    finding(f"The grey pixels' own entropy, below which no BCE can be, is {entropy:.2f}; the "
            f"best constant image has {level:.2f}, with a KL of 0.")
    if nats > 0.98 * level:
        finding("The VAE is no better than a constant image: it has COLLAPSED or not learned. "
                "hw2_vae_study.py shows a collapse.")
    finding(f"With {draws} codes an image the importance-weighted bound of -log p(x) is "
            f"{tighter[-1]:.2f}, {nats - tighter[-1]:.2f} nats below -ELBO, which is at least "
            "so far above -log p(x).")


def constant_image(data):
    """The mean training image, of all constants the one with the least training BCE."""
    return (data.train.x.float().mean(dim=0) / 255).clamp(1e-5, 1 - 1e-5)


def constant_nats(data, split):
    logits = constant_image(data).logit()
    return mean(per_example(lambda x, _: bce(logits.expand_as(x), x), split))


def show_loss(run, history, title):
    last, epochs = {}, range(1, len(history["val_bce"]) + 1)
    for split in ("train", "val"):
        last[split] = history[f"{split}_bce"][-1] + history[f"{split}_kl"][-1]
        run.results.number(f"{split}_nats", last[split], NATS)
    run.results.figure("loss", plot.curves(
        {f"{term.upper()}, {words}": (epochs, history[f"{split}_{term}"])
         for term in ("bce", "kl")
         for split, words in (("train", "training"), ("val", "validation"))},
        f"{title}: the two terms of -ELBO over training", "epoch", NATS, log_y=True))
    run.results.finding(
        f"In the last epoch -ELBO is {last['train']:.2f} on the training images, while it "
        f"learns, and {last['val']:.2f} on the validation images.")


def show_latents(run, found, title):
    kl, active = kl_per_latent(found.mu, found.logvar), active_units(found.mu)
    order = kl.argsort(descending=True)
    run.results.figure("latents", plot.bars(
        {"test images": kl[order].tolist()}, order.tolist(),
        f"{title}: what each latent carries", "latent", "KL, nats an image"))
    run.results.number("active_units", int(active.sum()), "latents with Var mu > 0.01")
    run.results.finding(
        f"{int(active.sum())} of {len(kl)} latents are used (the variance of their mean over "
        f"test images is above 0.01). The KL of one is {kl.min():.3f} to {kl.max():.2f} nats; "
        f"half of the whole is in {int((kl[order].cumsum(0) < kl.sum() / 2).sum()) + 1}.")


# --- (b) reconstructions, samples, lines ----------------------------------------------------

def show_reconstructions(run, networks, data, test, found, title):
    index = first_of_each_class(test.y)
    x, nats = to_unit(test.x[index]), (found.bce + found.kl)[index].tolist()
    run.results.figure("reconstructions", plot.image_rows(
        {"input": x} | {name: vae(x) for name, vae in networks.items()},
        f"{title}: first test image of each class\nbelow: class and -ELBO in nats",
        [f"{data.classes[test.y[i]]}\n{n:.0f}" for i, n in zip(index, nats, strict=True)]))


def show_lines(run, vae, data, test, found, title, steps=11):
    t = torch.linspace(0, 1, steps, device=run.device).view(-1, 1)
    index = first_of_each_class(test.y)
    run.results.figure("interpolation", plot.image_rows(
        {f"{data.classes[test.y[a]]} to {data.classes[test.y[b]]}": vae.decoder(
            (1 - t) * found.mu[a] + t * found.mu[b]).sigmoid()
         for a, b in zip(index[::2], index[1::2], strict=False)},
        f"{title}: on the line between the codes of two test images",
        [f"{share:.0%}" for share in t.flatten().tolist()]))


def show_samples(run, vae, data, test, D, title, n=200):
    z = torch.randn(n, D, generator=torch.Generator().manual_seed(run.seed)).to(run.device)
    samples, train = vae.decoder(z).sigmoid(), to_unit(data.train.x)
    away, near = nearest(samples, train)
    real, _ = nearest(to_unit(test.x[:n]), train)
    run.results.figure("samples", plot.image_rows(
        {"sample": samples[:40], "nearest in training": train[near[:40]]},
        f"{title}: z ~ N(0, I), decoded"))
    run.results.finding(
        f"The training image nearest to a sample is {away.mean() / 28:.3f} away (RMS per "
        f"pixel, {n} samples); to a test image, {real.mean() / 28:.3f}.")


# --- (c) two latents ------------------------------------------------------------------------

def show_plane(run, plane, data, test, precision, n=15):
    """The plane at the quantiles of N(0, 1), so that each image stands for as much of p(z)."""
    q = torch.special.ndtri((torch.arange(n, device=run.device) + 0.5) / n)
    rows = {f"{b:+.2f}": plane.decoder(torch.stack([q, b.expand(n)], dim=1)).sigmoid()
            for b in q.flip(0)}
    run.results.figure("plane", plot.image_rows(
        rows, f"{data.title}, 2 latents: the plane decoded at quantiles of N(0, I)\n"
        "to the right z_1, upwards z_2", [f"{a:+.2f}" for a in q.tolist()]))
    found = measure(run, plane, test, precision)
    run.results.figure("codes", plot.scatter(
        found.mu[:3000], test.y[:3000], data.classes,
        f"{data.title}, 2 latents: mean codes of test images", ["mu_1", "mu_2"]))
    cost, kl = mean(found.bce), mean(found.kl)
    run.results.number("test_nats_2_latents", cost + kl, NATS, n=len(test.x))
    run.results.finding(f"{data.title}, 2 latents: -ELBO {cost + kl:.2f} nats an image over "
                        f"the test images, BCE {cost:.2f} + KL {kl:.2f}.")


SIZES = {"quick": {"epochs": 1, "plane_epochs": 1, "draws": 5, "images": 1500},
         "full": {"epochs": 80, "filters": 32, "hidden": 512, "learning_rate": 5e-3,
                  "augmented": 0.5, "plane_epochs": 10, "draws": 100}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
