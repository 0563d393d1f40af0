"""The figures the sheets ask for: curves, rows of images. Each returns a matplotlib figure.

Drawn without pyplot: no window system, no state between figures. Their look is in
figures.mplstyle. A title or a name of any length goes on in a further line, so that nothing is
cut, and numbers on axes are written out. Ten classes have Petroff's ten colours (2021,
arXiv:2107.02270) and markers. Checked in tests/test_plot.py.
"""

import functools
import math
import re
from pathlib import Path

import matplotlib
import numpy
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextToPath
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator

STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("figures.mplstyle"),
                                       use_default_template=False)
COLOURS = STYLE["axes.prop_cycle"].by_key()["color"]
WIDTH = STYLE["figure.figsize"][0]  # inches
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300",
           "#b9ac70", "#717581", "#92dadd"]
MARKERS = "o^s"
SPLITS = {"train": "training", "val": "validation"}  # in the names of curves
HELD_OUT = r"\b(validation|held out|test)\b"
ANY_SPLIT = rf"{HELD_OUT}|\b(training|the 100)\b|\W+"


@matplotlib.rc_context(STYLE)
def curves(lines, title, x_label, y_label, log_y=False, log_x=False, points=None, band=None):
    """lines: name -> (x values, y values), a curve; or one number, a dotted level.

    Curves of one method that differ in the split have one colour: full for training, dashed
    for what is held out. points: (x, y), dots without a line; band: (x, middle, half width).
    """
    labels = [re.sub(r"\b(train|val)\b", lambda m: SPLITS[m[0]], name) for name in lines]
    methods = [re.sub(ANY_SPLIT, " ", label).strip() for label in labels]
    looks = {method: i for i, method in enumerate(dict.fromkeys(methods))}
    figure, axes = _figure(title)
    _label(axes, x_label, y_label)
    _ticks(axes.yaxis, log_y)
    show = axes.yaxis.get_major_formatter()
    for line, label, method in zip(lines.values(), labels, methods, strict=True):
        look = {"color": COLOURS[looks[method] % len(COLOURS)]}
        if isinstance(line, float):
            axes.axhline(line, linestyle=":", label=f"{label} ({show(line)})", **look)
        else:
            marker = MARKERS[looks[method] // len(COLOURS) % 3] if len(line[0]) < 40 else ""
            axes.plot(*line, "--" if re.search(HELD_OUT, label) else "-", label=label,
                      marker=marker, **look)
    if points is not None:
        axes.plot(*points, "o", color="#888888", markersize=2, alpha=0.6, label="points")
    if band:
        x, middle, half = band
        axes.fill_between(x, middle - half, middle + half, alpha=0.25, label="band")
    _ticks(axes.xaxis, log_x, values=[x for line in lines.values() if isinstance(line, tuple)
                                      for x in line[0]])
    axes.grid()
    _legend(figure, axes)
    return figure


@matplotlib.rc_context(STYLE)
def image_rows(rows, title, column_labels=(), columns=20, signed=False):
    """rows: name -> images (N, 1, H, W) in [0, 1], one labelled row each, 0 black, 1 white.

    What does not fit beside each other, or is more than `columns`, goes on in a further block
    of the same rows, below. Spaces tell rows of the same name apart. signed: of any values,
    white is 0, orange and purple are as far below and above it in all the figure.
    """
    limit = max(float(abs(images).max()) for images in rows.values())
    colours = ({"cmap": "PuOr", "vmin": -limit, "vmax": limit} if signed else
               {"cmap": "gray", "vmin": 0, "vmax": 1})
    names = [_wrapped(name.strip(), 1.3, 8) for name in rows]
    labels = [_wrapped(str(label), 0.9, 7) for label in column_labels]
    left, below = _width(names, 8) + 0.15, 0.12 * _lines(labels) + 0.08  # all in inches
    right = 0.6 if signed else 0.1
    side = max(0.3, _width(labels, 7) + 0.1, 0.14 * _lines(names))
    N = len(next(iter(rows.values())))
    blocks = math.ceil(N / min(columns, int((WIDTH - left - right) / side)))
    columns = math.ceil(N / blocks)
    side = min(max(side, 0.62), (WIDTH - left - right) / columns)
    width = max(left + columns * side + right, 3)
    title = _wrapped(title, width - 0.2, 9)
    top = 0.15 * _lines([title]) + 0.17
    height = top + blocks * (len(rows) * side + below)
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, y=1 - 0.06 / height, va="top")
    for block in range(blocks):
        shown = slice(block * columns, (block + 1) * columns)
        bottom = height - top - (block + 1) * (len(rows) * side + below) + below
        axes = figure.add_axes((left / width, bottom / height, columns * side / width,
                                len(rows) * side / height))
        for i, images in enumerate(rows.values()):
            drawn = axes.imshow(_side_by_side(images[shown]), aspect="auto",
                                extent=(0, len(images[shown]), i + 1, i), **colours)
        axes.set(xlim=(0, columns), ylim=(len(rows), 0))
        axes.set_xticks([n + 0.5 for n in range(len(labels[shown]))], labels[shown],
                        fontsize=7)
        axes.set_yticks([i + 0.5 for i in range(len(rows))], names, fontsize=8)
        axes.tick_params(length=0, pad=3)
        axes.spines[:].set_visible(False)
    if signed:
        scale = figure.add_axes((1 - 0.5 / width, bottom / height, 0.1 / width,
                                 1 - (bottom + top) / height))
        figure.colorbar(drawn, cax=scale)
        _ticks(scale.yaxis, most=4)
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


