"""Every cost beside what it is measured by, as ratios, side by side in one run.

    python tests/bench_all.py [rounds]        about 10 minutes, needs MINIDL_DATA or data/

    data path    an epoch of a script's own training function, its batches gathered, shuffled
                 and scaled, its progress line and checkpoint written, over its limit: the same
                 function, as often, with one batch that lies there and a run without services
    textbook     torch's DataLoader with one image at a time over minidl (bench_training.py)
    projections  PCA and t-SNE beside scikit-learn, where it is installed
    convolution  minidl/conv.py over torch.nn.functional
    precision    float32 over bfloat16 (bench_precision.py)
    start-up     until a script's main begins, over importing torch alone; memory; tokenising
    growth       the exponent k of seconds ~ work^k, fitted over a doubling row

Two kinds take turns within a round; printed is the median of their ratio over the rounds, with
the smallest and the largest. Times alone say little on a shared machine.
"""

import contextlib
import functools
import io
import itertools
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments"), str(ROOT / "tests")]

import asst8_rnn
import bench_precision
import bench_projections
import bench_training
import hw1_classification as hw1
import hw2_conv_ae
import hw2_gan
import hw2_simclr
import numpy as np
import torch

from minidl import conv, pca
from minidl.data import Split, review_sources, reviews, steps_per_epoch, to_unit
from minidl.gan import non_saturating
from minidl.lab.run import Run
from minidl.tsne import affinities, gradient


class Bare:
    """A run without services: no line, no checkpoint, no mean of the losses."""

    def __init__(self, run):
        self.device, self.generator, self.seed = run.device, run.generator, run.seed
        self.seed_everything, self.history = run.seed_everything, {}

    def epochs(self, n, name, **parts):
        return range(1, n + 1)

    def track(self, n, **losses):
        pass

    def log(self, **values):
        pass


def some_images(n):
    random = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 1, 28, 28), generator=random, dtype=torch.uint8)
    return Split(x, torch.randint(0, 10, (n,), generator=random))


FEW = some_images(64)


def mlp(run):
    return lambda split: hw1.train(run, "MLP", hw1.MLP(512, 10), split, FEW, 1, 128, 6e-3,
                                   "auto")


def cnn(run):
    network = hw1.CNN(24, 10).to(memory_format=torch.channels_last)
    return lambda split: hw1.train(run, "CNN", network, split, FEW, 1, 128, 6e-3, "auto")


def conv_ae(run):
    network = hw2_conv_ae.build(hw2_conv_ae.CONV, 16, 16, 256)
    return lambda split: hw2_conv_ae.train(
        run, "AE", network, Parts(split, FEW), 1, 128, 6e-3, 0.0, "auto")


def gan(run):
    G, D = hw2_gan.build(run, 64, 32)

    def judge(x):
        return 0.0, torch.zeros(10)

    judge.real = FEW.y
    return lambda split: hw2_gan.train(run, "GAN", G, D, split, judge, 1, non_saturating, 64,
                                       5e-4, "auto")


def simclr(run):
    kinds = hw2_simclr.AUGMENTATIONS
    return lambda split: hw2_simclr.train(run, "SimCLR", hw2_simclr.SIMCLR, split, kinds, 0,
                                          32, 1, 256, 3e-3, 0.2, "auto")


def rnn(run):
    recipe = asst8_rnn.RECIPES[asst8_rnn.CURED]
    network = asst8_rnn.build(run, recipe, 1000, 200)
    few = some_reviews(10)
    return lambda split: asst8_rnn.train(run, "RNN", network, Parts(split, few), 1, 64, 1e-3,
                                         "auto")


class Parts:
    def __init__(self, train, val):
        self.train, self.val = train, val


@functools.cache
def some_reviews(n):
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(50, 400, (n,), generator=random)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    w = torch.randint(1, 1000, (int(starts[-1]),), generator=random, dtype=torch.int32)
    return reviews.Reviews(w, starts, torch.arange(n) % 2)


KINDS = {"MLP": (hw1, mlp, 55_000, 128), "conv AE": (hw2_conv_ae, conv_ae, 12_800, 128),
         "CNN": (hw1, cnn, 12_800, 128), "RNN": (asst8_rnn, rnn, 6400, 64),
         "GAN": (hw2_gan, gan, 12_800, 64), "SimCLR": (hw2_simclr, simclr, 12_800, 256)}


