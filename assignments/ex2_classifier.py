r"""Exercise 2, task 2: the same encoder and a small MLP tell the digits apart.

    logits = MLP(encoder(x)) in R^10,   p(c | x) = exp(logits_c) / sum_k exp(logits_k)
    minimise over both   E -log p(y | x), the cross-entropy, in nats

    python assignments/ex2_classifier.py            about 1 minute on 2 CPU cores

The encoder is task 1's, with d = 12 numbers between it and the two layers of the MLP. The loss
takes logits: cross_entropy holds the softmax already, and with a second one in the network no
loss could fall below log(e + 9) - 1 = 1.46. Training images are turned, sized, slanted and
shifted at random, but for the last epochs, which settle on the digits as they are.

The curves of the test images come from the weights that were kept after each epoch: the test
set is read once, when everything has been trained, and nothing is chosen by it.
"""
# sheet: S3.2

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_conv_ae import MLP, Encoder
from torch import nn

from minidl import evaluation
from minidl.augment import random_affine
from minidl.data import Split, batches, steps_per_epoch, to_unit
from minidl.evaluation import FRACTION, NATS, nats_and_accuracy
from minidl.lab import classified, cli, flags, plot
from minidl.lab.checkpoint import Snapshots
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.results import markdown
from minidl.lab.run import RunError
from minidl.schedules import one_cycle

AUGMENTED = {"degrees": 10, "scale": 0.1, "shear": 0.1, "shift": 0.07}


def main(run,
         latent: "d, numbers in the latent code" = 12,
         epochs: "passes over the training images; amount" = 10,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 4e-3,
         filters: "of the first convolution; each further one has twice as many" = 16,
         hidden: "width of the fully connected layer at the coarsest level" = 256,
         augmented: "share of the images turned and shifted, until the last fifth" = 1.0,
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    encoder, mlp = build(run, data, latent, filters, hidden)
    classifier = nn.Sequential(encoder, mlp)
    layers = layer_rows(classifier, to_unit(data.val.x[:1]))
    run.results.table("layers", layers, f"The classifier, d = {latent}")
    print(markdown(layers))

    snapshots = train(run, data, encoder, mlp, epochs, batch_size, learning_rate, augmented)

    # --- the test set, read once; its curve comes from the weights after each epoch ----------
    test, part = data.test(), Split(data.train.x[:10_000], data.train.y[:10_000])
    curves = {name: [] for name in ("training", "validation", "test")}
    for weights in snapshots.values():
        classifier.load_state_dict(weights)
        for name, split in zip(curves, (part, data.val, test), strict=True):
            curves[name].append(nats_and_accuracy(classifier, split))

    title, (ce, accuracy) = f"{data.title}, d = {latent}", curves["test"][-1]
    number = run.results.number
    number("test_accuracy", accuracy, FRACTION, n=len(test.x))
    number("test_cross_entropy", ce, NATS, n=len(test.x))
    for name, split in (("train", "training"), ("val", "validation")):
        number(f"{name}_accuracy", curves[split][-1][1], FRACTION)
        number(f"{name}_cross_entropy", curves[split][-1][0], NATS)
    number("parameters", parameter_count(classifier), "trainable numbers")

    draw_curves(run, curves, title)
    logits = evaluation.logits_of(classifier, test)
    confusion = classified.show_confusion(run, data, test, logits, title)
    classified.show_hardest(run, data, test, logits, title)
    losses = F.cross_entropy(logits, test.y, reduction="none")
    report(run, data, test, curves, confusion, losses, title)


def build(run, data, latent, filters, hidden):
    """The encoder of task 1 and the two-layered MLP, new, on the run's device."""
    return (Encoder(latent, filters, hidden).to(run.device),
            MLP(latent, classes=len(data.classes)).to(run.device))


def train(run, data, encoder, mlp, epochs, batch_size, learning_rate, augmented):
    """Minimise the cross-entropy over both; -> the weights after each epoch."""
    classifier, snapshots = nn.Sequential(encoder, mlp), Snapshots()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.99), fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
    for epoch in run.epochs(epochs, "classifier", encoder=encoder, mlp=mlp,
                            optimizer=optimizer, schedule=schedule, snapshots=snapshots):
        classifier.train()
        for x, y in batches(data.train, batch_size, run.generator):
            if augmented and epoch <= 0.8 * epochs:
                x = random_affine(x, run.generator, **AUGMENTED, share=augmented)
            logits = mlp(encoder(x))
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
        val_loss, val_accuracy = nats_and_accuracy(classifier, data.val)
        snapshots.take(epoch, classifier)
        run.log(val_loss=val_loss, val_accuracy=val_accuracy)
    return snapshots


