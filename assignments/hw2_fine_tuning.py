r"""Homework 2: does an autoencoder's encoder make a classifier, or make it learn faster?

    logits = MLP(encoder(x)),   minimise the cross-entropy over both, from weights that
    (a) are random, (b) come from the autoencoder, which has seen the images and no label

    python assignments/hw2_fine_tuning.py     under 5 minutes on 2 CPU cores, after hw2_conv_ae

Three networks of about one size learn from the same labelled images in the same order: the
encoder of hw2_conv_ae.py with its weights, the same encoder with random ones, and homework 1's
CNN. With all labels and with 1% of them, over seeds, each with the learning rate that is best
for it and for so many labels, on all validation images, with a seed not used again: beside 1%
that is more labels to choose by than to learn from. Besides the accuracy at the end there is
the speed: after how many steps, and seconds, does a network tell 80, 85 and 90% of 1,000
validation images right? They are looked at every few steps, their time is not counted.

Homework 1's result is its CNN as hw1_classification.py trains it by default: on mirrored
images, for more steps, looked at once an epoch. Left out: a lower rate for the encoder than
for the MLP on it.
"""
# sheet: S0.3

import itertools
import statistics
import time

import _path  # noqa: F401
import hw1_classification
import hw2_conv_ae
import torch
import torch.nn.functional as F
from ex2_conv_ae import MLP
from ex2_few_labels import endless
from hw1_classification import CNN, BothWays
from torch import nn

from minidl.data import Split, steps_per_epoch
from minidl.evaluation import FRACTION, nats_and_accuracy
from minidl.lab import cli, flags, plot
from minidl.lab.layers import parameter_count
from minidl.lab.precision import autocast
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.run import RunError
from minidl.schedules import one_cycle

GOALS = (0.80, 0.85, 0.90)
SCRATCH, PRETRAINED, HOMEWORK_1 = "random weights", "autoencoder's weights", "homework 1's CNN"
RESULT = "homework 1's result"
RATES = {SCRATCH: (3e-2, 1e-2, 1e-1),  # the middle one first
         PRETRAINED: (1e-2, 3e-3, 3e-2), HOMEWORK_1: (1e-2, 3e-3, 3e-2)}
EVERY = 20  # steps between two looks at the validation images


def main(run,
         seeds: "trainings of each network, with 1% of the labels; amount" = 4,
         all_seeds: "the same, with all labels; amount" = 3,
         rounds: "of 20 steps each, with 1% of the labels; amount" = 10,
         all_rounds: "the same, with all labels; amount" = 25,
         batch_size: "images a step" = 128,
         rates: "learning rates tried for each network and number of labels; amount" = 3,
         share: "of the labels that are few" = 0.01,
         precision: "of the products: auto, bfloat16 or float32" = "auto",
         images: "training images used, validation included; amount" = 60_000):
    if batch_size < 2:
        raise RunError(f"--batch-size {batch_size}: expected 2 or more, for batch "
                       "normalisation")
    data = run.load(images)
    autoencoder = hw2_conv_ae.trained(run, data, images)
    looked_at = Split(data.val.x[:1000], data.val.y[:1000])
    counts = {"few": len(few(data.train, share, run.seed).y), "all": len(data.train.y)}

    def learn(labels, name, seed, rate, held_out=None):
        """Train a new network; of a seed all have the same labels in the same order."""
        known = few(data.train, share, seed) if labels == "few" else data.train
        run.seed_everything(seed)
        network = build(run, name, autoencoder, len(data.classes))
        train(run, f"{labels} labels, {name}, rate {rate:g}, seed {seed}", network, known,
              held_out, all_rounds if labels == "all" else rounds, batch_size, rate, precision)
        return network

    # --- training: the rates chosen on validation, then all seeds with them -----------------
    best, models, history = {}, {}, {}
    for labels, count in counts.items():
        best |= choose_rates(run, data, learn, labels, count, rates)
    for labels, n in (("few", seeds), ("all", all_seeds)):
        for seed, name in itertools.product(range(n), RATES):
            job = labels, name, seed
            models[job] = learn(labels, name, run.seed + seed, best[labels, name], looked_at)
            looks = range(1, len(run.history["seconds"]) + 1)
            history[job] = run.history | {"steps": [EVERY * look for look in looks]}
    job = "all", RESULT, 0
    models[job], history[job], best[job[:2]] = homework_1(run, data)

    # --- the test set, read once ---------------------------------------------------------
    test = data.test()
    accuracy = {job: nats_and_accuracy(model, test)[1] for job, model in models.items()}
    rows = tabulate(run, data, models, best, history, accuracy, counts)
    report(run, data, rows, accuracy, counts)
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
    size = flags.settings(hw2_conv_ae.main, hw2_conv_ae.SIZES, run.size)
    encoder = hw2_conv_ae.build(hw2_conv_ae.CONV, size["latent"], size["filters"],
                                size["hidden"])[0]
    if name == PRETRAINED:
        encoder.load_state_dict(autoencoder[0].state_dict())  # copies: the original stays
    return nn.Sequential(encoder, MLP(size["latent"], classes=classes)).to(run.device)


