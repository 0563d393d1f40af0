r"""Exercise 2, task 2: task 1's encoder and a small MLP classify the digits.

    python assignments/ex2_classifier.py            under 3 minutes on 2 CPU cores

Both parts start from random weights. The MLP has two layers, since a hyperplane in R^12 may
not separate a class from the others. It ends in logits: F.cross_entropy contains the softmax.
With a second softmax, no loss could fall below log(e + 9) - 1 = 1.46.

Training images are rotated, scaled, sheared and shifted at random, which keeps their class.
The last fifth of the epochs trains on unchanged digits. The training curves are measured on
unchanged images in evaluation mode, like the test curves. The sheet asks for the test error
over training time: the weights of each epoch are kept, and the test set is read once, last.

    z = encoder(x) in R^d,   logits = MLP(z) in R^C
    p(c | x) = exp(logits_c) / sum_k exp(logits_k)
    minimise over both   E -log p(y | x)                    (the cross-entropy, in nats)
"""
# sheet: S3.2

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_conv_ae import Encoder
from torch import nn

from minidl.augment import random_affine
from minidl.data import Split, batches, steps_per_epoch, to_unit
from minidl.evaluation import nats_and_accuracy
from minidl.lab import cli
from minidl.schedules import one_cycle


class MLP(nn.Sequential):
    """z (B, d) -> logits (B, C)."""

    def __init__(self, d=12, hidden=64, C=10):
        super().__init__(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, C))


def main(run,
         latent: "d, dimension of the code" = 12,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images per step; >= 2" = 128,
         learning_rate: "peak of the one-cycle schedule" = 4e-3,
         filters: "in the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer before the code, 0 for none; >= 0" = 256,
         augmented: "share of augmented images, in the first 80% of epochs; 0 to 1" = 1.0,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    classifier = run.network(nn.Sequential(Encoder(latent, filters, hidden),
                                           MLP(latent, C=len(data.classes))))
    run.layers(classifier, to_unit(data.val.x[:1]))

    optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate, betas=(0.9, 0.99),
                                  fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for epoch in run.epochs(epochs, "classifier", classifier=classifier, optimizer=optimizer,
                            schedule=schedule):
        for x, y in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.8 * epochs:
                x = random_affine(x, run.noise, degrees=10, scale=0.1, shear=0.1,
                                  shift=0.07, share=augmented)
            loss = F.cross_entropy(classifier(x), y)    # -log p(y | x), mean of the batch
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
        run.keep(epoch, classifier.state_dict())
        val_loss, val_accuracy = nats_and_accuracy(classifier, data.val)
        run.log(val_loss=val_loss, val_accuracy=val_accuracy)

    # --- the test set, read once and last; errors and accuracies over training time ----------
    test, seen = data.test(), Split(data.train.x[:10_000], data.train.y[:10_000])
    splits = {"train": seen, "val": data.val, "test": test}
    nats, accuracy, error = ({name: [] for name in splits} for _ in range(3))
    for weights in run.kept.values():
        classifier.load_state_dict(weights)
        for name, split in splits.items():
            ce, right = nats_and_accuracy(classifier, split)
            nats[name].append(ce)
            accuracy[name].append(right)
            error[name].append(1 - right)
    for name, unit, lines in (("cross_entropy", "mean cross-entropy, nats", nats),
                              ("error", "share of images classified wrongly", error),
                              ("accuracy", "accuracy", accuracy)):
        run.curves(name, f"d = {latent}, {name}".replace("_", "-"), unit,
                   log_y=name != "accuracy", **lines)
    run.scores("fraction", **{f"{k}_accuracy": values[-1] for k, values in accuracy.items()})
    run.scores("nats, mean cross-entropy", table="cross_entropies",
               **{f"{k}_cross_entropy": values[-1] for k, values in nats.items()})
    run.claim("More than 99% of the test images are classified correctly.",
              accuracy["test"][-1] > 0.99, accuracy=accuracy["test"][-1])
    run.claim("In this training, the accuracy is higher on training than on test images.",
              accuracy["train"][-1] > accuracy["test"][-1],
              training=accuracy["train"][-1], test=accuracy["test"][-1])
    run.claim("The test cross-entropy is lowest after the last epoch, so this training does "
              "not over-fit.", nats["test"][-1] == min(nats["test"]), last=nats["test"][-1],
              lowest=min(nats["test"]))


SIZES = {"quick": {"epochs": 3, "images": 3000},
         "full": {"epochs": 30, "filters": 32, "hidden": 1024}}  # the encoder of task 1's

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
