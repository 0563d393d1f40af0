r"""Exercise 2, task 1: a convolutional autoencoder, 28x28 digits through a code of d = 12.

    python assignments/ex2_conv_ae.py            about 2 minutes on 2 CPU cores

Convolutions with few filters find strokes, which are local. Stride 2 halves the image three
times, 28 -> 14 -> 7 -> 4, with learned weights. The 4x4 cells together describe the digit: a
fully connected layer maps them to a d-dimensional code (with `--hidden 0`, a convolution).
GELU passes a gradient where ReLU is flat. Without batch normalisation or the sigmoid, training
can end at an all-black image: ex2_conv_ae_study.py. The baseline, PCA, is clipped to [0, 1].

    z = encoder(x) in R^d,   x_hat = decoder(z) in [0, 1]^784
    minimise   E_x 1/784 sum_p |x_hat_p - x_p|                    (the sheet's mean L1 error)
"""
# sheet: S3.1

import _path  # noqa: F401
import torch
from torch import nn

from minidl import augment, pca, schedules
from minidl.data import batches, first_of_each_class, steps_per_epoch, to_unit
from minidl.lab import cli, infer, paired
from minidl.losses import l1


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
            nn.ConvTranspose2d(4 * f, 2 * f, 3, stride=2, padding=1),   # (B, 2f, 7, 7)
            nn.BatchNorm2d(2 * f), nn.GELU(),
            nn.ConvTranspose2d(2 * f, f, 4, stride=2, padding=1),       # (B, f, 14, 14)
            nn.BatchNorm2d(f), nn.GELU(),
            nn.ConvTranspose2d(f, 1, 4, stride=2, padding=1),           # (B, 1, 28, 28)
            nn.Sigmoid())


def main(run,
         latent: "d, dimension of the code; 1 to 783" = 12,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         filters: "in the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 256,
         augmented: "share of augmented images, in the first 80% of epochs; 0 to 1" = 0.0,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    val = to_unit(data.val.x)
    autoencoder = run.network(nn.Sequential(Encoder(latent, filters, hidden),
                                            Decoder(latent, filters, hidden)))
    run.layers(autoencoder, val[:1])

    optimizer = torch.optim.AdamW(autoencoder.parameters(), learning_rate,
                                  betas=(0.9, 0.97), fused=True)    # 0.97: so few steps
    schedule = schedules.one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for epoch in run.epochs(epochs, "autoencoder", autoencoder=autoencoder,
                            optimizer=optimizer, schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.8 * epochs:     # the last epochs see unchanged images
                x = augment.random_affine(x, run.noise, degrees=10, scale=0.1, shear=0.1,
                                          share=augmented)
            loss = l1(autoencoder(x), x).mean()     # E_x 1/784 sum_p |x_hat_p - x_p|
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_l1=loss)
        run.log(val_l1=l1(infer(autoencoder, val), val))

    # --- the test set, read once; compared with a linear code of the same size --------
    test, linear = data.test(), pca.fit(data.train.x, latent)
    x, first = to_unit(test.x), first_of_each_class(test.y)
    methods = {"autoencoder": autoencoder, "PCA": linear.reconstruct}
    ours, of_pca = (l1(infer(method, x), x) for method in methods.values())
    black = l1(torch.zeros_like(x), x)                  # the error of the all-black image
    run.scores("mean |x - x_hat| per pixel", test_l1=ours, PCA_test_l1=of_pca,
               black_image_test_l1=black)
    run.curves("loss", f"loss history, d = {latent}", "mean |x - x_hat| per pixel", log_y=True)
    run.pictures("digits", f"d = {latent}, test images; below, the autoencoder's L1",
                 ours[first], x=x[first], **methods)
    run.claim("With a code of the same size, the network's error is smaller than PCA's.",
              paired(of_pca, ours))
    run.claim("The network's error is below half a black image's.", paired(0.5 * black, ours))


SIZES = {"quick": {"epochs": 2, "images": 3000},
         "full": {"epochs": 60, "filters": 32, "hidden": 1024, "learning_rate": 5e-3,
                  "augmented": 0.5}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
