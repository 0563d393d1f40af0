"""Up to how many machines data-parallel training pays: computed from what is measured here.

    python tests/bench_parallel.py

Measured: the seconds of a training step for batches of 32 to 512, fitted as a + b B; the bytes
of the gradient; the seconds in which two processes of this machine take the mean of so many
bytes through gloo, fitted as c + d bytes. Computed, for n machines that share a batch of B on
a network of 1 or 10 Gbit/s and 0.1 ms (a ring sends 2 (n - 1) / n of the bytes in 2 (n - 1)
messages; nothing is hidden behind the backward pass, so it is a lower bound):

    T(n) = a + b B / n + 2 (n - 1) / n bytes / bandwidth + 2 (n - 1) latency
    speed-up = T(1) / T(n);   best: the n of the largest speed-up, up to 64
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import numpy as np
import torch
import torch.distributed as dist
from asst8_fc_ae import build
from ex2_conv_ae import Decoder, Encoder
from hw1_classification import CNN
from torch import nn

BATCHES = 32, 64, 128, 256, 512
NETWORKS = {"1 Gbit/s": 1.25e8, "10 Gbit/s": 1.25e9}  # bytes a second
LATENCY = 1e-4  # seconds a message
MODELS = {
    "SELU autoencoder": build,
    "convolutional autoencoder": lambda: nn.Sequential(Encoder(), Decoder()),
    "CNN, 24 filters": lambda: CNN(24, 10), "CNN, 64 filters": lambda: CNN(64, 10),
    "CNN, 64 filters, pooled": lambda: CNN(64, 10, 1)}


def step_seconds(network, B, repeats=7):
    """The median seconds of a training step with a batch of B images."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    x, seconds = torch.rand(B, 1, 28, 28), []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        loss = network(x).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def mean_seconds(rank, folder, sizes, tell):
    """One of two processes: the median seconds to take the mean of tensors of these bytes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank,
                            world_size=2)
    found = []
    for size in sizes:
        gradient, seconds = torch.rand(size // 4), []
        for _ in range(12):
            dist.barrier()
            start = time.perf_counter()
            dist.all_reduce(gradient)
            seconds.append(time.perf_counter() - start)
        found.append(statistics.median(seconds[2:]))
    if rank == 0:
        tell.put(found)
    dist.destroy_process_group()


def between_two_processes(sizes):
    processes = multiprocessing.get_context("spawn")
    tell = processes.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        both = [processes.Process(target=mean_seconds, args=(rank, folder, sizes, tell))
                for rank in range(2)]
        for process in both:
            process.start()
        found = tell.get()
        for process in both:
            process.join()
    return found


def machines_seconds(n, a, work, size, bandwidth):
    """T(n) of the docstring, work = b B."""
    return a + work / n + 2 * (n - 1) / n * size / bandwidth + 2 * (n - 1) * LATENCY


def main():
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    sizes = [2**k for k in range(14, 25, 2)]
    d, c = np.polyfit(sizes, between_two_processes(sizes), 1)
    print(f"two processes of this machine: the mean of M bytes takes {1e3 * max(c, 0):.2f} ms "
          f"+ M / {1e-9 / d:.2f} GB/s\n")
    print(f"{'':<27}{'gradient':>9}{'a':>9}{'b':>10}   B   two processes "
          + "".join(f"{name:>24}" for name in NETWORKS))
    print(f"{'':<27}{'MB':>9}{'ms':>9}{'ms/image':>10}       of one machine"
          + f"{'best n (speed-up)':>24}" * len(NETWORKS))
    for name, make in MODELS.items():
        network = make()
        size = 4 * sum(p.numel() for p in network.parameters())
        b, a = np.polyfit(BATCHES, [step_seconds(network, B) for B in BATCHES], 1)
        a = max(a, 0)
        for B in (128, 4096):
            one = a + b * B
            here = one / (a + b * B / 2 + c + d * size)
            cells = []
            for bandwidth in NETWORKS.values():
                shared = [machines_seconds(n, a, b * B, size, bandwidth) for n in range(1, 65)]
                cells.append(f"{1 + int(np.argmin(shared)):>14} ({one / min(shared):5.2f})  ")
            print(f"{name:<27}{size / 1e6:9.2f}{1e3 * a:9.2f}{1e3 * b:10.4f}{B:>5}{here:12.2f}"
                  f"   {''.join(cells)}")


if __name__ == "__main__":
    main()
