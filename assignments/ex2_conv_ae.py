r"""Exercise 2, task 1: a convolutional autoencoder, 28x28 digits through d = 12 numbers.

    z = encoder(x) in R^d,   x_hat = decoder(z) in [0, 1]^784
    minimise over both   E_x 1/784 sum_p |x_hat_p - x_p|          (the sheet's mean L1 error)

    python assignments/ex2_conv_ae.py            under 2 minutes on 2 CPU cores
    python assignments/ex2_conv_ae.py --full     the number in the README

Why this architecture for these data. Strokes are local, so convolutions with few filters
find them; stride 2 halves the image three times, 28 -> 14 -> 7 -> 4, and learns its own
reduction where pooling would throw positions away. What the 4x4 cells mean together (which
digit, how slanted) is not local: a fully connected layer at the coarsest level mixes them
down to d numbers. GELU lets a gradient through where ReLU is flat. Batch normalisation and
the sigmoid keep the network out of the all-black image, the trap of an L1 error on images
that are mostly black.
ex2_conv_ae_study.py measures each of these choices.

The findings tell the training error beside the test error: close after the default training,
apart after --full, which shows half of the images slightly turned, sized and slanted. Left out
is everything variational, which is hw2_vae.py.
"""
# sheet: S3.1

import _path  # noqa: F401
import torch
from torch import nn

from minidl import pca
from minidl.augment import random_affine
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.evaluation import evaluate, evaluating, per_example
from minidl.lab import cli, flags, plot
from minidl.lab.capture import captured
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.layout import Flatten, Unflatten
from minidl.lab.results import markdown
from minidl.lab.run import RunError
from minidl.losses import l1
from minidl.schedules import one_cycle

PIXEL = "mean |x - x_hat| per pixel"


class Encoder(nn.Sequential):
    """x (B, 1, 28, 28) -> z (B, d)."""

    def __init__(self, latent=12, filters=16, hidden=256):
        f = filters
        super().__init__(
            nn.Conv2d(1, f, 3, stride=2, padding=1),                        # (B, f, 14, 14)
            nn.BatchNorm2d(f), nn.GELU(),
            nn.Conv2d(f, 2 * f, 3, stride=2, padding=1),                    # (B, 2f, 7, 7)
            nn.BatchNorm2d(2 * f), nn.GELU(),
            nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1),                # (B, 4f, 4, 4)
            nn.BatchNorm2d(4 * f), nn.GELU(),
            Flatten(),                                                      # (B, 64f)
            nn.Linear(4 * f * 4 * 4, hidden), nn.BatchNorm1d(hidden), nn.GELU(),
            nn.Linear(hidden, latent))
        self.to(memory_format=torch.channels_last)  # faster, see minidl/lab/layout.py


class Decoder(nn.Sequential):
    """z (B, d) -> x_hat (B, 1, 28, 28) in [0, 1]: the encoder's mirror image."""

    def __init__(self, latent=12, filters=16, hidden=256):
        f, n = filters, 4 * filters * 4 * 4
        super().__init__(
            nn.Linear(latent, hidden), nn.BatchNorm1d(hidden), nn.GELU(),
            nn.Linear(hidden, n), nn.BatchNorm1d(n), nn.GELU(),
            Unflatten(1, (4 * f, 4, 4)),
            # size (n - 1) stride - 2 padding + kernel: kernel 3 leads from 4 to 7, where the
            # encoder came from, kernel 4 from 7 to 14 and from 14 to 28
            nn.ConvTranspose2d(4 * f, 2 * f, 3, stride=2, padding=1),       # (B, 2f, 7, 7)
            nn.BatchNorm2d(2 * f), nn.GELU(),
            nn.ConvTranspose2d(2 * f, f, 4, stride=2, padding=1),           # (B, f, 14, 14)
            nn.BatchNorm2d(f), nn.GELU(),
            nn.ConvTranspose2d(f, 1, 4, stride=2, padding=1),               # (B, 1, 28, 28)
            nn.Sigmoid())
        self.to(memory_format=torch.channels_last)


class MLP(nn.Sequential):
    """z (B, d) -> logits (B, 10): the two layers that task 2 puts on the latent code."""

    def __init__(self, latent=12, hidden=64, classes=10):
        super().__init__(nn.Linear(latent, hidden), nn.GELU(), nn.Linear(hidden, classes))


