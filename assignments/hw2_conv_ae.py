r"""Homework 2: an autoencoder of Fashion-MNIST, convolutional and fully connected.

    z = encoder(x) in R^d,   x_hat = decoder(z) in [0, 1]^784
    minimise over both   E_x 1/784 sum_p (x_hat_p - x_p)^2        (MSE, mean squared error)

    python assignments/hw2_conv_ae.py            under 5 minutes on 2 CPU cores
    python assignments/hw2_conv_ae.py --full     the number in the README

The convolutional one is exercise 2's, d = 16; the other sees the same pixels in no order. PCA
with as many numbers is the best that any linear code can do in MSE on the training images, so
it is the baseline, its pixels cut to [0, 1] like the networks'.
hw2_conv_ae_study.py compares optimizers and regularisation, hw2_tuning.py chooses settings.
"""
# sheet: S0.1a

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import pca
from minidl.augment import random_affine
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.evaluation import evaluate, evaluating, per_example
from minidl.lab import cli, flags, plot
from minidl.lab.capture import captured
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.precision import autocast
from minidl.lab.results import markdown, slug
from minidl.lab.run import RunError
from minidl.losses import mse
from minidl.schedules import one_cycle

SQUARED = "mean (x - x_hat)^2 per pixel"
CONV, FC = "convolutional", "fully connected"


def main(run,
         latent: "d, numbers in the latent code" = 16,
         epochs: "passes over the training images, convolutional; amount" = 16,
         fc_epochs: "the same, fully connected; amount" = 12,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 6e-3,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         augmented: "share of images turned and slanted, until the last tenth" = 0.0,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    if latent >= 784 or batch_size < 2:
        raise RunError(f"--latent {latent} --batch-size {batch_size}: expected fewer numbers "
                       "than the 784 pixels and, for batch normalisation, 2 images or more")
    data = run.load(images)
    networks, history = {}, {}
    for kind, n in ((CONV, epochs), (FC, fc_epochs)):
        run.seed_everything(run.seed)
        networks[kind] = build(kind, latent, filters, hidden).to(run.device)
        rows = layer_rows(networks[kind], to_unit(data.val.x[:1]))
        run.results.table(f"layers_{slug(kind)}", rows, f"{kind} autoencoder, d = {latent}")
        print(f"{kind}\n{markdown(rows)}")
        train(run, kind, networks[kind], data, n, batch_size, learning_rate, augmented,
              precision)
        history[kind] = run.history

    # --- the test set, read once, beside the best linear code -------------------------------
    test, code = data.test(), pca.fit(data.train.x, latent)
    methods = networks | {"PCA": lambda x: code.decode(code.encode(x)).view_as(x).clamp(0, 1)}
    errors = {kind: per_example(lambda x, _, f=f: mse(f(x), x), test, *networks.values())
              for kind, f in methods.items()}
    score = {kind: values.double().mean().item() for kind, values in errors.items()}
    number = run.results.number
    number("test_mse", score[CONV], SQUARED, n=len(test.x))
    number("test_mse_fully_connected", score[FC], SQUARED, n=len(test.x))
    number("pca_test_mse", score["PCA"], SQUARED, n=len(test.x))
    for kind, network in networks.items():
        number(f"val_mse_{slug(kind)}", history[kind]["val_mse"][-1], SQUARED)
        number(f"train_mse_{slug(kind)}", history[kind]["train_mse"][-1], SQUARED)
        number(f"parameters_{slug(kind)}", parameter_count(network), "trainable numbers")

    title = f"{data.title}, d = {latent}"
    draw_loss(run, history, score["PCA"], title)
    draw_images(run, data, test, errors, methods, title)
    report(run, data, test, errors, score, history, title)


def build(kind, latent, filters, hidden):
    """A new autoencoder; its first half is the encoder."""
    if kind == CONV:
        return nn.Sequential(*(half(latent, filters, hidden) for half in (Encoder, Decoder)))
    return nn.Sequential(
        nn.Sequential(nn.Flatten(), *hidden_layer(784, 512), *hidden_layer(512, 256),
                      nn.Linear(256, latent)),
        nn.Sequential(*hidden_layer(latent, 256), *hidden_layer(256, 512),
                      nn.Linear(512, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))))


def hidden_layer(inputs, outputs):
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.GELU()


