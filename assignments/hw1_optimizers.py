r"""Homework 1: initialisation, optimizers, schedules, regularisation: one change at a time.

    minimise  1/n sum_i loss(g(x_i), y_i) + l1 sum_w |w| + l2 sum_w w^2,   w weights, no biases

    python assignments/hw1_optimizers.py             under 4 minutes on 2 CPU cores
    python assignments/hw1_optimizers.py --full      all images, more seeds

Two tasks, an MLP each: noisy points of hw1_regression.py, few enough to over-fit, and images.
The rate of each optimizer is chosen from a grid, on validation, with a seed not used again;
the other variants have the base's. Seeds are paired: seed s of every variant has the same
random numbers and order of examples. Early stopping keeps the weights of the round that is
best on validation. The test sets are read when all is trained. minidl/optim.py holds a step
of SGD with momentum and of Adam by hand, minidl/mlp.py the initialisations.

Left out: a rate for each initialisation, schedule and penalty, so a variant may be better
than it looks here. hw1_tuning.py searches over several things at once.
"""
# sheet: S1.2

import itertools
import statistics

import _path  # noqa: F401
import hw1_regression
import torch
import torch.nn.functional as F
from torch.optim import SGD, Adam, AdamW, RMSprop

from minidl import optim
from minidl.data import Split
from minidl.lab import cli, plot
from minidl.lab.checkpoint import Snapshots
from minidl.lab.results import deviation, markdown, slug
from minidl.lab.task import Task, images_as_vectors
from minidl.mlp import INITIALISATIONS, linear, mlp, pruned
from minidl.schedules import SCHEDULES

BASE = {"initialisation": "torch's default", "optimizer": "Adam", "schedule": "cosine",
        "l1": 0.0, "l2": 0.0, "dropout": 0.0, "norm": False, "early": False}
SLOW, FAST = (0.1, 0.03, 0.3, 0.01, 1.0), (1e-3, 3e-3, 3e-4, 1e-2, 1e-4)
OPTIMIZERS = {  # name -> torch's class, its options, its rates, the middle one first
    "SGD": (SGD, {"fused": True}, SLOW),
    "momentum": (SGD, {"momentum": 0.9, "fused": True}, SLOW),
    "Nesterov": (SGD, {"momentum": 0.9, "nesterov": True, "fused": True}, SLOW),
    "RMSprop": (RMSprop, {}, FAST),
    "Adam": (Adam, {"fused": True}, FAST),
    "AdamW": (AdamW, {"weight_decay": 0.1, "fused": True}, FAST)}
HIDDEN, NEAR_ZERO = (128, 128, 128), 1e-3
PARTS = {"train": "training", "val": "validation"}
# group -> variant -> what it changes in BASE
GROUPS = {
    "initialisation": {name: {"initialisation": name} for name in INITIALISATIONS},
    "optimizer": {name: {"optimizer": name} for name in OPTIMIZERS if name != "Adam"},
    "schedule": {name: {"schedule": name} for name in SCHEDULES if name != "cosine"},
    "regularisation": {
        "early stopping": {"early": True}, "dropout 0.2": {"dropout": 0.2},
        "batch normalisation": {"norm": True},
        **{f"L2 {strength:g}": {"l2": strength} for strength in (0.0001, 0.001)},
        **{f"L1 {strength:g}": {"l1": strength} for strength in (0.00001, 0.0001, 0.001)}}}
VARIANTS = {"base": BASE} | {name: BASE | change for group in GROUPS.values()
                             for name, change in group.items()}


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         rounds: "of training; of the images one is a pass over them; amount" = 12,
         rates: "learning rates tried for each optimizer; amount" = 5,
         images: "training images used; amount" = 5000,
         points: "training points; amount" = 40):
    data = run.load(12 * images)  # of which one in twelve is for validation
    tasks = [images_as_vectors(data, images, HIDDEN), regression(run, points)]
    run.data = data.name
    print(f"{len(tasks) * (seeds * len(VARIANTS) + rates * len(OPTIMIZERS))} trainings")

    # --- training: of each task every rate, then every variant, every seed -----------------
    studies = []
    for task in tasks:
        compare_steps(run, task)
        best, networks, history = choose_rates(run, task, rounds, rates), {}, {}
        for seed, (name, design) in itertools.product(range(seeds), VARIANTS.items()):
            networks[name, seed] = train(run, task, f"{name}, seed {seed}", run.seed + seed,
                                         rounds, best[design["optimizer"]], **design)
            history[name, seed] = run.history
        studies.append((task, best, networks, history))

    # --- the test sets, read once ----------------------------------------------------------
    for task, best, networks, history in studies:
        test = task.test()
        scores = {name: [task.evaluate(networks[name, s], test)[task.metric]
                         for s in range(seeds)] for name in VARIANTS}
        tabulate(run, task, best, history, scores)
        draw_curves(run, task, history, seeds)
        report(run, task, networks, history, scores)
        show_sparsity(run, task, networks, scores, test)