def trained(run, data, images):
    """For the other tasks: task 2's encoder and MLP in this size, the same whether they are
    found in outputs/ or trained here."""
    settings = flags.settings(main, SIZES, run.size) | {"images": images}
    latent, epochs, batch_size, rate, filters, hidden, augmented, _ = settings.values()
    run.seed_everything(run.seed)
    encoder, mlp = build(run, data, latent, filters, hidden)
    if not run.borrow("ex2_classifier", "classifier", epochs, settings, encoder=encoder,
                      mlp=mlp):
        print("classifier: no run of ex2_classifier.py with these settings beside this one: "
              "trained here")
        train(run, data, encoder, mlp, epochs, batch_size, rate, augmented)
    return encoder, mlp


def draw_curves(run, curves, title):
    epochs = range(1, len(curves["test"]) + 1)
    for i, name, unit in ((0, "cross-entropy", "mean cross-entropy, nats"),
                          (1, "error", "error, share of images")):
        lines = {split: (epochs, [pair[0] if i == 0 else 1 - pair[1] for pair in pairs])
                 for split, pairs in curves.items()}
        run.results.figure(name.replace("-", "_"), plot.curves(
            lines, f"{title}: {name} over training", "epoch", unit, log_y=True))
    run.results.figure("accuracy", plot.curves(
        {split: (epochs, [accuracy for _, accuracy in pairs])
         for split, pairs in curves.items()},
        f"{title}: accuracy over training", "epoch", "accuracy, share of images"))


def report(run, data, test, curves, confusion, losses, title):
    """What was found, in sentences built from the numbers."""
    finding, (ce, accuracy) = run.results.finding, curves["test"][-1]
    errors = len(test.x) - int(confusion.trace())
    finding(f"{title}: {accuracy:.2%} of the {len(test.x):,} test images are told right "
            f"({errors} errors), with a cross-entropy of {ce:.4f} nats. Guessing has "
            f"{torch.tensor(float(len(data.classes))).log():.4f}.")
    train_ce, train_accuracy = curves["training"][-1]
    finding(f"On the first {min(10_000, len(data.train.x)):,} training images, unchanged, it "
            f"has {train_accuracy:.2%} and {train_ce:.4f} nats; the gap to the test images is "
            f"{100 * (train_accuracy - accuracy):.2f} points.")
    lowest = min(range(len(curves["test"])), key=lambda i: curves["test"][i][0])
    finding(f"The test cross-entropy was lowest after epoch {lowest + 1} of "
            f"{len(curves['test'])} ({curves['test'][lowest][0]:.4f} nats); over-fitting "
            "would show as a minimum long before the end.")
    a, b, times = evaluation.most_confused(confusion)
    if errors:
        hard = losses.sort(descending=True).values
        finding(f"Most frequent confusion: {data.classes[a]} taken for {data.classes[b]}, "
                f"{times} times. The hardest 1% of the images hold "
                f"{hard[:max(1, len(hard) // 100)].sum() / hard.sum():.0%} of the loss.")


SIZES = {"quick": {"epochs": 3, "images": 3000},
         "full": {"epochs": 30, "filters": 32, "hidden": 1024}}  # the encoder of task 1's

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
