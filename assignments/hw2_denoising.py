r"""Homework 2: a denoising autoencoder.

    x' = noise(x),   x_hat = decoder(encoder(x')),   minimise  E 1/784 sum_p (x_hat_p - x_p)^2

    python assignments/hw2_denoising.py          under 5 minutes on 2 CPU cores

The target is the clean image x, not x'. Every step draws new noise. One network is trained for
each kind of noise, at level 0.5, and one without noise. Two baselines are a median filter and
PCA, with sizes chosen on validation images for each kind and level. The third is the best
linear map from x' to x at level 0.5, fitted in closed form to the same number of noisy images.
"""
# sheet: S0.6

import functools

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import noise, pca, tune
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired
from minidl.lab.results import slug
from minidl.losses import mse
from minidl.schedules import one_cycle

LEVELS, LEVEL = (0.2, 0.5, 0.8), 0.5    # of the test, of the training
BASELINES = ("median filter", "PCA", "linear map", "plain autoencoder")


def main(run,
         epochs: "passes over the training images; amount" = 4,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 6e-3,
         latent: "d, dimension of the code" = 64,
         filters: "in the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 256,
         images: "training images used, validation included; amount" = 60_000):
    data, networks = run.load(images), {}
    for kind in (None, *noise.KINDS):
        name = f"trained on {kind}" if kind else "plain autoencoder"
        run.seed_everything(run.seed)
        networks[name] = network = run.network(nn.Sequential(
            Encoder(latent, filters, hidden), Decoder(latent, filters, hidden)), bits=16)
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.97),
                                      fused=True)
        schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
        for _ in run.epochs(epochs, name, network=network, optimizer=optimizer,
                            schedule=schedule):
            for x, _ in batches(data.train, batch_size, run.generator):
                noisy = noise.KINDS[kind](x, LEVEL, run.noise) if kind else x
                loss = mse(network(noisy), x).mean()    # the target is x, the clean image
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_mse=loss)

    # --- the test set, read once; baselines with sizes chosen on validation images -----------
    test, code, g = data.test(), pca.fit(data.train.x, 256), torch.Generator()
    options = {"median filter": {n: functools.partial(noise.median_filter, size=n)
                                 for n in (1, 3, 5, 7, 9)},
               "PCA": {d: code.first(d).reconstruct for d in (2, 4, 8, 16, 32, 64, 128, 256)}}
    x, val, first = to_unit(test.x), to_unit(data.val.x[:300]), first_of_each_class(test.y)
    errors, sizes = {}, []
    for kind, add in noise.KINDS.items():
        g.manual_seed(run.seed)
        linear = noise.linear_map((add(x, LEVEL, g), x) for _ in range(epochs)
                                  for x, _ in batches(data.train, 1000, g))
        for at in LEVELS:
            seen = add(val, at, g.manual_seed(run.seed))
            best = {name: min(functions, key=lambda n: mse(functions[n](seen), val).mean())
                    for name, functions in options.items()}   # the lowest error
            sizes += [{"noise": f"{kind} {at}", "baseline": name}
                      | tune.chosen(options[name], size) for name, size in best.items()]
            methods = {name: options[name][size] for name, size in best.items()}
            methods |= {"linear map": linear} | networks
            noisy = add(x, at, g.manual_seed(run.seed))
            errors[kind, at] = {"noisy image": mse(noisy, x)} | {
                name: mse(infer(f, noisy), x) for name, f in methods.items()}
            if at == LEVEL:
                run.pictures(f"images_{slug(kind)}", f"test images, {kind} noise, level {at}",
                             x=noisy[first], clean=x[first], **methods)
    run.table("sizes", sizes, "Sizes of the baselines, chosen on validation images")
    report(run, errors)


def report(run, errors):
    """errors: (kind, level of the noise) -> name of a method -> the MSE of each test image."""
    psnr = {case: {name: noise.psnr(error.cpu().double().mean().item())
                   for name, error in found.items()} for case, found in errors.items()}
    best = {case: max(BASELINES, key=found.get) for case, found in psnr.items()}
    own, gain = {kind: f"trained on {kind}" for kind in noise.KINDS}, {}
    for kind, name in own.items():
        found, baseline = errors[kind, LEVEL], best[kind, LEVEL]
        run.scores("PSNR of test images, dB, at 20, 50, 80%", table=f"psnr_{slug(kind)}",
                   **{f"psnr_{slug(kind)}_{100 * at:.0f}": psnr[kind, at] for at in LEVELS})
        run.curves(f"psnr_{slug(kind)}", f"{kind} noise", "PSNR of test images, dB",
                   x=f"noise level (networks trained at {LEVEL})", **{
                       f: (LEVELS, [psnr[kind, at][f] for at in LEVELS])
                       for f in ("noisy image", *BASELINES, name)})
        gain[kind] = psnr[kind, LEVEL][name] - psnr[kind, LEVEL][baseline]
        run.claim(f"On {kind} noise of {LEVEL}, the network trained on it beats all baselines "
                  "by over 1 dB.",
                  paired(10**-0.1 * found[baseline], found[name]), gain=gain[kind])  # 1 dB
    run.scores("dB, network minus best baseline", own="Gaussian", psnr_gain_db=gain)
    wins = [max(own.values(), key=psnr[kind, LEVEL].get) == own[kind] for kind in own]
    run.claim("Of the networks, the one trained on a kind of noise removes it best.",
              all(wins))
    little, baseline = errors["Gaussian", 0.2], best["Gaussian", 0.2]
    run.claim("On Gaussian noise of 0.2, the best baseline beats the network trained on 0.5.",
              paired(little[own["Gaussian"]], little[baseline]))


SIZES = {"quick": {"epochs": 1, "images": 1500},
         "full": {"epochs": 30, "filters": 32, "hidden": 512}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
