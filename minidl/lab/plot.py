"""The figures the sheets ask for: curves, rows of images. Each returns a matplotlib figure.

Drawn without pyplot: no window system, no state between figures. The colours are those of
Okabe and Ito (2008), told apart with any kind of colour vision; curves differ in dashes too.
Ten classes have Petroff's ten colours (2021, arXiv:2107.02270), chosen for the same, and
markers.
"""

import functools
import itertools
import math

import numpy
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-."]
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300",
           "#b9ac70", "#717581", "#92dadd"]


def _with_plain_names(draw):
    """A decorator: in every title and name a $ is drawn as it is, not read as mathematics."""
    def plain(value):
        if isinstance(value, str):
            return value.replace("$", r"\$")
        if isinstance(value, dict):
            return {plain(key): plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if type(value) in (list, tuple) else value

    @functools.wraps(draw)
    def drawn(*args, **options):
        return draw(*plain(args), **plain(options))
    return drawn


@_with_plain_names
def curves(lines, title, x_label, y_label, log_y=False, log_x=False):
    """lines: name -> (x values, y values), a curve, or (x, y, errors), with bars of one error
    up and down; or one number, a dotted level."""
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        if isinstance(line, float):
            axes.axhline(line, color=colour, linestyle=":", label=f"{name} ({line:.3g})")
        else:
            x, y, *error = line
            axes.plot(x, y, DASHES[i % len(DASHES)], color=colour, label=name, marker="o",
                      markersize=3.5)
            if error:
                axes.errorbar(x, y, *error, fmt="none", color=colour, capsize=2)
    figure.suptitle(title, fontsize=12)  # over the legend too: a long one fits
    axes.set(xlabel=x_label, ylabel=y_label)
    if log_x:
        axes.set_xscale("log")
    else:
        _ticks(axes, {float(x) for line in lines.values() if not isinstance(line, float)
                      for x in line[0]})
    if log_y:
        _log_y(axes)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def _ticks(axes, values):
    """Where few x values were measured, they are the ticks."""
    if len(values) <= 4:
        axes.set_xticks(sorted(values))
    else:
        whole = all(float(x).is_integer() for x in values)
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=whole))


def _log_y(axes):
    """A logarithmic y axis with enough numbers for its length, and none over another."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    subs = (range(1, 10) if decades < 0.6 else (1, 1.5, 2, 3, 4, 6) if decades < 1.5 else
            (1, 3) if decades < 4 else (1,))
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))


@_with_plain_names
def image_rows(rows, title, column_labels=(), columns=20, signed=False):
    """rows: name -> images (N, 1, H, W) in [0, 1], one labelled row each, 0 black, 1 white.

    More than `columns` images go on in a further block of the same rows, below. Spaces tell
    rows of the same name apart. signed: of any values, white is 0, orange and purple are as
    far below and above it in all the figure.
    """
    limit = max(float(abs(images).max()) for images in rows.values())
    colours = ({"cmap": "PuOr", "vmin": -limit, "vmax": limit} if signed else
               {"cmap": "gray", "vmin": 0, "vmax": 1})
    N = len(next(iter(rows.values())))
    blocks, columns = math.ceil(N / columns), min(N, columns)
    labels = [str(label).splitlines() for label in column_labels]
    side = max([0.62, *(0.065 * len(line) + 0.1 for label in labels for line in label)])
    below = 0.14 * max(map(len, labels), default=0)  # inches, as is an image's side
    height = (side + 0.04) * len(rows) * blocks + (below + 0.11) * blocks + 0.5
    width = side * columns + 0.5 + 0.095 * max(len(name.strip()) for name in rows)
    figure = Figure(figsize=(width, height), layout="compressed")  # as images keep their shape
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(blocks, squeeze=False)[:, 0]
    for block, axes in enumerate(grid):
        shown = slice(block * columns, (block + 1) * columns)
        for i, images in enumerate(rows.values()):
            drawn = axes.imshow(_side_by_side(images[shown]), interpolation="nearest",
                                extent=(0, len(images[shown]), i + 1, i), **colours)
        labels = column_labels[shown]
        axes.set(xlim=(0, columns), ylim=(len(rows), 0))
        axes.set_xticks([n + 0.5 for n in range(len(labels))], labels, fontsize=8)
        axes.set_yticks([i + 0.5 for i in range(len(rows))],
                        [name.strip() for name in rows], fontsize=9)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    if signed:
        figure.colorbar(drawn, ax=grid, aspect=25, fraction=0.05)
    return figure


def _side_by_side(images):
    """Images (N, 1, H, W) as one with a border of NaN, which is drawn white, around each.

    Small ones are enlarged to 28 pixels or so first, so that all borders are narrow. To draw
    each image by itself takes seconds.
    """
    x = images[:, 0].float().cpu()
    times = max(1, 28 // x.shape[-1])
    x = x.repeat_interleave(times, dim=-1).repeat_interleave(times, dim=-2)
    x = F.pad(x, (1, 1, 1, 1), value=math.nan)
    return x.transpose(0, 1).flatten(1).numpy()  # (N, H, W) -> (H, N W)


@_with_plain_names
def matrix(values, names, title, x_label, y_label):
    """values (C, C), whole numbers, row by row; their colour is the row's share."""
    figure = Figure(figsize=(0.55 * len(names) + 1.6, 0.5 * len(names) + 1.4),
                    layout="constrained")
    axes = figure.add_subplot()
    share = values / values.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in numpy.ndenumerate(values):
        if value:
            axes.text(column, row, f"{value:,}", ha="center", va="center", fontsize=8,
                      color="white" if share[row, column] > 0.5 else "black")
    axes.set(title=title, xlabel=x_label, ylabel=y_label, xticks=range(len(names)),
             yticks=range(len(names)), xticklabels=names, yticklabels=names)
    if max(map(len, names)) > 5:  # longer ones would touch
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    return figure


