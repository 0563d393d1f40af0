"""A training step in bfloat16 and channels last beside one without: ratios, in one process.

    python tests/bench_precision.py [rounds]

Both take turns, a step each, on the same batch; printed is the median over the rounds of
float32's time over bfloat16's, and of torch's own order of pixels over channels last (see
minidl/lab/fast.py), with the quartiles.
"""

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import ex2_conv_ae
import torch
import torch.nn.functional as F
from hw1_classification import CNN, MLP
from torch import nn

from minidl.lab.fast import has_bfloat16
from minidl.lab.network import network as made_fast

BATCH = 128


def autoencoder():
    return nn.Sequential(ex2_conv_ae.Encoder(), ex2_conv_ae.Decoder())


NETWORKS = {"MLP 784-512-256-10": lambda: MLP(512, 10), "CNN, 24 filters": lambda: CNN(24, 10),
            "CNN, 64 filters": lambda: CNN(64, 10), "convolutional autoencoder": autoencoder}


def stepper(network):
    """-> a function that takes a step and tells its seconds."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    x, y = torch.rand(BATCH, 1, 28, 28), torch.arange(BATCH) % 10

    def step():
        start = time.perf_counter()
        out = network(x)
        loss = F.mse_loss(out, x) if out.dim() == 4 else F.cross_entropy(out, y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        return time.perf_counter() - start

    return step


def main(rounds):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}, "
          f"instructions for bfloat16: {has_bfloat16('cpu')}")
    for name, make in NETWORKS.items():
        show(f"{name:<28} float32 / bfloat16", stepper(made_fast(make(), "cpu")),
             stepper(made_fast(make(), "cpu", bits=16)), rounds)
    show(f"{'convolutional autoencoder':<28} torch's order / channels last",
         stepper(autoencoder()), stepper(made_fast(autoencoder(), "cpu")), rounds)


def show(name, over, under, rounds):
    for _ in range(3):
        over(), under()
    low, middle, high = statistics.quantiles([over() / under() for _ in range(rounds)], n=4)
    print(f"{name}: {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
