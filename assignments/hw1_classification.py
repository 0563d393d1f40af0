r"""Homework 1, classification: which of ten kinds of clothes does an image show?

    p(c | x) = softmax(network(x))_c,   minimise  E -log p(y | x), the cross-entropy, in nats

    python assignments/hw1_classification.py            under 5 minutes on 2 CPU cores
    python assignments/hw1_classification.py --full     the number in the README

An MLP that sees 784 numbers in no order, then a CNN that sees an image: convolutions, pooling,
two residual pairs. Half of the training images are mirrored, since clothes look as good that
way, and a network is asked about an image and its mirror image: the mean of both logits
counts. The final accuracy is cross-validated, networks of each kind trained without one fold
and scored on it; then one of each, trained on all but the validation images, is scored on the
test images, which are read once, last, and nothing is chosen by them. --full trains wider and
for longer, pools where the default has a stride, moves images by up to 2 pixels, and leaves
out the cross-validation.
"""
# sheet: S1.1b, S1.3, S1.4

import itertools

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from torch import nn

from minidl import evaluation
from minidl.augment import random_mirror, random_shift
from minidl.data import Split, batches, steps_per_epoch, to_unit
from minidl.evaluation import FRACTION, NATS, nats_and_accuracy
from minidl.lab import classified, cli, flags, plot
from minidl.lab.capture import captured
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.precision import autocast
from minidl.lab.results import markdown
from minidl.lab.run import RunError
from minidl.schedules import one_cycle
from minidl.tune import folds as cut


def main(run,
         folds: "parts of the cross-validation, 1 for none; amount" = 3,
         mlp_epochs: "passes over the training images, MLP; amount" = 10,
         epochs: "the same, CNN; amount" = 4,
         filters: "of the CNN's first convolution" = 24,
         pooled: "1 to pool after it instead of a stride of 2: slower, better" = 0,
         hidden: "width of the MLP's first layer" = 512,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 6e-3,
         label_smoothing: "share of the target spread over all classes, CNN" = 0.0,
         shift: "pixels that training images are moved by, at most, CNN" = 0,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    networks = build(run, data, filters, pooled, hidden)
    for kind, network in networks.items():
        rows = layer_rows(network, to_unit(data.val.x[:1]))
        run.results.table(f"layers_{kind.lower()}", rows, f"The {kind}")
        print(f"{kind}\n{markdown(rows)}")
    common = batch_size, learning_rate, precision
    settings = {"MLP": (mlp_epochs, *common), "CNN": (epochs, *common, label_smoothing, shift)}

    # --- cross-validation: each image is scored by networks that have not seen it -----------
    known = Split(*(torch.cat(pair) for pair in zip(data.train, data.val, strict=True)))
    scores = {kind: [] for kind in networks}
    parts = cut(len(known.y), folds, run.seed) if folds > 1 else []
    for i, (inside, outside) in enumerate(parts):
        train_part, fold = (Split(known.x[j], known.y[j]) for j in (inside, outside))
        run.seed_everything(run.seed + i)
        for kind, network in build(run, data, filters, pooled, hidden).items():
            train(run, f"{kind}, fold {i + 1}", network, train_part, fold, *settings[kind])
            scores[kind].append(nats_and_accuracy(BothWays(network), fold)[1])

    # --- the final networks, and the test set, read once ------------------------------------
    curves = {}
    for kind in networks:  # each from its own start, so that a sibling can train it alone
        run.seed_everything(run.seed)
        networks[kind] = build(run, data, filters, pooled, hidden)[kind]
        curves[kind] = train(run, kind, networks[kind], data.train, data.val, *settings[kind])
    test = data.test()
    logits = {kind: evaluation.logits_of(BothWays(network), test)
              for kind, network in networks.items()}

    for kind, network in networks.items():
        ce, accuracy = evaluation.nats_and_accuracy_of(logits[kind], test.y)
        name, number = kind.lower(), run.results.number
        number(f"test_accuracy_{name}", accuracy, FRACTION, n=len(test.y))
        number(f"test_cross_entropy_{name}", ce, NATS, n=len(test.y))
        number(f"parameters_{name}", parameter_count(network), "trainable numbers")
        number(f"val_accuracy_{name}", curves[kind]["val_accuracy"][-1], FRACTION)
        if scores[kind]:
            run.results.mean(f"cross_validated_accuracy_{name}", scores[kind], FRACTION)
    draw_curves(run, curves, data.title, label_smoothing)
    report(run, data, networks, scores)
    report_errors(run, data, test, logits)


def build(run, data, filters, pooled, hidden):
    """The MLP and the CNN, new, on the run's device."""
    classes = len(data.classes)
    networks = {"MLP": MLP(hidden, classes), "CNN": CNN(filters, classes, pooled)}
    return {kind: network.to(run.device, memory_format=torch.channels_last)
            for kind, network in networks.items()}  # channels last: as bfloat16 is fastest


def MLP(hidden, classes):
    """784 -> hidden -> hidden / 2 -> classes, with batch normalisation and dropout."""
    sizes = 28 * 28, hidden, hidden // 2
    parts = [nn.Flatten()]  # (B, 1, 28, 28) -> (B, 784)
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU(), nn.Dropout(0.15)]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], classes))


