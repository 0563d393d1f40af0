r"""Homework 2: does an autoencoder's encoder make a classifier, or make it learn faster?

    logits = MLP(encoder(x)),   minimise the cross-entropy over both, from weights that
    (a) are random, (b) come from the autoencoder, which has seen the images and no label

    python assignments/hw2_fine_tuning.py        under 5 minutes on 2 CPU cores

Three networks of about one size learn from the same labelled images in the same order: the
encoder of hw2_conv_ae.py with its weights, the same encoder with random ones, and homework 1's
CNN. With all labels and with 1% of them, over seeds. Besides the accuracy at the end there is
the speed: after how many steps, and seconds, does a network tell 80, 85 and 90% of the
validation images right? Validation is looked at every few steps, its time is not counted.
"""
# sheet: S0.3

import itertools
import statistics
import time

import _path  # noqa: F401
import hw2_conv_ae
import torch
import torch.nn.functional as F
from ex2_conv_ae import MLP
from ex2_few_labels import endless
from hw1_classification import CNN
from torch import nn

from minidl import cli, plot
from minidl.classify import FRACTION, score
from minidl.data import Split
from minidl.layers import parameter_count
from minidl.precision import autocast
from minidl.results import deviation, markdown, slug
from minidl.schedules import one_cycle

GOALS = (0.80, 0.85, 0.90)
SCRATCH, PRETRAINED, HOMEWORK_1 = "random weights", "autoencoder's weights", "homework 1's CNN"
EVERY = 20  # steps between two looks at the validation images