def regression(run, points):
    """Few points; four times as many for validation: that is to choose, not its noise.

    The network sees x and y with deviation 1, and is judged in the points' own unit.
    """
    (x, y), (test_x, test_y), _ = hw1_regression.read_or_make(run, 5 * points, "")
    (x_std, x_mean), (y_std, y_mean) = (torch.std_mean(part[:points]) for part in (x, y))

    def split(x, y):
        x, y = (x - x_mean) / x_std, (y - y_mean) / y_std
        return Split(x.to(run.device), y.to(run.device))

    def scores(outputs, y):
        return [y_std.item() ** 2 * (outputs - y).double().square().mean().item()]

    return Task("regression", f"{points} {run.data}", (1, 64, 64, 64, 1),
                split(x[:points], y[:points]), split(x[points:], y[points:]),
                lambda: split(test_x, test_y), 20, 100, F.mse_loss, scores,
                {"mse": hw1_regression.UNIT}, -1)


def train(run, task, name, seed, rounds, rate, *, initialisation, optimizer, schedule, l1,
          l2, dropout, norm, early):
    """Train from random weights; -> the network."""
    run.seed_everything(seed)
    network = mlp(task.sizes, initialisation, dropout, norm).to(run.device)
    best, weights = Snapshots(), [layer.weight for layer in linear(network)]
    seen = Split(task.train.x[:2000], task.train.y[:2000])
    kind, options, _ = OPTIMIZERS[optimizer]
    optimizer = kind(network.parameters(), lr=rate, **options)
    schedule = SCHEDULES[schedule](optimizer, rounds * task.steps)
    for epoch in run.epochs(rounds, f"{task.name}, {name}", every=rounds, network=network,
                            optimizer=optimizer, schedule=schedule, best=best):
        network.train()
        for x, y in itertools.islice(task.batches(run.generator), task.steps):
            loss = task.loss(network(x), y)
            if l1:
                loss = loss + l1 * sum(w.abs().sum() for w in weights)
            if l2:
                loss = loss + l2 * sum(w.square().sum() for w in weights)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        run.log(**task.evaluate(network, seen, "train_"),
                **task.evaluate(network, task.val, "val_"))
        if early and epoch == task.best_round(run.history):
            best.clear(); best.take(epoch, network)
    if early:
        network.load_state_dict(next(iter(best.values())))
    return network


def compare_steps(run, task):
    """minidl/optim.py beside torch: five steps on the task's own batches."""
    for name, options in (("momentum", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 1e-3})):
        run.seed_everything(run.seed)
        difference = optim.difference_to_torch(
            mlp(task.sizes).to(run.device), itertools.islice(task.batches(run.generator), 5),
            task.loss, **options)
        run.results.number(f"difference_to_torch_{slug(name)}_{task.name}", difference,
                           "max |w - w of torch| after 5 steps, float32")
        run.results.finding(f"{task.name}: after five steps of {name} by hand and by torch no "
                            f"weight differs by more than {difference:.1e}.")


def choose_rates(run, task, rounds, rates):
    """-> optimizer -> the rate of its grid that is best on validation at the end."""
    best = {}
    for name, (_, _, grid) in OPTIMIZERS.items():
        values = {}
        for rate in grid[:rates]:
            train(run, task, f"{name}, rate {rate:g}", run.seed + 1000, rounds, rate,
                  **BASE | {"optimizer": name})
            values[rate] = task.sign * run.history[f"val_{task.metric}"][-1]
        best[name] = max(values, key=values.get)
        run.results.number(f"rate_{slug(name)}_{task.name}", best[name], "learning rate")
        if best[name] in (min(values), max(values)):
            run.results.finding(f"{task.name}, {name}: rate {best[name]:g} is at the edge.")
    return best


