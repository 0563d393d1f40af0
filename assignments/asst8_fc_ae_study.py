r"""Assignment 8, exercise 1: what do torch's default weights cost a network of SELUs?

    x -> selu(W x + b) -> ...,   LeCun's normal: Var(W) = 1/n for n inputs, b = 0
                                 torch's default: W and b uniform, of variance 1/(3n)

    python assignments/asst8_fc_ae_study.py            under 3 minutes on 2 CPU cores

theory/test_losses.py, (11) and (12): with 1/n each layer brings the variance of activations
nearer to 1; with 1/(3n) it shrinks from layer to layer, down to what the biases add. Seen here
in exercise 1's autoencoder, which has 3 layers of SELU, and in deeper ones, 784-100-...-100-
30-100-...-100-784: how large are activations before training, how large is the loss after it?
Paired by seed, with the same orders and steps. Left out is a learning rate for each: what is
measured is the cost to whoever changes nothing but the weights' start.
"""
# sheet: S4.1

import itertools
import statistics

import _path  # noqa: F401
import torch
from asst8_fc_ae import UNITS, lecun_normal, train
from torch import nn

from minidl.data import to_unit
from minidl.lab import cli, plot
from minidl.lab.results import deviation, markdown

LECUN, TORCH = "LeCun's normal", "torch's default"
DEPTHS = 3, 9, 15  # layers of SELU; 3 is exercise 1's


def main(run,
         seeds: "trainings of each depth and start; amount" = 3,
         epochs: "passes over the training images; amount" = 3,
         batch_size: "images a step" = 128,
         learning_rate: "the highest of the one-cycle schedule" = 4e-3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    x, before = to_unit(data.train.x[:1000]), {}
    loss = {job: [] for job in itertools.product(DEPTHS, (LECUN, TORCH))}
    for (depth, start), seed in itertools.product(loss, range(run.seed, run.seed + seeds)):
        run.seed_everything(seed)
        autoencoder = build(depth, start).to(run.device)
        before.setdefault((depth, start), moments(autoencoder, x))
        train(run, f"{depth} layers, {start}, seed {seed}", autoencoder, data, epochs,
              batch_size, learning_rate)
        loss[depth, start].append(run.history["val_bce"][-1])
    show_activations(run, data, before)
    show_loss(run, data, before, loss)


def build(depth, start):
    """A new autoencoder with `depth` layers of SELU, an odd number: x -> logits."""
    side = [100] * (depth // 2)
    network = nn.Sequential(nn.Flatten(), *(
        part for sizes in itertools.pairwise([784, *side, 30, *side])
        for part in (nn.Linear(*sizes), nn.SELU())),
        nn.Linear(100, 784), nn.Unflatten(1, (1, 28, 28)))
    for layer in network:
        if isinstance(layer, nn.Linear) and start == LECUN:
            lecun_normal(layer, layer.in_features)
    return network


@torch.no_grad()
def moments(network, x):
    """[(mean, standard deviation)] over images and units, of x and behind each SELU."""
    found = [(x.mean().item(), x.std().item())]
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.SELU):
            found.append((x.mean().item(), x.std().item()))
    return found


def show_activations(run, data, before):
    """Layer by layer before training: exercise 1's in a table, the deepest in a figure."""
    rows = [{"behind": layer, "mean, LeCun": a[0], "std, LeCun": a[1], "mean, torch": b[0],
             "std, torch": b[1]} for layer, a, b in zip(
        ("the pixels", "SELU, 100", "SELU, 30: the code", "SELU, 100 again"),
        before[DEPTHS[0], LECUN], before[DEPTHS[0], TORCH], strict=True)]
    run.results.table("activations", rows, f"{data.title}: activations before training")
    print(markdown(rows))
    deepest = DEPTHS[-1]
    run.results.figure("activations", plot.curves(
        {start: (range(deepest + 1), [std for _, std in before[deepest, start]])
         for start in (LECUN, TORCH)} | {"SELU's fixed point": 1.0},
        f"{data.title}: activations before training", "layer of SELU, 0: the pixels",
        "standard deviation over images and units"))


def show_loss(run, data, before, loss):
    """What the default costs at each depth, paired."""
    run.results.figure("loss", plot.dots(
        {f"{depth} layers, {start}": values for (depth, start), values in loss.items()},
        f"{data.title}: loss by depth and start, a dot a seed",
        f"validation BCE, {UNITS['bce']}"))
    rows, epochs = [], len(run.history["val_bce"])
    for depth in DEPTHS:
        ours, default = loss[depth, LECUN], loss[depth, TORCH]
        cost = [b - a for a, b in zip(ours, default, strict=True)]
        for name, values in (("lecun", ours), ("default", default), ("cost", cost)):
            run.results.mean(f"val_bce_{name}_{depth}_layers", values, UNITS["bce"])
        a, b = (before[depth, start][-1][1] for start in (LECUN, TORCH))
        rows.append({"layers of SELU": depth, "last std, LeCun": a, "last std, torch": b,
                     "BCE, LeCun": statistics.mean(ours),
                     "BCE, torch": statistics.mean(default),
                     "paired cost": statistics.mean(cost), "std of the cost": deviation(cost)})
        run.results.finding(
            f"{data.title}, {depth} layers of SELU: before training, the last has activations "
            f"of standard deviation {a:.2f} from {LECUN}, {b:.2f} from {TORCH}. At the end of "
            f"epoch {epochs} the validation BCE from the second less that from the first is "
            f"{statistics.mean(cost):+.2f} +- {deviation(cost):.2f} {UNITS['bce']}, above 0 "
            f"in {sum(c > 0 for c in cost)} of {len(cost)} pairs.")
    run.results.table("starts", rows, f"{data.title}: two starts of SELU networks")
    print(markdown(rows))


SIZES = {"quick": {"seeds": 1, "epochs": 1, "images": 3000}, "full": {"epochs": 20}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
