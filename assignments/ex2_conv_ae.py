r"""Exercise 2, task 1: a convolutional autoencoder, 28x28 digits through a code of d = 12.

    z = encoder(x) in R^d,   x_hat = decoder(z) in [0, 1]^784
    minimise   E_x 1/784 sum_p |x_hat_p - x_p|                      (the sheet's mean L1 error)

    python assignments/ex2_conv_ae.py            under 5 minutes on 2 CPU cores

Why this network. Strokes are local: convolutions with few filters find them. Stride 2 halves
the image three times, 28 -> 14 -> 7 -> 4, and learns its own reduction where pooling would
throw positions away. What the 4x4 cells mean together (which digit, how slanted) is global: a
fully connected layer mixes them into d numbers. `--hidden 0` leaves it out: a convolution
takes each of the d numbers straight from the 4x4 cells. GELU lets a gradient through where
ReLU is flat. Batch normalisation and the sigmoid keep the network away from the all-black
image, a local optimum of the L1 error. ex2_conv_ae_study.py measures each of these choices.

--full shows half of the images slightly turned, sized and slanted, so that the error on new
images stays close to that on training images. Left out is all that is variational: hw2_vae.py.
"""
# sheet: S3.1

import _path  # noqa: F401
import torch
from torch import nn

from minidl import pca
from minidl.augment import random_affine
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired
from minidl.losses import l1
from minidl.schedules import one_cycle


class Encoder(nn.Sequential):
    """x (B, 1, 28, 28) -> z (B, d)."""

    def __init__(self, d=12, f=16, hidden=256):
        super().__init__(
            nn.Conv2d(1, f, 3, stride=2, padding=1),                # (B, f, 14, 14)
            nn.BatchNorm2d(f), nn.GELU(),
            nn.Conv2d(f, 2 * f, 3, stride=2, padding=1),            # (B, 2f, 7, 7)
            nn.BatchNorm2d(2 * f), nn.GELU(),
            nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1),        # (B, 4f, 4, 4)
            nn.BatchNorm2d(4 * f), nn.GELU(),
            *((nn.Flatten(), nn.Linear(4 * f * 4 * 4, hidden), nn.BatchNorm1d(hidden),
               nn.GELU(), nn.Linear(hidden, d)) if hidden else
              (nn.Conv2d(4 * f, d, 4), nn.Flatten())))              # (B, d)


class Decoder(nn.Sequential):
    """z (B, d) -> x_hat (B, 1, 28, 28) in [0, 1]: the encoder's mirror image."""

    def __init__(self, d=12, f=16, hidden=256):
        super().__init__(
            *((nn.Linear(d, hidden), nn.BatchNorm1d(hidden), nn.GELU(),
               nn.Linear(hidden, 64 * f), nn.BatchNorm1d(64 * f), nn.GELU(),
               nn.Unflatten(1, (4 * f, 4, 4))) if hidden else
              (nn.Unflatten(1, (d, 1, 1)), nn.ConvTranspose2d(d, 4 * f, 4),
               nn.BatchNorm2d(4 * f), nn.GELU())),                      # (B, 4f, 4, 4)
            # a transposed convolution gives (n - 1) stride - 2 padding + kernel
            nn.ConvTranspose2d(4 * f, 2 * f, 3, stride=2, padding=1),   # (B, 2f, 7, 7)
            nn.BatchNorm2d(2 * f), nn.GELU(),
            nn.ConvTranspose2d(2 * f, f, 4, stride=2, padding=1),       # (B, f, 14, 14)
            nn.BatchNorm2d(f), nn.GELU(),
            nn.ConvTranspose2d(f, 1, 4, stride=2, padding=1),           # (B, 1, 28, 28)
            nn.Sigmoid())


def main(run,
         latent: "d, size of the code; 1 to 783" = 12,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images a step; >= 2" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 8e-3,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 256,
         augmented: "share of images turned and slanted, until the last fifth; 0 to 1" = 0.0,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    val = to_unit(data.val.x)
    autoencoder = run.network(nn.Sequential(Encoder(latent, filters, hidden),
                                            Decoder(latent, filters, hidden)))
    run.layers(autoencoder, val[:1])

    # betas: with so few steps, the mean of squared gradients should forget sooner than 0.999
    optimizer = torch.optim.AdamW(autoencoder.parameters(), learning_rate,
                                  betas=(0.9, 0.97), fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for epoch in run.epochs(epochs, "autoencoder", autoencoder=autoencoder,
                            optimizer=optimizer, schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.8 * epochs:     # the end settles on unchanged images
                x = random_affine(x, run.generator, degrees=10, scale=0.1, shear=0.1,
                                  share=augmented)
            loss = l1(autoencoder(x), x).mean()         # |x_hat - x|, over pixels and images
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_l1=loss)
        run.log(val_l1=l1(infer(autoencoder, val), val).double().mean())

    # --- the test set, read once, beside the best linear code of the same size ---------------
    test, linear = data.test(), pca.fit(data.train.x, latent)
    x = to_unit(test.x)
    methods = {"autoencoder": autoencoder,
               "PCA": lambda x: linear.decode(linear.encode(x)).clamp(0, 1).view_as(x)}
    errors = {name: l1(infer(f, x), x) for name, f in methods.items()}
    black = l1(torch.zeros_like(x), x)                  # the error of the all-black image
    run.scores("mean |x - x_hat| per pixel", test_l1=errors["autoencoder"],
               PCA_test_l1=errors["PCA"], black_image_test_l1=black,
               val_l1=run.history["val_l1"][-1])
    run.curves("loss", f"d = {latent}", "mean |x - x_hat| per pixel", log_y=True)
    order = errors["autoencoder"].argsort()
    extremes = torch.cat([order[:4], order[len(x) // 2:][:4], order[-4:]])
    for name, words, index in (
            ("digits", "first test image of each class", first_of_each_class(test.y)),
            ("best_median_worst", "4 best, 4 median, 4 worst test images", extremes)):
        run.pictures(name, f"d = {latent}, {words}; below, its L1",
                     errors["autoencoder"][index], x=x[index], **methods)
    run.claim("With a code of the same size, the network keeps more of a digit than PCA.",
              paired(errors["PCA"], errors["autoencoder"]))
    run.claim("The network has left the all-black image, a local optimum, far behind.",
              errors["autoencoder"].mean() < 0.5 * black.mean(),
              autoencoder=errors["autoencoder"].mean(), black_image=black.mean())


SIZES = {"quick": {"epochs": 2, "images": 3000},
         "full": {"epochs": 60, "filters": 32, "hidden": 1024, "learning_rate": 5e-3,
                  "augmented": 0.5}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
