r"""Assignment 8, exercise 1: an autoencoder of MNIST, 784-100-30-100-784. Begin reading here.

    python assignments/asst8_fc_ae.py            under a minute on 2 CPU cores

The simplest script. Like all, it follows the exercise's order. The keywords of `main` are its
flags. `run` loads the data, counts the epochs, records the results. minidl/ has the formulas.

The loss is the binary cross-entropy (BCE) in nats per image. The sigmoid is inside it, where
it cannot overflow, and must not be taken twice: theory/appendix/test_losses.py, (4) and (5).
Grey pixels cost their entropy even if x_hat = x. SELU keeps mean 0 and variance 1 if the n
weights of a unit have variance 1/n (LeCun's normal): (9) to (12) of the same file. With
torch's default, 1/(3n), activations shrink from layer to layer; asst8_fc_ae_study.py measures
the cost. SELU assumes standardised x, but our pixels, and those of PCA, stay in [0, 1].

    z = selu(W_2 selu(W_1 x + b_1) + b_2) in R^30
    x_hat = sigmoid(logits),   logits = W_4 selu(W_3 z + b_3) + b_4
    minimise  E_x -sum_p [x_p log x_hat_p + (1 - x_p) log(1 - x_hat_p)]
"""
# sheet: S4.1

import _path  # noqa: F401
import torch
from torch import nn

from minidl import pca
from minidl.data import batches, steps_per_epoch, to_unit
from minidl.evaluation import evaluate
from minidl.lab import cli, infer, paired
from minidl.losses import bce, mse
from minidl.schedules import one_cycle


def build():
    """x (B, 1, 28, 28) -> logits (B, 1, 28, 28)."""
    network = nn.Sequential(
        nn.Flatten(),                               # (B, 784)
        nn.Linear(784, 100), nn.SELU(),
        nn.Linear(100, 30), nn.SELU(),              # z (B, 30)
        nn.Linear(30, 100), nn.SELU(),
        nn.Linear(100, 784),                        # no sigmoid: it is in the loss
        nn.Unflatten(1, (1, 28, 28)))
    for layer in network:
        if isinstance(layer, nn.Linear):            # LeCun's normal
            nn.init.normal_(layer.weight, std=layer.in_features ** -0.5)
            nn.init.zeros_(layer.bias)
    return network


def main(run,
         epochs: "passes over the training images; amount" = 40,
         batch_size: "images per step" = 128,
         learning_rate: "peak of the one-cycle schedule" = 8e-3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    autoencoder = run.network(build())
    run.layers(autoencoder, to_unit(data.val.x[:1]))

    # beta2 is 0.98: 0.999 averages squared gradients over 1,000 steps, too many here
    optimizer = torch.optim.Adam(autoencoder.parameters(), learning_rate, betas=(0.9, 0.98),
                                 fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for _ in run.epochs(epochs, "autoencoder", autoencoder=autoencoder, optimizer=optimizer,
                        schedule=schedule):
        for x, _ in batches(data.train, batch_size, run.generator):
            loss = bce(autoencoder(x), x).mean()    # the sum over pixels, the mean over images
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_bce=loss)
        run.log(val_bce=evaluate(lambda x, _: bce(autoencoder(x), x), data.val, autoencoder))

    # --- the test set, read once; compared with the best linear code of the same size --------
    test, linear = data.test(), pca.fit(data.train.x, 30)
    x = to_unit(test.x)
    methods = {"autoencoder": nn.Sequential(autoencoder, nn.Sigmoid()),
               "PCA": linear.reconstruct}
    error = {name: mse(infer(f, x), x) for name, f in methods.items()}
    run.scores("mean (x - x_hat)^2 per pixel", test_mse=error["autoencoder"],
               pca_test_mse=error["PCA"])
    run.scores("nats per image", table="nats", val_bce=run.history["val_bce"][-1],
               test_bce=bce(infer(autoencoder, x), x))
    run.curves("loss", "784-100-30-100-784, loss history", "BCE, nats per image", log_y=True,
               **run.history)
    run.seed_everything(run.seed)                   # asst8_conv_ae.py shows them, too
    some = torch.randperm(len(x), generator=run.generator)[:12]
    run.pictures("reconstructions", "30-dimensional codes of random test images; below, the "
                 "autoencoder's MSE", error["autoencoder"][some], x=x[some], **methods)
    run.claim("With a 30-dimensional code, the network's error is lower than PCA's.",
              paired(error["PCA"], error["autoencoder"]))
    train, val = (run.history[name][-1] for name in ("train_bce", "val_bce"))
    run.claim("The loss on validation images is at most 5% above that on training images.",
              val <= 1.05 * train, training=train, validation=val)


SIZES = {"quick": {"epochs": 2, "images": 3000}, "full": {"epochs": 200}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