@_with_plain_names
def dots(groups, title, x_label):
    """groups: name -> values; a row each with a dot a value and a bar at their mean."""
    figure = Figure(figsize=(7.5, 0.36 * len(groups) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    for row, values in enumerate(groups.values()):
        axes.plot(values, [row] * len(values), "o", color=COLOURS[0], markersize=5, alpha=0.7)
        axes.plot(sum(values) / len(values), row, "|", color=COLOURS[1], markersize=16,
                  markeredgewidth=2)
    figure.suptitle(title, fontsize=12)  # over the names too: a long one fits
    figure.supxlabel(x_label, fontsize=10)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    return figure


@_with_plain_names
def bars(groups, names, title, x_label, y_label):
    """groups: name -> one value for each of `names`; bars side by side, a colour a group."""
    figure = Figure(figsize=(8.5, 4), layout="constrained")
    axes, width = figure.add_subplot(), 0.8 / len(groups)
    for i, (group, values) in enumerate(groups.items()):
        at = [x + (i - (len(groups) - 1) / 2) * width for x in range(len(names))]
        axes.bar(at, values, width, label=group, color=COLOURS[i % len(COLOURS)])
    axes.set(title=title, xlabel=x_label, ylabel=y_label, xticks=range(len(names)),
             xticklabels=names)
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


@_with_plain_names
def fit(points, lines, band, title, x_label, y_label):
    """points (x, y) as dots; lines: name -> (x, y); band (x, middle, half width) or None."""
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*points, "o", color="#888888", markersize=2.5, alpha=0.6, label="points")
    for i, (name, line) in enumerate(lines.items()):
        axes.plot(*line, DASHES[i % len(DASHES)], color=COLOURS[i % len(COLOURS)],
                  label=name)
    if band:
        x, middle, half = band
        axes.fill_between(x, middle - half, middle + half, color=COLOURS[0], alpha=0.25,
                          label="band")
    figure.suptitle(title, fontsize=12)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


@_with_plain_names
def trials(done, title, y_label, log=()):
    """Every trial of a search, its score against each parameter; the best one marked.

    Failures are left out. log: the parameters that have a logarithmic axis.
    """
    done = sorted((trial for trial in done if "score" in trial), key=lambda t: t["score"])
    names, scores = list(done[0]["settings"]), [trial["score"] for trial in done]
    rows = math.ceil(len(names) / 3)
    figure = Figure(figsize=(9.5, 2.6 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=12)
    grid = figure.subplots(rows, 3, squeeze=False, sharey=True)
    for axes, name in zip(grid.flat, names, strict=False):
        values = [trial["settings"][name] for trial in done]
        axes.plot(values, scores, "o", color=COLOURS[0], markersize=4, alpha=0.7)
        axes.plot(values[0], scores[0], "*", color=COLOURS[1], markersize=13)
        axes.set_xlabel(name.replace("_", " "))
        _log_y(axes)
        if name in log:
            axes.set_xscale("log")
            axes.tick_params(axis="x", which="minor", labelbottom=False)  # they would touch
        elif not isinstance(values[0], str):
            _ticks(axes, set(values))
        axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    for axes in grid.flat[len(names):]:
        axes.set_visible(False)
    return figure


@_with_plain_names
def histograms(panels, title, x_label):
    """panels: name -> {group: values}; a panel each, its groups' densities over one axis."""
    rows = math.ceil(len(panels) / 4)
    figure = Figure(figsize=(11, 2.3 * rows + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=12)
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes, (name, groups) in zip(grid.flat, panels.items(), strict=False):
        ends = numpy.quantile(numpy.concatenate(list(groups.values())), [0.002, 0.998])
        edges = numpy.linspace(*ends, 41)  # what lies beyond is one in 250
        for i, (group, values) in enumerate(groups.items()):
            axes.hist(values, edges, density=True, histtype="step", linewidth=1.5,
                      label=group, color=COLOURS[i % len(COLOURS)],
                      linestyle=DASHES[::-1][(i - 1) % len(DASHES)])
        axes.set_title(name, fontsize=10)
        axes.tick_params(labelsize=8)
    for axes in grid.flat[len(panels):]:
        axes.set_visible(False)
    figure.supxlabel(x_label, fontsize=10)
    figure.supylabel("density", fontsize=10)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center",
                  frameon=False, fontsize=9)
    return figure


@_with_plain_names
def heatmap(values, names, title, x_label, y_label, unit):
    """values (R, C), a row for each of `names`; dark is little, bright is much, in `unit`."""
    figure = Figure(figsize=(10, 0.3 * len(names) + 1.8), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(values, cmap="cividis", aspect="auto", interpolation="nearest")
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.set_yticks(range(len(names)), names)
    figure.colorbar(drawn, label=unit)
    return figure


@_with_plain_names
def fields(gradients, squares, title):
    """gradients: name -> (H, W), not negative, in shares of the largest on a logarithmic
    scale; squares: name -> (first row and column, size), outlined."""
    figure = Figure(figsize=(1.75 * len(gradients) + 1, 2.7), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(1, len(gradients), squeeze=False)[0]
    for axes, (name, gradient) in zip(grid, gradients.items(), strict=True):
        share = numpy.log10((gradient / gradient.max()).clip(1e-6))
        drawn = axes.imshow(share, cmap="cividis", vmin=-6, vmax=0, interpolation="nearest")
        first, size = squares[name]
        axes.add_patch(Rectangle((first - 0.5, first - 0.5), size, size, fill=False,
                                 edgecolor=COLOURS[1], linewidth=1.5))
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    grid[0].set_ylabel("pixel", fontsize=9)
    figure.colorbar(drawn, ax=grid, label="log10, of the largest", aspect=12)
    return figure


@_with_plain_names
def scatter(points, y, names, title, axis_labels):
    """points (N, 2) or (N, 3), a colour and a marker a class of y (N,); each class's name
    stands at the median of its points or, where two would touch, beside it."""
    points, y = points.cpu().numpy(), y.cpu().numpy()
    dims, size = points.shape[1], min(3.5, 250 / len(points) ** 0.5)
    figure = Figure(figsize=(8.5, 6.5), layout="constrained")
    axes = figure.add_subplot(projection="3d" if dims == 3 else None)
    own = {name: points[y == c] for c, name in enumerate(names) if (y == c).any()}
    for c, name in enumerate(names):
        if name in own:
            axes.plot(*own[name].T, "o^s"[c % 3], color=CLASSES[c % len(CLASSES)], alpha=0.6,
                      label=name, markersize=size, markeredgewidth=0)
    axes.set(title=title, **dict(zip(("xlabel", "ylabel", "zlabel"), axis_labels,
                                     strict=False)))
    if dims == 3:  # its labels run beside the box, which the layout does not reckon with
        axes.set_box_aspect(None, zoom=0.88)
    _write(axes, {name: numpy.median(x, axis=0) for name, x in own.items()})
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center",
                  frameon=False, fontsize=9, markerscale=7 / size)
    return figure


def _write(axes, places):
    """places: name -> (2,) or (3,) where it is written or, where two would touch, near it."""
    at = numpy.array(list(places.values()))
    limits = [getattr(axes, f"get_{axis}lim")() for axis in "xyz"[:at.shape[1]]]
    ends = numpy.array(list(itertools.product(*limits)))
    if len(limits) == 3:  # as they lie on the paper: in perspective
        ends, at = (numpy.pad(x, ((0, 0), (0, 1)), constant_values=1) @ axes.get_proj().T
                    for x in (ends, at))
        ends, at = (x[:, :2] / x[:, 3:] for x in (ends, at))
    inch = numpy.ptp(ends, axis=0) / (6.2, 5)
    sizes = inch * [(0.09 * len(name) + 0.05, 0.2) for name in places]
    for name, place in zip(places, _apart(at, sizes), strict=True):
        Axes.text(axes, *place, name, fontsize=10, ha="center", va="center", zorder=1000,
                  bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1})


def _apart(middles, sizes):
    """Boxes (n, 2) of sizes (n, 2), moved up and down until no two lie over each other."""
    middles = middles.copy()
    for _ in range(100):
        for i, j in itertools.combinations(range(len(middles)), 2):
            gap = abs(middles[i] - middles[j]) - (sizes[i] + sizes[j]) / 2
            if (gap < 0).all():
                up = -gap[1] / 2 * (1 if middles[i, 1] >= middles[j, 1] else -1)
                middles[i, 1] += up
                middles[j, 1] -= up
    return middles
