r"""Homework 2, advanced: a generative adversarial network (GAN) of Fashion-MNIST.

    min over G  max over D   V = E_x log D(x) + E_z log(1 - D(G(z))),   z ~ N(0, I)

    python assignments/hw2_gan.py            under 5 minutes on 2 CPU cores
    python assignments/hw2_gan.py --full     networks twice as wide, 40 epochs

G and D are those of DCGAN (Radford et al. 2016), two levels deep for 28 x 28 pixels. A game
has no loss that falls while the images get better, so homework 1's CNN judges them: which
classes appear, and how far the features of the images are from those of real ones (a Frechet
distance in this CNN's features: no Inception FID, and no published number compares with it).
hw2_gan_study.py compares the generator's two losses, its own term of V and the one that
everybody uses. Left out: gradient penalties, labels for G.
"""
# sheet: S0.5b

import _path  # noqa: F401
import torch
from hw1_classification import trained_cnn
from torch import nn

from minidl.data import batches, to_unit
from minidl.evaluation import evaluating
from minidl.frechet import frechet_distance
from minidl.gan import discriminator_loss, non_saturating
from minidl.lab import cli, plot
from minidl.lab.checkpoint import Snapshots
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.layout import Flatten, Unflatten
from minidl.lab.precision import autocast
from minidl.lab.results import markdown
from minidl.lab.run import RunError
from minidl.representation import nearest

DISTANCE = "squared Frechet distance, features of homework 1's CNN"
PRESENT = 0.01  # of the images: a tenth of a class's share of the real ones


def main(run,
         latent: "numbers in z" = 64,
         epochs: "passes over the training images; amount" = 12,
         filters: "of D's first convolution; its second has twice as many" = 32,
         batch_size: "images a step" = 64,
         learning_rate: "of Adam, for both players" = 5e-4,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         samples: "images that are judged; amount" = 10_000,
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2 or samples < 2:
        raise RunError(f"--batch-size {batch_size} --samples {samples}: expected 2 or more "
                       "of each")
    data = run.load(images)
    judge = Judge(trained_cnn(run, data, images), data, samples)
    run.seed_everything(run.seed)
    G, D = build(run, latent, filters)
    for name, network, inputs in (("generator", G, (latent,)),
                                  ("discriminator", D, (1, 28, 28))):
        rows = layer_rows(network, torch.zeros(2, *inputs, device=run.device))
        run.results.table(f"layers_{name}", rows, f"The {name}")
        run.results.number(f"parameters_{name}", parameter_count(network), "trainable numbers")
        print(f"{name}\n{markdown(rows)}")
    snapshots = train(run, "GAN", G, D, data.train, judge, epochs, non_saturating,
                      batch_size, learning_rate, precision)

    test = data.test()  # nothing is trained from here on
    x = make(G, normal(run.seed + 1, samples, latent, run.device))
    draw_training(run, data, judge)
    draw_samples(run, data, G, snapshots, latent)
    show_nearest(run, data, judge, x, test)
    report(run, data, judge, x, test)


def build(run, latent, filters):
    """New players: G gives pixels in [0, 1], D the logit of its belief that they are real."""
    a, b = filters, 2 * filters
    G = nn.Sequential(
        nn.Linear(latent, 49 * b, bias=False), Unflatten(1, (b, 7, 7)),
        nn.BatchNorm2d(b), nn.ReLU(),
        nn.ConvTranspose2d(b, a, 4, stride=2, padding=1, bias=False),  # -> (B, a, 14, 14)
        nn.BatchNorm2d(a), nn.ReLU(),
        nn.ConvTranspose2d(a, 1, 4, stride=2, padding=1), nn.Sigmoid())
    D = nn.Sequential(
        nn.Conv2d(1, a, 4, stride=2, padding=1), nn.LeakyReLU(0.2),    # -> (B, a, 14, 14)
        nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False),           # -> (B, b, 7, 7)
        nn.BatchNorm2d(b), nn.LeakyReLU(0.2), Flatten(), nn.Linear(49 * b, 1),
        nn.Flatten(0))
    for network in (G, D):
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(part.weight, std=0.02)  # as in DCGAN
    return (G.to(run.device, memory_format=torch.channels_last),
            D.to(run.device, memory_format=torch.channels_last))


