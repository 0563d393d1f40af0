r"""Homework 1: initialisation, optimizer, regularisation, one change at a time.

    minimise  1/n sum_i loss(g(x_i), y_i) + l1 sum_w |w| + l2 sum_w w^2,   w weights, no biases
    SGD    w <- w - rate grad            momentum   v <- mu v + grad,  w <- w - rate v
    Adam   w <- w - rate m / sqrt(v)     m, v running means of grad, grad^2: minidl/optim.py

    python assignments/hw1_optimizers.py             under 4 minutes on 2 CPU cores

Two tasks, an MLP each: images, and so few noisy points that the network learns the noise. Both
over-fit, so the training error is shown beside the test error. Each optimizer has the learning
rate that is best on validation. All other variants have the base's rate; another rate might
suit them better. The base has l1 = l2 = 0, below the smallest tried. Early stopping keeps the
weights of the round that is best on validation.

From zero weights, a ReLU passes no gradient, so only the last bias is trained. The gradient of
l1 |w| does not shrink with w, so it brings weights to 0. The gradient of l2 w^2 shrinks.
"""
# sheet: S1.2

import _path  # noqa: F401
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from minidl import tune
from minidl.data import steps
from minidl.lab import averaged, cli, paired
from minidl.lab.task import classification, regression
from minidl.mlp import INITIALISATIONS, linear, mlp, share_near_0

BASE = {"initialisation": "torch's default", "optimizer": "Adam", "l1": 0.0, "l2": 0.0,
        "dropout": 0.0, "norm": False, "early": False}
SLOW, FAST = (0.1, 0.03, 0.3, 0.01, 1.0), (1e-3, 3e-3, 3e-4, 1e-2, 1e-4)
OPTIMIZERS = {  # name -> torch's class, its options, its rates, the middle one first
    "SGD": (SGD, {}, SLOW), "momentum": (SGD, {"momentum": 0.9}, SLOW),
    "Adam": (Adam, {}, FAST)}
GROUPS = {  # what is varied -> variant -> what it changes in BASE
    "initialisation": {name: {"initialisation": name} for name in INITIALISATIONS},
    "optimizer": {name: {"optimizer": name} for name in OPTIMIZERS if name != "Adam"},
    "regularisation": {
        "early stopping": {"early": True}, "batch normalisation": {"norm": True},
        "dropout 0.2": {"dropout": 0.2}, "dropout 0.5": {"dropout": 0.5},
        "L2 0.0001": {"l2": 1e-4}, "L2 0.001": {"l2": 1e-3}, "L2 0.01": {"l2": 1e-2},
        "L1 1e-05": {"l1": 1e-5}, "L1 0.0001": {"l1": 1e-4}, "L1 0.001": {"l1": 1e-3}}}
VARIANTS = {"base": BASE} | {name: BASE | change for group in GROUPS.values()
                             for name, change in group.items()}


def train(run, task, name, rate, design):
    """Train an MLP of this design from random weights; -> the network."""
    network = run.network(mlp(task.sizes, design["initialisation"], design["dropout"],
                              design["norm"]))
    weights, l1, l2 = [layer.weight for layer in linear(network)], design["l1"], design["l2"]
    (kind, options, _), rounds = OPTIMIZERS[design["optimizer"]], run.settings["rounds"]
    optimizer = kind(network.parameters(), lr=rate, fused=True, **options)
    schedule = CosineAnnealingLR(optimizer, rounds * task.steps)
    for epoch in run.epochs(rounds, f"{task.name}, {name}", every=rounds, network=network,
                            optimizer=optimizer, schedule=schedule):
        for x, y in steps(task.train, task.batch_size, run.generator, task.steps):
            loss = task.loss(network(x), y)
            if l1 or l2:
                loss = loss + sum(l1 * w.abs().sum() + l2 * w.square().sum() for w in weights)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        loss, metric = task.measured(network, task.val)
        run.log(training=task.measured(network, task.train, 2000)[0], validation=loss,
                metric=metric)
        if design["early"] and task.best(run.history["metric"]) == epoch - 1:
            run.keep("best", network.state_dict())
    if design["early"]:
        network.load_state_dict(run.kept["best"])
    return network


