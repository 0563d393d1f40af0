r"""Exercise 2, task 4: only 100 training images have a label.

    minimise  1/n sum_{i <= n} -log p(y_i | x_i),   n = 100,   p = softmax(MLP(encoder(x)))

    python assignments/ex2_few_labels.py            under 5 minutes on 2 CPU cores

The network is task 2's, thousands of parameters for each label. The 100 are the sheet's own,
the first of the training file (`torch.arange(100)`: 5 of one class, 14 of another), where a
seed changes the weights and the order only; and class-balanced draws, where it changes the
images too. Accuracy is a mean over seeds: one seed of a 100-image experiment says little.

Beyond the sheet: what helps, one thing at a time and together, and what more labels would do.
Early stopping takes its validation part out of the 100. The settings were made on validation
images; the test set is read when all is trained.
"""
# sheet: S3.4

import itertools
import statistics

import _path  # noqa: F401
import ex2_conv_ae
import torch
import torch.nn.functional as F
from ex2_conv_ae import MLP, Encoder
from torch import nn

from minidl.augment import random_affine
from minidl.data import Split, batches
from minidl.evaluation import FRACTION, NATS, nats_and_accuracy
from minidl.lab import cli, flags, plot
from minidl.lab.checkpoint import Snapshots
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.schedules import one_cycle

ROUND = 30  # steps between two points of a curve
AUGMENTED = {"degrees": 15, "scale": 0.15, "shear": 0.2, "shift": 0.07}
VARIANTS = {"plain": {}, "weight decay": {"weight_decay": 0.3}, "dropout": {"dropout": 0.2},
            "early stopping": {"early": True}, "augmentation": {"augmented": True},
            "the first two and augmentation": {"augmented": True, "dropout": 0.2,
                                               "weight_decay": 0.3}}
BEST = "augmentation"
LABELS = (10, 30, 100, 300, 1000, 3000, 10_000)


