r"""Assignment 8, exercise 1: an autoencoder of MNIST, 784-100-30-100-784. Begin reading here.

    z = selu(W_2 selu(W_1 x + b_1) + b_2) in R^30
    x_hat = sigmoid(logits),   logits = W_4 selu(W_3 z + b_3) + b_4
    minimise  E_x -sum_p [x_p log x_hat_p + (1 - x_p) log(1 - x_hat_p)]

    python assignments/asst8_fc_ae.py            under a minute on 2 CPU cores
    python assignments/asst8_fc_ae.py --full     five times as long

The simplest script: network, loss, training, reconstructions, in the exercise's order; all
others are built alike. The keywords of `main` are the flags, `run` counts the epochs and keeps
what was found, and what has a formula stands in minidl/, with a test.

The loss is the binary cross-entropy (BCE), in nats an image. The sigmoid is inside it, where
it cannot overflow, and must not be taken twice (theory/test_losses.py, (4) and (5)). SELU
keeps activations at mean 0 and variance 1 where the weights of n inputs have the variance 1/n,
LeCun's normal. With torch's default, 1/(3n), they shrink from layer to layer, (9) to (12)
there; asst8_fc_ae_study.py measures what that costs. Left out is to standardise x, which SELU
would like too: pixels stay in [0, 1].
"""
# sheet: S4.1

import _path  # noqa: F401
import torch
from torch import nn

from minidl import linear_code, pca
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.evaluation import evaluate
from minidl.lab import cli, plot
from minidl.lab.layers import layer_rows
from minidl.lab.results import markdown
from minidl.losses import bce, l1, mse
from minidl.schedules import one_cycle
from minidl.vae import pixel_entropy

UNITS = {"mse": "mean (x - x_hat)^2 per pixel", "l1": "mean |x - x_hat| per pixel",
         "bce": "nats an image"}


def main(run,
         epochs: "passes over the training images; amount" = 40,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    autoencoder = build().to(run.device)
    rows = layer_rows(autoencoder, to_unit(data.val.x[:1]))
    run.results.table("layers", rows, "The autoencoder")
    print(markdown(rows))
    train(run, "autoencoder", autoencoder, data, epochs, batch_size, learning_rate)
    run.results.number("val_bce", run.history["val_bce"][-1], UNITS["bce"])
    draw_loss(run, data)
    reconstruct(run, data, autoencoder)


def build():
    """A new autoencoder: x (B, 1, 28, 28) -> logits (B, 1, 28, 28)."""
    autoencoder = nn.Sequential(
        nn.Flatten(),                     # (B, 784)
        nn.Linear(784, 100), nn.SELU(),
        nn.Linear(100, 30), nn.SELU(),    # z (B, 30)
        nn.Linear(30, 100), nn.SELU(),
        nn.Linear(100, 784),              # no sigmoid: it is in the loss
        nn.Unflatten(1, (1, 28, 28)))
    for layer in autoencoder:
        if isinstance(layer, nn.Linear):
            lecun_normal(layer, layer.in_features)
    return autoencoder


def lecun_normal(layer, n):
    """Weights ~ N(0, 1/n), n inputs to a unit, and no bias: its variance is their E x^2."""
    nn.init.normal_(layer.weight, std=n ** -0.5)
    nn.init.zeros_(layer.bias)


def train(run, name, autoencoder, data, epochs, batch_size, learning_rate):
    """Minimise the BCE on the training images."""
    # betas: with so few steps, the mean of squared gradients should forget sooner than 0.999
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for _epoch in run.epochs(epochs, name, autoencoder=autoencoder, optimizer=optimizer,
                             schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            loss = bce(autoencoder(x), x).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            run.track(len(x), train_bce=loss)
        run.log(val_bce=evaluate(lambda x, _: bce(autoencoder(x), x), data.val))


# --- what was found -----------------------------------------------------------------------

def draw_loss(run, data):
    """The loss history, over what no reconstruction can go below."""
    epochs = range(1, len(run.history["val_bce"]) + 1)
    run.results.figure("loss", plot.curves(
        {"training": (epochs, run.history["train_bce"]),
         "validation": (epochs, run.history["val_bce"]),
         "entropy of the pixels": evaluate(lambda x, _: pixel_entropy(x), data.val)},
        f"{data.title}, 784-100-30-100-784: loss over training", "epoch",
        f"BCE, {UNITS['bce']}", log_y=True))


@torch.no_grad()
def reconstruct(run, data, autoencoder):
    """The test images, read once, beside the best linear code of 30 numbers."""
    test, linear = data.test(), linear_code.clipped(pca.fit(data.train.x, 30))
    score = {name: evaluate(metric, test) for name, metric in {
        "test_mse": lambda x, _: mse(autoencoder(x).sigmoid(), x),
        "test_l1": lambda x, _: l1(autoencoder(x).sigmoid(), x),
        "test_bce": lambda x, _: bce(autoencoder(x), x),
        "least_test_bce": lambda x, _: pixel_entropy(x),
        "pca_test_mse": lambda x, _: mse(linear(x), x),
        "pca_test_l1": lambda x, _: l1(linear(x), x)}.items()}
    for name, value in score.items():
        run.results.number(name, value, UNITS[name.split("_")[-1]], n=len(test.x))
    title = f"{data.title}, 30 numbers an image"
    run.results.finding(
        f"{title}: the test MSE is {score['test_mse']:.5f}, the L1 {score['test_l1']:.4f}; "
        f"PCA, clipped, {score['pca_test_mse']:.5f} and {score['pca_test_l1']:.4f}. "
        f"The test BCE is {score['test_bce']:.1f} nats an image, over the entropy of the grey "
        f"pixels, {score['least_test_bce']:.1f}, which nothing can go below.")
    if score["test_mse"] > score["pca_test_mse"]:
        run.results.finding("A linear code is better: the autoencoder has hardly learned.")
    x = to_unit(test.x[random_places(run, test)])
    x_hat = autoencoder(x).sigmoid()
    run.results.figure("reconstructions", plot.image_rows(
        {"input": x, "autoencoder": x_hat, "PCA": linear(x)},
        f"{title}: random test images; below, the autoencoder's MSE",
        [f"{value:.4f}" for value in mse(x_hat, x)]))


def random_places(run, test, n=12):
    """Where n test images are that the seed draws, the same ones in exercise 2."""
    return torch.randperm(len(test.x), generator=run.generator.manual_seed(run.seed))[:n]


SIZES = {"quick": {"epochs": 2, "images": 3000}, "full": {"epochs": 200}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
