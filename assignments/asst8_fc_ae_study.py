r"""Assignment 8, exercise 1, a study: how bad are torch's default weights for SELU?

    python assignments/asst8_fc_ae_study.py            under 3 minutes on 2 CPU cores

With weights of variance 1/n, each layer brings the variance of the activations nearer to 1.
With 1/(3n) it shrinks from layer to layer, down to what the biases add: see (11) and (12) of
theory/appendix/test_losses.py. This is measured in exercise 1's autoencoder, which has 3
layers of SELU, and in deeper ones, 784-100-...-100-30-100-...-100-784. Seeds are paired; the
order of images, the number of steps and the learning rate are the same for all.

    x -> selu(W x + b) -> ...,   LeCun's normal: Var(W) = 1/n for n inputs, b = 0
                                 torch's default: W and b uniform, of variance 1/(3n)
"""
# sheet: S4.1

import itertools

import _path  # noqa: F401
import torch
from torch import nn

from minidl.data import batches, steps_per_epoch, to_unit
from minidl.evaluation import evaluate
from minidl.lab import cli, paired, plot
from minidl.losses import bce
from minidl.schedules import one_cycle

DEPTHS = 3, 9, 15  # layers of SELU; 3 is exercise 1's


def build(depth, start):
    """x (B, 1, 28, 28) -> logits (B, 1, 28, 28), by an odd number `depth` of SELUs."""
    side = [100] * (depth // 2)
    n, layers = 784, [nn.Flatten()]
    for m in (*side, 30, *side):
        layers += [nn.Linear(n, m), nn.SELU()]
        n = m
    layers += [nn.Linear(n, 784), nn.Unflatten(1, (1, 28, 28))]
    for layer in layers:
        if start == "LeCun" and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features ** -0.5)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


@torch.no_grad()
def deviations(network, x):
    """The standard deviation over images and units, of x and after each SELU."""
    found = [x.std().item()]
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.SELU):
            found.append(x.std().item())
    return found


def main(run,
         seeds: "trainings of each depth and initialisation; amount" = 3,
         epochs: "passes over the training images; amount" = 3,
         batch_size: "images per step" = 128,
         learning_rate: "peak of the one-cycle schedule" = 4e-3,
         images: "training images used, validation included; amount" = 60_000):
    data = run.load(images)
    final, before, some = {}, {}, to_unit(data.train.x[:1000])
    for depth, start in itertools.product(DEPTHS, ("LeCun", "default")):
        name = f"{depth} layers, {start}"
        final[name] = []
        for seed in run.seeded(seeds):
            autoencoder = run.network(build(depth, start))
            before.setdefault(name, deviations(autoencoder, some))
            optimizer = torch.optim.Adam(autoencoder.parameters(), learning_rate,
                                         betas=(0.9, 0.98), fused=True)
            schedule = one_cycle(optimizer, epochs * steps_per_epoch(data.train, batch_size))
            for _ in run.epochs(epochs, f"{name}, seed {seed}", autoencoder=autoencoder,
                                optimizer=optimizer, schedule=schedule):
                for x, _ in batches(data.train, batch_size, run.generator):
                    loss = bce(autoencoder(x), x).mean()
                    optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
                    run.track(len(x), train_bce=loss)
            final[name].append(evaluate(lambda x, _, net=autoencoder: bce(net(x), x),
                                        data.val, autoencoder))

    run.scores("nats per image", val_bce=final)
    run.results.figure("loss", plot.dots(
        final, f"{run.title}: loss by initial weights and depth",
        "validation BCE, nats per image"))
    run.curves("activations", "activations before training",
               "standard deviation over images and units", "layer of SELU, 0: the pixels",
               **{name: (range(len(values)), values) for name, values in before.items()})
    cost = {depth: [b - a for a, b in zip(final[f"{depth} layers, LeCun"],
                                          final[f"{depth} layers, default"], strict=True)]
            for depth in DEPTHS}
    run.claim("LeCun's normal gives 3 layers of SELU a lower loss than torch's default.",
              paired(final["3 layers, default"], final["3 layers, LeCun"]))
    run.claim("Torch's default raises the loss of 15 layers more than the loss of 3.",
              paired(cost[15], cost[3]))
    ours, default = (before[f"15 layers, {start}"][-1] for start in ("LeCun", "default"))
    run.claim("Before training, the standard deviation after 15 layers is at least twice as "
              "large with LeCun's normal.", ours > 2 * default, LeCun=ours, default=default)


SIZES = {"quick": {"seeds": 1, "epochs": 1, "images": 3000}, "full": {"epochs": 20}}

if __name__ == "__main__":
    cli.start(main, data="mnist", **SIZES)