def train(run, name, G, D, split, judge, epochs, loss, batch_size, learning_rate, precision):
    """Both players in turn, a step each; -> G's weights after the epochs that are shown."""
    # betas: with a mean over ten gradients, 0.9, the players run after each other in circles
    opt_G, opt_D = (torch.optim.Adam(player.parameters(), lr=learning_rate, betas=(0.5, 0.999),
                                     fused=True) for player in (G, D))
    latent, snapshots = G[0].in_features, Snapshots()
    fixed = normal(run.seed, len(judge.real), latent, run.device)
    for epoch in run.epochs(epochs, name, G=G, D=D, opt_G=opt_G, opt_D=opt_D,
                            snapshots=snapshots):
        for x, _ in batches(split, batch_size, run.generator):
            with autocast(run.device, precision):
                x_hat = G(torch.randn(len(x), latent, device=run.device))

            # === player D: max over D  E log D(x) + E log(1 - D(G(z))) ==================
            with autocast(run.device, precision):
                real, fake = D(x), D(x_hat.detach())
            loss_D = discriminator_loss(real.float(), fake.float()).mean()
            opt_D.zero_grad(); loss_D.backward(); opt_D.step()

            # === player G: min over G  E -log D(G(z))  (saturating: E log(1 - D(G(z)))) ==
            with autocast(run.device, precision):
                answer = D(x_hat)
            loss_G = loss(answer.float()).mean()
            opt_G.zero_grad(); loss_G.backward(); opt_G.step()

            # real and fake, not answer: two beliefs of one D, the one before its step
            run.track(len(x), loss_D=loss_D, loss_G=loss_G, D_real=real.sigmoid().mean(),
                      D_made=fake.sigmoid().mean())
        distance, shares = judge(make(G, fixed))
        run.log(distance=distance, classes=float((shares >= PRESENT).sum()))
        if epoch in shown(epochs):
            snapshots.take(epoch, G)
    return snapshots


