r"""Homework 2: an autoencoder that takes noise away.

    x' = noise(x),   x_hat = decoder(encoder(x')),   minimise  E 1/784 sum_p (x_hat_p - x_p)^2

    python assignments/hw2_denoising.py          under 5 minutes on 2 CPU cores

The target is the clean image x, not x'. The noise is fresh in every step, so the network never
sees the same x' twice. There is a network for each of three kinds of noise, trained at one
level, and one trained without noise. Each is tested on every kind and level, also on those
that it was not trained on.

The baselines are a median filter and PCA, whose sizes are chosen on validation images for
every kind and level; and the best linear map from x' to x, fitted to the noise that the
network is trained on. A network trained at one level expects that much noise: where there is
less, it blurs what it could have left alone. The code is wider than homework 2's others
(d = 64), as it is to keep the image and not to be small.
"""
# sheet: S0.6

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import noise, pca
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired
from minidl.lab.results import slug
from minidl.losses import mse
from minidl.schedules import one_cycle

LEVELS = (0.2, 0.5, 0.8)
PLAIN = "plain autoencoder"
COMPONENTS = (4, 8, 16, 32, 64, 128)


def main(run,
         level: "of the noise that the networks are trained on; 0.01 to 1" = 0.5,
         epochs: "passes over the training images; amount" = 4,
         batch_size: "images a step; >= 2" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 6e-3,
         latent: "d, size of the code" = 64,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 256,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    networks = {}
    for kind in (None, *noise.KINDS):
        name = f"trained on {kind}" if kind else PLAIN
        run.seed_everything(run.seed)
        networks[name] = network = run.network(nn.Sequential(
            Encoder(latent, filters, hidden), Decoder(latent, filters, hidden)), bits=16)
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.97),
                                      fused=True)
        schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
        for _ in run.epochs(epochs, name, network=network, optimizer=optimizer,
                            schedule=schedule):
            for x, _ in batches(data.train, batch_size, run.generator):
                noisy = noise.KINDS[kind](x, level, run.generator) if kind else x
                loss = mse(network(noisy), x).mean()    # the target is x, the clean image
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_mse=loss)

    # --- the test set, read once, beside baselines at their best on validation images --------
    best, test, errors = baselines(run, data, level), data.test(), {}
    x, first = to_unit(test.x), first_of_each_class(test.y)
    for (kind, at), methods in best.items():
        noisy = noise.KINDS[kind](x, at, torch.Generator().manual_seed(run.seed))
        methods = {"noisy image": nn.Identity()} | methods | networks
        errors[kind, at] = {name: mse(infer(f, noisy), x) for name, f in methods.items()}
        if at == level:
            run.pictures(f"images_{slug(kind)}", f"{kind} noise of level {at}", clean=x[first],
                         **{name: infer(f, noisy[first]) for name, f in methods.items()})
    report(run, errors, level)


def baselines(run, data, level):
    """(kind, level of the noise) -> name -> a function from x' to x, the best of its sort."""
    x, val = to_unit(data.train.x[:20_000]), to_unit(data.val.x[:1000])
    code = pca.fit(data.train.x, max(COMPONENTS))
    codes = [code._replace(components=code.components[:d]) for d in COMPONENTS]
    options = {"median filter": [lambda x, n=n: noise.median_filter(x, n) for n in (3, 5, 7)],
               "PCA": [lambda x, c=c: c.decode(c.encode(x)).clamp(0, 1).view_as(x)
                       for c in codes]}
    best = {}
    for kind, add in noise.KINDS.items():
        linear = noise.linear_map(add(x, level, torch.Generator().manual_seed(run.seed)), x)
        for at in sorted({*LEVELS, level}):
            noisy, found = add(val, at, torch.Generator().manual_seed(run.seed)), {}
            for name, functions in options.items():
                scores = [mse(f(noisy), val).mean().item() for f in functions]
                found[name] = functions[scores.index(min(scores))]
            best[kind, at] = found | {"linear map": linear}
    return best


def report(run, errors, level):
    """errors: (kind, level of the noise) -> name of a method -> the MSE of each test image."""
    psnr = {case: {name: noise.psnr(error.double().mean().item())
                   for name, error in found.items()} for case, found in errors.items()}
    for (kind, at), found in psnr.items():
        for name, value in found.items():
            run.results.number(f"psnr_{slug(f'{name} {kind} {at:g}')}", value, "dB")
    run.table("psnr", [{"noise": kind, "level": at} | found
                       for (kind, at), found in psnr.items()], "PSNR in dB, test images")
    own = {kind: f"trained on {kind}" for kind in noise.KINDS}
    for kind in own:
        found = psnr[kind, level]
        at = [a for k, a in psnr if k == kind]
        run.curves(f"psnr_{slug(kind)}", f"{kind} noise", "PSNR of test images, dB",
                   x="level of the noise", **{
                       name: (at, [psnr[kind, a][name] for a in at]) for name in found})
        best = max(("median filter", "PCA", "linear map", PLAIN), key=found.get)
        run.claim(f"The network trained on {kind} noise removes it better than each baseline.",
                  paired(errors[kind, level][best], errors[kind, level][own[kind]]))
    found = psnr["Gaussian", level]
    gain = {name: found[own["Gaussian"]] - found[name]
            for name in ("median filter", "PCA", PLAIN, "linear map")}
    run.scores("dB, network less baseline, Gaussian noise",
               psnr_gain_linear_db=gain.pop("linear map"), psnr_gain_db=min(gain.values()))
    run.claim("Each kind of noise is removed best by the network that was trained on it.",
              all(max(own.values(), key=psnr[kind, level].get) == own[kind] for kind in own))
    little = errors["Gaussian", min(LEVELS)]
    run.claim("Of little Gaussian noise PCA removes more than the network trained on much of "
              "it.", paired(little[own["Gaussian"]], little["PCA"]))


SIZES = {"quick": {"epochs": 1, "images": 1500},
         "full": {"epochs": 30, "filters": 32, "hidden": 512}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
