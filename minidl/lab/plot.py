"""The figures the sheets ask for: curves, rows of images. Each returns a matplotlib figure.

Drawn without pyplot: no window system, no state between figures. Their look is in
figures.mplstyle. Long names are broken into lines, and a figure grows until its axes have
their size: nothing is cut. Numbers on axes are written out. Classes, and more than seven
curves, have Petroff's ten colours (2021, arXiv:2107.02270) and markers. Checked in
tests/test_plot.py.
"""

import functools
import math
import re
import textwrap
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
WIDTH = STYLE["figure.figsize"][0]  # inches, of a page's text
HALF = 3.3  # of a figure with one panel: two stand side by side
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300",
           "#b9ac70", "#717581", "#92dadd"]
MARKERS = "o^s"
SPLITS = {"train": "training", "val": "validation"}  # in the keys of a run's history
DASHES = {r"\btest\b": "-.", r"\b(validation|held out)\b": "--"}  # by a curve's name
ANY_SPLIT = "|".join([*DASHES, r"\btraining\b", r"\W+"])


@matplotlib.rc_context(STYLE)
def curves(lines, title, x_label, y_label, log_y=False, log_x=False, points=None, band=None):
    """lines: name -> (x values, y values), a curve; or one number, a dotted level.

    Curves of one method that differ in the split have one colour: full for training; dashed,
    with hollow markers, for what is held out. points: (x, y), dots without a line; band: (x,
    middle, half width).
    """
    methods = {name: re.sub(ANY_SPLIT, " ", _readable(name)).strip() for name in lines}
    looks = {method: i for i, method in enumerate(dict.fromkeys(methods.values()))}
    colours = COLOURS if len(looks) <= len(COLOURS) else CLASSES
    figure, axes = _figure(width=HALF)
    _label(axes, x_label, y_label)
    _ticks(axes.yaxis, log_y)
    show = axes.yaxis.get_major_formatter()
    for name in sorted(lines, key=lambda name: looks[methods[name]]):
        line, label, i = lines[name], _readable(name), looks[methods[name]]
        look = {"color": colours[i % len(colours)], "label": label}
        if isinstance(line, float):
            axes.axhline(line, linestyle=":", **look | {"label": f"{label} ({show(line)})"})
            continue
        dashes = next((d for split, d in DASHES.items() if re.search(split, label)), "-")
        if len(line[0]) < 40 or len(looks) > len(colours):  # a colour twice: another marker
            look |= {"marker": MARKERS[i % len(MARKERS)], "markevery": len(line[0]) // 40 + 1}
        axes.plot(*line, dashes, markerfacecolor="white" if dashes != "-" else None, **look)
    if points is not None:
        axes.plot(*points, "o", color="#888888", markersize=2, alpha=0.6, label="points")
    if band:
        x, middle, half = band
        axes.fill_between(x, middle - half, middle + half, alpha=0.25, label="band")
    _ticks(axes.xaxis, log_x, 5, [x for line in lines.values() if isinstance(line, tuple)
                                      for x in line[0]])
    axes.grid()
    _legend(figure, axes, pairs=len(looks) < len(lines))
    return _fitted(figure, title, 1.8)


def _readable(name):
    """A key of run.history as it is read: "net train bce" is "net, BCE, training"."""
    key = re.fullmatch(r"(?:(.*) )?(train|val)(?: (\w+))?", name)
    if not key:
        return name
    method, split, metric = key.groups("")
    metric = metric.upper() if len(metric) < 4 else metric
    return ", ".join(filter(None, (method, metric, SPLITS[split])))


@matplotlib.rc_context(STYLE)
def image_rows(rows, title, column_labels=(), columns=20, signed=False):
    """rows: name -> images (N, 1, H, W) in [0, 1], one labelled row each, 0 black, 1 white.
    One row alone needs no name.

    What does not fit beside each other, or is more than `columns`, goes on in a further block
    of the same rows, below. Spaces tell rows of the same name apart. signed: of any values,
    white is 0, orange and purple are as far below and above it; the title says how far.
    """
    limit = max(float(abs(images).max()) for images in rows.values())
    colours = ({"cmap": "PuOr", "vmin": -limit, "vmax": limit} if signed else
               {"cmap": "gray", "vmin": 0, "vmax": 1})
    names = [_wrapped(name.strip(), 1.3) for name in rows] if len(rows) > 1 else [""]
    labels = [_wrapped(str(label), 0.45, 7) for label in column_labels]
    N, room = len(next(iter(rows.values()))), WIDTH - _width(names) - 0.3
    side = max(0.3, _width(labels, 7) + 0.06, _height(names))  # inches, as all of these
    blocks = math.ceil(N / min(columns, int(room / side)))
    columns = math.ceil(N / blocks)
    side = max(side, min(0.42, room / columns, 3 / (len(rows) * blocks)))  # 3: of all rows
    figure, *grid = _figure(blocks)
    for block, axes in enumerate(grid):
        shown = slice(block * columns, (block + 1) * columns)
        for i, images in enumerate(rows.values()):
            axes.imshow(_side_by_side(images[shown]), **colours,
                        extent=(0, len(images[shown]), i + 1, i))
        axes.set(xlim=(0, columns), ylim=(len(rows), 0), anchor="SW")
        axes.set_xticks([n + 0.5 for n in range(len(labels[shown]))], labels[shown],
                        fontsize=7)
        axes.set_yticks([i + 0.5 for i in range(len(rows))], names, fontsize=8)
        axes.tick_params(length=0, pad=3)
        axes.spines[:].set_visible(False)
    if signed:
        title += f"\norange: {number(-limit)}, white: 0, purple: {number(limit)}"
    return _fitted(figure, title, len(rows) * side, columns * side)


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
    """groups: name -> a value per seed; a row for each, with a dot per seed and, for several
    seeds, a bar at their mean."""
    names = [_wrapped(name, 1.3, 7.5) for name in groups]
    figure, axes = _figure(width=HALF)
    for row, values in enumerate(groups.values()):
        axes.plot(values, [row] * len(values), "o", color=COLOURS[0], alpha=0.7)
        if len(values) > 1:
            axes.plot(sum(values) / len(values), row, "|", color=COLOURS[1], markersize=12,
                      markeredgewidth=2)
    _label(axes, x_label)
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    _ticks(axes.xaxis, most=4)
    axes.grid()
    several = any(len(values) > 1 for values in groups.values())
    title += f"; a dot per seed{', a bar at their mean' if several else ''}"
    return _fitted(figure, title, max(0.2, _height(names)) * len(groups))


@matplotlib.rc_context(STYLE)
def bars(groups, names, title, x_label, y_label):
    """groups: name -> one value for each of `names`; bars side by side, a colour per group."""
    figure, axes = _figure(width=HALF)
    _label(axes, x_label, y_label)
    room = (HALF - 0.8 - _height([axes.get_ylabel()])) / len(names)  # inches, of a name
    width = 0.8 / len(groups)
    for i, (group, values) in enumerate(groups.items()):
        at = [x + (i - (len(groups) - 1) / 2) * width for x in range(len(names))]
        axes.bar(at, values, width, label=group, color=COLOURS[i % len(COLOURS)])
    turned = max(_width(name.split() or [name], 7.5) for name in names) > room
    names = [_wrapped(name, 1.6 if turned else room, 7.5) for name in names]
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(len(names)), names, **turn)
    _ticks(axes.yaxis)
    axes.grid(axis="y")
    _legend(figure, axes)
    return _fitted(figure, title, 1.8)