def main(run,
         latent: "d, numbers in the latent code" = 12,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         augmented: "share of images turned and slanted, until the last fifth" = 0.0,
         images: "training images used, validation included; amount" = 60_000):
    if latent >= 784 or batch_size < 2:
        raise RunError(f"--latent {latent} --batch-size {batch_size}: expected fewer numbers "
                       "than the 784 pixels and, for batch normalisation, 2 images or more")

    # --- data and model --------------------------------------------------------------------
    data = run.load(images)
    encoder, decoder = build(run, latent, filters, hidden)
    autoencoder = nn.Sequential(encoder, decoder)
    layers = layer_rows(autoencoder, to_unit(data.val.x[:1]))
    run.results.table("layers", layers, f"The autoencoder, d = {latent}")
    print(markdown(layers))

    train(run, data, encoder, decoder, epochs, batch_size, learning_rate, augmented)

    # --- the test set, read once, beside what d numbers or none do without a network -------
    test = data.test()
    reconstruction_l1 = error_of(autoencoder)
    errors = per_example(reconstruction_l1, test, autoencoder)
    baselines = fit_baselines(data.train, latent)
    score = {"autoencoder": errors.double().mean().item()} | {
        name: evaluate(lambda x, _, f=reconstruct: l1(f(x), x), test)
        for name, reconstruct in baselines.items()}
    train_l1 = evaluate(reconstruction_l1, data.train, autoencoder)

    number = run.results.number
    number("test_l1", score["autoencoder"], PIXEL, n=len(test.x))
    number("val_l1", run.history["val_l1"][-1], PIXEL, n=len(data.val.x))
    number("train_l1", train_l1, PIXEL, n=len(data.train.x))
    for name in baselines:
        number(f"{name.replace(' ', '_')}_test_l1", score[name], PIXEL, n=len(test.x))
    number("parameters", parameter_count(autoencoder), "trainable numbers")

    # --- figures and findings --------------------------------------------------------------
    title = f"{data.title}, d = {latent}"
    methods = {"input": lambda x: x, "autoencoder": autoencoder, "PCA": baselines["PCA"]}
    draw_loss(run, score, title)
    draw_images(run, data, test, errors, methods, title)
    report(run, data, test, errors, score, train_l1, collapsed(autoencoder, test), title)


def build(run, latent, filters, hidden):
    """The encoder and the decoder, new, on the run's device."""
    return (Encoder(latent, filters, hidden).to(run.device),
            Decoder(latent, filters, hidden).to(run.device))


def train(run, data, encoder, decoder, epochs, batch_size, learning_rate, augmented):
    """Minimise the mean L1 error over both, on the training images."""
    autoencoder = nn.Sequential(encoder, decoder)
    # betas: with so few steps, the mean of squared gradients should forget sooner than 0.999
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.97), fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    forward = captured(autoencoder, to_unit(data.train.x[:batch_size]))
    for epoch in run.epochs(epochs, "autoencoder", encoder=encoder, decoder=decoder,
                            optimizer=optimizer, schedule=schedule):
        autoencoder.train()
        for x, _ in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.8 * epochs:  # the end settles on unchanged images
                x = random_affine(x, run.generator, degrees=10, scale=0.1, shear=0.1,
                                  share=augmented)
            x_hat = forward(x)
            loss = l1(x_hat, x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_l1=loss)
        run.log(val_l1=evaluate(error_of(autoencoder), data.val, autoencoder))


def error_of(autoencoder):
    return lambda x, _: l1(autoencoder(x), x)


def collapsed(autoencoder, split):
    """Whether it shows the black image: x_hat has less than a tenth of x's ink, mean |pixel|.
    By the triangle inequality its L1 error is then within a tenth of the black image's."""
    def ink(f):
        return evaluate(lambda x, _: l1(f(x), torch.zeros_like(x)), split, autoencoder)
    return ink(autoencoder) < 0.1 * ink(lambda x: x)