@matplotlib.rc_context(STYLE)
def dots(groups, title, x_label):
    """groups: name -> values; a row each with a dot a value and, of several, a bar at their
    mean."""
    names = [_wrapped(name, 2.2, 7.5) for name in groups]
    figure, axes = _figure(title, max(0.24, 0.14 * _lines(names)) * len(groups) + 0.3)
    for row, values in enumerate(groups.values()):
        axes.plot(values, [row] * len(values), "o", color=COLOURS[0], alpha=0.7)
        if len(values) > 1:
            axes.plot(sum(values) / len(values), row, "|", color=COLOURS[1], markersize=12,
                      markeredgewidth=2)
    _label(axes, x_label, "", WIDTH - 0.6 - _width(names, 7.5))
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    _ticks(axes.xaxis)
    axes.grid()
    return figure


@matplotlib.rc_context(STYLE)
def bars(groups, names, title, x_label, y_label):
    """groups: name -> one value for each of `names`; bars side by side, a colour a group."""
    figure, axes = _figure(title)
    room = _label(axes, x_label, y_label) / len(names)  # inches, of a name
    width = 0.8 / len(groups)
    for i, (group, values) in enumerate(groups.items()):
        at = [x + (i - (len(groups) - 1) / 2) * width for x in range(len(names))]
        axes.bar(at, values, width, label=group, color=COLOURS[i % len(COLOURS)])
    turned = max(_width(name.split() or [name], 7.5) for name in names) > room
    names = [_wrapped(name, 1.6 if turned else room, 7.5) for name in names]
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(len(names)), names, **turn)
    deep = 0.65 * _width(names, 7.5) if turned else 0.13 * (_lines(names) - 1)
    figure.set_figheight(figure.get_figheight() + deep)
    _ticks(axes.yaxis)
    axes.grid(axis="y")
    _legend(figure, axes)
    return figure


@matplotlib.rc_context(STYLE)
def trials(done, title, y_label, log=()):
    """Every trial of a search, its score against each parameter; the best one marked.

    Failures are left out. log: the parameters that have a logarithmic axis.
    """
    done = sorted((trial for trial in done if "score" in trial), key=lambda t: t["score"])
    names, scores = list(done[0]["settings"]), [trial["score"] for trial in done]
    figure, *grid = _figure(title, 1.7 * math.ceil(len(names) / 3), len(names), 3, sharey=True)
    for axes, name in zip(grid, names, strict=True):
        values = [trial["settings"][name] for trial in done]
        words = isinstance(values[0], str)
        kinds = sorted(set(values)) if words else []
        x = [kinds.index(value) for value in values] if words else values
        axes.plot(x, scores, "o", alpha=0.7)
        axes.plot(x[0], scores[0], "*", markersize=10)
        first = axes.get_subplotspec().is_first_col()
        _label(axes, name.replace("_", " "), y_label if first else "", 1.5, 1.2)
        if words:
            axes.set_xticks(range(len(kinds)), [_wrapped(kind, 1.4 / len(kinds), 7.5)
                                                for kind in kinds])
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        else:
            _ticks(axes.xaxis, name in log, 4, values)
        _ticks(axes.yaxis, log=True, most=5)
        axes.grid()
    return figure