def best_rate(run, task, optimizer):
    """-> the optimizer's learning rate that is best on validation, and its row of a table."""
    found = {}
    for rate in OPTIMIZERS[optimizer][2][:run.settings["rates"]]:
        run.seed_everything(run.seed + 1000)
        train(run, task, f"{optimizer}, rate {rate:g}", rate, BASE | {"optimizer": optimizer})
        found[rate] = -task.sign * run.history["metric"][-1]
    best = min(found, key=found.get)
    return best, {"task": task.name, "optimizer": optimizer} | tune.chosen(found, best)


def main(run,
         seeds: "trainings of each variant; amount" = 3,
         rounds: "rounds of training, one pass over the images each; amount" = 12,
         rates: "learning rates tried for each optimizer; amount" = 5,
         images: "training images used; amount" = 5000,
         points: "training points; >= 2; amount" = 40):
    data, rows, done, near_zero = run.load(12 * images), [], {}, {}  # 1 in 12 to validate
    tasks = classification(data, images), regression(points, run.generator, run.device)

    # --- training: choose each optimizer's rate; then train every variant with every seed ----
    for task in tasks:
        found = {name: best_rate(run, task, name) for name in OPTIMIZERS}
        rows += [row for _, row in found.values()]
        nets, histories = ({name: [] for name in VARIANTS} for _ in range(2))
        for name, design in VARIANTS.items():
            for seed in run.seeded(seeds):
                rate, _ = found[design["optimizer"]]
                nets[name].append(train(run, task, f"{name}, seed {seed}", rate, design))
                histories[name].append(run.history)
        done[task.name], run.title = nets, task.title
        for group, names in GROUPS.items():
            part = "validation" if group == "regularisation" else "training"
            run.curves(f"{task.name}_{group}", f"{group} (base: {BASE.get(group, 'none')})",
                       f"{part}: {task.loss_unit}", f"rounds of {task.steps} steps",
                       log_y=True, **{n: averaged(histories[n])[part]
                                      for n in ("base", *names) if n != "early stopping"})
    run.table("rates", rows, "Learning rates, chosen on validation")

    # --- the test sets, read once; the training sets for comparison --------------------------
    scores = {}
    for task in tasks:
        test, nets = task.test(), done[task.name]
        on_train, on_test = ({name: [task.measured(net, split, n)[1] for net in nets[name]]
                              for name in nets}
                             for split, n in ((task.train, 2000), (test, None)))
        run.scores(task.unit, table=task.name, **{
            f"train_{task.metric}": on_train, f"test_{task.metric}": on_test,
            f"paired_{task.metric}": {name: [a - b for a, b in zip(
                values, on_test["base"], strict=True)] for name, values in on_test.items()}})
        scores[task.name] = on_train, on_test
        for name in ("base", *(name for name in nets if name.startswith("L"))):
            near_zero[f"{name} {task.name}"] = [share_near_0(net, 1e-3) for net in nets[name]]
    run.scores("share of weights below 0.001", table="sparsity", near_zero=near_zero)
    (train_accuracy, accuracy), (train_mse, mse) = scores.values()
    run.claim("Adam classifies more test images correctly than plain SGD.",
              paired(accuracy["base"], accuracy["SGD"]))
    run.claim("The base over-fits the images: it is more accurate on training than on test.",
              paired(train_accuracy["base"], accuracy["base"]))
    run.claim("The base over-fits the points: its error is smaller on training than on test.",
              paired(mse["base"], train_mse["base"]))
    for name in ("early stopping", "dropout 0.2", "L2 0.001"):
        run.claim(f"Regularisation by {name} raises the test accuracy.",
                  paired(accuracy[name], accuracy["base"]))
    run.claim("On images, with L1, more weights end near 0 than with L2 of the same strength.",
              paired(near_zero["L1 0.001 classification"],
                     near_zero["L2 0.001 classification"]))


SIZES = {"quick": {"seeds": 1, "rounds": 2, "rates": 1, "images": 500},
         "full": {"seeds": 5, "rounds": 20, "images": 55_000}}

if __name__ == "__main__":
    cli.start(main, data="fashion-mnist", **SIZES)