def choose_rates(run, data, learn, labels, count, rates):
    """-> (labels, network) -> the rate with which most validation images are told right."""
    best, words = {}, []
    for name, grid in RATES.items():
        found = {rate: nats_and_accuracy(
            learn(labels, name, run.seed + 1000, rate), data.val)[1]
                 for rate in sorted(grid[:rates])}
        best[labels, name] = rate = max(found, key=found.get)
        edge = ", at the edge" if rate in (min(found), max(found)) else ""
        words.append(f"{name} {rate:g} of {', '.join(map('{:g}'.format, found))}{edge}")
        run.results.number(f"rate_{slug(f'{labels} {name}')}", rate, "learning rate")
    run.results.finding(f"{count:,} labels, rates chosen on validation: {'; '.join(words)}.")
    return best


def homework_1(run, data):
    """Its CNN, trained as there by default -> (classifier, history, learning rate)."""
    size = "quick" if run.size == "quick" else "default"  # its --full takes hours
    settings = flags.settings(hw1_classification.main, hw1_classification.SIZES, size)
    run.seed_everything(run.seed)
    network = hw1_classification.build(run, data, *(settings[key] for key in (
        "filters", "pooled", "hidden")))["CNN"]
    hw1_classification.train(run, RESULT, network, data.train, data.val, *(
        settings[key] for key in ("epochs", "batch_size", "learning_rate", "precision",
                                  "label_smoothing", "shift")))
    n, epochs = steps_per_epoch(data.train, settings["batch_size"]), settings["epochs"]
    return BothWays(network), {
        "val_accuracy": run.history["val_accuracy"],
        "steps": [n * (i + 1) for i in range(epochs)],
        "seconds": [run.training_seconds * (i + 1) / epochs for i in range(epochs)],
    }, settings["learning_rate"]