def train(run, name, autoencoder, data, epochs, batch_size, learning_rate, augmented,
          precision):
    """Minimise the MSE on the training images."""
    # betas: with so few steps, the mean of squared gradients should forget sooner than 0.999
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.97), fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    forward = captured(autoencoder, to_unit(data.train.x[:batch_size]), precision)
    for epoch in run.epochs(epochs, name, autoencoder=autoencoder, optimizer=optimizer,
                            schedule=schedule):
        autoencoder.train()
        for x, _ in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.9 * epochs:  # the end settles on unchanged images
                x = random_affine(x, run.generator, degrees=10, scale=0.1, shear=0.1,
                                  share=augmented)
            with autocast(run.device, precision):
                x_hat = forward(x)
            loss = mse(x_hat.float(), x).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_mse=loss)
        run.log(val_mse=evaluate(lambda x, _: mse(autoencoder(x), x), data.val, autoencoder))


def trained(run, data, images):
    """For the other scripts of homework 2: the convolutional autoencoder in this size, the
    same whether it is found in outputs/ or trained here."""
    settings = flags.settings(main, SIZES, run.size) | {"images": images}
    run.seed_everything(run.seed)
    autoencoder = build(CONV, *(settings[key] for key in ("latent", "filters", "hidden")))
    autoencoder.to(run.device)
    if not run.borrow("hw2_conv_ae", CONV, settings["epochs"], settings,
                      autoencoder=autoencoder):
        print(f"{CONV}: no run of hw2_conv_ae.py with these settings beside this one: trained "
              "here")
        train(run, CONV, autoencoder, data, *(settings[key] for key in (
            "epochs", "batch_size", "learning_rate", "augmented", "precision")))
    return autoencoder


def draw_loss(run, history, linear, title):
    lines = {f"{kind}, {words}": (range(1, len(values[key]) + 1), values[key])
             for kind, values in history.items()
             for key, words in (("train_mse", "training"), ("val_mse", "validation"))}
    run.results.figure("loss", plot.curves(
        lines | {"PCA, test": linear}, f"{title}: reconstruction loss over training", "epoch",
        SQUARED, log_y=True))


@torch.no_grad()
def draw_images(run, data, test, errors, methods, title):
    """Inputs against reconstructions: every class, and the best, median and worst images."""
    rank, middle = errors[CONV].argsort(), len(test.y) // 2
    extremes = torch.cat([rank[:4], rank[middle:middle + 4], rank[-4:]])
    for name, what, index in (
            ("reconstructions", "first test image of each class", first_of_each_class(test.y)),
            ("best_median_worst", "4 best, 4 median, 4 worst test images", extremes)):
        x = to_unit(test.x[index])
        with evaluating(methods[CONV], methods[FC]):
            rows = {"input": x} | {kind: f(x) for kind, f in methods.items()}
        labels = [f"{data.classes[test.y[i]]}\n{errors[CONV][i]:.4f}" for i in index]
        run.results.figure(name, plot.image_rows(
            rows, f"{title}: {what}; below, class and the convolutional one's MSE", labels))


def report(run, data, test, errors, score, history, title):
    """What was found, in a table and in sentences built from the numbers."""
    finding, best = run.results.finding, score[CONV]
    for kind in (CONV, FC):
        finding(f"{title}: the {kind} autoencoder has a test MSE of {score[kind]:.5f}; "
                f"{history[kind]['train_mse'][-1]:.5f} on the training images in its last "
                f"epoch. PCA has {score['PCA'] / score[kind]:.2f} times as much "
                f"({score['PCA']:.5f}).")
    by_class = {data.classes[c]: errors[CONV][test.y == c].mean().item()
                for c in test.y.unique()}
    worst, easiest = max(by_class, key=by_class.get), min(by_class, key=by_class.get)
    better = (errors[CONV] < errors["PCA"]).double().mean().item()
    finding(f"The convolutional one is better than PCA on {better:.1%} of the test images. "
            f"Hardest class: {worst} ({by_class[worst]:.4f}); easiest: {easiest} "
            f"({by_class[easiest]:.4f}).")
    values = history[CONV]["val_mse"]
    half = next(i for i, v in enumerate(values, 1) if v < 1.1 * values[-1])
    finding(f"Trend: its validation MSE falls from {values[0]:.4f} after one epoch to "
            f"{values[-1]:.4f} after {len(values)}; it is within 10% of that from epoch "
            f"{half} on.")
    if best > 0.9 * score["PCA"]:
        finding("The convolutional network is no better than a linear code: it has hardly "
                "learned.")
    rows = [{"class": name, "test MSE": value} for name, value in by_class.items()]
    run.results.table("classes", rows, f"Mean squared error per pixel. {title}")


SIZES = {"quick": {"epochs": 2, "fc_epochs": 2, "images": 3000},
         "full": {"epochs": 100, "fc_epochs": 60, "filters": 32, "hidden": 1024,
                  "augmented": 0.5}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
