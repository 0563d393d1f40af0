r"""Homework 2, GAN, studied: which loss shall the generator lower, and what if D is ahead?

    saturating      E log(1 - D(G(z))), its own term of V;   slope in the logit a  -sigmoid(a)
    non-saturating  E -log D(G(z));                                                -sigmoid(-a)

    python assignments/hw2_gan_study.py            under 5 minutes on 2 CPU cores

theory/test_gan_simclr.py proves the slopes (claim 108): where D is sure of generated images,
a -> -infinity, the first loss tells G nothing. Here it is measured, as in Arjovsky and Bottou
(2017): (a) D learns alone, and after some steps the gradient that G would get is taken by both
losses; (b) hw2_gan.py's training in small with each loss, without and with such a head start
of D, from the same seeds.
"""
# sheet: S0.5b

import _path  # noqa: F401
import torch
from hw2_gan import Discriminator, Generator, as_in_dcgan, codes

from minidl.data.images import Split, steps
from minidl.frechet import frechet_distance
from minidl.gan import discriminator_loss, non_saturating, saturating
from minidl.lab import averaged, cli, infer, paired

LOSSES = {"non-saturating": non_saturating, "saturating": saturating}
AHEAD = (0, 5, 10, 20, 40, 80)  # steps that D has learnt alone


def build(run):
    """New players."""
    latent, filters = run.settings["latent"], run.settings["filters"]
    G, D = Generator(latent, filters), Discriminator(filters)
    as_in_dcgan(G, D)
    return run.network(G, bits=16), run.network(D, bits=16)


def adam(run, network):
    return torch.optim.Adam(network.parameters(), run.settings["learning_rate"],
                            betas=(0.5, 0.999))


def step_of_D(run, D, optimizer, x, x_hat):
    """D raises V."""
    loss = discriminator_loss(D(x), D(x_hat.detach())).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss


def generate(run, G, n):
    return G(torch.randn(n, run.settings["latent"], device=run.device))


def learn_alone(run, G, D, split, n):
    """n steps of D against a G that stands still."""
    optimizer = adam(run, D)
    for x, _ in steps(split, run.settings["batch_size"], run.generator, n):
        with torch.no_grad():
            x_hat = generate(run, G, len(x))
        step_of_D(run, D, optimizer, x, x_hat)


def gradient_norms(run, split):
    """loss -> |dL/d(weights of G)| after each number of steps in AHEAD that D learnt alone."""
    G, D = build(run)
    z = torch.randn(256, run.settings["latent"], device=run.device)
    norms = {name: [] for name in LOSSES}
    for before, ahead in zip((0, *AHEAD), AHEAD, strict=False):
        learn_alone(run, G, D, split, ahead - before)
        a = D(G(z))
        for name, loss in LOSSES.items():
            gradients = torch.autograd.grad(loss(a).mean(), list(G.parameters()),
                                            retain_graph=True)
            norms[name].append(torch.stack([g.norm() for g in gradients]).norm().item())
    return norms


def train(run, name, split, loss, ahead, judged):
    """New players, D with a head start, a step each in turn; -> the distance at the end."""
    G, D = build(run)
    learn_alone(run, G, D, split, ahead)
    opt_G, opt_D = adam(run, G), adam(run, D)
    for _ in run.epochs(1, name, G=G, D=D, opt_G=opt_G, opt_D=opt_D):
        for x, _ in steps(split, run.settings["batch_size"], run.generator,
                          run.settings["steps"]):
            x_hat = generate(run, G, len(x))
            loss_D = step_of_D(run, D, opt_D, x, x_hat)
            loss_G = loss(D(x_hat)).mean()
            opt_G.zero_grad(); loss_G.backward(); opt_G.step()
            run.track(len(x), loss_D=loss_D, loss_G=loss_G)
        run.log(distance=judged(G))
    return run.history["distance"][-1]


def main(run,
         latent: "numbers in z" = 64,
         steps: "of each training in (b); amount" = 300,
         filters: "of D's first convolution; its second has twice as many" = 16,
         batch_size: "images a step; >= 2" = 64,
         learning_rate: "of Adam, for both players" = 5e-4,
         seeds: "trainings a loss; amount" = 3,
         samples: "images that are judged; >= 2; amount" = 2000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    features = run.trained("hw1_classification", "CNN", images=images)[:-1]
    n = min(samples, len(data.train.x) // 2)
    real, other = (infer(features, x) for x in data.train.x[:2 * n].split(n))
    z = codes(n, latent, run.seed, run.device)
    part = Split(data.train.x[:steps * batch_size], data.train.y[:steps * batch_size])

    def judged(G):
        return frechet_distance(infer(features, infer(G, z)), real)

    norms, found = [], {}
    for seed in run.seeded(seeds):
        norms.append(gradient_norms(run, part))
        for ahead in (0, AHEAD[-1]):
            for name, loss in LOSSES.items():
                run.seed_everything(seed)
                kind = f"{name}, D {ahead} steps ahead"
                found.setdefault(kind, []).append(
                    train(run, f"{kind}, seed {seed}", part, loss, ahead, judged))

    # --- what each loss gives G; nothing here reads the test images ------------------------
    norm = averaged(norms)
    run.curves("gradient", f"gradient that G gets, mean of {seeds} seeds",
               "norm of the gradient of G's loss", x="steps that D has learnt alone",
               log_y=True, **{name: (AHEAD, values) for name, values in norm.items()})
    run.scores("nats, norm", table="gradients", gradient={
        f"{name} {ahead}": values[i] for name, values in norm.items()
        for i, ahead in enumerate(AHEAD)})
    run.scores("squared Frechet distance, features of homework 1's CNN", distance={
        kind.replace(", D", "").replace(" steps", ""): values
        for kind, values in found.items()} | {"real images": frechet_distance(real, other)})
    flat, steep = norm["saturating"], norm["non-saturating"]
    run.claim("The further D is ahead, the shorter is the saturating loss's gradient beside "
              "the non-saturating one's.", steep[-1] / flat[-1] > steep[0] / flat[0],
              ratio_at_the_start=steep[0] / flat[0], ratio_at_the_end=steep[-1] / flat[-1])
    for ahead in (0, AHEAD[-1]):
        a, b = (found[f"{name}, D {ahead} steps ahead"] for name in LOSSES)
        run.claim(f"With D {ahead} steps ahead, the non-saturating loss ends nearer to real "
                  "images.", paired(b, a))


SIZES = {"quick": {"steps": 10, "filters": 4, "seeds": 1, "samples": 100, "images": 1500},
         "full": {"steps": 850, "filters": 32, "seeds": 5}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