def trained(run, data, images):
    """For the other tasks: task 1's encoder and decoder in this size, the same whether they
    are found in outputs/ or trained here."""
    settings = flags.settings(main, SIZES, run.size) | {"images": images}
    latent, epochs, batch_size, rate, filters, hidden, augmented, _ = settings.values()
    run.seed_everything(run.seed)
    encoder, decoder = build(run, latent, filters, hidden)
    if not run.borrow("ex2_conv_ae", "autoencoder", epochs, settings,
                      encoder=encoder, decoder=decoder):
        print("autoencoder: no run of ex2_conv_ae.py with these settings beside this one: "
              "trained here")
        train(run, data, encoder, decoder, epochs, batch_size, rate, augmented)
    return encoder, decoder


def fit_baselines(train, latent):
    """What needs no network: name -> the function x (B, 1, 28, 28) -> x_hat."""
    code = pca.fit(train.x, latent)
    median = to_unit(train.x.flatten(1).median(dim=0).values)
    return {"PCA": lambda x: code.decode(code.encode(x)).clamp(0, 1).view_as(x),
            "mean image": lambda x: code.mean.view(1, 1, 28, 28).expand_as(x),
            # of all constants the one with the least L1 error
            "median image": lambda x: median.view(1, 1, 28, 28).expand_as(x),
            "black image": torch.zeros_like}


def draw_loss(run, score, title):
    epochs = range(1, len(run.history["val_l1"]) + 1)
    lines = {"training, while it learns": (epochs, run.history["train_l1"]),
             "validation": (epochs, run.history["val_l1"])}
    levels = {f"{name}, test": value for name, value in score.items()}
    run.results.figure("loss", plot.curves(
        lines | levels, f"{title}: L1 error over training", "epoch", PIXEL, log_y=True))


@torch.no_grad()
def draw_images(run, data, test, errors, methods, title):
    """Inputs against reconstructions: every class, and the best, median and worst images."""
    rank, middle = errors.argsort(), len(errors) // 2
    extremes = torch.cat([rank[:4], rank[middle:middle + 4], rank[-4:]])
    for name, what, index in (
            ("digits", "First test image of each class", first_of_each_class(test.y)),
            ("best_median_worst", "4 best, 4 median, 4 worst test images", extremes)):
        x = to_unit(test.x[index])
        with evaluating(methods["autoencoder"]):
            rows = {method: reconstruct(x) for method, reconstruct in methods.items()}
        labels = [f"{data.classes[test.y[i]]}\n{errors[i]:.3f}" for i in index]
        run.results.figure(name, plot.image_rows(
            rows, f"{title}: {what}; below, class and the autoencoder's L1", labels))


def report(run, data, test, errors, score, train_l1, fallen, title):
    """What was found, in tables and in sentences built from the numbers."""
    finding, best, black = run.results.finding, score["autoencoder"], score["black image"]
    finding(f"{title}: the autoencoder's mean L1 error per pixel is {best:.4f} over the "
            f"{len(test.x):,} test images, {train_l1:.4f} over the training images.")
    finding(f"PCA with as many numbers has {score['PCA']:.4f}, {score['PCA'] / best:.2f} "
            f"times that. With none at all, the mean image has {score['mean image']:.4f} and "
            f"the median image, the best of all constants in L1, {score['median image']:.4f}.")
    by_class = {data.classes[c]: errors[test.y == c].mean().item() for c in test.y.unique()}
    worst, easiest = max(by_class, key=by_class.get), min(by_class, key=by_class.get)
    finding(f"Hardest class: {worst} ({by_class[worst]:.4f}); easiest: {easiest} "
            f"({by_class[easiest]:.4f}). The best image has {errors.min():.4f}, half of them "
            f"have less than {errors.median():.4f}, the worst has {errors.max():.4f}.")
    if fallen:
        finding(f"The network COLLAPSED into the black image, which has {black:.4f}. "
                "ex2_conv_ae_study.py shows the trap and the repair.")
    elif best > 0.9 * black:
        finding(f"The network did NOT LEARN: its error is above nine tenths of the black "
                f"image's, {black:.4f}, though it shows other images.")
    for name, column, values in (("scores", "method", score), ("classes", "class", by_class)):
        rows = [{column: key, "test L1": value} for key, value in values.items()]
        run.results.table(name, rows, f"Mean L1 error per pixel. {title}")


SIZES = {"quick": {"epochs": 2, "images": 3000},
         "full": {"epochs": 60, "filters": 32, "hidden": 1024, "learning_rate": 5e-3,
                  "augmented": 0.5}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