def tabulate(run, task, best, history, scores):
    """One row a variant: means over the seeds, and the paired difference to the base."""
    rows, group_of = [], {name: group for group, names in GROUPS.items() for name in names}
    for name, design in VARIANTS.items():
        gain, better, _ = task.paired(scores[name], scores["base"])
        row = {"group": group_of.get(name, "base"), "variant": name,
               "rate": best[design["optimizer"]]}
        for key in (f"train_{task.loss_name}", f"val_{task.metric}"):
            row[key.replace("_", " ")] = statistics.mean(
                h[key][task.best_round(h) - 1 if design["early"] else -1]
                for h in (history[name, s] for s in range(len(gain))))
        rows.append({**row, f"test {task.metric}": statistics.mean(scores[name]),
                     "std": deviation(scores[name]), "minus base": statistics.mean(gain),
                     "its std": deviation(gain), "better": better})
        run.results.mean(f"test_{task.metric}_{slug(name)}", scores[name], task.unit)
        run.results.mean(f"paired_{task.metric}_{slug(name)}", gain, task.unit)
    run.results.table(task.name, rows, f"{task.title}: one change at a time")
    print(f"{task.title}\n{markdown(rows)}")


def draw_curves(run, task, history, seeds):
    """A figure a group: how the training loss falls; for regularisation, validation's."""
    for group, names in GROUPS.items():
        part, lines = "val" if group == "regularisation" else "train", {}
        for name in ("base", *(n for n in names if n != "early stopping")):  # as the base
            means = task.mean_curve([history[name, s] for s in range(seeds)], part)
            lines[label(name, group)] = range(1, len(means) + 1), means
        run.results.figure(f"{task.name}_{group}", plot.curves(
            lines, f"{task.title}: {group}, mean of {seeds} seeds",
            f"round of {task.steps} steps",
            f"{PARTS[part]}: {task.measures[task.loss_name]}", log_y=True))


def label(name, group):
    """A variant's name; the base is told by what it has in this group."""
    return name if name != "base" else f"base ({BASE.get(group, 'none')})"


def report(run, task, networks, history, scores):
    """The base's over-fitting, of each group the best and the worst, zeros, early stopping."""
    seeds, finding, base = range(len(scores["base"])), run.results.finding, scores["base"]
    train, val = (task.mean_curve([history["base", s] for s in seeds], part) for part in PARTS)
    finding(f"{task.title}: test {task.metric} of the base {task.paired(base, base)[2]}; its "
            f"{task.loss_name} ends at {train[-1]:.4f} in training and {val[-1]:.4f} on "
            f"validation, where {min(val):.4f} was the least.")
    for group, names in GROUPS.items():
        ranked = sorted(("base", *names),
                        key=lambda n: -task.sign * statistics.mean(scores[n]))
        first, second, *_, last = (f"{label(n, group)} {task.paired(scores[n], base)[2]}"
                                   for n in ranked)
        finding(f"{task.name}, {group}: best {first}, then {second}; worst {last}.")
    alike = len(linear(networks["zeros", 0])[0].weight.unique(dim=0))
    run.results.number(f"different_units_zeros_{task.name}", alike, "units of the first layer")
    early = statistics.mean(task.best_round(history["early stopping", s]) for s in seeds)
    finding(f"{task.name}: from zeros the {task.sizes[1]} units of the first layer end as "
            f"{alike}. Early stopping kept round {early:.1f} on average.")


def show_sparsity(run, task, networks, scores, test):
    """The share of weights near zero, the metric, and the metric with these set to zero."""
    ends = {}
    for name in (n for n in VARIANTS if n.startswith(("base", "L1", "L2"))):
        cut, shares = zip(*(pruned(networks[name, s], NEAR_ZERO)
                            for s in range(len(scores[name]))), strict=True)
        cut = [task.evaluate(network, test)[task.metric] for network in cut]
        run.results.mean(f"near_zero_{slug(name)}_{task.name}", shares, "fraction of weights")
        run.results.mean(f"test_{task.metric}_pruned_{slug(name)}", cut, task.unit)
        ends[name] = 100 * statistics.mean(shares), statistics.mean(scores[name])
        run.results.finding(
            f"{task.name}, {name}: {task.paired(scores[name], scores['base'])[2]}; "
            f"{ends[name][0]:.1f}% of the weights have |w| < {NEAR_ZERO}, and with these set "
            f"to 0 it is {statistics.mean(cut):.4f}.")
    run.results.figure(f"{task.name}_sparsity", plot.curves(
        {kind: list(zip(*(ends[n] for n in ends if n.startswith(("base", kind))), strict=True))
         for kind in ("L1", "L2")}, f"{task.title}: no penalty (left) to 0.001 (right)",
        f"per cent of the weights with |w| < {NEAR_ZERO}", f"test {task.metric}, {task.unit}"))


SIZES = {"quick": {"seeds": 1, "rounds": 2, "rates": 1, "images": 500},
         "full": {"seeds": 5, "rounds": 20, "images": 55_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
