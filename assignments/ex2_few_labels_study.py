r"""Exercise 2, task 4, a study: how many labels is augmentation worth?

    python assignments/ex2_few_labels_study.py            under 5 minutes on 2 CPU cores

The learning curve of task 4's network, with and without augmentation, from 10 labels to
10,000. Each seed draws other labelled images, equally many of each class, not only the sheet's
100. The two trainings of a seed have the same images, initial weights and number of steps.

Augmentation adds knowledge: a slightly rotated or shifted digit is the same digit. More labels
show this too, so with many, augmentation gains little.

    minimise  1/n sum_{i <= n} -log p(y_i | x_i),   n / C labelled images of each of C classes
"""
# sheet: S3.4

import itertools
import statistics

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_classifier import MLP
from ex2_conv_ae import Encoder
from torch import nn

from minidl import UserError
from minidl.augment import random_affine
from minidl.data import balanced, steps
from minidl.evaluation import nats_and_accuracy
from minidl.lab import cli, paired
from minidl.schedules import one_cycle

ROUND = 30  # steps between two lines of progress
LABELS = (10, 30, 100, 300, 1000, 3000, 10_000)


def main(run,
         seeds: "trainings with each number of labels; amount" = 3,
         rounds: "rounds of 30 steps in each training; amount" = 10,
         batch_size: "images per step; >= 2" = 50,
         learning_rate: "peak of the one-cycle schedule" = 3e-3,
         largest: "largest number of labels; amount" = 10_000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    C = len(data.classes)
    counts = [n for n in LABELS if C <= n <= min(largest, len(data.train.y))]
    if not counts:
        raise UserError(f"--largest {largest}: found {len(data.train.y)} labels, {C} classes, "
                        f"expected room for one of {LABELS}")
    nets = {(kind, n): [] for kind in ("plain", "augmentation") for n in counts}
    for kind, n in nets:
        for seed in run.seeded(seeds):
            few = balanced(data.train, C, n, seed)
            classifier = run.network(nn.Sequential(Encoder(), MLP(C=C)))
            optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate,
                                          betas=(0.9, 0.99), weight_decay=0, fused=True)
            schedule = one_cycle(optimizer, rounds * ROUND)
            for _ in run.epochs(rounds, f"{n} labels, {kind}, seed {seed}",
                                classifier=classifier, optimizer=optimizer,
                                schedule=schedule):
                for x, y in steps(few, batch_size, run.generator, ROUND):
                    if kind == "augmentation":
                        x = random_affine(x, run.noise, degrees=15, scale=0.15,
                                          shear=0.2, shift=0.07)
                    loss = F.cross_entropy(classifier(x), y)    # 1/n sum -log p(y_i | x_i)
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                    run.track(len(x), train_loss=loss)
            nets[kind, n].append(classifier)

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    accuracy = {job: [nats_and_accuracy(net, test)[1] for net in nets[job]] for job in nets}
    plain, augmented = ({n: accuracy[kind, n] for n in counts}
                        for kind in ("plain", "augmentation"))
    run.scores("fraction", table="labels",
               test_accuracy_plain={f"{n} labels": plain[n] for n in counts},
               test_accuracy_best={f"{n} labels": augmented[n] for n in counts})
    run.curves("labels", "balanced draws of labelled images, mean of the seeds",
               "test accuracy, fraction", x="labelled training images", log_x=True, **{
                   name: (counts, list(map(statistics.fmean, by_n.values())))
                   for name, by_n in (("plain", plain), ("augmentation", augmented))})
    pairs = [(n, more) for n, more in itertools.pairwise(counts) if n <= 100]
    few, three_times = (    # of each seed, its mean
        [statistics.fmean(of_seed) for of_seed in zip(*columns, strict=True)]
        for columns in ([augmented[n] for n, _ in pairs], [plain[more] for _, more in pairs]))
    run.claim("On average over up to 100 labels, augmentation helps more than three times as "
              "many labels do.", paired(few, three_times))
    for n in counts[::len(counts) - 1 or 1]:
        run.claim(f"With {n} labels, augmentation raises the test accuracy.",
                  paired(augmented[n], plain[n]))


SIZES = {"quick": {"seeds": 1, "rounds": 2, "largest": 100, "images": 3000},
         "full": {"seeds": 10, "rounds": 30}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
