r"""Homework 2: an autoencoder that takes noise away.

    x' = noise(x),   x_hat = decoder(encoder(x')),   minimise  E 1/784 sum_p (x_hat_p - x_p)^2

    python assignments/hw2_denoising.py          under 5 minutes on 2 CPU cores

The target is the clean image x, not x'; the noise is fresh in every step, so the network
never sees the same x' twice. One network for each kind of noise, trained at one level; and
one for all kinds at all levels up to there. Then: how well does each do at levels and kinds
that it was not trained on? Beside them what needs no training on noise: a median filter, PCA
and the same autoencoder trained on clean images; the filter's size and PCA's number of
components are chosen on validation images for every kind and level: these baselines are at
their best. A code of 64 numbers is wider than homework 2's others: it is to keep the image,
not to be small.
"""
# sheet: S0.6

import itertools

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from hw2_conv_ae import SQUARED
from torch import nn

from minidl import noise, pca
from minidl.data import Split, batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.evaluation import evaluating
from minidl.lab import cli, plot
from minidl.lab.capture import captured
from minidl.lab.precision import autocast
from minidl.lab.results import markdown, slug
from minidl.lab.run import RunError
from minidl.losses import l1, mse
from minidl.schedules import one_cycle

LEVELS = (0.2, 0.5, 0.8)
PLAIN, ALL = "plain autoencoder", "trained on all kinds"
SIZES_OF_FILTER, COMPONENTS = (3, 5, 7), (4, 8, 16, 32, 64, 128)


def main(run,
         level: "of the noise that the networks are trained on" = 0.5,
         epochs: "passes over the training images; amount" = 4,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 6e-3,
         latent: "d, numbers in the code" = 64,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2 or not 0 < level <= 1:
        raise RunError(f"--batch-size {batch_size} --level {level}: expected 2 or more, and a "
                       "level above 0 and at most 1")
    data = run.load(images)

    # --- training: a network for each kind of noise, one for all, one for none ---------------
    networks, corruptions = {}, training_noise(level)
    for name, corrupt in corruptions.items():
        run.seed_everything(run.seed)
        network = nn.Sequential(Encoder(latent, filters, hidden),
                                Decoder(latent, filters, hidden)).to(run.device)
        train(run, name, network, data, corrupt, epochs, batch_size, learning_rate, precision)
        networks[name] = network

    # --- the baselines, at their best on validation images -----------------------------
    tests = list(itertools.product(noise.KINDS, sorted({*LEVELS, level})))
    code = pca.fit(data.train.x, max(COMPONENTS))
    codes = {d: code._replace(components=code.components[:d]) for d in COMPONENTS}
    val = Split(data.val.x[:1000], data.val.y[:1000])
    chosen = {test: choose(run, val, codes, *test) for test in tests}

    # --- the test set, read once ---------------------------------------------------------
    test = data.test()
    scores = {(kind, at): score(run, test, kind, at, chosen[kind, at] | networks, precision)
              for kind, at in tests}
    title = f"{data.title}, d = {latent}"
    report(run, scores, level, title)
    draw_curves(run, scores, title)
    draw_images(run, test, chosen, networks, level, title)


def training_noise(level):
    """name of a network -> the function (x, generator) -> what it is given in training."""
    def one(add):
        return lambda x, generator: add(x, level, generator)

    def any_kind(x, generator):
        """A third of the batch each, at a level of its own."""
        levels = level * torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device)
        thirds = zip(noise.KINDS.values(), x.tensor_split(3), levels.tensor_split(3),
                     strict=True)
        return torch.cat([add(part, at, generator) for add, part, at in thirds])

    return {PLAIN: lambda x, _: x, ALL: any_kind} | {
        f"trained on {kind}": one(add) for kind, add in noise.KINDS.items()}


