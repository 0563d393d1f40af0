r"""Assignment 8, exercise 2: a convolutional autoencoder of MNIST, at equal code sizes.

    z = encoder(x),   x_hat = sigmoid(decoder(z)),   minimise the BCE of exercise 1

    python assignments/asst8_conv_ae.py            under 4 minutes on 2 CPU cores
    python assignments/asst8_conv_ae.py --full     six times as long

The encoder is the exercise's: three times a 3x3 convolution, SELU and max-pooling, 28 -> 14 ->
7 -> 3; the last pooling drops row and column 6 of the 7x7 map. A transposed convolution of
kernel 3 and stride 2 makes (n - 1) 2 + 3 - 2 padding + output_padding of n: 7 of 3 without
padding, which brings the dropped row back, 14 of 7 and 28 of 14 with padding 1 and
output_padding 1 (theory/test_shapes.py, (6), tries all others).

The code has 64x3x3 = 576 numbers for 784 pixels, so a low error is no merit by itself, and
exercise 1's has 30. So the network is trained with 576 -> 30 -> 576 in its middle too, PCA
stands beside them with 576 and with 30 numbers, and each error is told in PCA's numbers: how
many would it take? PCA is clipped to [0, 1], for the BCE, infinite where a 0 is wrong, to the
best [m, 1 - m] on the validation images. Several seeds are left out: only large gaps count.
"""
# sheet: S4.2

import _path  # noqa: F401
import asst8_fc_ae
import torch
from asst8_fc_ae import UNITS, lecun_normal, random_places
from torch import nn

from minidl import linear_code, pca
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.evaluation import evaluate
from minidl.lab import cli, flags, plot
from minidl.lab.layers import layer_rows
from minidl.lab.precision import autocast
from minidl.lab.results import markdown, slug
from minidl.losses import bce, l1, mse
from minidl.schedules import one_cycle
from minidl.vae import pixel_entropy

WIDE, PCA_WIDE = "CNN-576", "PCA-576"
NARROW, FC, PCA_NARROW = "CNN-30", "FC-30", "PCA-30"  # FC-30 is exercise 1's