def main(run,
         seeds: "trainings of each variant; amount" = 5,
         rounds: "of 30 steps each, a training; amount" = 10,
         batch_size: "images a step" = 50,
         learning_rate: "the highest of the one-cycle schedule" = 3e-3,
         largest: "number of labels at the end of the learning curve; amount" = 10_000,
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    classes = len(data.classes)
    held_out = Split(data.val.x[:1000], data.val.y[:1000])
    jobs = [(kind, 100, name, seed) for kind in ("sheet", "balanced") for name in VARIANTS
            for seed in range(seeds) if kind == "balanced" or name in ("plain", BEST)]
    jobs += [("balanced", n, name, seed) for n in LABELS
             if n != 100 and classes <= n <= largest
             for name in ("plain", BEST) for seed in range(min(3, seeds))]

    # --- training: every subset, every variant, every seed ---------------------------------
    models, history = {}, {}
    for job in jobs:
        kind, n, name, seed = job
        few = subset(data, kind, n, run.seed + seed)
        models[job], history[job] = train(
            run, f"{n} labels, {kind}, {name}, seed {seed}", few, held_out, classes,
            run.seed + seed, rounds, batch_size, learning_rate, **VARIANTS[name])

    # --- the test set, read once -----------------------------------------------------------
    test = data.test()
    scores = {job: nats_and_accuracy(model, test) for job, model in models.items()}
    title = f"{data.title}, 100 labels"
    tabulate(run, data, scores, title)
    show_overfitting(run, history, title)
    draw_labels(run, data, scores)


def subset(data, kind, n, seed):
    """n labelled training images: `sheet`, the first of the file in its order, the same for
    every seed; or `balanced`, n // C of each of the C classes, drawn by the seed."""
    if kind == "sheet":
        head = data.head()
        return Split(head.x[:n], head.y[:n])
    x, y = data.train
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
    C = len(data.classes)
    index = torch.cat([order[y[order] == c][:n // C] for c in range(C)])
    return Split(x[index], y[index])


def train(run, name, few, held_out, classes, seed, rounds, batch_size, learning_rate, *,
          augmented=False, weight_decay=0.0, dropout=0.0, early=False):
    """Train on `few`, of so many classes, from random weights; -> (classifier, history).

    held_out is for the curves alone. early: a fifth of `few` is not trained on; the weights
    of the round where most of it is told right, of several such the one with the least
    cross-entropy, are those that are kept.
    """
    run.seed_everything(seed)
    classifier, snapshots = build(run, classes, dropout).to(run.device), Snapshots()
    few, apart = cut(few, run.generator) if early else (few, None)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, betas=(0.9, 0.99),
                                  weight_decay=weight_decay, fused=True)
    schedule = one_cycle(optimizer, rounds * ROUND)
    for epoch in run.epochs(rounds, name, classifier=classifier, optimizer=optimizer,
                            schedule=schedule, snapshots=snapshots):
        classifier.train()
        for x, y in itertools.islice(endless(few, batch_size, run.generator), ROUND):
            if augmented:
                x = random_affine(x, run.generator, **AUGMENTED)
            loss = F.cross_entropy(classifier(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        curve = curve_point(classifier, few, held_out)
        if early:
            curve["apart_loss"], curve["apart_accuracy"] = nats_and_accuracy(classifier, apart)
            snapshots.take(epoch, classifier)
        run.log(**curve)
    if early:
        classifier.load_state_dict(snapshots[max(snapshots, key=lambda epoch: (
            run.history["apart_accuracy"][epoch - 1], -run.history["apart_loss"][epoch - 1]))])
    return classifier, run.history


def build(run, classes, dropout=0.0):
    """Task 1's encoder in this size, with dropout before the code, and task 2's MLP."""
    size = flags.settings(ex2_conv_ae.main, ex2_conv_ae.SIZES, run.size)
    encoder = Encoder(size["latent"], size["filters"], size["hidden"])
    if dropout:
        encoder.insert(len(encoder) - 1, nn.Dropout(dropout))
    return nn.Sequential(encoder, MLP(size["latent"], classes=classes))


def endless(split, batch_size, generator):
    """Batches without end: over the split, again and again, each time in a new order."""
    while True:
        yield from batches(split, batch_size, generator)


def cut(split, generator):
    """-> (four fifths of the split, one fifth), drawn by the generator."""
    order = torch.randperm(len(split.y), generator=generator).to(split.y.device)
    n = len(order) // 5
    return tuple(Split(split.x[i], split.y[i]) for i in (order[n:], order[:n]))


def curve_point(classifier, few, held_out):
    """What the sheet asks to see over training time: cross-entropy and accuracy of labelled
    images, unchanged and without dropout, and of images that are not trained on."""
    few = Split(few.x[:1000], few.y[:1000])
    (train_loss, train_accuracy), (val_loss, val_accuracy) = (
        nats_and_accuracy(classifier, split) for split in (few, held_out))
    return {"train_loss": train_loss, "train_accuracy": train_accuracy, "val_loss": val_loss,
            "val_accuracy": val_accuracy}


def summary(scores, kind, n, name):
    """-> (test accuracies by seed, their mean, their standard deviation)."""
    values = [accuracy for (k, m, v, _), (_, accuracy) in scores.items()
              if (k, m, v) == (kind, n, name)]
    return values, statistics.mean(values), deviation(values)


def tabulate(run, data, scores, title):
    """One row a variant and kind of subset: mean and deviation over the seeds."""
    rows, finding = [], run.results.finding
    for kind, name in dict.fromkeys((k, v) for k, n, v, _ in scores if n == 100):
        values, mean, std = summary(scores, kind, 100, name)
        losses = [ce for (k, n, v, _), (ce, _) in scores.items() if (k, n, v) ==
                  (kind, 100, name)]
        rows.append({"subset": kind, "training": name, "test accuracy": mean, "std": std,
                     "test cross-entropy": statistics.mean(losses), "seeds": len(values)})
        run.results.mean(f"test_accuracy_{slug(name)}_{kind}", values, FRACTION)
        run.results.mean(f"test_cross_entropy_{slug(name)}_{kind}", losses, NATS)
    run.results.table("variants", rows, title)
    print(markdown(rows))
    for key, name in (("plain", "plain"), ("best", BEST)):
        run.results.mean(f"test_accuracy_{key}", summary(scores, "sheet", 100, name)[0],
                         FRACTION)
    counts = torch.bincount(data.head().y, minlength=len(data.classes)).tolist()
    plain, best = (summary(scores, kind, 100, name) for kind, name in
                   (("sheet", "plain"), ("sheet", BEST)))
    balanced = summary(scores, "balanced", 100, "plain")
    finding(f"{title}: trained plainly on the sheet's own subset ({min(counts)} to "
            f"{max(counts)} images a class), {plain[1]:.1%} +- {plain[2]:.1%} of the test "
            f"images are told right over {len(plain[0])} seeds ({min(plain[0]):.1%} to "
            f"{max(plain[0]):.1%}); on class-balanced subsets {balanced[1]:.1%} +- "
            f"{balanced[2]:.1%}.")
    ce, best_ce = (run.results.numbers[f"test_cross_entropy_{slug(name)}_sheet"]["value"]
                   for name in ("plain", BEST))
    finding(f"With {BEST} the sheet's subset gives {best[1]:.1%} +- {best[2]:.1%}. The test "
            f"cross-entropy is {ce:.3f} nats plainly, {best_ce:.3f} with {BEST}.")
    base = balanced[0]
    for name in VARIANTS:
        gain = [b - a for a, b in zip(base, summary(scores, "balanced", 100, name)[0],
                                      strict=True)]
        if name != "plain":
            finding(f"Balanced subsets, {name}: {100 * statistics.mean(gain):+.1f} points, "
                    f"paired; better for {sum(g > 0 for g in gain)} of {len(gain)} seeds.")


def show_overfitting(run, history, title):
    """Curves over training time: mean over the seeds, the sheet's subset."""
    curves = {}
    for name in ("plain", BEST):
        runs = [h for (kind, n, v, _), h in history.items()
                if (kind, n, v) == ("sheet", 100, name)]
        for key in runs[0]:
            curves[name, key] = [statistics.mean(at) for at in
                                 zip(*(h[key] for h in runs), strict=True)]
    steps = [ROUND * (i + 1) for i in range(len(curves["plain", "val_loss"]))]
    for metric, unit in (("loss", "mean cross-entropy, nats"),
                         ("accuracy", "accuracy, share of images")):
        run.results.figure(metric, plot.curves(
            {f"{name}, {what}": (steps, curves[name, f"{split}_{metric}"])
             for name in ("plain", BEST)
             for split, what in (("train", "the 100"), ("val", "held out"))},
            f"{title} (the sheet's own): {metric}, mean of the seeds", "steps", unit,
            log_y=metric == "loss"))
    loss, train_loss = curves["plain", "val_loss"], curves["plain", "train_loss"]
    low = loss.index(min(loss))
    gap = curves["plain", "train_accuracy"][-1] - curves["plain", "val_accuracy"][-1]
    run.results.number("overfitting_gap_plain", gap, "fraction, labelled less held-out images")
    run.results.number("overfitting_gap_best", curves[BEST, "train_accuracy"][-1]
                       - curves[BEST, "val_accuracy"][-1],
                       "fraction, labelled less held-out images")
    run.results.finding(
        f"Over-fitting, plain: at the end {curves['plain', 'train_accuracy'][-1]:.1%} of the "
        f"100 are told right and {curves['plain', 'val_accuracy'][-1]:.1%} of held-out "
        f"images, a gap of {100 * gap:.1f} points; the loss on the 100 goes to "
        f"{train_loss[-1]:.4f}, that on held-out images is lowest after {steps[low]} steps, "
        f"{loss[low]:.3f}, and ends at {loss[-1]:.3f}. With {BEST} it ends at "
        f"{curves[BEST, 'val_loss'][-1]:.3f}.")


def draw_labels(run, data, scores):
    """Accuracy against the number of labels."""
    counts = sorted({n for kind, n, _, _ in scores if kind == "balanced"})
    lines = {}
    for name in ("plain", BEST):
        means = []
        for n in counts:
            values, mean, _ = summary(scores, "balanced", n, name)
            key = "plain" if name == "plain" else "best"
            run.results.mean(f"test_accuracy_{key}_{n}_labels", values, FRACTION)
            means.append(mean)
        lines[name] = (counts, means)
    run.results.figure("labels", plot.curves(
        lines, f"{data.title}: accuracy against the number of labels, balanced subsets",
        "labelled training images", "test accuracy", log_x=True))
    plain, best = (lines[name][1] for name in ("plain", BEST))
    same = next((n for n, a in zip(counts, plain, strict=True)
                 if a >= best[counts.index(100)]), None)
    run.results.finding(
        f"{BEST.capitalize()} with 100 labels is worth {same:,} labels trained plainly."
        if same else f"No number of labels here makes plain training as good as {BEST} with "
        "100.")


SIZES = {"quick": {"seeds": 1, "rounds": 2, "largest": 30, "images": 3000},
         "full": {"seeds": 10, "rounds": 30}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