def train(run, name, network, data, corrupt, epochs, batch_size, learning_rate, precision):
    """Minimise the MSE between the clean images and what the network makes of noisy ones."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.9, 0.97),
                                  fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    forward = captured(network, to_unit(data.train.x[:batch_size]), precision)
    for _epoch in run.epochs(epochs, name, network=network, optimizer=optimizer,
                             schedule=schedule):
        network.train()
        for x, _ in batches(data.train, batch_size, run.generator):
            with autocast(run.device, precision):
                x_hat = forward(corrupt(x, run.generator))
            loss = mse(x_hat.float(), x).mean()  # x: the clean image is the target
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_mse=loss)
        run.log()


def choose(run, val, codes, kind, level):
    """The median filter and the PCA that do best on validation images: name -> function."""
    filters = {size: lambda x, size=size: noise.median_filter(x, size)
               for size in SIZES_OF_FILTER}
    projections = {d: lambda x, c=code: c.decode(c.encode(x)).clamp(0, 1).view_as(x)
                   for d, code in codes.items()}
    best = {}
    for name, options in (("median filter", filters), ("PCA", projections)):
        found = score(run, val, kind, level, options)
        best[name] = options[min(options, key=lambda key: found[key][0])]
    return best


def score(run, split, kind, level, methods, precision="float32"):
    """name -> (MSE, L1) of every method, all given the same noisy images."""
    sums = {name: [0.0, 0.0] for name in ("noisy image", *methods)}
    networks = [f for f in methods.values() if isinstance(f, nn.Module)]
    generator = torch.Generator().manual_seed(run.seed)
    with torch.no_grad(), evaluating(*networks):
        for part in split.x.split(1000):
            x = to_unit(part)
            noisy = noise.KINDS[kind](x, level, generator)
            for name, f in ({"noisy image": lambda x: x} | methods).items():
                # a baseline is at its best in float32
                with autocast(run.device, precision if f in networks else "float32"):
                    x_hat = f(noisy).float()
                for i, loss in enumerate((mse, l1)):
                    sums[name][i] += loss(x_hat, x).double().sum().item() / len(split.x)
    return sums


def report(run, scores, level, title):
    """PSNR and L1 of every method for every kind and level, and what they show."""
    rows, number, finding = [], run.results.number, run.results.finding
    for (kind, at), found in scores.items():
        rows.append({"noise": kind, "level": at} | {
            name: noise.psnr(error) for name, (error, _) in found.items()})
        for name, (error, absolute) in found.items():
            key = slug(f"{name} {kind} {at:g}")
            number(f"psnr_{key}", noise.psnr(error), f"dB, of the {SQUARED}")
            number(f"l1_{key}", absolute, "mean |x - x_hat| per pixel")
    run.results.table("psnr", rows, f"PSNR in dB of the denoised test images. {title}")
    print(markdown(rows))
    for kind in noise.KINDS:
        found = {name: noise.psnr(error) for name, (error, _) in scores[kind, level].items()}
        own = found[f"trained on {kind}"]
        best = max(("median filter", "PCA", PLAIN), key=found.get)
        if kind == "Gaussian":
            number("psnr_gain_db", own - found[best], "dB above the best baseline")
        finding(f"{title}, {kind} noise of level {level}: the noisy image has "
                f"{found['noisy image']:.2f} dB, the best baseline ({best}) "
                f"{found[best]:.2f}, the network trained on it {own:.2f}: "
                f"{own - found[best]:+.2f} dB. The one trained on all kinds has "
                f"{found[ALL]:.2f}.")
        others = {name: value for name, value in found.items()
                  if name.startswith("trained on ")
                  and name not in (f"trained on {kind}", ALL)}
        worst = min(others, key=others.get)
        finding(f"{kind} noise of level {level}, a kind not trained on: the network {worst} "
                f"has {others[worst]:.2f} dB, {others[worst] - own:+.2f} beside the one "
                "trained on it.")
        at = min(other for other in LEVELS if other != level)
        found = {name: noise.psnr(error) for name, (error, _) in scores[kind, at].items()}
        finding(f"{kind} noise of level {at}, a level not trained on: the network trained at "
                f"{level} has {found[f'trained on {kind}']:.2f} dB, the {PLAIN} "
                f"{found[PLAIN]:.2f}, the one trained on all kinds, at all levels up to "
                f"{level}, {found[ALL]:.2f}.")


def draw_curves(run, scores, title):
    """A figure for each kind of noise: PSNR against the level."""
    for kind in noise.KINDS:
        levels = [at for k, at in scores if k == kind]
        lines = {name: (levels, [noise.psnr(scores[kind, at][name][0]) for at in levels])
                 for name in scores[kind, levels[0]]}
        run.results.figure(f"psnr_{slug(kind)}", plot.curves(
            lines, f"{title}: {kind} noise, test images", "level of the noise", "PSNR, dB"))


@torch.no_grad()
def draw_images(run, test, chosen, networks, level, title):
    """The first test image of each class, noisy and denoised by every method."""
    index = first_of_each_class(test.y)
    x = to_unit(test.x[index])
    for kind, add in noise.KINDS.items():
        noisy = add(x, level, torch.Generator().manual_seed(run.seed))
        methods = chosen[kind, level] | {
            name: networks[name] for name in (PLAIN, f"trained on {kind}", ALL)}
        with evaluating(*networks.values()):
            rows = {"clean": x, "noisy": noisy} | {
                name: f(noisy) for name, f in methods.items()}
        run.results.figure(f"images_{slug(kind)}", plot.image_rows(
            rows, f"{title}: {kind} noise of level {level}, test images"))


SIZES = {"quick": {"epochs": 1, "images": 1500}, "full": {"epochs": 30, "filters": 32,
                                                          "hidden": 512}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
