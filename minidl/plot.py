"""The figures the sheets ask for: curves, rows of images. Each returns a matplotlib figure.

Drawn without pyplot: no window system, no state between figures. The colours are those of
Okabe and Ito (2008), told apart with any kind of colour vision; curves differ in dashes too.
"""

from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-."]


def curves(lines, title, x_label, y_label, log_y=False):
    """lines: name -> (x values, y values), a curve; or one number, a dotted level."""
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        if isinstance(line, float):
            axes.axhline(line, color=colour, linestyle=":", label=f"{name} ({line:.3g})")
        else:
            axes.plot(*line, DASHES[i % len(DASHES)], color=colour, label=name, marker="o",
                      markersize=3.5)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 6)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def image_rows(rows, title, column_labels=()):
    """rows: name -> images (N, 1, H, W) in [0, 1], one labelled row each, 0 black, 1 white."""
    N = len(next(iter(rows.values())))
    figure = Figure(figsize=(0.62 * N + 1.5, 0.66 * len(rows) + 0.8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0.02, hspace=0.02)
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(len(rows), N, squeeze=False)
    for axes_row, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(axes_row, images.cpu().numpy(), strict=True):
            axes.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for axes, label in zip(grid[-1], column_labels, strict=False):
        axes.set_xlabel(label, fontsize=8)
    return figure


def dots(groups, title, x_label):
    """groups: name -> values; a row each with a dot a value and a bar at their mean."""
    figure = Figure(figsize=(7.5, 0.36 * len(groups) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    for row, values in enumerate(groups.values()):
        axes.plot(values, [row] * len(values), "o", color=COLOURS[0], markersize=5, alpha=0.7)
        axes.plot(sum(values) / len(values), row, "|", color=COLOURS[1], markersize=16,
                  markeredgewidth=2)
    axes.set(title=title, xlabel=x_label)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    return figure