def main(run,
         seeds: "trainings of each network, with 1% of the labels" = 4,
         all_seeds: "the same, with all labels" = 2,
         rounds: "of 20 steps each, with 1% of the labels" = 10,
         all_rounds: "the same, with all labels" = 25,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 4e-3,
         share: "of the labels that are few" = 0.01,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included" = 60_000):
    data = run.load(images)
    autoencoder = hw2_conv_ae.trained(run, data, images)
    held_out = Split(data.val.x[:1000], data.val.y[:1000])
    jobs = [(labels, name, seed)
            for labels, n in (("few", seeds), ("all", all_seeds)) for seed in range(n)
            for name in (SCRATCH, PRETRAINED, HOMEWORK_1)]

    # --- training: paired by seed, the same labels in the same order -------------------------
    models, history = {}, {}
    for job in jobs:
        labels, name, seed = job
        known = few(data.train, share, run.seed + seed) if labels == "few" else data.train
        run.seed_everything(run.seed + seed)
        models[job] = build(run, name, autoencoder, len(data.classes))
        history[job] = train(run, f"{labels} labels, {name}, seed {seed}", models[job], known,
                             held_out, all_rounds if labels == "all" else rounds, batch_size,
                             learning_rate, precision)

    # --- the test set, read once ---------------------------------------------------------
    test = data.test()
    accuracy = {job: score(model, test)[1] for job, model in models.items()}
    counts = {"few": len(few(data.train, share, run.seed).y), "all": len(data.train.y)}
    tabulate(run, data, models, history, accuracy, counts)
    draw(run, data, history, counts)


def few(split, share, seed):
    """A share of the labelled images, as many of each class as of the other."""
    order = torch.randperm(len(split.y), generator=torch.Generator().manual_seed(seed))
    x, y = split.x[order], split.y[order]
    classes = y.unique()
    n = max(1, round(share * len(y) / len(classes)))
    index = torch.cat([(y == c).nonzero()[:n, 0] for c in classes])
    return Split(x[index], y[index])


def build(run, name, autoencoder, classes):
    """A new classifier; the two that share an architecture begin with the same MLP."""
    if name == HOMEWORK_1:
        parameters = parameter_count(autoencoder[0])
        filters = next(f for f in itertools.count(1) if parameter_count(CNN(f + 1, classes))
                       > parameters)  # as large as fits into the encoder's size
        return CNN(filters, classes).to(run.device, memory_format=torch.channels_last)
    size = cli.settings(hw2_conv_ae.main, hw2_conv_ae.SIZES, run.size)
    encoder = hw2_conv_ae.build(hw2_conv_ae.CONV, size["latent"], size["filters"],
                                size["hidden"])[0]
    if name == PRETRAINED:
        encoder.load_state_dict(autoencoder[0].state_dict())  # copies: the original stays
    return nn.Sequential(encoder, MLP(size["latent"], classes=classes)).to(run.device)


def train(run, name, classifier, known, held_out, rounds, batch_size, learning_rate,
          precision):
    """-> the history: validation accuracy and seconds of training after each round."""
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate,
                                  betas=(0.9, 0.99), fused=True)
    schedule = one_cycle(optimizer, rounds * EVERY)
    for _epoch in run.epochs(rounds, name, every=rounds, classifier=classifier,
                             optimizer=optimizer, schedule=schedule):
        classifier.train()
        start = time.perf_counter()
        for x, y in itertools.islice(endless(known, batch_size, run.generator), EVERY):
            with autocast(run.device, precision):
                loss = F.cross_entropy(classifier(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        seconds = run.history.get("seconds", [0.0])[-1] + time.perf_counter() - start
        run.log(val_accuracy=score(classifier, held_out)[1], seconds=seconds)
    return run.history


def reached(history, goal):
    """-> (steps, seconds) to the first look with that accuracy; None where there is none."""
    for i, accuracy in enumerate(history["val_accuracy"]):
        if accuracy >= goal:
            return EVERY * (i + 1), history["seconds"][i]
    return None


def tabulate(run, data, models, history, accuracy, counts):
    """A row a network and number of labels: accuracy, and the speed with which it learns."""
    rows, number = [], run.results.number
    for labels, name in dict.fromkeys(job[:2] for job in models):
        jobs = [job for job in models if job[:2] == (labels, name)]
        values, key = [accuracy[job] for job in jobs], slug(f"{labels} {name}")
        run.results.mean(f"test_accuracy_{key}", values, FRACTION)
        row = {"labels": counts[labels], "network": name,
               "parameters": parameter_count(models[jobs[0]]),
               "test accuracy": statistics.mean(values), "std": deviation(values)}
        for goal in GOALS:
            found = [r for job in jobs if (r := reached(history[job], goal))]
            steps = statistics.mean(s for s, _ in found) if found else "never"
            row[f"steps to {goal:.0%}"] = f"{steps:.0f}" if len(found) == len(jobs) else (
                f"{len(jobs) - len(found)} of {len(jobs)} never")
            if len(found) == len(jobs):
                number(f"steps_to_{100 * goal:.0f}_{key}", steps, "steps", n=len(found))
                number(f"seconds_to_{100 * goal:.0f}_{key}",
                       statistics.mean(t for _, t in found), "s", n=len(found))
        rows.append(row)
    run.results.table("speed", rows, f"{data.title}: accuracy and learning speed")
    print(markdown(rows))
    for labels in counts:
        compare(run, data, labels, counts[labels], history, accuracy)


def compare(run, data, labels, count, history, accuracy):
    """The findings for one number of labels: accuracies and steps, paired by seed."""
    finding, seeds = run.results.finding, [job[2] for job in accuracy if job[:2] ==
                                           (labels, SCRATCH)]
    for name in (SCRATCH, HOMEWORK_1):
        gain = [accuracy[labels, PRETRAINED, s] - accuracy[labels, name, s] for s in seeds]
        run.results.mean(f"paired_gain_{slug(f'{labels} over {name}')}", gain, FRACTION)
        finding(f"{data.title}, {count:,} labels: the encoder with the {PRETRAINED} ends "
                f"{100 * statistics.mean(gain):+.1f} +- {100 * deviation(gain):.1f} points "
                f"beside {name}, better for {sum(g > 0 for g in gain)} of {len(gain)} seeds.")
    for goal in GOALS:
        steps = {name: [r and r[0] for r in (reached(history[labels, name, s], goal)
                                             for s in seeds)]
                 for name in (SCRATCH, PRETRAINED, HOMEWORK_1)}
        words = [f"{name} " + (
            f"after {statistics.mean(found):.0f} steps" if all(found) else
            f"in {sum(map(bool, found))} of {len(found)} seeds" if any(found) else "never")
            for name, found in steps.items()]
        finding(f"{count:,} labels, {goal:.0%} of the validation images: {', '.join(words)}.")
        if (labels, goal) == ("all", 0.85):
            for name, key in ((SCRATCH, "scratch"), (PRETRAINED, "pretrained")):
                if all(steps[name]):
                    run.results.number(f"steps_to_85_{key}", statistics.mean(steps[name]),
                                       "steps, all labels", n=len(seeds))


def draw(run, data, history, counts):
    """Validation accuracy over the steps, the mean of the seeds."""
    for labels, count in counts.items():
        lines = {}
        for name in (SCRATCH, PRETRAINED, HOMEWORK_1):
            runs = [h["val_accuracy"] for job, h in history.items()
                    if job[:2] == (labels, name)]
            mean = [statistics.mean(at) for at in zip(*runs, strict=True)]
            lines[name] = ([EVERY * (i + 1) for i in range(len(mean))], mean)
        run.results.figure(f"speed_{labels}", plot.curves(
            lines | {f"{goal:.0%}": goal for goal in GOALS},
            f"{data.title}, {count:,} labels: validation images, mean of the seeds",
            f"steps of {run.settings['batch_size']} images", "accuracy, share of images"))


SIZES = {"quick": {"seeds": 1, "all_seeds": 1, "rounds": 2, "all_rounds": 3, "images": 3000},
         "full": {"seeds": 10, "all_seeds": 3, "rounds": 40, "all_rounds": 100}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
