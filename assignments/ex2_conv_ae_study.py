r"""Exercise 2, task 1, a study: which choices of the autoencoder's architecture matter?

    python assignments/ex2_conv_ae_study.py            under 5 minutes on 2 CPU cores

Each variant changes one choice of ex2_conv_ae.py. (a) Convolutions replace the fully connected
layers around the code, also with as many parameters. (b) Filters, strides, pooling, number of
layers, nonlinearity. (c) The dimension d of the code. (d) What keeps the training away from
the black image. Seeds are paired. All have the same learning rate; another might suit some
better. The default size trains briefly on a part of the images: variants that learn fast rank
first.

(d) Most pixels are 0 in most images. So the black image is nearly the best constant image, and
a local optimum of the L1 error. Without batch normalisation the training ends there. At black,
the derivative x_hat (1 - x_hat) of the sigmoid is 0, so no gradient leads away from it.

    E_x 1/784 sum_p |x_hat_p - x_p|
"""
# sheet: S3.1

import _path  # noqa: F401
import torch
from torch import nn

from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired, plot
from minidl.lab.layers import parameter_count
from minidl.losses import l1
from minidl.schedules import one_cycle

DESIGNS = {  # variant -> what it changes in the base
    "base": {},
    "convolution to the code": {"hidden": 0},
    "the same, more filters": {"hidden": 0, "filters": (51, 102, 204)},  # as many parameters
    "filters 8, 16, 32": {"filters": (8, 16, 32)},
    "filters 32, 64, 128": {"filters": (32, 64, 128)},
    "pooling instead of stride": {"pool": True},
    "strides 2, 4: 28-14-4": {"filters": (16, 64), "strides": (2, 4)},
    "one layer: 28-7": {"filters": (32,), "strides": (4,)},
    "two layers: 28-14-7": {"filters": (16, 32), "strides": (2, 2)},
    "ReLU": {"swap": {nn.GELU: nn.ReLU}},
    "tanh": {"swap": {nn.GELU: nn.Tanh}}}
CODES = {f"d = {d}": {"d": d} for d in (2, 4, 8, 16, 32)}
COLLAPSE = {
    "no normalisation": {"swap": {nn.BatchNorm1d: nn.Identity, nn.BatchNorm2d: nn.Identity}},
    "linear output": {"swap": {nn.Sigmoid: nn.Identity}}}
VARIANTS = DESIGNS | CODES | COLLAPSE


def build(filters=(16, 32, 64), strides=(2, 2, 2), d=12, hidden=256, pool=False, swap=None):
    """An autoencoder; with the defaults that of ex2_conv_ae.py, layer by layer.

    pool: each convolution has stride 1, and max-pooling follows; as many parameters.
    swap: kind of layer -> the kind that takes its place.
    """
    c, n, down, up = 1, 28, [], []
    for f, s in zip(filters, strides, strict=True):
        smaller = -(-n // s)                                # rounded up: 28 -> 14 -> 7 -> 4
        back = n - (smaller - 1) * s + 2 * (s // 2)         # the kernel that leads back to n
        down += [nn.Conv2d(c, f, s + 1, 1 if pool else s, padding=s // 2), nn.BatchNorm2d(f),
                 nn.GELU(), *([nn.MaxPool2d(s, ceil_mode=True)] if pool else [])]
        up = [nn.BatchNorm2d(f), nn.GELU(),
              nn.ConvTranspose2d(f, c, back, s, padding=s // 2), *up]
        c, n = f, smaller
    if hidden:
        flat = c * n * n
        code = [nn.Flatten(), nn.Linear(flat, hidden), nn.BatchNorm1d(hidden), nn.GELU(),
                nn.Linear(hidden, d), nn.Linear(d, hidden), nn.BatchNorm1d(hidden), nn.GELU(),
                nn.Linear(hidden, flat), nn.BatchNorm1d(flat), nn.GELU(),
                nn.Unflatten(1, (c, n, n))]
        up = up[2:]                                         # normalised before Unflatten
    else:
        code = [nn.Conv2d(c, d, n), nn.Flatten(), nn.Unflatten(1, (d, 1, 1)),
                nn.ConvTranspose2d(d, c, n)]
    layers, swap = [*down, *code, *up, nn.Sigmoid()], swap or {}
    return nn.Sequential(*(swap[type(layer)]() if type(layer) in swap else layer
                           for layer in layers))


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         epochs: "passes over the training images; amount" = 3,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         images: "training images used, validation included; amount" = 7000):
    data, nets = run.load(images), {name: [] for name in VARIANTS}
    for name, change in VARIANTS.items():
        for seed in run.seeded(seeds):
            net = run.network(build(**change))
            optimizer = torch.optim.AdamW(net.parameters(), learning_rate, betas=(0.9, 0.97),
                                          fused=True)
            schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
            for _ in run.epochs(epochs, f"{name}, seed {seed}", net=net, optimizer=optimizer,
                                schedule=schedule):
                for x, _ in batches(data.train, batch_size, run.generator):
                    loss = l1(net(x), x).mean()             # |x_hat - x|, pixels and images
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                    run.track(len(x), train_l1=loss)
            nets[name].append(net)

    # --- the test set, read once and last ----------------------------------------------------
    test, unit = data.test(), "mean |x - x_hat| per pixel"
    x, first = to_unit(test.x), first_of_each_class(test.y)
    score = {name: [l1(infer(net, x), x).cpu().double().mean().item() for net in nets[name]]
             for name in VARIANTS}
    base = score["base"]
    run.scores(unit, test_l1=score, black_image_test_l1=l1(torch.zeros_like(x), x))
    run.scores("trained parameters", table="parameters", parameters={
        name: parameter_count(nets[name][0]) for name in VARIANTS})
    run.results.figure("designs", plot.dots(
        {name: score[name] for name in VARIANTS},
        f"{run.title}: one change from the base, test images", unit))
    shown = ("convolution to the code", *CODES, "base", *COLLAPSE)
    run.pictures("reconstructions", "reconstructed test images, first seed", x=x[first],
                 **{name: nets[name][0] for name in shown})
    run.claim("(a) Fully connected layers around the code give a smaller error than as many "
              "parameters in convolutions.", paired(score["the same, more filters"], base))
    run.claim("(b) Strided convolutions give a smaller error than pooling.",
              paired(score["pooling instead of stride"], base))
    run.claim("(b) Three convolutions of stride 2 give a smaller error than one of stride 4.",
              paired(score["one layer: 28-7"], base))
    run.claim("(c) A code of d = 16 gives a smaller error than one of d = 8.",
              paired(score["d = 8"], score["d = 16"]))
    black = {name: [bool(infer(net, x).abs().mean() < 0.1 * x.mean()) for net in nets[name]]
             for name in ("base", *COLLAPSE)}               # a tenth of the brightness of x
    run.scores("fraction of the seeds", table="collapsed", collapsed=black)
    run.claim("(d) Without normalisation all trainings end in the black image; with it, none.",
              all(black["no normalisation"]) and not any(black["base"]))


SIZES = {"quick": {"seeds": 1, "epochs": 1, "images": 1500},
         "full": {"seeds": 3, "epochs": 10, "images": 60_000}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
