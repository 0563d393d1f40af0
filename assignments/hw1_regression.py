r"""Homework 1, regression: an unknown function from few noisy points, with gaps between them.

    y = f(x) + sigma e,  e ~ N(0, 1),   minimise over networks g   1/n sum_i (g(x_i) - y_i)^2

    python assignments/hw1_regression.py               under 5 minutes on 2 CPU cores
    python assignments/hw1_regression.py --csv MINE    points of your own, a line `x,y` each

Here f is known, so the best possible test error is too: no g has on average less than f,
whose error is the noise of the test points, sigma^2 in expectation. The training points leave
two gaps; the test points do not. Width, depth, nonlinearity, rate, weight decay and number of
steps are chosen by random search and k-fold cross-validation on the training points alone.
The k networks of the chosen settings, each trained without one fold, give the fit (their mean)
and an uncertainty band (their spread): it says how far the training points determine the
curve, not how noisy a point is. "Untuned" is the search's median trial by cross-validated
error, trained likewise: of settings drawn at random half do no better.
"""
# sheet: S1.1a, S1.3

import itertools
import re
import statistics
from pathlib import Path
from textwrap import shorten

import _path  # noqa: F401
import torch
from torch import nn

from minidl import tune
from minidl.data import DataError
from minidl.data.progress import Line
from minidl.lab import cli, plot
from minidl.lab.importance import importance, importance_in_words, logarithmic
from minidl.lab.results import markdown
from minidl.lab.run import RunError

NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?[ \t]*", re.I)
LARGEST = 1e15  # of a point: float32 squares it
SIGMA, GAPS = 0.25, ((-3.0, -2.0), (1.5, 2.5))
UNIT = "mean (g(x) - y)^2"
SPACE = {"width": tune.Choice((16, 32, 64)), "layers": tune.Integer(1, 3),
         "activation": tune.Choice(("Tanh", "ReLU", "GELU")),
         "learning_rate": tune.LogUniform(1e-3, 3e-2),
         "weight_decay": tune.LogUniform(1e-4, 1.0), "steps": tune.Choice((300, 600, 1200))}


def main(run,
         points: "training points; amount" = 300,
         trials: "settings tried by random search; amount" = 40,
         folds: "parts of the cross-validation; amount" = 5,
         csv: "file of your own points, a line x,y each" = ""):
    if folds < 2:
        raise RunError(f"--folds {folds}: expected 2 or more")
    if points < 2 * folds:
        raise RunError(f"--points {points}: expected twice as many as --folds {folds} or more")
    (x, y), (test_x, test_y), floor = read_or_make(run, points, csv)
    if len(x) < 2 * folds:
        raise RunError(f"--csv {csv}: found {len(x)} points to train on, expected twice as "
                       f"many as --folds {folds} or more")
    parts = tune.folds(len(x), folds, run.seed)
    scale = (x.mean(), x.std()), (y.mean(), y.std())

    # --- the choice: random search, cross-validated ------------------------------------------
    line = Line()

    def cross_validated(settings, _budget):
        line.update(f"trial {len(scores.known) + 1}/{trials}")
        return statistics.mean(
            mse(fit(settings, x[train], y[train], scale, run.seed), x[val], y[val])
            for train, val in parts)

    scores = run.trials("search", cross_validated)
    best = tune.random_search(scores, SPACE, trials, run.seed)
    line.done(f"{trials} trials, best cross-validated error {best['score']:.4f}")

    # --- the fit: the networks of the k folds, of the tuned settings and the untuned ---------
    ended = sorted((trial for trial in scores.done if "score" in trial), key=tune.score_of)
    median = ended[(len(ended) - 1) // 2]
    names = {"tuned": best["settings"], "untuned": median["settings"]}
    networks = {name: [fit(settings, x[train], y[train], scale, run.seed + i)
                       for i, (train, _) in enumerate(parts)]
                for name, settings in names.items()}
    number, title = run.results.number, run.data
    for name, group in networks.items():
        key = "test_mse" if name == "tuned" else "test_mse_untuned"
        number(key, mse(mean_of(group), test_x, test_y), UNIT, n=len(test_x))
        run.results.mean(f"{key}_single", [mse(g, test_x, test_y) for g in group], UNIT)
    number("cross_validated_mse", best["score"], UNIT, n=len(x))
    if floor:
        number("noise_floor_mse", floor, UNIT, n=len(test_x))
        number("noise_floor_mse_expected", SIGMA ** 2, UNIT)

    tabulate(run, scores.done, best)
    draw(run, x, y, test_x, test_y, networks, title)
    report(run, x, scores.done, best, median, floor)


def read_or_make(run, points, path):
    """-> (x, y) to train on, (x, y) to test on, each (N, 1), and f's test error or None."""
    if path:
        x, y = read_points(path)
        order = torch.randperm(len(x), generator=run.generator)
        n = len(order) // 5
        run.data = f"points of {Path(path).name}"
        return (x[order[n:]], y[order[n:]]), (x[order[:n]], y[order[:n]]), None
    run.data = "made points, f(x) = sin(1.5 x) + x / 4"
    splits = []
    for name, n, gaps in (("training", points, GAPS), ("test", 4000, ())):
        x, y = draw_points(n, gaps, run.generator)
        run.results.text(f"{name}.csv", "x,y\n" + "".join(
            f"{a:.6f},{b:.6f}\n" for a, b in zip(x[:, 0], y[:, 0], strict=True)))
        splits.append((x, y))
    return *splits, mse(f, *splits[1])


def draw_points(n, gaps, generator):
    """n noisy points, x and y (n, 1), with x uniform in -5 ... 5 but for the gaps."""
    x = 10 * torch.rand(3 * n, 1, generator=generator) - 5
    for low, high in gaps:
        x = x[(x <= low) | (x >= high)].unsqueeze(1)
    x = x[:n]
    return x, f(x) + SIGMA * torch.randn(n, 1, generator=generator)


def f(x):
    """The function that is to be found."""
    return torch.sin(1.5 * x) + x / 4


def read_points(path):
    """The points of a CSV file, x (N, 1) and y (N, 1); a first line of two words is a heading.

    Errors: DataError with the line's number for a row that is not two numbers of float32.
    """
    rows = []
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--csv {path}: found no readable text file ({error}), expected lines "
                        "x,y") from error
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split(",")
        values = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
        if len(values) == len(cells) == 2 and max(map(abs, values)) <= LARGEST:
            rows.append(values)
        elif line.strip() and not (number == 1 and is_heading(cells)):
            raise DataError(f"{path}, line {number}: found {shorten(line, 60)!r}, expected "
                            "two finite numbers x,y")
    if len(rows) < 10:
        raise DataError(f"{path}: found {len(rows)} points, expected 10 or more")
    x, y = torch.tensor(rows).split(1, dim=1)
    if not (x.std() > 0 and y.std() > 0):
        raise DataError(f"{path}: found one value of x or of y in all lines, expected several")
    return x, y


