r"""Homework 1, regression: an unknown function from few noisy points, with gaps between them.

    y = f(x) + sigma e,   f(x) = sin(1.5 x) + x / 4,   sigma = 0.25,   e ~ N(0, 1)
    minimise over networks g   1/n sum_i (g(x_i) - y_i)^2

    python assignments/hw1_regression.py               under 5 minutes on 2 CPU cores
    python assignments/hw1_regression.py --csv MINE    your own points, one `x,y` per line

The smallest possible expected test error is sigma^2, that of g = f. "Untuned" settings are
common first choices. The fit is the mean of k networks, each trained without one fold; the
band is 2 standard deviations.
"""
# sheet: S1.1a, S1.3

import statistics

import _path  # noqa: F401
import torch
from torch import nn

from minidl import tune
from minidl.data.points import f, load
from minidl.lab import cli, paired, plot

SPACE = {"width": tune.Choice((16, 32, 64)), "layers": tune.Integer(1, 3),
         "activation": tune.Choice(("Tanh", "ReLU", "GELU")),
         "learning_rate": tune.LogUniform(1e-3, 3e-2),
         "weight_decay": tune.LogUniform(1e-4, 1.0), "steps": tune.Choice((300, 600, 1200))}
UNTUNED = {"width": 64, "layers": 2, "activation": "ReLU", "learning_rate": 1e-3,
           "weight_decay": 0.01, "steps": 1200}  # AdamW's default rate and weight decay


def build(width, layers, kind):
    """x (B, 1) -> g(x) (B, 1), through `layers` hidden layers; kind: of the activation."""
    parts = []
    for inputs in [1, *[width] * (layers - 1)]:
        parts += [nn.Linear(inputs, width), getattr(nn, kind)()]
    return nn.Sequential(*parts, nn.Linear(width, 1))


def fit(settings, x, y, scale, seed):
    """Train a network on all points in each step; x and y are standardised for it."""
    torch.manual_seed(seed)
    (x_mean, x_std), (y_mean, y_std) = scale
    u, v = ((x - x_mean) / x_std).float(), ((y - y_mean) / y_std).float()
    network = build(settings["width"], settings["layers"], settings["activation"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings["learning_rate"],
                                  weight_decay=settings["weight_decay"], fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["steps"])
    for _ in range(settings["steps"]):
        loss = (network(u) - v).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
    return network


@torch.no_grad()
def outputs(networks, scale, x):
    """g(x) = y_mean + y_std network((x - x_mean) / x_std) of each: (n, 1) -> (k, n, 1)."""
    (x_mean, x_std), (y_mean, y_std) = scale
    u = ((x - x_mean) / x_std).float()
    return torch.stack([y_mean + y_std * network(u).to(x.dtype) for network in networks])


def errors(networks, scale, x, y):
    """(g(x_i) - y_i)^2, g the mean of the networks: (n, 1), (n, 1) -> (n,)."""
    return (outputs(networks, scale, x).mean(dim=0) - y).square()[:, 0]


def main(run,
         points: "training points; amount" = 300,
         trials: "settings tried by random search; amount" = 40,
         folds: "k of the k-fold cross-validation; >= 2; amount" = 5,
         csv: "file of your own points, one x,y per line" = ""):
    (x, y), test, run.title, digest = load(csv, points, run.generator)
    run.folder.agree({"content": digest})
    run.data, scale = run.title, ((x.mean(), x.std()), (y.mean(), y.std()))
    parts = tune.folds(len(x), folds, run.seed)

    # --- the choice: random search, cross-validated ------------------------------------------
    search = run.trials("search", lambda settings, _: statistics.mean(
        errors([fit(settings, x[train], y[train], scale, run.seed)], scale,
               x[val], y[val]).mean().item() for train, val in parts))
    best = tune.random_search(search, SPACE, trials, run.seed)
    ranked = sorted((trial for trial in search.done if "score" in trial), key=tune.score_of)
    run.table("best", [best["settings"] | tune.at_edge(SPACE, best["settings"])], "Best trial")
    run.results.figure("trials", plot.trials(ranked, f"{run.title}: {trials} trials",
                                             "cross-validated MSE", tune.logarithmic(SPACE)))

    # --- the fit: k networks, one per fold, with the tuned and with the untuned settings -----
    tuned, untuned = ([fit(settings, x[train], y[train], scale, run.seed + i)
                       for i, (train, _) in enumerate(parts)]
                      for settings in (best["settings"], UNTUNED))
    of_tuned, of_untuned = (errors(networks, scale, *test) for networks in (tuned, untuned))
    floor = {} if csv else {"noise_floor_mse": (f(test[0]) - test[1]).square().mean()}
    run.scores("mean (g(x) - y)^2", test_mse=of_tuned.mean(), **floor,
               test_mse_untuned=of_untuned.mean(), cross_validated_mse=best["score"])
    run.claim("These tuned networks have a smaller mean test error than the untuned ones.",
              paired(of_untuned, of_tuned))
    for noise in floor.values():  # unknown for points from a file
        run.claim("The tuned networks' mean test error is within 10% of the noise floor.",
                  of_tuned.mean() < 1.1 * noise, ratio=of_tuned.mean() / noise)
    u = torch.linspace(x.min(), x.max(), 400, dtype=x.dtype)
    g = outputs(tuned, scale, u[:, None])[..., 0]
    lines = {"fit": (u, g.mean(dim=0))} | ({} if csv else {"f": (u, f(u))})
    run.results.figure("fit", plot.curves(
        lines, f"{run.title}: fit and band (2 standard deviations)", "x", "y",
        points=(x[:, 0], y[:, 0]), band=(u, g.mean(dim=0), 2 * g.std(dim=0))))


SIZES = {"quick": {"trials": 4, "folds": 2}, "full": {"trials": 200, "folds": 10}}

if __name__ == "__main__":
    cli.start(main, **SIZES)
