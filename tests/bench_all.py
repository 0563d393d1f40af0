"""What an epoch costs beside its arithmetic, as a ratio of two things measured side by side.

    python tests/bench_all.py [rounds]        some minutes, needs MINIDL_DATA or data/

An epoch of the MLP VAE 784-400-20 on MNIST as a script does it, with its batches, progress
line and checkpoint, over as many steps on one batch that lies there; in float32, and in
bfloat16 where the processor has it. The two take turns within a round; printed is the median
of their ratio over the rounds, with the smallest and the largest. Times alone say little on a
shared machine.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch
from torch import nn

from minidl.data import batches, load, steps_per_epoch, to_unit
from minidl.gaussian import kl_to_std_normal, reparametrise
from minidl.lab.fast import has_bfloat16
from minidl.lab.run import Run
from minidl.losses import bce

BATCH = 128


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(),
                                     nn.Linear(400, 40))
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784),
                                     nn.Unflatten(1, (1, 28, 28)))  # logits

    def forward(self, x, generator):
        """-ELBO (B,), in nats."""
        mu, logvar = self.encoder(x).float().chunk(2, dim=1)
        logits = self.decoder(reparametrise(mu, logvar, generator))
        return bce(logits.float(), x) + kl_to_std_normal(mu, logvar)


def training(train, folder, rounds, bits):
    """-> functions: an epoch, and its limit."""
    run, vae = Run("bench", "default", {}, out=folder), VAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    epochs = run.epochs(10 * rounds, str(bits), vae=vae, optimizer=optimizer)

    def step(x):
        with torch.autocast("cpu", torch.bfloat16, enabled=bits == 16):
            loss = vae(x, run.generator).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        return loss

    def epoch():
        next(epochs)  # the one before ends: its line, its checkpoint
        for x, _ in batches(train, BATCH, run.generator):
            run.track(len(x), train_nats=step(x))

    def limit():
        x = to_unit(train.x[:BATCH])
        for _ in range(steps_per_epoch(train, BATCH)):
            step(x)

    return epoch, limit


def show(name, over, under, rounds):
    """A row: the median of over's seconds by under's, which take turns to begin."""
    ratios, below = [], []
    for i in range(-1, rounds):  # the first round warms up
        seconds = {}
        for kind in ((over, under) if i % 2 else (under, over)):
            start = time.perf_counter()
            kind()
            seconds[kind] = time.perf_counter() - start
        if i >= 0:
            ratios.append(seconds[over] / seconds[under])
            below.append(seconds[under])
    print(f"{name:<48}{statistics.median(ratios):8.3f}   ({min(ratios):.3f} to "
          f"{max(ratios):.3f}; {statistics.median(below):.3g} s below)", flush=True)


def main(rounds):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds\n")
    torch.set_flush_denormal(True)  # as cli.start does, before torch starts its threads
    data = load("mnist")
    with tempfile.TemporaryDirectory() as folder:
        for bits in (32, 16)[:1 + has_bfloat16("cpu")]:
            show(f"training / limit, {data.title}, {bits} bits",
                 *training(data.train, Path(folder, str(bits)), rounds, bits), rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