class Judge:
    """Homework 1's CNN: the class that it sees, and its last features."""

    def __init__(self, cnn, data, samples):
        self.cnn, x = cnn, data.train.x
        samples = min(samples, len(x) // 2)
        self.real, other = (self.look(to_unit(part))[0]
                            for part in (x[:samples], x[samples:2 * samples]))
        self.floor = frechet_distance(self.real, other)

    @torch.no_grad()
    def look(self, x):
        """x (N, 1, 28, 28) in [0, 1] -> its features (N, F) and its classes (N,)."""
        with evaluating(self.cnn):
            z = torch.cat([self.cnn[:-1](part) for part in x.split(1000)])
            return z, self.cnn[-1](z).argmax(dim=1)

    def __call__(self, x, real=None):
        """-> the distance of images x from `real` features, and the classes' shares."""
        z, y = self.look(x)
        return frechet_distance(z, self.real if real is None else real), self.shares(y)

    def shares(self, y):
        """Of each class (C,) among the classes y (N,)."""
        return torch.bincount(y, minlength=self.cnn[-1].out_features) / len(y)


@torch.no_grad()
def make(G, z):
    """Images of codes z, with the running statistics: no image depends on its neighbours."""
    with evaluating(G):
        return torch.cat([G(part) for part in z.split(1000)])


def normal(seed, n, latent, device):
    """Codes that do not depend on what was drawn before."""
    return torch.randn(n, latent, generator=torch.Generator().manual_seed(seed)).to(device)


def shown(epochs):
    return sorted({1, 2, max(1, epochs // 4), max(1, epochs // 2), epochs})


def draw_training(run, data, judge):
    """What the players' losses tell, and what the judge says."""
    history = run.history
    epochs = range(1, len(history["distance"]) + 1)
    run.results.figure("players", plot.curves(
        {"D's belief in real images": (epochs, history["D_real"]),
         "D's belief in made images": (epochs, history["D_made"]), "undecided": 0.5},
        f"{data.title}: the game, mean over an epoch", "epoch", "D(x), probability of real"))
    run.results.figure("distance", plot.curves(
        {f"{len(judge.real):,} made images": (epochs, history["distance"]),
         "as many real ones": judge.floor},
        f"{data.title}: distance from as many training images", "epoch",
        "squared Frechet distance, CNN's features", log_y=True))


def draw_samples(run, data, G, snapshots, latent, n=20, lines=5, steps=11):
    """The same codes over time, and lines between codes."""
    z, rows, last = normal(run.seed + 2, n, latent, run.device), {}, max(snapshots)
    for epoch, weights in snapshots.items():
        G.load_state_dict(weights)
        rows[f"epoch {epoch}"] = make(G, z)
    run.results.figure("samples_over_time", plot.image_rows(
        rows, f"{data.title}: images made of the same {n} codes"))
    G.load_state_dict(snapshots[last])
    t = torch.linspace(0, 1, steps, device=z.device).view(-1, 1)
    run.results.figure("interpolation", plot.image_rows(
        {f"line {i + 1}": make(G, (1 - t) * z[2 * i] + t * z[2 * i + 1])
         for i in range(lines)}, f"{data.title}: images made along lines between two codes",
        [f"{share:.0%}" for share in t.flatten().tolist()]))


def show_nearest(run, data, judge, x, test, n=1000, columns=14):
    """Are made images copies? Their nearest training images, by pixels and by features."""
    train, some = to_unit(data.train.x), x[:n]
    away, index = nearest(some, train)
    z, others = judge.look(some[:columns])[0], judge.look(train)[0]
    run.results.figure("nearest", plot.image_rows(
        {"made": some[:columns], "nearest by pixels": train[index[:columns]],
         "nearest by features": train[nearest(z, others)[1]]},
        f"{data.title}: made images and their nearest training images"))
    real = nearest(to_unit(test.x[:n]), train)[0]
    for name, d in (("made", away), ("test", real)):
        run.results.number(f"nearest_{name}", d.mean().item() / 28, "RMS per pixel")
        run.results.number(f"nearest_least_{name}", d.min().item() / 28, "RMS per pixel")
    run.results.finding(
        f"Copies? The nearest training image of a made one is {away.mean() / 28:.3f} away "
        f"(RMS per pixel, mean of {len(some):,}; the least {away.min() / 28:.3f}), of a test "
        f"image {real.mean() / 28:.3f} (the least {real.min() / 28:.3f}).")


def report(run, data, judge, x, test):
    """The classes and the distance of the made images, beside the test images."""
    real, y = judge.look(to_unit(test.x))
    distance, shares = judge(x, real)
    floor, true_shares = frechet_distance(judge.real, real), judge.shares(y)
    covered, largest = int((shares >= PRESENT).sum()), shares.max().item()
    number, finding, history = run.results.number, run.results.finding, run.history
    number("frechet_distance", distance, DISTANCE, n=len(x))
    number("frechet_floor", floor, DISTANCE, n=len(judge.real))
    number("classes_covered", float(covered), f"classes with {PRESENT:.0%} or more", n=len(x))
    number("largest_class_share", largest, "fraction", n=len(x))
    names = data.classes
    run.results.figure("classes", plot.bars(
        {"made": shares.tolist(), "test images": true_shares.tolist()}, names,
        f"{data.title}: what the CNN takes images for", "class", "share of the images"))
    first, last = history["distance"][0], history["distance"][-1]
    finding(f"{data.title}: {len(x):,} made images are {distance:.2f} from the test images "
            f"({DISTANCE}); {len(judge.real):,} training images are {floor:.2f}. Over the "
            f"training it went from {first:.2f} after one epoch to {last:.2f} after "
            f"{len(history['distance'])} (from training images; between real ones "
            f"{judge.floor:.2f}).")
    most, least = shares.argmax(), shares.argmin()
    finding(f"{covered} of {len(names)} classes have {PRESENT:.0%} of the made images or "
            f"more. Most are taken for {names[most]} ({shares[most]:.1%}; of the test images "
            f"{true_shares[most]:.1%}), fewest for {names[least]} ({shares[least]:.1%}; "
            f"{true_shares[least]:.1%}).")
    if covered < len(names) or largest > 0.2:
        finding("Mode collapse: classes are missing, or one has more than a fifth of all.")
    if last > first:
        finding("The training has failed: the images were nearer to real ones after the first "
                "epoch than after the last.")
    real_belief, made_belief = history["D_real"][-1], history["D_made"][-1]
    finding(f"In the last epoch D believes in real images with {real_belief:.2f} and in made "
            f"ones with {made_belief:.2f}" + (
                ": it has won, and G learns little from it." if made_belief < 0.05 else "."))


SIZES = {"quick": {"epochs": 2, "filters": 8, "batch_size": 32, "samples": 300,
                   "images": 1500},
         "full": {"epochs": 40, "filters": 64, "learning_rate": 2e-4}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