@matplotlib.rc_context(STYLE)
def trials(done, title, y_label, log=()):
    """Every trial of a search, its score against each parameter; the best one has a star.

    Failures are left out. log: the parameters that have a logarithmic axis. Words stand side
    by side, and so do three whole numbers or fewer.
    """
    done = sorted((trial for trial in done if "score" in trial), key=lambda t: t["score"])
    names, scores = list(done[0]["settings"]), [trial["score"] for trial in done]
    figure, *grid = _figure(len(names), 3, sharey=True)
    for axes, name in zip(grid, names, strict=True):
        values = [trial["settings"][name] for trial in done]
        kinds = sorted(set(values))
        words = isinstance(values[0], str) or (len(kinds) < 4 and name not in log and all(
            float(kind).is_integer() for kind in kinds))
        x = [kinds.index(value) for value in values] if words else values
        axes.plot(x, scores, "o", alpha=0.7)
        axes.plot(x[0], scores[0], "*", markersize=10, clip_on=False)
        first = axes.get_subplotspec().is_first_col()
        _label(axes, name.replace("_", " "), y_label if first else "", 1, 1.5)
        if words:
            kinds = [kind if isinstance(kind, str) else number(kind) for kind in kinds]
            axes.set_xticks(range(len(kinds)), [_wrapped(kind, 1 / len(kinds), 7.5)
                                                for kind in kinds])
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        else:
            _ticks(axes.xaxis, name in log, 4, values)
        axes.grid()
    _ticks(grid[0].yaxis, log=True, most=5)  # the axis of all panels
    return _fitted(figure, f"{title}; star: the best", 1.2)


