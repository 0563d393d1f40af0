"""What an epoch costs beyond its arithmetic, and beside what people run: ratios.

    python tests/bench_training.py [rounds]

The MLP VAE 784-400-20 at batch 128, on MNIST.

    limit     as many training steps on one batch that lies there
    minidl    as hw2_vae.py does it: batches, run.track, a checkpoint, losses.evaluate; in
              float32, and in the scripts' default where the processor has bfloat16; like a
              script, it counts numbers below 1e-38 as 0 (cli.start)
    textbook  as pytorch/examples does it (vae/main.py), written anew: each image from bytes
              through PIL to a tensor (torchvision's MNIST with ToTensor), DataLoader, sigmoid
              and binary_cross_entropy, Adam, loss.item() in every step

minidl is measured by its limit in training, by the textbook in an epoch and its test together
(of 55,000 images it leaves out the 88 that fill no batch). That both train alike is in
tests/test_hw2_vae.py. Two kinds take turns to begin a round, and a ratio is taken within it;
printed is the median over the rounds, with the smallest and the largest. The times themselves
say little on a shared machine.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image  # a part of what matplotlib needs
from torch import nn
from torch.utils.data import DataLoader, Dataset

from minidl.data import batches, steps_per_epoch, to_unit
from minidl.data import images as datasets
from minidl.evaluation import evaluate
from minidl.gaussian import kl_to_std_normal, reparametrise
from minidl.lab.fast import has_bfloat16
from minidl.lab.run import Run
from minidl.losses import bce

BATCH = 128


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
        self.to_mu, self.to_logvar = nn.Linear(400, 20), nn.Linear(400, 20)
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784),
                                     nn.Unflatten(1, (1, 28, 28)))  # logits

    def encode(self, x):
        h = self.hidden(x)
        return self.to_mu(h).float(), self.to_logvar(h).float()


def minidl_loss(vae, x, generator, bits=32):
    """-ELBO (B,), in nats."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bits == 16):
        mu, logvar = vae.encode(x)
        logits = vae.decoder(reparametrise(mu, logvar, generator))
    return bce(logits.float(), x) + kl_to_std_normal(mu, logvar)


def textbook_loss(vae, x):
    """-ELBO (), the sum over a batch."""
    mu, logvar = vae.encode(x)
    std = torch.exp(0.5 * logvar)
    x_hat = torch.sigmoid(vae.decoder(mu + torch.randn_like(std) * std))
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return F.binary_cross_entropy(x_hat, x, reduction="sum") + kl


class Images(Dataset):
    def __init__(self, split):
        self.images, self.labels = split.x.squeeze(1), split.y

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, label = Image.fromarray(self.images[i].numpy(), mode="L"), int(self.labels[i])
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(28, 28, 1)
        return pixels.permute(2, 0, 1).contiguous().float().div(255), label


def minidl(train, test, run, rounds, bits):
    """-> functions: its training of an epoch, the test after it, the limit of the training."""
    vae = VAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    epochs = run.epochs(10 * rounds, str(bits), vae=vae, optimizer=optimizer)

    def step(x):
        loss = minidl_loss(vae, x, run.generator, bits).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        return loss

    def training():
        next(epochs)  # the one before ends: its line, its checkpoint
        for x, _ in batches(train, BATCH, run.generator):
            run.track(len(x), train_nats=step(x))

    def testing():
        z = torch.Generator().manual_seed(0)
        run.log(test_nats=evaluate(
            lambda x, _: minidl_loss(vae, x, z, bits), test, vae))

    def limit():
        x = to_unit(train.x[:BATCH])
        for _ in range(steps_per_epoch(train, BATCH)):
            step(x)

    return training, testing, limit


def textbook(train, test):
    """-> a function: an epoch and its test."""
    vae = VAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    train_batches = DataLoader(Images(train), BATCH, shuffle=True)
    test_batches = DataLoader(Images(test), BATCH)

    def epoch():
        torch.set_flush_denormal(False)
        train_loss = test_loss = 0
        vae.train()
        for x, _ in train_batches:
            optimizer.zero_grad()
            loss = textbook_loss(vae, x)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        vae.eval()
        with torch.no_grad():
            for x, _ in test_batches:
                test_loss += textbook_loss(vae, x).item()
        torch.set_flush_denormal(True)

    return epoch


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
    torch.set_flush_denormal(True)  # before torch starts its threads, which then do so, too
    data = datasets.load("mnist")
    train, test = data.train, data.test()
    print(f"{data.title}: {len(train.x):,} training and {len(test.x):,} test images, batch "
          f"{BATCH}; {torch.get_num_threads()} threads, {rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        for bits in (32, 16)[:1 + has_bfloat16("cpu")]:
            run = Run("bench", "default", {}, out=Path(folder) / str(bits))
            training, testing, limit = minidl(train, test, run, rounds, bits)

            def ours(training=training, testing=testing):
                training()
                testing()

            show(f"minidl / limit, {bits} bits", training, limit, rounds)
            show(f"textbook / minidl, {bits} bits", textbook(train, test), ours, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
