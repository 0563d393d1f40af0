r"""Homework 2: an autoencoder of Fashion-MNIST, convolutional and fully connected.

    z = encoder(x) in R^d,   x_hat = decoder(z) in [0, 1]^784
    minimise   E_x 1/784 sum_p (x_hat_p - x_p)^2               (MSE, mean squared error)

    python assignments/hw2_conv_ae.py            under 5 minutes on 2 CPU cores
    python assignments/hw2_conv_ae.py --full     the best number

The convolutional one is exercise 2's with d = 16: ex2_conv_ae.py explains its layers. The
fully connected one does not know which pixels are neighbours. They also differ in parameters
and epochs. The homework expects similar errors, since the images are small. PCA is the
baseline: no linear d-dimensional code has a smaller MSE on the training images. Its pixels are
clipped to [0, 1], as the sigmoid does. hw2_tuning.py searches for better settings of training.
"""
# sheet: S0.1a

import _path  # noqa: F401
import torch
from ex2_conv_ae import Decoder, Encoder
from torch import nn

from minidl import pca
from minidl.augment import random_affine
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired
from minidl.losses import mse
from minidl.schedules import one_cycle

UNIT = "mean (x - x_hat)^2 per pixel"


class FullyConnected(nn.Sequential):
    """x (B, 1, 28, 28) -> z (B, d) -> x_hat (B, 1, 28, 28) in [0, 1]."""

    def __init__(self, d=16):
        super().__init__(
            nn.Flatten(),                                           # (B, 784)
            nn.Linear(784, 512), nn.BatchNorm1d(512), nn.GELU(),
            nn.Linear(512, 256), nn.BatchNorm1d(256), nn.GELU(),
            nn.Linear(256, d),                                      # z (B, d)
            nn.Linear(d, 256), nn.BatchNorm1d(256), nn.GELU(),
            nn.Linear(256, 512), nn.BatchNorm1d(512), nn.GELU(),
            nn.Linear(512, 784), nn.Sigmoid(),
            nn.Unflatten(1, (1, 28, 28)))


def main(run,
         latent: "d, dimension of the code; 1 to 783" = 16,
         epochs: "passes over the training images, convolutional; amount" = 16,
         fc_epochs: "passes over the training images, fully connected; amount" = 12,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 6e-3,
         filters: "in the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 256,
         augmented: "share of augmented images, in the first 90% of epochs; 0 to 1" = 0.0,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    val = to_unit(data.val.x)
    networks, history = {}, {}
    for kind, n in (("convolutional", epochs), ("fully_connected", fc_epochs)):
        run.seed_everything(run.seed)
        autoencoder = run.network(
            FullyConnected(latent) if kind == "fully_connected" else
            nn.Sequential(Encoder(latent, filters, hidden), Decoder(latent, filters, hidden)),
            bits=16)
        run.layers(autoencoder, val[:1], name=f"layers_{kind}")
        optimizer = torch.optim.AdamW(autoencoder.parameters(), learning_rate,
                                      betas=(0.9, 0.97), fused=True)  # ex2_conv_ae.py: why
        schedule = one_cycle(optimizer, n * steps_per_epoch(data.train, batch_size))
        for epoch in run.epochs(n, kind, autoencoder=autoencoder, optimizer=optimizer,
                                schedule=schedule):
            for x, _ in batches(data.train, batch_size, run.generator):
                if augmented and epoch <= 0.9 * n:      # the last epochs see unchanged images
                    x = random_affine(x, run.noise, degrees=10, scale=0.1, shear=0.1,
                                      share=augmented)
                loss = mse(autoencoder(x), x).mean()    # (x_hat - x)^2, over pixels, images
                optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                run.track(len(x), train_mse=loss)
            run.log(val_mse=mse(infer(autoencoder, val), val))
        networks[kind], history[kind] = autoencoder, run.history

    # --- the test set, read once; compared with the best linear code of the same size --------
    test, linear = data.test(), pca.fit(data.train.x, latent)
    x = to_unit(test.x)
    methods = networks | {
        "PCA": lambda x: linear.decode(linear.encode(x)).clamp(0, 1).view_as(x)}
    conv, connected, best_linear = (mse(infer(f, x), x) for f in methods.values())
    run.scores(UNIT, test_mse=conv, test_mse_fully_connected=connected,
               pca_test_mse=best_linear)
    run.curves("loss", f"d = {latent}, reconstruction loss", UNIT, log_y=True, **{
        f"{kind}, {words}": values[key] for kind, values in history.items()
        for key, words in (("train_mse", "training"), ("val_mse", "validation"))})
    index = first_of_each_class(test.y)
    run.pictures("reconstructions", "first test image of each class; below, the convolutional "
                 "one's MSE", [f"{conv[i]:.4f}\n{data.classes[test.y[i]]}" for i in index],
                 x=x[index], **methods)
    for kind, error in (("convolutional", conv), ("fully connected", connected)):
        run.claim(f"In one training, with a code of the same size, the {kind} autoencoder's "
                  "error is lower than PCA's.", paired(best_linear, error))
    run.claim("The fully connected autoencoder's error is closer to the convolutional one's "
              "than to PCA's.", paired(best_linear - connected, connected - conv))


SIZES = {"quick": {"epochs": 2, "fc_epochs": 2, "images": 3000},
         "full": {"epochs": 100, "fc_epochs": 60, "filters": 32, "hidden": 1024,
                  "augmented": 0.5}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