def CNN(filters, classes, pooled=0):
    """Three levels, 14, 7 and 3 pixels wide, each with twice the filters of the one before."""
    a, b, c = filters, 2 * filters, 4 * filters
    return nn.Sequential(
        # pooling at 28 x 28 is a third of all the time, a stride is free
        *convolution(1, a, stride=1 if pooled else 2, pool=pooled),  # -> (B, a, 14, 14)
        *convolution(a, b, pool=True),   # -> (B, b, 7, 7)
        Residual(*convolution(b, b), *convolution(b, b)),
        *convolution(b, c, pool=True),   # -> (B, c, 3, 3)
        Residual(*convolution(c, c), *convolution(c, c)),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def convolution(inputs, outputs, stride=1, pool=False):
    """3 x 3, batch normalisation, ReLU. Pooling comes first: then a quarter of the numbers is
    normalised, by their own mean and variance. (With fixed ones and a positive scale it would
    be the same as after ReLU.)"""
    return (nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            *([nn.MaxPool2d(2)] if pool else []), nn.BatchNorm2d(outputs), nn.ReLU())


class BothWays(nn.Module):
    """The mean of the logits of an image and of its mirror image: two opinions err apart."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return (self.network(x) + self.network(x.flip(-1))) / 2


class Residual(nn.Sequential):
    """x + f(x): the parts learn what is to be added, and gradients pass by them."""

    def forward(self, x):
        return x + super().forward(x)


def train(run, name, network, split, held_out, epochs, batch_size, learning_rate, precision,
          label_smoothing=0.0, shift=0):
    """Minimise the cross-entropy on `split`; -> the history.

    Of held_out 5,000 images at most, not mirrored, are looked at after each epoch.
    """
    held_out = Split(held_out.x[:5000], held_out.y[:5000])
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.9, 0.99),
                                  weight_decay=0.05, fused=True)
    schedule = one_cycle(optimizer, epochs * steps_per_epoch(split, batch_size))
    forward = captured(network, to_unit(split.x[:batch_size]), precision)
    for _epoch in run.epochs(epochs, name, network=network, optimizer=optimizer,
                             schedule=schedule):
        network.train()
        for x, y in batches(split, batch_size, run.generator):
            x = random_mirror(x, run.generator)
            if shift:
                x = random_shift(x, run.generator, shift)
            with autocast(run.device, precision):
                loss = F.cross_entropy(forward(x), y, label_smoothing=label_smoothing)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
        val_loss, val_accuracy = nats_and_accuracy(network, held_out)
        run.log(val_loss=val_loss, val_accuracy=val_accuracy)
    return run.history


def trained_cnn(run, data, images):
    """For the other scripts of homework 1: the final CNN in this size, the same whether it is
    found in outputs/ or trained here."""
    settings = flags.settings(main, SIZES, run.size) | {"images": images}
    run.seed_everything(run.seed)
    network = build(run, data, settings["filters"], settings["pooled"],
                    settings["hidden"])["CNN"]
    if not run.borrow("hw1_classification", "CNN", settings["epochs"], settings,
                      network=network):
        print("CNN: no run of hw1_classification.py with these settings beside this one: "
              "trained here")
        train(run, "CNN", network, data.train, data.val, *(settings[key] for key in (
            "epochs", "batch_size", "learning_rate", "precision", "label_smoothing", "shift")))
    return network


def draw_curves(run, curves, title, label_smoothing):
    lines = {f"{kind}, {words}": (range(1, len(history[key]) + 1), history[key])
             for kind, history in curves.items()
             for key, words in (("train_loss", "training"), ("val_loss", "validation"))}
    if label_smoothing:  # another loss than the validation images'
        lines["CNN, training, smoothed labels"] = lines.pop("CNN, training")
    run.results.figure("loss", plot.curves(lines, f"{title}: loss over training", "epoch",
                                           "mean cross-entropy, nats", log_y=True))
    run.results.figure("accuracy", plot.curves(
        {kind: (range(1, len(history["val_accuracy"]) + 1), history["val_accuracy"])
         for kind, history in curves.items()},
        f"{title}: validation images", "epoch", "accuracy, share of images"))


def report(run, data, networks, scores):
    """The final accuracies: on the test images, and cross-validated."""
    numbers, rows, finding = run.results.numbers, [], run.results.finding
    for kind in networks:
        value = {key: numbers[f"{key}_{kind.lower()}"]["value"]
                 for key in ("parameters", "test_accuracy", "test_cross_entropy")}
        rows.append({"network": kind} | {key.replace("_", " "): v for key, v in value.items()})
        finding(f"{data.title}, {kind}, {value['parameters']:,} parameters: "
                f"{value['test_accuracy']:.2%} of the test images are told right, with "
                f"{value['test_cross_entropy']:.3f} nats.")
        if cv := numbers.get(f"cross_validated_accuracy_{kind.lower()}"):
            rows[-1] |= {"cross-validated": cv["value"], "std": cv["std"]}
            finding(f"Cross-validation on the training images foresaw {cv['value']:.2%} +- "
                    f"{cv['std']:.2%} over {cv['n']} folds, with networks that saw "
                    f"{1 - 1 / cv['n']:.0%} of them.")
    if scores["CNN"]:
        gain = [cnn - mlp for mlp, cnn in zip(*scores.values(), strict=True)]
        run.results.mean("paired_gain_cnn", gain, FRACTION)
        gained = numbers["paired_gain_cnn"]
        finding(f"The CNN is better in {sum(g > 0 for g in gain)} of {len(gain)} folds, by "
                f"{100 * gained['value']:.2f} +- {100 * gained['std']:.2f} points.")
    run.results.table("scores", rows, f"MLP and CNN on {data.title}")
    print(markdown(rows))


def report_errors(run, data, test, logits):
    """What the errors are: which classes, which pairs, whose, and which images."""
    wrong = {kind: values.argmax(dim=1) != test.y for kind, values in logits.items()}
    for kind, values in logits.items():
        confusion = classified.show_confusion(run, data, test, values, f"{data.title}, {kind}",
                                            f"confusion_{kind.lower()}")
    errors, both = confusion - confusion.diag().diag(), wrong["MLP"] & wrong["CNN"]
    classified.show_hardest(run, data, test, logits["CNN"], f"{data.title}, CNN")
    run.results.figure("errors_by_class", plot.bars(
        {kind: [(values[test.y == c]).double().mean().item() for c in range(len(errors))]
         for kind, values in wrong.items()}, data.classes,
        f"{data.title}: errors by class", "true class", "error, share of its test images"))
    total = max(1, int(errors.sum()))
    a, b, times = evaluation.most_confused(errors + errors.T)
    most = int(errors.sum(dim=1).sort().values[-4:].sum())
    run.results.finding(
        f"The CNN's {total} errors: {data.classes[a]} and {data.classes[b]} taken for each "
        f"other are {times / total:.0%} of them; the four classes with most errors hold "
        f"{most / total:.0%}.")
    losses = F.cross_entropy(logits["CNN"], test.y, reduction="none").sort(descending=True)
    share = losses.values[:max(1, len(losses.values) // 100)].sum() / losses.values.sum()
    run.results.finding(
        f"The MLP misses {int(both.sum()) / total:.0%} of what the CNN misses; were its "
        f"errors independent, it would be {wrong['MLP'].double().mean():.0%}. The hardest 1% "
        f"of the images hold {share:.0%} of the CNN's loss.")


SIZES = {"quick": {"folds": 2, "mlp_epochs": 3, "epochs": 3, "filters": 8, "batch_size": 32,
                   "images": 1500},
         "full": {"folds": 1, "mlp_epochs": 30, "epochs": 30, "filters": 64, "pooled": 1,
                  "learning_rate": 4e-3, "label_smoothing": 0.1, "shift": 2}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
