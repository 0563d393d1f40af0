r"""Homework 2, advanced, a study: what is the effect of the weight beta of the KL?

    minimise   E_x [ BCE + beta KL ],   BCE a sum over P = 784 pixels, KL a sum over D latents

    python assignments/hw2_vae_study.py          under 5 minutes on 2 CPU cores

With beta = 1 the sum is -ELBO. Many programs take BCE as a mean over pixels but KL as a sum
over latents; then beta is 784. No latent then saves as much BCE as its KL costs, so q(z|x)
becomes the prior for every x: the posterior collapses. The mean image is then the decoder's
best output. Two repairs are tried. Warm-up (Sonderby et al. 2016) raises beta from 0 in the
first half, to 784 or to 1. The other repair is beta = 784 for a third, and then beta = 1.

All trainings have the same number of steps and the same seeds. Test images are not read.
"""
# sheet: S0.5a

import dataclasses
import statistics

import _path  # noqa: F401
from hw2_vae import train

from minidl.data import Split, to_unit
from minidl.lab import cli, infer, paired
from minidl.losses import bce
from minidl.vae import active_units, elbo_terms

P = 784  # pixels
BETAS = {  # name -> beta over a training, t from 0 to 1
    "beta 0.25": lambda t: 0.25,
    "beta 1": lambda t: 1,
    "beta 4": lambda t: 4,
    "beta 16": lambda t: 16,
    "beta 784": lambda t: P,
    "beta 0 to 784": lambda t: P * min(1, 2 * t),
    "beta 784, then 1": lambda t: P if t <= 1 / 3 else 1,
    "beta 0 to 1": lambda t: min(1, 2 * t)}
CONSTANT = (0.25, 1, 4, 16)


def main(run,
         latent: "D, dimension of the code; 1 to 783" = 20,
         epochs: "passes over the training images; amount" = 3,
         seeds: "trainings of each kind; amount" = 3,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         filters: "in the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         subset: "training images in each training; amount" = 15_000,
         images: "training images used, validation included; amount" = 60_000):
    data, shown = run.load(images), {}
    few = dataclasses.replace(data, train=Split(data.train.x[:subset], data.train.y[:subset]))
    bces, kls, nats, used = ({name: [] for name in BETAS} for _ in range(4))
    for name, beta in BETAS.items():
        for seed in run.seeded(seeds):
            encoder, decoder = train(run, f"{name}, seed {seed - run.seed}", few, latent,
                                     epochs, beta)
            found = elbo_terms(encoder, decoder, data.val.x, run.seed)
            bces[name].append(found.bce.mean().item())
            kls[name].append(found.kl.mean().item())
            nats[name].append(bces[name][-1] + kls[name][-1])
            used[name].append(int(active_units(found.mu).sum()))
        shown[name] = infer(decoder, found.mu[:14]).sigmoid()  # of the last seed

    # the best constant image: every code is the same, KL = 0
    x = to_unit(data.val.x)
    constant = (data.train.x.float().mean(dim=0) / 255).clamp(1e-5, 1 - 1e-5)
    level = bce(constant.logit().expand_as(x), x).cpu().double().mean()
    run.scores("nats per image; active units: latents with Var mu > 0.01", val_bce=bces,
               val_kl=kls, val_nats=nats | {"best constant image": level}, active_units=used)
    title = f"{latent} latents, {len(few.train.x):,} images"
    run.curves("trade", f"{title}, KL against BCE", "nats per image, validation", x="beta",
               log_x=True, **{
                   term: (CONSTANT, [statistics.mean(values[f"beta {b}"]) for b in CONSTANT])
                   for term, values in (("BCE", bces), ("KL", kls), ("BCE + KL", nats))})
    run.pictures("collapse", f"{title}, validation images decoded from their mean codes",
                 x=x[:14], **{name: shown[name] for name in ("beta 1", *[*BETAS][4:])},
                 mean_image=constant.expand_as(x[:14]))
    others = [*map(min, *(nats[f"beta {b}"] for b in CONSTANT if b != 1))]
    run.claim("Of the constant weights from 1/4 to 16, beta = 1 gives the lowest -ELBO.",
              paired(others, nats["beta 1"]))
    run.claim("With beta = 4 the KL is smaller than with beta = 1.",
              paired(kls["beta 1"], kls["beta 4"]))
    for words, name in (("With beta = 784", "beta 784"),
                        ("Also with beta rising from 0 to 784,", "beta 0 to 784")):
        run.claim(f"{words} the posterior collapses: no latent is used in any training.",
                  max(used[name]) == 0, most_used=max(used[name]))
    run.claim("Beta = 784 at first, then 1, ends at a higher -ELBO than beta = 1 throughout.",
              paired(nats["beta 784, then 1"], nats["beta 1"]))


SIZES = {"quick": {"epochs": 1, "seeds": 1, "subset": 500, "images": 1500},
         "full": {"epochs": 10, "subset": 60_000}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