@matplotlib.rc_context(STYLE)
def histograms(panels, title, x_label):
    """panels: name -> {group: values}; a panel for each, with the densities of its groups."""
    figure, *grid = _figure(len(panels), 4)
    for axes, (name, groups) in zip(grid, panels.items(), strict=True):
        ends = numpy.quantile(numpy.concatenate(list(groups.values())), [0.002, 0.998])
        edges = numpy.linspace(*ends, 41)  # one value in 250 is outside
        for i, (group, values) in enumerate(groups.items()):
            axes.hist(values, edges, density=True, histtype="step", label=group,
                      color=COLOURS[i % len(COLOURS)], linestyle=["--", "-"][i % 2])
        axes.set_title(_wrapped(name, 1.4))
        place = axes.get_subplotspec()
        _label(axes, x_label if place.is_last_row() else "",
               "density" if place.is_first_col() else "", 1.3)
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis, most=3)
    _legend(figure, grid[0])
    return _fitted(figure, title, 0.85)


@matplotlib.rc_context(STYLE)
def heatmap(values, names, title, x_label, y_label, unit):
    """values (R, C), a row for each of `names`; dark is little, bright is much, in `unit`."""
    names = [_wrapped(name, 1.5, 7.5) for name in names]
    height = max(1.2, 0.2 * len(names), _height(names) * len(names))
    figure, axes = _figure()
    drawn = axes.imshow(values, cmap="cividis", aspect="auto")
    _label(axes, x_label, y_label, 4, height)
    axes.set_yticks(range(len(names)), names)
    _ticks(axes.xaxis)
    scale = figure.colorbar(drawn)
    scale.set_label(_wrapped(unit, height))
    _ticks(scale.ax.yaxis)
    return _fitted(figure, title, height)


@matplotlib.rc_context(STYLE)
def fields(gradients, squares, title):
    """gradients: name -> (H, W), not negative, in shares of the largest on a logarithmic
    scale; squares: name -> (first row and column, size), outlined."""
    figure, *grid = _figure(len(gradients), 4)
    for axes, (name, gradient) in zip(grid, gradients.items(), strict=True):
        share = numpy.log10((gradient / gradient.max()).clip(1e-6))
        axes.imshow(share, cmap="cividis", vmin=-6, vmax=0)
        first, size = squares[name]
        axes.add_patch(Rectangle((first - 0.5, first - 0.5), size, size, fill=False,
                                 edgecolor=COLOURS[1], linewidth=1.5))
        axes.set_title(_wrapped(name, 1.3))
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis, most=3)
    grid[0].set_ylabel("pixel")
    title += "\nlogarithmic: yellow is the largest, dark blue a millionth of it or less"
    return _fitted(figure, title, 1.1, 1.1)


@matplotlib.rc_context(STYLE)
def scatter(points, y, names, title, axis_labels):
    """points (N, 2) or (N, 3), a colour and a marker per class of y (N,)."""
    points, y = points.cpu().numpy(), y.cpu().numpy()
    dims, size = points.shape[1], min(3.5, 200 / len(points) ** 0.5)
    figure, axes = _figure(width=HALF) if dims == 2 else _figure(projection="3d")
    for c, name in enumerate(names):
        if (y == c).any():
            axes.plot(*points[y == c].T, MARKERS[c % 3], color=CLASSES[c % len(CLASSES)],
                      alpha=0.6, label=name, markersize=size, markeredgewidth=0)
    _label(axes, *axis_labels[:2], 1.6 if dims == 2 else 3)
    sides = [axes.xaxis, axes.yaxis]
    if dims == 3:  # its labels run beside the box, which the layout does not reckon with
        axes.set_zlabel(_wrapped(axis_labels[2], 1.6))
        axes.set_box_aspect(None, zoom=0.85)
        sides.append(axes.zaxis)
    for axis in sides:
        _ticks(axis)
        axis.labelpad += 8 * (dims - 2)  # points: beside the numbers, which run askew
    axes.grid()
    _legend(figure, axes, markerscale=6 / size, handlelength=1)
    return _fitted(figure, title, 2.6 if dims == 2 else 4.2)


