r"""Assignment 8, exercise 2: a convolutional autoencoder of MNIST, at equal code sizes.

    python assignments/asst8_conv_ae.py            under 4 minutes on 2 CPU cores

The encoder is the exercise's: three times a 3x3 convolution, SELU and max-pooling, 28 -> 14 ->
7 -> 3. The last pooling drops row and column 6 of the 7x7 map. A transposed convolution of
kernel 3 and stride 2 takes n to (n - 1) 2 + 3 - 2 padding + output_padding, so 3 -> 7 -> 14 ->
28. The last two have padding 1 and output_padding 1 (theory/appendix/test_shapes.py).

This code has d = 64x3x3 = 576 for 784 pixels, so a low error alone says little. Exercise 1's
code has d = 30. So a second network has 576 -> 30 -> 576 in its middle, and both are compared
with PCA, clipped to [0, 1]. Each network is trained once.

    z = encoder(x) in R^d,   x_hat = sigmoid(decoder(z)),   minimise the BCE of exercise 1
"""
# sheet: S4.2

import _path  # noqa: F401
import torch
from torch import nn

from minidl import pca
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.evaluation import evaluate
from minidl.lab import cli, infer, paired
from minidl.losses import bce, mse
from minidl.schedules import one_cycle


def build(d):
    """x (B, 1, 28, 28) -> logits (B, 1, 28, 28), through z of d <= 576 dimensions."""
    encoder = [
        nn.Conv2d(1, 16, 3, padding="same"), nn.SELU(), nn.MaxPool2d(2),     # (B, 16, 14, 14)
        nn.Conv2d(16, 32, 3, padding="same"), nn.SELU(), nn.MaxPool2d(2),    # (B, 32, 7, 7)
        nn.Conv2d(32, 64, 3, padding="same"), nn.SELU(), nn.MaxPool2d(2)]    # (B, 64, 3, 3)
    decoder = [
        nn.ConvTranspose2d(64, 32, 3, 2), nn.SELU(),                         # (B, 32, 7, 7)
        nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.SELU(),                   # (B, 16, 14, 14)
        nn.ConvTranspose2d(16, 1, 3, 2, 1, 1)]  # stride, padding, output_padding
    if d < 576:
        encoder += [nn.Flatten(), nn.Linear(576, d)]                         # (B, d)
        decoder = [nn.Linear(d, 576), nn.SELU(), nn.Unflatten(1, (64, 3, 3)), *decoder]
    for layer in (*encoder, *decoder):
        if hasattr(layer, "weight"):
            lecun_normal(layer)
    return nn.Sequential(nn.Sequential(*encoder), nn.Sequential(*decoder))


def lecun_normal(layer):
    """Weights ~ N(0, 1/n) where each output is a sum of n products; the biases are 0."""
    if isinstance(layer, nn.ConvTranspose2d):
        # weight (in, out, k, k); each output pixel uses one in stride^2 of them
        n = layer.weight[:, 0].numel() / layer.stride[0] ** 2
    else:
        n = layer.weight[0].numel()            # weight (out, in, ...)
    nn.init.normal_(layer.weight, std=n ** -0.5)
    nn.init.zeros_(layer.bias)


def main(run,
         epochs: "passes over the training images, d = 576; amount" = 5,
         narrow_epochs: "the same, d = 30; amount" = 7,
         batch_size: "images per step" = 128,
         learning_rate: "peak of the one-cycle schedule" = 1.5e-2,
         images: "training images used, validation included; amount" = 60_000):
    data, losses = run.load(images), {}
    networks = {"FC-30": run.trained("asst8_fc_ae", "autoencoder", images=images)}
    for name, d, n in (("CNN-576", 576, epochs), ("CNN-30", 30, narrow_epochs)):
        run.seed_everything(run.seed)
        autoencoder = networks[name] = run.network(build(d), bits=16)
        run.layers(autoencoder, to_unit(data.val.x[:1]), name=f"layers_{d}")
        optimizer = torch.optim.Adam(autoencoder.parameters(), learning_rate,
                                     betas=(0.9, 0.98), fused=True)
        schedule = one_cycle(optimizer, n * steps_per_epoch(data.train, batch_size))
        for _ in run.epochs(n, name, autoencoder=autoencoder, optimizer=optimizer,
                            schedule=schedule):
            for x, _ in batches(data.train, batch_size, run.generator):
                loss = bce(autoencoder(x), x).mean()
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_bce=loss)
            run.log(val_bce=evaluate(lambda x, _, net=autoencoder: bce(net(x), x), data.val,
                                     autoencoder))
        losses |= {f"{name} {key}": values for key, values in run.history.items()}
    run.curves("loss", "loss history", "BCE, nats per image", log_y=True, **losses)

    # --- the test set, read once, beside the best linear codes ------------------------------
    test, code = data.test(), pca.fit(data.train.x, 576)
    x, unit = to_unit(test.x), "mean (x - x_hat)^2 per pixel"
    methods = {name: nn.Sequential(net, nn.Sigmoid()) for name, net in networks.items()}
    methods |= {"PCA-576": code.reconstruct, "PCA-30": code.first(30).reconstruct}
    error = {name: mse(infer(f, x), x) for name, f in methods.items()}
    run.scores(unit, table="methods", test_mse=error)
    run.scores(unit, test_mse=error["CNN-576"], pca_test_mse=error["PCA-576"])
    run.seed_everything(run.seed)              # asst8_fc_ae.py shows them, too
    some = torch.randperm(len(x), generator=run.generator)[:12]
    run.pictures("reconstructions", "random test images; below, the MSE of CNN-30",
                 error["CNN-30"][some], x=x[some], **methods)
    run.claim("In one training of each, with a 30-dimensional code, the CNN's error is lower "
              "than exercise 1's.",
              paired(error["FC-30"], error["CNN-30"]))
    run.claim("With a 30-dimensional code, this CNN's error is lower than PCA's.",
              paired(error["PCA-30"], error["CNN-30"]))
    run.claim("With a 576-dimensional code, PCA's error is lower than this CNN's.",
              paired(error["CNN-576"], error["PCA-576"]))


SIZES = {"quick": {"epochs": 2, "narrow_epochs": 1, "images": 3000},
         "full": {"epochs": 30, "narrow_epochs": 40}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
