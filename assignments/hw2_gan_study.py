r"""Homework 2, GAN, a study: which loss should G minimise, especially when D is ahead?

    saturating      E log(1 - D(G(z))), its term of V;   derivative by the logit a  -sigmoid(a)
    non-saturating  E -log D(G(z));                                                -sigmoid(-a)

    python assignments/hw2_gan_study.py            under 5 minutes on 2 CPU cores

Where D rejects generated images, a is far below 0 and the first loss has almost no gradient
(theory/appendix/test_gan_simclr.py). As in Arjovsky and Bottou (2017), (a) measures the
gradient that G would get after D was trained alone for some steps. (b) trains a small GAN with
each loss, with and without such a head start of D. Test images are not read.
"""
# sheet: S0.5b

import itertools

import _path  # noqa: F401
import torch
from hw2_gan import codes, players

from minidl.data import Split, steps
from minidl.frechet import frechet_distance
from minidl.gan import discriminator_loss, non_saturating, saturating
from minidl.lab import averaged, cli, infer, paired

LOSSES = {"non-saturating": non_saturating, "saturating": saturating}
AHEAD = (0, 5, 10, 20, 40, 80)  # steps in which D alone was trained


def play(run, G, D, split, n, loss=None):
    """n steps of D as in hw2_gan.py; where G has a loss, each is followed by a step of G."""
    s = run.settings
    opt_G, opt_D = (torch.optim.Adam(net.parameters(), s["learning_rate"], betas=(0.5, 0.999))
                    for net in (G, D))
    for x, _ in steps(split, s["batch_size"], run.generator, n):
        x_hat = G(torch.randn(len(x), s["latent"], device=run.device))
        loss_D = discriminator_loss(D(x), D(x_hat.detach())).mean()
        opt_D.zero_grad(); loss_D.backward(); opt_D.step()
        if loss:
            loss_G = loss(D(x_hat)).mean()
            opt_G.zero_grad(); loss_G.backward(); opt_G.step()


def gradient_norms(run, split):
    """loss -> |dL/d(weights of G)|, one for each number of steps in AHEAD of D alone."""
    latent, filters = run.settings["latent"], run.settings["filters"]
    G, D = players(run, latent, filters)
    z = torch.randn(256, latent, device=run.device)
    norms = {name: [] for name in LOSSES}
    for before, ahead in zip((0, *AHEAD), AHEAD, strict=False):
        play(run, G, D, split, ahead - before)
        a = D(G(z))
        for name, loss in LOSSES.items():
            gradients = torch.autograd.grad(loss(a).mean(), list(G.parameters()),
                                            retain_graph=True)
            norms[name].append(torch.stack([g.norm() for g in gradients]).norm().item())
    return norms


def main(run,
         latent: "dimension of z" = 64,
         steps: "steps of each training in (b); amount" = 300,
         filters: "in D's first convolution; its second has twice as many" = 16,
         batch_size: "images per step; >= 2" = 64,
         learning_rate: "of Adam, for both G and D" = 5e-4,
         seeds: "trainings of each kind; amount" = 8,
         samples: "generated images that are evaluated; >= 2; amount" = 2000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    features = run.trained("hw1_classification", "CNN", images=images)[:-1]
    n = min(samples, len(data.train.x) // 2)
    real, other = (infer(features, x) for x in data.train.x[:2 * n].split(n))
    z = codes(n, latent, run.seed, run.device)
    part = Split(*(t[:steps * batch_size] for t in data.train))
    norms, found = [], {}
    for seed in run.seeded(seeds):
        norms.append(gradient_norms(run, part))
        for ahead, name in itertools.product((0, AHEAD[-1]), LOSSES):
            run.seed_everything(seed)
            G, D = players(run, latent, filters)
            for _ in run.epochs(1, f"{name} {ahead} ahead, seed {seed}", G=G, D=D):
                play(run, G, D, part, ahead)
                play(run, G, D, part, steps, LOSSES[name])
                run.log(distance=frechet_distance(infer(features, infer(G, z)), real))
            found.setdefault((name, ahead), []).append(run.history["distance"][-1])

    norm = averaged(norms)
    run.curves("gradient", "gradient that G gets, mean over the seeds",
               "norm of the gradient of G's loss", x="steps of D alone",
               log_y=True, **{name: (AHEAD, values) for name, values in norm.items()})
    run.scores("nats, norm", table="gradients", gradient={
        f"{name} {ahead}": [of_seed[name][i] for of_seed in norms] for name in LOSSES
        for i, ahead in enumerate(AHEAD)})
    run.scores("squared Frechet distance, features of homework 1's CNN", distance={
        f"{name} {ahead} ahead": values for (name, ahead), values in found.items()}
        | {"real images": frechet_distance(real, other)})
    ratio = [a / b for a, b in zip(norm["non-saturating"], norm["saturating"], strict=True)]
    run.claim("The further D is ahead, the smaller is the saturating loss's gradient compared "
              "with the other loss's.", ratio == sorted(ratio), ratio_at_the_start=ratio[0],
              ratio_at_the_end=ratio[-1])
    for ahead in (0, AHEAD[-1]):
        run.claim(f"With D {ahead} steps ahead, the non-saturating loss gives images nearer "
                  "to real ones.", paired(*(found[name, ahead] for name in reversed(LOSSES))))


SIZES = {"quick": {"steps": 10, "filters": 4, "seeds": 1, "samples": 100, "images": 1500},
         "full": {"steps": 850, "filters": 32}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