# --- what all of them have ------------------------------------------------------------------

def _figure(panels=1, columns=1, projection=None, width=WIDTH, **options):
    """-> a figure, and its axes: `panels` in rows of so many columns."""
    figure = Figure(figsize=(width, 400), layout="constrained")  # until _fitted
    grid = figure.subplots(math.ceil(panels / columns), columns, squeeze=False,
                           subplot_kw={"projection": projection}, **options)
    for axes in grid.flat[panels:]:
        axes.set_visible(False)
    return figure, *grid.flat[:panels]


def _fitted(figure, title, height=2.4, width=None):
    """The figure with its title. The axes of each panel have `height`, and `width` if it is
    given, in inches. The room for texts is added."""
    first, (rows, columns) = figure.axes[0], figure.axes[0].get_gridspec().get_geometry()

    def axes_size():
        figure.get_layout_engine().execute(figure)
        return first.get_position(original=True).size * figure.get_size_inches()

    if width:
        figure.set_figwidth(max(3, figure.get_figwidth() + columns * (width - axes_size()[0])))
    elif columns == 1:  # beside names of many lines, room for the label below the axes
        figure.set_figwidth(figure.get_figwidth() + max(0, 1.7 - axes_size()[0]))
    figure.suptitle(_wrapped(title, figure.get_figwidth() - 0.2, 9))
    for _ in range(3):  # the layout comes nearer each time
        figure.set_figheight(figure.get_figheight() + rows * (height - axes_size()[1]))
    return figure


def _label(axes, x_label, y_label="", across=1.6, up=1.9):
    """across, up: inches, after which a label goes on in a further line."""
    x_label, y_label = (re.sub(r"\^2\b", "²", label.removesuffix(", fraction"))
                        for label in (x_label, y_label))
    axes.set(xlabel=_wrapped(x_label, across), ylabel=_wrapped(y_label, up))


def _legend(figure, axes, pairs=False, **options):
    """The names below the axes, in rows of one length; of one name alone none.

    Read across. pairs: the two of a method stand below each other, or beside.
    """
    handles, names = axes.get_legend_handles_labels()
    n = len(names)
    if n > 1:
        names = [_wrapped(name, 2.3) for name in names]
        sample = options.get("handlelength", STYLE["legend.handlelength"]) * 8 / 72
        fitting = int((figure.get_figwidth() - 0.2) / (_width(names) + sample + 0.38))
        rows = math.ceil(n / min(n, fitting))
        columns = math.ceil(n / rows)
        if pairs and rows > 2:
            columns = max(1, columns - columns % 2)
        order = [i for c in range(columns) for i in range(c, n, columns)]  # it fills columns
        if pairs and rows == 2:
            order = range(n)
        figure.legend([handles[i] for i in order], [names[i] for i in order], ncols=columns,
                      loc="outside lower center", **options)


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
    percent = re.search(r"\b(fraction|share|accuracy)\b", axis.get_label_text())
    axis.set_major_formatter(FuncFormatter(
        lambda x, _=0: f"{number(round(100 * x, 6))}%" if percent else number(x)))


class _LogTicks(Locator):
    """On a logarithmic axis: powers of 10, or as many steps between them as it takes."""

    def __init__(self, most):
        self.most = most

    def __call__(self):
        low, high = self.axis.get_view_interval()
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        powers, *finer = (
            [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
            for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)))
        if len(powers) > self.most:
            return powers[::math.ceil(len(powers) / self.most)]
        for least in (4, 3):
            for found in (powers, *finer):
                if least <= len(found) <= self.most:
                    return found
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
    """The width of a line in letters of `size` points; on a screen they are 5% wider."""
    font = FontProperties(size=size)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] * 1.05 / 72


def _width(texts, size=8):
    return max((_inches(line, size) for text in texts for line in text.splitlines()),
               default=0)


def _height(texts):
    """Of lines of 8 points or less, with the space between them."""
    return max(0.14 * (text.count("\n") + 1) for text in texts)


def _wrapped(text, inches, size=8):
    """The text in lines of at most so many inches; a word that is longer is cut in two."""
    letters, wrapped = len(text), text
    while letters > 1 and (width := _width([wrapped], size)) > inches:
        letters = max(1, min(letters - 1, int(letters * inches / width)))  # of a line
        wrapped = "\n".join(textwrap.fill(line, letters, break_on_hyphens=False)
                            for line in text.split("\n"))
    return wrapped