@matplotlib.rc_context(STYLE)
def histograms(panels, title, x_label):
    """panels: name -> {group: values}; a panel each, its groups' densities over one axis."""
    figure, *grid = _figure(title, 1.5 * math.ceil(len(panels) / 4), len(panels), 4)
    for axes, (name, groups) in zip(grid, panels.items(), strict=True):
        ends = numpy.quantile(numpy.concatenate(list(groups.values())), [0.002, 0.998])
        edges = numpy.linspace(*ends, 41)  # what lies beyond is one in 250
        for i, (group, values) in enumerate(groups.items()):
            axes.hist(values, edges, density=True, histtype="step", label=group,
                      color=COLOURS[i % len(COLOURS)], linestyle=["--", "-"][i % 2])
        axes.set_title(_wrapped(name, 1.4, 8))
        place = axes.get_subplotspec()
        _label(axes, x_label if place.is_last_row() else "",
               "density" if place.is_first_col() else "", 1.3)
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis, most=3)
    _legend(figure, grid[0])
    return figure


@matplotlib.rc_context(STYLE)
def heatmap(values, names, title, x_label, y_label, unit):
    """values (R, C), a row for each of `names`; dark is little, bright is much, in `unit`."""
    names = [_wrapped(name, 1.5, 7.5) for name in names]
    height = max(0.2, 0.14 * _lines(names)) * len(names)
    figure, axes = _figure(title, height + 0.3)
    drawn = axes.imshow(values, cmap="cividis", aspect="auto")
    _label(axes, x_label, y_label, WIDTH - 2 - _width(names, 7.5), height)
    axes.set_yticks(range(len(names)), names)
    _ticks(axes.xaxis)
    scale = figure.colorbar(drawn)
    scale.set_label(_wrapped(unit, height, 8))
    _ticks(scale.ax.yaxis)
    return figure


@matplotlib.rc_context(STYLE)
def fields(gradients, squares, title):
    """gradients: name -> (H, W), not negative, in shares of the largest on a logarithmic
    scale; squares: name -> (first row and column, size), outlined."""
    figure, *grid = _figure(title, 1.6 * math.ceil(len(gradients) / 4), len(gradients), 4)
    for axes, (name, gradient) in zip(grid, gradients.items(), strict=True):
        share = numpy.log10((gradient / gradient.max()).clip(1e-6))
        drawn = axes.imshow(share, cmap="cividis", vmin=-6, vmax=0)
        first, size = squares[name]
        axes.add_patch(Rectangle((first - 0.5, first - 0.5), size, size, fill=False,
                                 edgecolor=COLOURS[1], linewidth=1.5))
        axes.set_title(_wrapped(name, 1.3, 8))
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis, most=3)
    grid[0].set_ylabel("pixel")
    figure.colorbar(drawn, ax=grid, label="log10, of the largest", aspect=12)
    return figure


@matplotlib.rc_context(STYLE)
def scatter(points, y, names, title, axis_labels):
    """points (N, 2) or (N, 3), a colour and a marker a class of y (N,)."""
    points, y = points.cpu().numpy(), y.cpu().numpy()
    dims, size = points.shape[1], min(3, 200 / len(points) ** 0.5)
    figure, axes = _figure(title, 4.6, projection="3d" if dims == 3 else None)
    for c, name in enumerate(names):
        if (y == c).any():
            axes.plot(*points[y == c].T, MARKERS[c % 3], color=CLASSES[c % len(CLASSES)],
                      alpha=0.6, label=name, markersize=size, markeredgewidth=0)
    _label(axes, *axis_labels[:2], 3.0 if dims == 3 else WIDTH - 1, 3.0)
    if dims == 3:  # its labels run beside the box, which the layout does not reckon with
        axes.set_zlabel(_wrapped(axis_labels[2], 2, 8))
        axes.set_box_aspect(None, zoom=0.85)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis)
    axes.grid()
    _legend(figure, axes, markerscale=6 / size)
    return figure


# --- what all of them have ------------------------------------------------------------------

