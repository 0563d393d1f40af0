"""The pictures of the theory: the Jacobians of a convolution, and a stride under a shift.

python theory/figures.py [--out outputs/theory]

Every number drawn is computed by a layer: J column by column from unit signals (claims 36, 37,
39), the pooled signals by pooling (claims 17, 19). The tests are the proof, not the pictures.
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # minidl, in a bare checkout

from minidl.conv import conv1d, conv2d
from minidl.lab import cli
from minidl.lab.plot import COLOURS, STYLE, WIDTH


def jacobian_1d(n, k, **geometry):
    """dy_i/dx_j (m, n) of a layer with weights 1 .. k: an entry tells which weight it is."""
    w = torch.arange(1.0, k + 1).reshape(1, 1, k)
    return conv1d(torch.eye(n)[:, None], w, **geometry)[:, 0].T


def jacobian_2d(n, k):
    """The same for an n x n image and weights 1 .. k^2, pixels row by row: (m^2, n^2)."""
    w = torch.arange(1.0, k**2 + 1).reshape(1, 1, k, k)
    return conv2d(torch.eye(n**2).reshape(-1, 1, n, n), w).flatten(1).T


def draw_cell(axes, column, row, width, colour, text, faded=False):
    """A box with a text in black or white, whichever can be read on it."""
    red, green, blue = to_rgb(colour)
    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
    axes.add_patch(Rectangle((column, row), width, 1, facecolor=colour, edgecolor="#999999",
                             linewidth=0.6, alpha=0.25 if faded else 1))
    if text:
        axes.text(column + width / 2, row + 0.5, text, ha="center", va="center", fontsize=7,
                  color="#666666" if faded else "white" if dark else "black",
                  in_layout=False)  # it is inside its box; measuring hundreds takes seconds


def draw_matrix(axes, J, colours, labels, title, kept=lambda i, j: True, first=0):
    """J, weight u in colours[u], what is not kept in pale; column 0 of J is number `first`."""
    m, n = J.shape
    for i in range(m):
        for j in range(n):
            u = int(J[i, j])
            draw_cell(axes, first + j, i, 1, ["white", *colours][u], ["", *labels][u],
                      faded=not kept(i, first + j))
    axes.set(xlim=(first - 0.1, first + n + 0.1), ylim=(m + 0.1, -0.1), aspect="equal",
             xticks=[], yticks=[], anchor="N")
    axes.set_title(title)
    axes.spines[:].set_visible(False)


@matplotlib.rc_context(STYLE)
def toeplitz():
    """T(w), and what stride, padding and dilation make of it."""
    n, k = 8, 3
    panels = [("stride 1, no padding: entry (i, j) is w[j - i]", jacobian_1d(n, k), {}, 1),
              ("stride 2 keeps every second row", jacobian_1d(n, k),
               {"kept": lambda i, j: i % 2 == 0}, 2),
              ("padding 1 deletes the outer columns of n + 2", jacobian_1d(n + 2, k),
               {"kept": lambda i, j: 0 <= j < n, "first": -1}, 1),
              ("dilation 2 spreads the diagonals", jacobian_1d(n, k, dilation=2), {}, 1)]
    figure = Figure(figsize=(WIDTH, 6), layout="constrained")
    figure.suptitle("The Jacobian of a 1-D convolution is banded Toeplitz")
    grid = figure.subplots(2, 2, height_ratios=(6, 8)).flat
    for axes, (title, J, changes, stride) in zip(grid, panels, strict=True):
        draw_matrix(axes, J, COLOURS, ["w₀", "w₁", "w₂"], title, **changes)
        rows = range(0, len(J), stride)
        axes.set_xticks([j + 0.5 for j in range(n)], range(n))
        axes.set_yticks([row + 0.5 for row in rows], range(len(rows)))
        axes.set(xlabel="input j", ylabel="output i", xlim=(-1.1, n + 1.1))
        axes.tick_params(length=0)
    return figure


@matplotlib.rc_context(STYLE)
def doubly_block_toeplitz():
    """A Toeplitz arrangement of Toeplitz blocks, for two kernels."""
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    figure.suptitle("The Jacobian of a 2-D convolution is doubly block Toeplitz:\n"
                    "block (i, r), from input row r to output row i, is T(w[r - i])")
    for axes, (n, k) in zip(figure.subplots(2, 1, height_ratios=(5, 9)), [(3, 2), (5, 3)],
                            strict=True):
        m = n - k + 1
        colours = colormaps["viridis"]([u / (k**2 - 1) for u in range(k**2)])
        draw_matrix(axes, jacobian_2d(n, k), colours,
                    [f"{a}{b}" for a in range(k) for b in range(k)],
                    f"a {k}x{k} kernel on a {n}x{n} image; ab stands for w[a, b]")
        axes.hlines(range(0, m**2 + 1, m), 0, n**2, color="black", linewidth=1.6)
        axes.vlines(range(0, n**2 + 1, n), 0, m**2, color="black", linewidth=1.6)
        axes.set(xlabel="input pixel, row by row", ylabel="output pixel, row by row")
    return figure


@matplotlib.rc_context(STYLE)
def strided_pooling():
    """Zhang's example: max pooling by 2 of a signal, and of the signal shifted by 1 and 2."""
    x = torch.tensor([[0.0, 0, 1, 1, 0, 0, 1, 1]])
    colours = colormaps["cividis"]([0.15, 1.0])
    figure = Figure(figsize=(WIDTH, 1.9), layout="constrained")
    figure.suptitle("Max pooling with stride 2 is not time invariant:\n"
                    "a shift by 2 comes out as a shift by 1, a shift by 1 as no shift of y")
    for a, axes in enumerate(figure.subplots(1, 3)):
        shifted = x.roll(a, 1)
        pooled = F.max_pool1d(shifted, 2)
        for row, signal, width in (0, shifted, 1), (1.8, pooled, 2):
            for j, value in enumerate(signal[0].int().tolist()):
                draw_cell(axes, j * width, row, width, colours[value], str(value))
        for window in range(0, 8, 2):
            axes.plot([window + 0.1, window + 0.1, window + 1.9, window + 1.9],
                      [1.15, 1.4, 1.4, 1.15], color="black", linewidth=1)
        axes.set(xlim=(-0.1, 8.1), ylim=(2.9, -0.1), aspect="equal", xticks=[],
                 yticks=[0.5, 2.3], yticklabels=["x", "y"])
        axes.set_title(f"x shifted by {a}" if a else "x and its maxima y")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


FIGURES = {"jacobian_1d": toeplitz, "jacobian_2d": doubly_block_toeplitz,
           "strided_pooling": strided_pooling}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs", "theory"), metavar="DIR",
                        help="gets the PNG files (default outputs/theory)")
    out = parser.parse_args(argv).out
    with cli.mistakes("figures.py", out):
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in FIGURES.items():
            figure().savefig(out / f"{name}.png", dpi=240)
            print(out / f"{name}.png")


if __name__ == "__main__":
    main()