def train(run, name, classifier, known, held_out, rounds, batch_size, rate, precision):
    """Held-out images are looked at after each round: accuracy and seconds of training."""
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=rate, betas=(0.9, 0.99),
                                  fused=True)
    schedule = one_cycle(optimizer, rounds * EVERY)
    for _epoch in run.epochs(rounds, name, every=rounds, classifier=classifier,
                             optimizer=optimizer, schedule=schedule):
        classifier.train()
        start = time.perf_counter()
        for x, y in itertools.islice(endless(known, batch_size, run.generator), EVERY):
            with autocast(run.device, precision):
                loss = F.cross_entropy(classifier(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        if held_out:
            seconds = run.history.get("seconds", [0.0])[-1] + time.perf_counter() - start
            run.log(val_accuracy=nats_and_accuracy(classifier, held_out)[1], seconds=seconds)


def reached(history, goal):
    """-> (steps, seconds) to the first look with that accuracy; None where there is none."""
    return next(((steps, seconds) for accuracy, steps, seconds in zip(
        *(history[key] for key in ("val_accuracy", "steps", "seconds")), strict=True)
        if accuracy >= goal), None)


def tabulate(run, data, models, best, history, accuracy, counts):
    """A row a network and number of labels: accuracy, and the speed with which it learns."""
    rows, number = {}, run.results.number
    for labels, name in best:
        jobs = [job for job in models if job[:2] == (labels, name)]
        values, key = [accuracy[job] for job in jobs], slug(f"{labels} {name}")
        run.results.mean(f"test_accuracy_{key}", values, FRACTION)
        row = {"labels": counts[labels], "network": name, "rate": best[labels, name],
               "steps": history[jobs[0]]["steps"][-1],
               "parameters": parameter_count(models[jobs[0]]),
               "test accuracy": statistics.mean(values), "std": deviation(values)}
        for goal in GOALS:
            found = [r for job in jobs if (r := reached(history[job], goal))]
            row[f"steps to {goal:.0%}"] = f"never in {len(jobs) - len(found)} of {len(jobs)}"
            if len(found) == len(jobs):
                steps, seconds = map(statistics.mean, zip(*found, strict=True))
                row[f"steps to {goal:.0%}"] = f"{steps:.0f}"
                number(f"steps_to_{100 * goal:.0f}_{key}", steps, "steps", n=len(found))
                number(f"seconds_to_{100 * goal:.0f}_{key}", seconds, "s", n=len(found))
        rows[labels, name] = row
    run.results.table("speed", list(rows.values()),
                      f"{data.title}: accuracy and learning speed")
    print(markdown(list(rows.values())))
    return rows


def report(run, data, rows, accuracy, counts):
    """The findings: accuracies, paired by seed; steps; homework 1's result."""
    for labels, count in counts.items():
        seeds = [job[2] for job in accuracy if job[:2] == (labels, SCRATCH)]
        for name in (SCRATCH, HOMEWORK_1):
            gain = [accuracy[labels, PRETRAINED, s] - accuracy[labels, name, s] for s in seeds]
            run.results.mean(f"paired_gain_{slug(f'{labels} over {name}')}", gain, FRACTION)
            run.results.finding(
                f"{data.title}, {count:,} labels: the encoder with the {PRETRAINED} ends "
                f"{100 * statistics.mean(gain):+.1f} +- {100 * deviation(gain):.1f} points "
                f"from {name}, better for {sum(g > 0 for g in gain)} of {len(gain)} seeds.")
        for goal in (f"steps to {goal:.0%}" for goal in GOALS):
            words = [f"{name} {row[goal]}" for (of, name), row in rows.items() if of == labels]
            run.results.finding(f"{count:,} labels, {goal} of the validation images: "
                                f"{', '.join(words)}.")
    theirs, ours = rows["all", RESULT], rows["all", PRETRAINED]
    gain = ours["test accuracy"] - theirs["test accuracy"]
    run.results.finding(
        f"{data.title}, {RESULT}: {theirs['test accuracy']:.2%} of the test images by "
        f"{theirs['parameters']:,} parameters and {theirs['steps']:,} steps; the encoder with "
        f"the {PRETRAINED}, {ours['parameters']:,} and {ours['steps']:,}, ends "
        f"{100 * gain:+.1f} points from it.")


def draw(run, data, history, counts):
    """Validation accuracy over the steps, the mean of the seeds."""
    for labels, count in counts.items():
        lines = {}
        for name in RATES:
            runs = [h for job, h in history.items() if job[:2] == (labels, name)]
            mean = [statistics.mean(at) for at in zip(*(h["val_accuracy"] for h in runs),
                                                      strict=True)]
            lines[name] = runs[0]["steps"], mean
        run.results.figure(f"speed_{labels}", plot.curves(
            lines | {f"{goal:.0%}": goal for goal in GOALS},
            f"{data.title}, {count:,} labels: validation images, mean of the seeds",
            f"steps of {run.settings['batch_size']} images", "accuracy, share of images"))


SIZES = {"quick": {"seeds": 1, "all_seeds": 1, "rounds": 1, "all_rounds": 1, "rates": 1,
                   "images": 1500},
         "full": {"seeds": 10, "all_seeds": 3, "rounds": 40, "all_rounds": 100}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