def _figure(title, height=2.6, panels=1, columns=1, projection=None, **options):
    """-> a figure with its title, and its axes: `panels` in rows of so many columns. height:
    inches for the axes; title and legend are added to it."""
    title = _wrapped(title, WIDTH - 0.2, 9)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(WIDTH, height + 0.4 + 0.15 * _lines([title])),
                    layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False,
                           subplot_kw={"projection": projection}, **options)
    for axes in grid.flat[panels:]:
        axes.set_visible(False)
    return figure, *grid.flat[:panels]


def _label(axes, x_label, y_label, across=WIDTH - 1, up=2.0):
    """across, up: inches, of the axes; where a label takes more lines, the figure grows.

    -> the inches that are left across.
    """
    y_label = _wrapped(y_label.removesuffix(", fraction"), up, 8)
    across = min(across, WIDTH - 0.8 - 0.14 * _lines([y_label]))
    x_label = _wrapped(x_label.removesuffix(", fraction"), across, 8)
    axes.set(xlabel=x_label, ylabel=y_label)
    figure = axes.figure
    figure.set_figheight(figure.get_figheight() + 0.14 * (_lines([x_label]) - 1))
    return across


def _legend(figure, axes, **options):
    """The names below the axes, as many beside each other as fit; of one alone none."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) < 2:
        return
    names = [_wrapped(name, WIDTH / 2 - 0.8, 8) for name in names]
    columns = min(len(names), int((WIDTH - 0.2) / (_width(names, 8) + 0.6)))
    rows = math.ceil(len(names) / columns)
    figure.set_figheight(figure.get_figheight() + 0.16 * rows * _lines(names))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, **options)


def _ticks(axis, log=False, most=7, values=()):
    """Three to `most` labelled ticks, their numbers written out, accuracies in per cent.

    values: where they are few whole numbers, as after one epoch, the axis goes beyond them.
    """
    if log:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_locator(_LogTicks(most))
        axis.set_minor_locator(NullLocator())
    else:
        whole = len(values) > 0 and all(float(value).is_integer() for value in values)
        if whole and max(values) - min(values) < 2:
            axis.axes.set(**{f"{axis.axis_name}lim": (min(values) - 1, max(values) + 1)})
        axis.set_major_locator(MaxNLocator(most, integer=whole, min_n_ticks=3,
                                           steps=[1, 2, 5, 10]))
    percent = re.match(r"(fraction|share)\b|.*\baccuracy\b", axis.get_label_text())
    axis.set_major_formatter(FuncFormatter(
        lambda x, _=0: f"{number(round(100 * x, 6))}%" if percent else number(x)))


class _LogTicks(Locator):
    """On a logarithmic axis: powers of 10, or as many steps between them as it takes."""

    def __init__(self, most):
        self.most = most

    def __call__(self):
        low, high = self.axis.get_view_interval()
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            found = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
            if len(found) >= 3:
                return found[::math.ceil(len(found) / self.most)]
        return MaxNLocator(self.most, min_n_ticks=3,
                           steps=[1, 2, 5, 10]).tick_values(low, high)


def number(x):
    """As a reader writes it: 0.0003, 25,000 and, beyond that, 3×10⁻⁷."""
    if x == 0 or 1e-4 <= abs(x) < 1e6:
        return f"{x:,.4f}".rstrip("0").rstrip(".") if abs(x) < 1e4 else f"{x:,.0f}"
    mantissa, power = f"{x:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mantissa == "1" else f"{mantissa}×10{raised}"


@functools.cache
def _inches(text, size):
    """How wide a line is drawn, in letters of so many points; a screen's are 5% wider."""
    font = FontProperties(size=size)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] * 1.05 / 72


def _width(texts, size):
    return max((_inches(line, size) for text in texts for line in text.splitlines()),
               default=0)


def _lines(texts):
    return max((text.count("\n") + 1 for text in texts), default=0)


def _wrapped(text, inches, size):
    """The text in lines of at most so many inches; a word that is longer is cut in two."""
    lines = []
    for paragraph in text.split("\n"):
        lines.append("")
        for word in re.findall(r"\S+\s*", paragraph):
            if lines[-1] and _inches((lines[-1] + word).rstrip(), size) > inches:
                lines.append("")
            if _inches(word.rstrip(), size) <= inches:
                lines[-1] += word
                continue
            for letter in word:
                if lines[-1] and _inches(lines[-1] + letter.strip(), size) > inches:
                    lines.append("")
                lines[-1] += letter
    return "\n".join(line.rstrip() for line in lines)