def limit(module, split, batch_size, *, like):
    """Within it, the module's batches are one that lies there; of reviews, a list made before,
    since its steps differ in length."""
    if like is reviews:
        made = list(reviews.batches(split, batch_size, torch.Generator().manual_seed(0), 200))

        def fixed(*args):
            return iter(made)
    else:
        batch = to_unit(split.x[:batch_size]), split.y[:batch_size]

        def fixed(*args):
            return itertools.repeat(batch, steps_per_epoch(split, batch_size))

    @contextlib.contextmanager
    def patched():
        own, module.batches = module.batches, fixed
        try:
            yield
        finally:
            module.batches = own
    return patched()


def data_path(rounds):
    for name, (module, kind, n, batch_size) in KINDS.items():
        like = reviews if name == "RNN" else None
        split = some_reviews(n) if like else some_images(n)
        with tempfile.TemporaryDirectory() as folder:
            run = Run("bench", "default", {}, out=folder)
            ours, bare = kind(run), kind(Bare(run))

            def whole(ours=ours, split=split):
                with contextlib.redirect_stdout(io.StringIO()):
                    ours(split)

            def fixed(bare=bare, split=split, module=module, size=batch_size, like=like):
                with limit(module, split, size, like=like):
                    bare(split)

            show(f"data path, {name}", "limit", whole, fixed, rounds)


def show(name, base, over, under, rounds):
    """A row: the median of over's seconds by under's, which take turns to begin."""
    ratios, below = [], []
    for i in range(-1, rounds):  # the first round warms up
        seconds = {}
        for kind in ((over, under) if i % 2 else (under, over)):
            start = time.perf_counter()
            kind()
            seconds[kind] = time.perf_counter() - start
        ratios.append(seconds[over] / seconds[under])
        below.append(seconds[under])
    ratios, below = ratios[1:], below[1:]
    print(f"{name + ' / ' + base:<46}{statistics.median(ratios):8.3f}   "
          f"({min(ratios):.3f} to {max(ratios):.3f}; {statistics.median(below):.3g} s below)",
          flush=True)


def growth(name, works, make):
    """A row: k of seconds ~ work^k, each the best of three."""
    seconds = []
    for work in works:
        step = make(work)
        step()
        seconds.append(min(timed(step) for _ in range(3)))
    k, _ = np.polyfit(np.log(works), np.log(seconds), 1)
    print(f"{name:<46}{k:8.2f}   ({works[0]:,} to {works[-1]:,}: {seconds[0]:.3g} to "
          f"{seconds[-1]:.3g} s)", flush=True)


def timed(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def growths():
    random = torch.Generator().manual_seed(0)

    def training(batch_size):
        network = hw1.CNN(24, 10).to(memory_format=torch.channels_last)
        x = torch.rand(batch_size, 1, 28, 28, generator=random)
        return lambda: network(x).sum().backward()

    def one_gradient(n):
        y = torch.randn(n, 2, generator=random)
        P = affinities(torch.randn(n, 12, generator=random), 10).float()
        return lambda: gradient(P, y)

    def fitting(n):
        x = some_images(n).x
        return lambda: pca.fit(x, 12)

    texts = ["It isn't a good film, but I liked it. <br /> " * 20] * 4000
    growth("CNN's passes by batch", (64, 128, 256, 512), training)
    growth("t-SNE's gradient by points", (500, 1000, 2000, 4000), one_gradient)
    growth("PCA by images", (5000, 10_000, 20_000, 40_000), fitting)
    growth("words by reviews", (500, 1000, 2000, 4000), lambda n: lambda: [
        review_sources.words_of(text) for text in texts[:n]])


def by_hand(rounds):
    x, k = torch.rand(8, 4, 14, 14), torch.rand(8, 4, 3, 3)
    show("convolution by hand, 8 x 4 x 14 x 14", "torch", lambda: conv.conv2d(x, k),
         lambda: torch.nn.functional.conv2d(x, k), rounds)


def start_up(rounds):
    def run(*command):
        return lambda: subprocess.run([sys.executable, "-c", *command], check=True,
                                      cwd=ROOT / "assignments")

    show("start-up, import ex2_conv_ae", "import torch", run("import ex2_conv_ae"),
         run("import torch"), min(rounds, 5))


def main(rounds):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds\n")
    data_path(rounds)
    by_hand(rounds)
    start_up(rounds)
    growths()
    print()
    bench_training.main(rounds)
    print()
    bench_precision.main(20)
    print()
    bench_projections.main(torch.get_num_threads())
    start = time.perf_counter()
    archive = bench_projections.data_download.data_dir(None) / "imdb" / "aclImdb_v1.tar.gz"
    if archive.is_file():
        texts = review_sources._numbered(review_sources._in_archive(archive))
        print(f"\nIMDb's words: {len(texts.y):,} reviews, {len(texts.w):,} words in "
              f"{time.perf_counter() - start:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"memory of this process at its largest: {peak:.2f} GiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