def is_heading(cells):
    """Two words that begin with a letter; nan and inf are numbers, though none to train on."""
    words = [cell.strip(' "').lower() for cell in cells]
    return len(words) == 2 and all(
        word[:1].isalpha() and word not in ("nan", "inf", "infinity") for word in words)


def build(width, layers, activation):
    """1 -> width -> ... -> 1, with `layers` hidden layers."""
    sizes = [1, *[width] * layers]
    hidden = [part for a, b in itertools.pairwise(sizes)
              for part in (nn.Linear(a, b), getattr(nn, activation)())]
    return nn.Sequential(*hidden, nn.Linear(width, 1))


def fit(settings, x, y, scale, seed):
    """Train on all points in each step; -> g, on x and y in their own units."""
    torch.manual_seed(seed)
    (x_mean, x_std), (y_mean, y_std) = scale  # the network sees both with deviation 1
    u, v = (x - x_mean) / x_std, (y - y_mean) / y_std
    network = build(settings["width"], settings["layers"], settings["activation"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings["learning_rate"],
                                  weight_decay=settings["weight_decay"], fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["steps"])
    for _step in range(settings["steps"]):
        loss = (network(u) - v).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
    return lambda x: y_mean + y_std * network((x - x_mean) / x_std)


@torch.no_grad()
def mse(g, x, y):
    return (g(x) - y).square().mean().item()


def mean_of(group):
    return lambda x: torch.stack([g(x) for g in group]).mean(dim=0)


def tabulate(run, done, best):
    """The ten best trials, and which parameter mattered."""
    ranked = sorted(done, key=tune.score_of)[:10]
    rows = [{"cross-validated error": trial["score"]} | trial["settings"] for trial in ranked]
    run.results.table("trials", rows, f"The best of {len(done)} settings. {run.data}")
    print(markdown(rows))
    shares = importance(SPACE, done)
    run.results.figure("trials", plot.trials(
        done, f"{run.data}: all {len(done)} trials", "cross-validated MSE",
        logarithmic(SPACE)))
    run.results.finding(
        f"{run.data}: {importance_in_words(shares, len(done))}. The best has "
        f"{in_words(best['settings'])}.")


def in_words(settings):
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in settings.items())


@torch.no_grad()
def draw(run, x, y, test_x, test_y, networks, title):
    """The fit with its band, and the residuals of the test points."""
    grid = torch.linspace(x.min(), x.max(), 400).unsqueeze(1)
    curves = {name: torch.stack([g(grid) for g in group])[..., 0]
              for name, group in networks.items()}
    lines = {name: (grid[:, 0], c.mean(dim=0)) for name, c in curves.items()}
    if title.startswith("made"):
        lines["f"] = (grid[:, 0], f(grid)[:, 0])
    band = curves["tuned"]
    run.results.figure("fit", plot.fit(
        (x[:, 0], y[:, 0]), lines, (grid[:, 0], band.mean(dim=0), 2 * band.std(dim=0)),
        f"{title}: fit and band (2 deviations over the folds)", "x", "y"))
    residuals = (test_y - mean_of(networks["tuned"])(test_x))[:, 0]
    run.results.figure("residuals", plot.fit(
        (test_x[:, 0], residuals), {}, None, f"{title}: residuals of the test points", "x",
        "y - g(x)"))


def report(run, x, done, best, median, floor):
    value = {name: entry["value"] for name, entry in run.results.numbers.items()}
    finding = run.results.finding
    finding(f"{run.data}, {len(x)} training points: the mean of the tuned networks has test "
            f"error {value['test_mse']:.4f} (one of them {value['test_mse_single']:.4f} on "
            f"average), of the untuned {value['test_mse_untuned']:.4f}; cross-validation on "
            f"the training points foresaw {best['score']:.4f} and {median['score']:.4f}. "
            f"Untuned is the median of {len(done)} settings drawn at random, by that error: "
            f"{in_words(median['settings'])}.")
    failed = sum("failure" in trial for trial in done)
    finding(f"{failed} of {len(done)} trials failed.")
    if floor:
        finding(f"f itself has test error {floor:.4f}, the noise of these points (sigma^2 = "
                f"{SIGMA ** 2:.4f} in expectation). Against it the tuned fit has "
                f"{value['test_mse'] / floor - 1:+.1%}, the untuned "
                f"{value['test_mse_untuned'] / floor - 1:+.1%}.")


SIZES = {"quick": {"trials": 4, "folds": 2}, "full": {"trials": 200, "folds": 10}}

if __name__ == "__main__":
    cli.start(main, **SIZES)