def main(run,
         epochs: "passes over the training images, 576 numbers; amount" = 5,
         narrow_epochs: "the same, 30 numbers; amount" = 7,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 1.5e-2,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    data, history = run.load(images), {}
    networks = {FC: exercise_1(run, data, images)}
    for name, numbers, n in ((WIDE, 576, epochs), (NARROW, 30, narrow_epochs)):
        run.seed_everything(run.seed)
        networks[name] = build(numbers).to(run.device, memory_format=torch.channels_last)
        layers = layer_rows(networks[name], to_unit(data.val.x[:1]))
        run.results.table(f"layers_{slug(name)}", layers, f"The {name} autoencoder")
        print(f"{name}\n{markdown(layers)}")
        train(run, name, networks[name], data, n, batch_size, learning_rate, precision)
        history[name] = run.history
        run.results.number(f"val_bce_{slug(name)}", run.history["val_bce"][-1], UNITS["bce"])
    draw_loss(run, data, history, networks[FC])

    # --- the test images, read once; x -> x_hat and x -> logits of each method --------------
    test, code = data.test(), pca.fit(data.train.x, 784)
    methods = {name: (lambda x, f=f: f(x).sigmoid(), f) for name, f in networks.items()}
    for name, d in ((PCA_WIDE, 576), (PCA_NARROW, 30)):
        short = linear_code.first(code, d)
        x_hat, m = linear_code.clipped(short), linear_code.margin(short, data.val)
        methods[name] = x_hat, lambda x, f=x_hat, m=m: f(x).logit(eps=m)
    rows = score(run, data, test, methods, code)
    draw_test(run, data, test, methods, rows, code)
    report(run, data, rows)


def build(numbers):
    """A new autoencoder of a code of 576 numbers or fewer: x (B, 1, 28, 28) -> logits."""
    encoder = [
        nn.Conv2d(1, 16, 3, padding="same"), nn.SELU(), nn.MaxPool2d(2),     # (B, 16, 14, 14)
        nn.Conv2d(16, 32, 3, padding="same"), nn.SELU(), nn.MaxPool2d(2),    # (B, 32, 7, 7)
        nn.Conv2d(32, 64, 3, padding="same"), nn.SELU(), nn.MaxPool2d(2)]    # (B, 64, 3, 3)
    decoder = [
        nn.ConvTranspose2d(64, 32, 3, 2), nn.SELU(),                         # (B, 32, 7, 7)
        nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.SELU(),                   # (B, 16, 14, 14)
        nn.ConvTranspose2d(16, 1, 3, 2, 1, 1)]  # stride, padding, output_padding
    if numbers < 576:
        encoder += [nn.Flatten(), nn.Linear(576, numbers)]                   # (B, numbers)
        decoder = [nn.Linear(numbers, 576), nn.SELU(), nn.Unflatten(1, (64, 3, 3)), *decoder]
    for layer in (*encoder, *decoder):
        if hasattr(layer, "weight"):
            lecun_normal(layer, inputs_of(layer))
    return nn.Sequential(nn.Sequential(*encoder), nn.Sequential(*decoder))


def inputs_of(layer):
    """n of LeCun's normal: how many products one output sums, away from the border."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    n = layer.in_channels * layer.kernel_size[0] ** 2
    # of a transposed one a weight in stride^2; torch's own fan_in counts its output channels
    return n / layer.stride[0] ** 2 if isinstance(layer, nn.ConvTranspose2d) else n


def train(run, name, autoencoder, data, epochs, batch_size, learning_rate, precision):
    """Minimise the BCE on the training images."""
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for _epoch in run.epochs(epochs, name, autoencoder=autoencoder, optimizer=optimizer,
                             schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            with autocast(run.device, precision):
                logits = autoencoder(x)
            loss = bce(logits.float(), x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_bce=loss)
        run.log(val_bce=evaluate(lambda x, _: bce(autoencoder(x), x), data.val))


def exercise_1(run, data, images):
    """Its autoencoder in this size, the same whether it is found in outputs/ or trained."""
    settings = flags.settings(asst8_fc_ae.main, asst8_fc_ae.SIZES, run.size)
    settings |= {"images": images}
    epochs, batch_size, rate, _ = settings.values()
    run.seed_everything(run.seed)
    autoencoder = asst8_fc_ae.build().to(run.device)
    if not run.borrow("asst8_fc_ae", "autoencoder", epochs, settings, autoencoder=autoencoder):
        print("autoencoder: no such run of asst8_fc_ae.py beside this one: trained here")
        asst8_fc_ae.train(run, "autoencoder", autoencoder, data, epochs, batch_size, rate)
    return autoencoder


# --- what was found -----------------------------------------------------------------------

@torch.no_grad()
def score(run, data, test, methods, code):
    """Each method's errors, and with how many numbers PCA would have its MSE; -> the rows."""
    rows, number = {}, run.results.number
    for name in (WIDE, PCA_WIDE, NARROW, FC, PCA_NARROW):
        x_hat, logits = methods[name]
        error = {"mse": evaluate(lambda x, _, f=x_hat: mse(f(x), x), test),
                 "l1": evaluate(lambda x, _, f=x_hat: l1(f(x), x), test),
                 "bce": evaluate(lambda x, _, f=logits: bce(f(x), x), test)}
        for key, value in error.items():
            number(f"test_{key}_{slug(name)}", value, UNITS[key], n=len(test.x))
        size = linear_code.size_of_same_mse(code, error["mse"], test)
        number(f"pca_size_{slug(name)}", size, "numbers an image")
        rows[name] = {"method": name, "MSE": error["mse"], "L1": error["l1"],
                      "BCE": error["bce"], "PCA of that MSE": size}
    number("test_mse", rows[WIDE]["MSE"], UNITS["mse"], n=len(test.x))
    number("pca_test_mse", rows[PCA_WIDE]["MSE"], UNITS["mse"], n=len(test.x))
    number("least_test_bce", evaluate(lambda x, _: pixel_entropy(x), test), UNITS["bce"])
    run.results.table("scores", list(rows.values()), f"{data.title}: errors on test images")
    print(markdown(list(rows.values())))
    return rows


def draw_loss(run, data, history, fc):
    """The loss histories, beside where exercise 1 ends and what nothing can go below."""
    lines = {f"{name}, {words}": (range(1, len(values[key]) + 1), values[key])
             for name, values in history.items()
             for key, words in (("train_bce", "training"), ("val_bce", "validation"))}
    levels = {f"{FC}, validation": evaluate(lambda x, _: bce(fc(x), x), data.val),
              "entropy of the pixels": evaluate(lambda x, _: pixel_entropy(x), data.val)}
    run.results.figure("loss", plot.curves(
        lines | levels, f"{data.title}: loss over training", "epoch", f"BCE, {UNITS['bce']}",
        log_y=True))


@torch.no_grad()
def draw_test(run, data, test, methods, rows, code):
    """Random test images by every method; the MSE against the size of the code."""
    x = to_unit(test.x[random_places(run, test)])
    shown = {"input": x} | {name: methods[name][0](x) for name in rows}
    run.results.figure("reconstructions", plot.image_rows(
        shown, f"{data.title}: random test images through 576 and 30 numbers; below, the MSE "
        f"of {NARROW}", [f"{value:.4f}" for value in mse(shown[NARROW], x)]))
    d = 5, 10, 20, 30, 50, 100, 200, 300, 400, 576
    lines = {"PCA": (d, [linear_code.mse_of(code, n, test) for n in d])} | {
        name: ([n], [rows[name]["MSE"]]) for name, n in ((WIDE, 576), (NARROW, 30), (FC, 30))}
    run.results.figure("sizes", plot.curves(
        lines, f"{data.title}: error on the test images against the size of the code",
        "numbers an image", UNITS["mse"], log_x=True, log_y=True))


def report(run, data, rows):
    """What was found: the methods of one size side by side, then in PCA's numbers."""
    finding, networks = run.results.finding, (WIDE, NARROW, FC)
    for numbers, names in ((576, (WIDE, PCA_WIDE)), (30, (NARROW, FC, PCA_NARROW))):
        errors = "; ".join(
            f"{name} MSE {rows[name]['MSE']:.3g}, L1 {rows[name]['L1']:.3g}, BCE "
            f"{rows[name]['BCE']:.1f} nats" for name in names)
        least = ", ".join(f"in {key} {min(names, key=lambda name: rows[name][key])}"
                          for key in ("MSE", "L1", "BCE"))
        finding(f"{data.title}, {numbers} numbers for 784 pixels: {errors}. Best {least}.")
    finding("PCA needs " + ", ".join(f"{rows[name]['PCA of that MSE']} numbers for the MSE of "
                                     f"{name}" for name in networks) + ".")
    for name in networks:
        if rows[name]["MSE"] > rows[PCA_NARROW]["MSE"]:
            finding(f"{name} is worse than PCA with 30 numbers: it has hardly learned.")


SIZES = {"quick": {"epochs": 2, "narrow_epochs": 1, "images": 3000},
         "full": {"epochs": 30, "narrow_epochs": 40}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
