"""A training step in bfloat16 beside one in float32: ratios, side by side in one process.

    python tests/bench_precision.py [rounds]

Both take turns, a step each, on the same batch; printed is the median over the rounds of
float32's time over bfloat16's, with the quartiles. That accuracy stays the same is told by
`python assignments/hw1_classification.py --precision float32` beside its default.
"""

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import torch
import torch.nn.functional as F
from ex2_conv_ae import Decoder, Encoder
from hw1_classification import CNN, MLP
from torch import nn

from minidl.precision import autocast, has_bfloat16

BATCH = 128
NETWORKS = {"MLP 784-512-256-10": lambda: MLP(512, 10), "CNN, 24 filters": lambda: CNN(24, 10),
            "CNN, 64 filters": lambda: CNN(64, 10),
            "convolutional autoencoder": lambda: nn.Sequential(Encoder(), Decoder())}


def stepper(make, precision):
    """-> a function that takes a step and tells its seconds."""
    network = make().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    x, y = torch.rand(BATCH, 1, 28, 28), torch.arange(BATCH) % 10

    def step():
        start = time.perf_counter()
        with autocast("cpu", precision):
            out = network(x).float()
        loss = F.mse_loss(out, x) if out.dim() == 4 else F.cross_entropy(out, y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        return time.perf_counter() - start

    return step


def main(rounds):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}, "
          f"instructions for bfloat16: {has_bfloat16('cpu')}")
    for name, make in NETWORKS.items():
        steps = {kind: stepper(make, kind) for kind in ("float32", "bfloat16")}
        for _ in range(3):
            for step in steps.values():
                step()
        ratios = []
        for _ in range(rounds):
            seconds = {kind: step() for kind, step in steps.items()}
            ratios.append(seconds["float32"] / seconds["bfloat16"])
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:<28} float32 / bfloat16: {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
