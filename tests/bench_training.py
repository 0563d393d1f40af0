"""What an epoch costs beyond its arithmetic: ratios, measured side by side in one process.

    python tests/bench_training.py [rounds]

    fixed batch   the same number of steps on one batch that lies there: the limit
    minidl        run.epochs and batches: shuffle, gather, scale, track, checkpoint
    textbook      a Dataset that turns each image from bytes into a tensor, and a DataLoader,
                  in the same process or with one worker process

They take turns within each round, each round beginning with the next one, as a processor
that has rested runs faster for a second. A ratio is taken within a round; printed is the
median over the rounds, with the smallest and the largest. The times themselves say little on
a shared machine.
"""

import functools
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import numpy as np
import torch
from ex2_conv_ae import Decoder, Encoder
from PIL import Image  # a part of what matplotlib needs
from torch import nn
from torch.utils.data import DataLoader, Dataset

from minidl.data import Split, batches, steps_per_epoch, to_unit
from minidl.losses import l1
from minidl.run import Run

N, BATCH = 55_000, 128
FIXED, OURS = "fixed batch", "minidl"
TEXTBOOKS = (("textbook", 0), ("textbook, 1 worker", 1))  # DataLoader's num_workers
MODELS = {
    "MLP 784-400-20-400-784": (lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 20), nn.Linear(20, 400),
        nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))),
        TEXTBOOKS),
    "convolutional autoencoder": (lambda: nn.Sequential(Encoder(), Decoder()), ()),
}


class Textbook(Dataset):
    """One image at a time, as torchvision's MNIST with ToTensor does it: through PIL."""

    def __init__(self, split):
        self.images, self.labels = split.x.squeeze(1), split.y

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, label = Image.fromarray(self.images[i].numpy(), mode="L"), int(self.labels[i])
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(28, 28, 1)
        return pixels.permute(2, 0, 1).contiguous().float().div(255), label


def step(model, optimizer, x):
    loss = l1(model(x), x).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss


def measure(make, split, run, rounds, textbooks):
    """kind -> its seconds an epoch, one a round."""
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    epochs = run.epochs(rounds + 2, "bench", model=model, optimizer=optimizer)
    x = to_unit(split.x[:BATCH])
    next(epochs)

    def fixed_batch():
        for _ in range(steps_per_epoch(split, BATCH)):
            step(model, optimizer, x)

    def minidl():
        for batch, _ in batches(split, BATCH, run.generator):
            run.track(len(batch), loss=step(model, optimizer, batch))
        next(epochs)  # the epoch's end: its line, its checkpoint

    def textbook(workers):
        for batch, _ in DataLoader(Textbook(split), BATCH, shuffle=True, num_workers=workers):
            step(model, optimizer, batch)

    kinds = [(FIXED, fixed_batch), (OURS, minidl)]
    kinds += [(name, functools.partial(textbook, workers)) for name, workers in textbooks]
    seconds = {name: [] for name, _ in kinds}
    for i in range(-1, rounds):  # the first round warms up
        for name, epoch in kinds[i % len(kinds):] + kinds[:i % len(kinds)]:
            start = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def main(rounds):
    random = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (N, 1, 28, 28), generator=random, dtype=torch.uint8)
    split = Split(x, torch.randint(0, 10, (N,), generator=random))
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        run = Run("bench", "default", {}, out=folder)
        for model, (make, textbooks) in MODELS.items():
            seconds = measure(make, split, run, rounds, textbooks)
            pairs = [(OURS, FIXED)] + [(name, OURS) for name, _ in textbooks]
            for over, under in pairs:
                ratio = seconds[over] / seconds[under]
                lines.append(f"{model:<26}{f'{over} / {under}':<33}{np.median(ratio):6.3f}   "
                             f"({ratio.min():.3f} to {ratio.max():.3f}; "
                             f"{np.median(seconds[under]):.2f} s below)")
    print(f"\nan epoch of {N:,} images, batch {BATCH}, {torch.get_num_threads()} threads, "
          f"median of {rounds} rounds (smallest to largest)")
    print("\n".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
