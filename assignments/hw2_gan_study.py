r"""Homework 2, GAN, studied: which loss shall the generator lower, and what if D is ahead?

    saturating      E log(1 - D(G(z))), its own term of V;   slope in the logit a  -sigmoid(a)
    non-saturating  E -log D(G(z));                                                -sigmoid(-a)

    python assignments/hw2_gan_study.py            under 5 minutes on 2 CPU cores

theory/test_gan_simclr.py proves the slopes (claim 108): where D is sure of made images,
a -> -infinity, the first one tells G nothing. Here it is measured, as in Arjovsky and Bottou
(2017): (a) D learns alone, and after some steps the gradient that G would get is taken by both
losses; (b) hw2_gan.py's training in small with each of them, without and with such a head
start of D, from the same seeds.
"""
# sheet: S0.5b

import itertools
import statistics

import _path  # noqa: F401
import torch
from ex2_few_labels import endless
from hw1_classification import trained_cnn
from hw2_gan import DISTANCE, Judge, build, train

from minidl.data import Split
from minidl.gan import discriminator_loss, non_saturating, saturating
from minidl.lab import cli, plot
from minidl.lab.precision import autocast
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError

LOSSES = {"non-saturating": non_saturating, "saturating": saturating}
AHEAD = (0, 5, 10, 20, 40, 80)  # steps that D has learnt alone


def main(run,
         latent: "numbers in z" = 64,
         steps: "of each training in (b); amount" = 300,
         filters: "of D's first convolution; its second has twice as many" = 16,
         batch_size: "images a step" = 64,
         learning_rate: "of Adam, for both players" = 5e-4,
         seeds: "trainings a loss; amount" = 3,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         samples: "images that are judged; amount" = 2000,
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2 or samples < 2:
        raise RunError(f"--batch-size {batch_size} --samples {samples}: expected 2 or more "
                       "of each")
    data = run.load(images)
    judge = Judge(trained_cnn(run, data, images), data, samples)
    n, settings = steps * batch_size, (batch_size, learning_rate, precision)
    part = Split(data.train.x[:n], data.train.y[:n])  # so that an epoch has these steps

    norms = {name: [] for name in LOSSES}              # a list of one value a length a seed
    found = {}                                         # (loss, head start) -> one a seed
    for seed in range(run.seed, run.seed + seeds):
        for name, values in gradient_norms(run, part, latent, filters, settings, seed).items():
            norms[name].append(values)
        for ahead in (0, AHEAD[-1]):
            for name, loss in LOSSES.items():
                run.seed_everything(seed)
                G, D = build(run, latent, filters)
                learn_alone(run, G, D, part, ahead, *settings)
                train(run, f"{name}, D {ahead} steps ahead, seed {seed}", G, D, part, judge,
                      1, loss, *settings)
                found.setdefault((name, ahead), []).append(run.history["distance"][-1])
    report(run, data, judge, norms, found, steps)


# --- (a) the gradient that G gets from a D that is ahead ---------------------------------

def gradient_norms(run, split, latent, filters, settings, seed):
    """name -> |dL/d(weights of G)| after each number of steps in AHEAD that D learnt alone."""
    run.seed_everything(seed)
    G, D = build(run, latent, filters)
    z, norms = torch.randn(256, latent, device=run.device), {name: [] for name in LOSSES}
    for before, ahead in zip((0, *AHEAD), AHEAD, strict=False):
        learn_alone(run, G, D, split, ahead - before, *settings)
        logits = D(G(z))
        for name, loss in LOSSES.items():
            gradients = torch.autograd.grad(loss(logits).mean(), list(G.parameters()),
                                            retain_graph=True)
            norms[name].append(torch.stack([g.norm() for g in gradients]).norm().item())
    return norms


def learn_alone(run, G, D, split, steps, batch_size, learning_rate, precision):
    """So many steps of D against a G that stands still: max over D  V."""
    optimizer = torch.optim.Adam(D.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    latent = G[0].in_features
    for x, _ in itertools.islice(endless(split, batch_size, run.generator), steps):
        with autocast(run.device, precision):
            with torch.no_grad():
                x_hat = G(torch.randn(len(x), latent, device=run.device))
            real, fake = D(x), D(x_hat)
        loss = discriminator_loss(real.float(), fake.float()).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()


# --- (b) the trainings ----------------------------------------------------------------

def report(run, data, judge, norms, found, steps):
    mean = {name: [statistics.mean(values) for values in zip(*runs, strict=True)]
            for name, runs in norms.items()}
    run.results.figure("gradient", plot.curves(
        {name: (AHEAD, values) for name, values in mean.items()},
        f"{data.title}: the gradient that G gets, mean of {len(norms['saturating'])} seeds",
        "steps that D has learnt alone", "norm of the gradient of G's loss", log_y=True))
    for name, values in mean.items():
        for ahead, value in zip(AHEAD, values, strict=True):
            run.results.number(f"gradient_{slug(name)}_{ahead}", value, "nats, norm")
    flat, steep = mean["saturating"], mean["non-saturating"]
    run.results.finding(
        f"{data.title}: before any step the non-saturating loss gives G a gradient "
        f"{steep[0] / flat[0]:.1f} times as long as the saturating one; after {AHEAD[-1]} "
        f"steps of D alone {steep[-1] / flat[-1]:,.0f} times. The saturating one's length has "
        f"then changed by a factor of {flat[-1] / flat[0]:.2g}, the other's by "
        f"{steep[-1] / steep[0]:.2g}.")

    rows = []
    for (name, ahead), values in found.items():
        run.results.mean(f"distance_{slug(name)}_{ahead}_ahead", values, DISTANCE)
        rows.append({"loss of G": name, "D ahead, steps": ahead,
                     "distance, mean": statistics.mean(values),
                     "deviation": deviation(values), "seeds": len(values)})
    run.results.table("losses", rows, f"{DISTANCE} after {steps} steps. {data.title}")
    print(markdown(rows))
    run.results.figure("distance", plot.dots(
        {f"{name}, D {ahead} steps ahead": values for (name, ahead), values in found.items()},
        f"{data.title}: {steps} steps of both players", "squared Frechet distance, features "
        f"of the CNN (real images: {judge.floor:.1f})"))
    for ahead in (0, AHEAD[-1]):
        a, b = found["non-saturating", ahead], found["saturating", ahead]
        less = [y - x for x, y in zip(a, b, strict=True)]
        run.results.mean(f"paired_difference_{ahead}_ahead", less, DISTANCE)
        run.results.finding(
            f"With D {ahead} steps ahead, {steps} steps of both with the non-saturating loss "
            f"end {statistics.mean(a):.1f} from real images, with the saturating one "
            f"{statistics.mean(b):.1f}: nearer for {sum(d > 0 for d in less)} of {len(less)} "
            f"seeds, by {statistics.mean(less):.1f} +- {deviation(less):.1f}.")


SIZES = {"quick": {"steps": 10, "filters": 4, "seeds": 1, "samples": 100, "images": 1500},
         "full": {"steps": 850, "filters": 32, "seeds": 5}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
