"""The projections measured: PCA of MNIST's training images, t-SNE of 2,000 test images.

    python tests/bench_projections.py [threads]

    PCA    60,000 x 784 bytes to 12 dimensions: the best of 5
    t-SNE  the first 2,000 test images in those dimensions, perplexity 30: its divergence, the
           trustworthiness (5 neighbours, against what t-SNE was given), the seconds of one run

Both divergences and trustworthinesses are measured by minidl's functions, so scikit-learn's
points are judged by the same rule; it is a row of its own where it is installed. Needs
MINIDL_DATA or data/.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np
import torch

import data_download
from minidl import idx, pca
from minidl.data.sources import FILES, file_of
from minidl.representation import trustworthiness
from minidl.tsne import affinities, divergence, tsne

try:
    from sklearn import decomposition, manifold
except ImportError:
    manifold = None
ABSENT = "scikit-learn is not installed"


def timed(run):
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def main(threads):
    torch.set_num_threads(threads)
    folder = data_download.data_dir(None) / "mnist"
    train, test = (torch.from_numpy(idx.read(file_of(folder, FILES[split][0])))
                   for split in ("train", "test"))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")

    print("\nPCA, 60,000 x 784 to 12")
    runs = [timed(lambda: pca.fit(train, 12)) for _ in range(5)]
    code = runs[0][1]
    share = code.explained.sum().item()
    print(f"{'minidl':<28}{min(s for s, _ in runs):6.2f} s   {share:.6f} of the variance")
    if manifold:
        x = (train.float() / 255).flatten(1).numpy()
        for solver in ("covariance_eigh", "full"):
            seconds, theirs = timed(
                lambda s=solver: decomposition.PCA(12, svd_solver=s).fit(x))
            print(f"{f'scikit-learn, {solver}':<28}{seconds:6.2f} s   "
                  f"{theirs.explained_variance_ratio_.sum():.6f} of the variance")
    else:
        print(f"{'scikit-learn':<28}{ABSENT}")

    z = code.encode(test[:2000])
    P = affinities(z, 30)
    print("\nt-SNE, 2,000 x 12 to 2, perplexity 30")

    def row(name, run):
        seconds, y = timed(run)
        print(f"{name:<28}{seconds:6.2f} s   KL {divergence(P, y):.4f}   "
              f"trustworthiness {trustworthiness(z, y):.4f}", flush=True)

    row("minidl", lambda: tsne(z))
    if manifold:
        for method in ("exact", "barnes_hut"):
            row(f"scikit-learn, {method}", lambda m=method: torch.from_numpy(np.asarray(
                manifold.TSNE(init="pca", method=m, random_state=0).fit_transform(z))))
    else:
        print(f"{'scikit-learn':<28}{ABSENT}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
