"""Every cost beside what it is measured by, as ratios, side by side in one run.

    python tests/bench_all.py [rounds]        about 10 minutes, needs MINIDL_DATA or data/

    data path    an epoch with its batches gathered, shuffled and scaled, its progress line and
                 checkpoint written, over its limit: as many steps with a batch that lies there
    convolution  minidl/conv.py over torch.nn.functional
    start-up     until a script's main begins, over importing torch alone
    textbook     torch's DataLoader with one image at a time over minidl (bench_training.py)

Two kinds take turns within a round; printed is the median of their ratio over the rounds, with
the smallest and the largest. Times alone say little on a shared machine.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments"), str(ROOT / "tests")]

import bench_training
import torch
import torch.nn.functional as F
from bench_training import show
from torch import nn

from minidl import conv
from minidl.data import Split, batches, reviews
from minidl.lab.run import Run


def some_images(n, generator):
    x = torch.randint(0, 256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Split(x, torch.randint(0, 10, (n,), generator=generator))


def some_reviews(n, generator):
    lengths = torch.randint(50, 400, (n,), generator=generator)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    w = torch.randint(1, 1000, (int(starts[-1]),), generator=generator, dtype=torch.int32)
    return reviews.Reviews(w, starts, torch.arange(n) % 2)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1),
                         nn.ReLU(), nn.Flatten(), nn.Linear(48 * 49, 10))


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.rnn = nn.Embedding(1000, 32), nn.GRU(32, 64, batch_first=True)
        self.out = nn.Linear(64, 2)

    def forward(self, words):
        return self.out(self.rnn(self.words(words))[0].mean(dim=1))


def data_path(rounds):
    generator = torch.Generator().manual_seed(0)
    images, texts = some_images(12_800, generator), some_reviews(3200, generator)
    for name, network, drawn in (
            ("MLP", mlp(), lambda: batches(images, 128, generator)),
            ("CNN", cnn(), lambda: batches(images, 128, generator)),
            ("GRU", Reader(), lambda: reviews.batches(texts, 64, generator, 200))):
        with tempfile.TemporaryDirectory() as folder:
            run = Run("bench", "default", {}, out=folder)
            optimizer = torch.optim.Adam(network.parameters(), fused=True)
            epochs = run.epochs(10 * rounds, name, network=network, optimizer=optimizer)
            there = list(drawn())  # the steps of reviews differ in length: all of an epoch

            def step(inputs, y, network=network, optimizer=optimizer):
                loss = F.cross_entropy(network(inputs), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step()
                return loss

            def whole(run=run, epochs=epochs, drawn=drawn, step=step):
                with contextlib.redirect_stdout(io.StringIO()):
                    next(epochs)
                    for inputs, *_, y in drawn():
                        run.track(len(y), loss=step(inputs, y))

            def limit(there=there, step=step):
                for inputs, *_, y in there:
                    step(inputs, y)

            show(f"data path, {name} / limit", whole, limit, rounds)


def by_hand(rounds):
    x, k = torch.rand(8, 4, 14, 14), torch.rand(8, 4, 3, 3)
    show("convolution by hand, 8 x 4 x 14 x 14 / torch", lambda: conv.conv2d(x, k),
         lambda: F.conv2d(x, k), rounds)


def start_up(rounds):
    def run(command):
        return lambda: subprocess.run([sys.executable, "-c", command], check=True,
                                      cwd=ROOT / "assignments")

    show("start-up, import ex2_conv_ae / import torch", run("import ex2_conv_ae"),
         run("import torch"), rounds)


def main(rounds):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds\n")
    data_path(rounds)
    by_hand(rounds)
    start_up(rounds)
    print()
    bench_training.main(rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
