r"""Beyond exercise 2, task 4: which remedy for over-fitting helps, and what do labels add?

    minimise  1/n sum_{i <= n} -log p(y_i | x_i),   n / C labelled images of each of C classes

    python assignments/ex2_few_labels_study.py            under 10 minutes on 2 CPU cores

Here the seed also draws the labelled images, so the answer is not about the sheet's 100 alone.
Remedies are compared on the same images, first weights and number of steps.

Weight decay and dropout bound what the network can express, but it still learns the 100 by
heart. Early stopping finds its best round on a fifth of the 100, on which it cannot train;
with so few labels this costs more than over-fitting does. Only augmentation adds knowledge: a
digit that is turned or shifted a little stays that digit. More labels show this themselves, so
augmentation then gains less.
"""
# sheet: S3.4

import statistics

import _path  # noqa: F401
import torch
import torch.nn.functional as F
from ex2_classifier import MLP
from ex2_conv_ae import Encoder
from torch import nn

from minidl.augment import random_affine
from minidl.data import Split, balanced, steps
from minidl.evaluation import nats_and_accuracy
from minidl.lab import cli, paired
from minidl.schedules import one_cycle

ROUND = 30  # steps between two looks of early stopping
REMEDIES = {"plain": {}, "weight decay": {"weight decay": 0.3}, "dropout": {"dropout": 0.2},
            "early stopping": {"apart": 0.2}, "augmentation": {"augmented": True},
            "weight decay, dropout, augmentation":
            {"weight decay": 0.3, "dropout": 0.2, "augmented": True}}
LABELS = (10, 30, 100, 300, 1000, 3000, 10_000)


def main(run,
         seeds: "trainings of each remedy; amount" = 5,
         rounds: "of 30 steps each, a training; amount" = 10,
         batch_size: "images a step; >= 2" = 50,
         learning_rate: "the highest of the one-cycle schedule" = 3e-3,
         largest: "number of labels at the end of the learning curve; amount" = 10_000,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    C = len(data.classes)
    jobs = [(remedy, 100, seeds) for remedy in REMEDIES]
    jobs += [(remedy, n, min(3, seeds)) for n in LABELS
             if n != 100 and C <= n <= min(largest, len(data.train.y))
             for remedy in ("plain", "augmentation")]
    nets = {}
    for remedy, n, trainings in jobs:
        nets[remedy, n] = [train(run, f"{n} labels, {remedy}, seed {seed}",
                                 balanced(data.train, C, n, seed), C, REMEDIES[remedy])
                           for seed in run.seeded(trainings)]

    # --- the test set, read once -------------------------------------------------------------
    test = data.test()
    pairs = {job: [nats_and_accuracy(net, test) for net in nets[job]] for job in nets}
    ce, accuracy = ({job: [pair[i] for pair in pairs[job]] for job in pairs} for i in (0, 1))
    of_100 = {remedy: accuracy[remedy, 100] for remedy in REMEDIES}
    run.scores("fraction", test_accuracy=of_100)
    run.scores("nats, mean cross-entropy", table="cross_entropy",
               test_cross_entropy={remedy: ce[remedy, 100] for remedy in REMEDIES})
    counts = [n for n in LABELS if ("plain", n) in nets]
    plain, augmented = ({n: accuracy[remedy, n] for n in counts}
                        for remedy in ("plain", "augmentation"))
    run.scores("fraction", table="labels",
               test_accuracy_plain={f"{n} labels": plain[n] for n in counts},
               test_accuracy_best={f"{n} labels": augmented[n] for n in counts})
    run.curves("labels", "balanced draws of labelled images, mean of the seeds",
               "test accuracy, fraction", x="labelled training images", log_x=True, **{
                   name: (counts, list(map(statistics.fmean, by_n.values())))
                   for name, by_n in (("plain", plain), ("augmentation", augmented))})

    run.claim("Of 100 labels, augmentation makes more than weight decay or dropout does.",
              paired(of_100["augmentation"],
                     list(map(max, of_100["weight decay"], of_100["dropout"]))))
    run.claim("Plain training with all of the 100 is better than early stopping with a fifth "
              "held out.", paired(of_100["plain"], of_100["early stopping"]))
    if counts[-1] > 100:
        gains = [[b - a for a, b in zip(plain[n], augmented[n], strict=True)]
                 for n in (100, counts[-1])]
        run.claim("With 100 labels augmentation adds more than with the largest number.",
                  paired(gains[0][:len(gains[1])], gains[1]))
        run.claim("Augmentation with 100 labels is better than 300 labels without.",
                  min(augmented[100]) > max(plain[300]), augmented=min(augmented[100]),
                  plain=max(plain[300]))


def train(run, name, few, C, remedy):
    """Train a new classifier of C classes on `few` under a remedy -> it."""
    encoder = Encoder()
    encoder.insert(len(encoder) - 1, nn.Dropout(remedy.get("dropout", 0)))
    classifier = run.network(nn.Sequential(encoder, MLP(C=C)))
    if share := remedy.get("apart"):    # these choose the round, and are not trained on
        order = torch.randperm(len(few.y), generator=run.generator).to(few.y.device)
        apart, few = (Split(few.x[i], few.y[i])
                      for i in order.tensor_split([int(share * len(order))]))
    rounds, batch_size, rate = (run.settings[name] for name in (
        "rounds", "batch_size", "learning_rate"))
    optimizer = torch.optim.AdamW(classifier.parameters(), rate, betas=(0.9, 0.99),
                                  weight_decay=remedy.get("weight decay", 0), fused=True)
    schedule = one_cycle(optimizer, rounds * ROUND)
    for _ in run.epochs(rounds, name, classifier=classifier, optimizer=optimizer,
                        schedule=schedule):
        for x, y in steps(few, batch_size, run.generator, ROUND):
            if "augmented" in remedy:
                x = random_affine(x, run.generator, degrees=15, scale=0.15, shear=0.2,
                                  shift=0.07)
            loss = F.cross_entropy(classifier(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            run.track(len(x), train_loss=loss)
        if share:
            _, accuracy = nats_and_accuracy(classifier, apart)
            run.log(apart_accuracy=accuracy)
            if accuracy == max(run.history["apart_accuracy"]):  # none was better so far
                for key, value in classifier.state_dict().items():
                    run.keep(key, value)
    if share:
        classifier.load_state_dict(run.kept)
    return classifier


SIZES = {"quick": {"seeds": 1, "rounds": 2, "largest": 30, "images": 3000},
         "full": {"seeds": 10, "rounds": 30}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
