"""minidl/lab/plot.py: each number, image and name is drawn where it belongs, and whole."""

import itertools

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from minidl.lab import plot

LINES = {"a": ([1, 10, 100], [0.3, 0.2, 0.1]), "level": 0.125, "b": ([1, 50], [0.4, 0.3])}
EPS = np.finfo(float).eps


def words(texts):
    return [text.get_text() for text in texts]


def drawn(figure):
    """Its texts that are seen -> their boxes, in inches."""
    with matplotlib.rc_context(plot.STYLE):
        figure.draw_without_rendering()
    unseen = {text for axes in figure.axes if not axes.get_visible()
              for text in axes.findobj(Text)}
    for axes in figure.axes:  # matplotlib has some ticks beyond the ends of an axis, unseen
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            unseen |= {tick.label1 for tick in axis.get_major_ticks()
                       if not low <= tick.get_loc() <= high}
    return {text: text.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
            for text in figure.findobj(Text)
            if text.get_text().strip() and text.get_visible() and text not in unseen}


def overlapping(boxes):
    return [pair for pair in itertools.combinations(boxes, 2)
            if boxes[pair[0]].overlaps(boxes[pair[1]])]


# --- what is drawn --------------------------------------------------------------------------

def test_a_curve_goes_through_its_points_and_a_number_is_a_dotted_level():
    axes = plot.curves(LINES, "MNIST: t", "images", "mean (x - x_hat)^2").axes[0]
    a, level, b = axes.lines
    for line, name in ((a, "a"), (b, "b")):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xydata(), np.transpose(LINES[name]))
    assert list(level.get_ydata()) == [0.125, 0.125] and level.get_linestyle() == ":"
    assert level.get_label() == "level (0.125)"
    assert axes.figure.get_suptitle() == "MNIST: t"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("images", "mean (x - x_hat)²")


@pytest.mark.parametrize("names", [
    ["train l1", "val l1", "black image"], ["A, training", "A, validation", "B, training"],
    ["plain, training", "plain, held out", "augmented, held out"]])
def test_the_splits_of_one_method_share_a_colour_and_differ_in_dashes_and_markers(names):
    drawn = plot.curves({name: ([1], [3]) for name in names}, "t", "x", "y")
    lines = drawn.axes[0].lines
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert [line.get_linestyle() for line in lines[:2]] == ["-", "--"]
    assert [line.get_markerfacecolor() == "white" for line in lines[:2]] == [False, True]


def test_training_validation_and_test_curves_have_three_kinds_of_dashes():
    names = ("training", "validation", "test")
    drawn = plot.curves({name: ([1, 2], [3, 4]) for name in names}, "t", "x", "y")
    lines = drawn.axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-."]
    assert len({line.get_color() for line in lines}) == 1


def test_keys_of_a_history_are_named_in_words_and_a_methods_splits_stand_together():
    keys = ["train bce", "train kl", "val bce", "val kl", "net 1 train loss", "val"]
    lines = plot.curves({key: ([1, 2], [3, 4]) for key in keys}, "t", "x", "y").axes[0].lines
    assert [line.get_label() for line in lines] == [
        "BCE, training", "BCE, validation", "KL, training", "KL, validation",
        "net 1, loss, training", "validation"]


@pytest.mark.parametrize("points", [2, 100])
def test_21_curves_have_21_different_looks(points):
    figure = plot.curves({str(i): (range(points), [i] * points) for i in range(21)},
                         "t", "x", "y")
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == 21


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", ["a method", "a longer method"])
def test_the_names_of_a_methods_two_curves_stand_side_by_side_or_below_each_other(n, name):
    names = [f"{name} {i}, {split}" for i in range(n) for split in ("training", "held out")]
    figure = plot.curves({key: ([1, 2], [3, 4]) for key in names}, "t", "x", "y")
    boxes = {text.get_text(): box for text, box in drawn(figure).items()}
    rows = sorted({round(boxes[key].y0, 2) for key in names}, reverse=True)
    columns = sorted({round(boxes[key].x0, 1) for key in names})
    for one, other in zip(names[::2], names[1::2], strict=True):
        (row, column), (row_2, column_2) = (
            (rows.index(round(boxes[key].y0, 2)), columns.index(round(boxes[key].x0, 1)))
            for key in (one, other))
        assert (row_2 - row, column_2 - column) in ((0, 1), (1, 0)), (one, other)


@pytest.mark.parametrize("count, name", [(10, "{}"), (12, "class {}, of a long name")])
def test_a_legend_is_read_across_in_the_order_of_the_classes(count, name):
    names = [name.format(c) for c in range(count)]
    figure = plot.scatter(torch.rand(count, 2), torch.arange(count), names, "t", "xy")
    boxes = drawn(figure)
    texts = sorted(figure.legends[0].get_texts(),
                   key=lambda text: (-round(boxes[text].y0, 2), boxes[text].x0))
    assert words(texts) == names


def cells(axes):
    """{(row, column): image}: a row is one image, its parts of 3 x 3 pixels have a border."""
    found = {}
    for image in axes.images:
        left, right, below, above = image.get_extent()
        assert (left, below) == (0, above + 1)
        whole = np.ma.filled(image.get_array(), np.nan)
        for n, cell in enumerate(np.split(whole, right, axis=1)):
            inside = cell[1:-1, 1:-1]
            assert np.isnan(cell).sum() == cell.size - inside.size
            found[above, n] = inside[::9, ::9]  # enlarged to 27 x 27
    return found


@pytest.mark.parametrize(("columns", "widths"), [(2, [2, 2, 1]), (5, [5]), (20, [5])])
def test_images_from_black_to_white_go_on_in_blocks_below(columns, widths):
    x = torch.linspace(0, 1, 10).reshape(2, 5, 1, 1, 1).expand(2, 5, 1, 3, 3)
    figure = plot.image_rows({"input": x[0], "output": x[1]}, "MNIST: t", "vwxyz", columns)
    labels = iter("vwxyz")
    for block, (axes, width) in enumerate(zip(figure.axes, widths, strict=True)):
        shown = cells(axes)
        assert set(shown) == set(itertools.product((0, 1), range(width)))
        for (row, column), image in shown.items():
            np.testing.assert_array_equal(image, x[row, block * columns + column, 0])
        assert axes.get_xlim() == (0, widths[0]) and axes.get_ylim() == (2, 0)
        assert words(axes.get_yticklabels()) == ["input", "output"]
        assert words(axes.get_xticklabels()) == list(itertools.islice(labels, width))
        for image in axes.images:
            assert image.get_clim() == (0, 1) and image.get_cmap().name == "gray"


def test_a_grid_of_many_rows_fits_on_a_page():
    rows = {f"class {c}": IMAGES for c in range(10)}
    figure = plot.image_rows(rows, "t", [f"unit {i}" for i in range(20)])
    assert len(figure.axes) == 2 and figure.get_figheight() < 9.5  # A4, less its margins


def test_signed_images_share_one_scale_that_is_symmetric():
    rows = {"a": torch.full((2, 1, 3, 3), -0.25), "b": torch.full((2, 1, 3, 3), 0.5)}
    figure = plot.image_rows(rows, "t", signed=True)
    assert {image.get_clim() for image in figure.axes[0].images} == {(-0.5, 0.5)}
    assert "orange: -0.5, white: 0, purple: 0.5" in figure.get_suptitle()


@pytest.mark.parametrize("count", [1, 3])
def test_bars_stand_side_by_side_around_their_name(count):
    groups = {f"group {i}": [i + 1, 10, 0.5] for i in range(count)}
    axes = plot.bars(groups, ["x", "y", "z"], "t", "class", "variance").axes[0]
    assert words(axes.get_xticklabels()) == ["x", "y", "z"]
    for (name, values), bars in zip(groups.items(), axes.containers, strict=True):
        assert bars.get_label() == name and [b.get_height() for b in bars] == values
        assert [round(bar.get_x() + bar.get_width() / 2) for bar in bars] == [0, 1, 2]
    left = [bars[0].get_x() for bars in axes.containers]
    assert left == sorted(left) and len({*left}) == count
    assert len({bars[0].get_facecolor() for bars in axes.containers}) == count


@pytest.mark.numeric
def test_a_heatmap_shows_its_values_and_fields_their_logarithms():
    figure = plot.heatmap(np.arange(6.0).reshape(2, 3), ["a", "b"], "t", "unit", "class", "u")
    axes, scale = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0, 1, 2], [3, 4, 5]])
    assert words(axes.get_yticklabels()) == ["a", "b"] and scale.get_ylabel() == "u"
    gradients = {"conv 1": np.array([[0, 1.0], [10, 100]]), "conv 2": np.ones((3, 3))}
    axes = plot.fields(gradients, {"conv 1": (0, 1), "conv 2": (1, 2)}, "t").axes
    np.testing.assert_allclose(axes[0].images[0].get_array(), [[-6, -2], [-1, 0]],
                               rtol=8 * EPS)  # of log10, at most 4 units in the last place
    square = axes[1].patches[0]
    assert (square.get_xy(), square.get_width(), square.get_height()) == ((0.5, 0.5), 2, 2)


@pytest.mark.parametrize("dims", [2, 3])
def test_each_class_has_its_own_look_and_all_its_points(dims):
    y = torch.arange(60) % 12
    points = torch.rand(60, dims)
    names = [f"class {c}" for c in range(12)]
    axes = plot.scatter(points, y, names, "t", "abc"[:dims]).axes[0]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 12
    for c, line in enumerate(axes.lines):
        at = line.get_data_3d() if dims == 3 else line.get_data()
        np.testing.assert_array_equal(np.transpose(at), points[y == c])
        assert line.get_label() == f"class {c}"


def test_trials_have_the_axes_that_they_were_drawn_from_and_failures_are_left_out():
    done = [{"settings": {"rate": 10.0 ** -i, "layers": i, "kind": "ab"[i % 2],
                          "batch": (64, 128)[i % 2]}, "score": i + 1.0} for i in range(4)]
    done.append({"settings": {"rate": 1.0, "layers": 9, "kind": "c"}, "failure": "nan"})
    rate, layers, kind, batch, *_ = plot.trials(done, "t", "share of errors", ["rate"]).axes
    assert all("%" in word for word in words(ticks(rate.yaxis)))
    assert rate.get_xscale() == "log" and layers.get_xscale() == "linear"
    assert sorted(layers.lines[0].get_xdata()) == [0, 1, 2, 3]
    assert list(rate.lines[1].get_xydata()[0]) == [1.0, 1.0]  # the star: least score
    assert words(kind.get_xticklabels()) == ["a", "b"]
    assert words(batch.get_xticklabels()) == ["64", "128"]


# --- what a reader can read -----------------------------------------------------------------

SHORT = "cost$_^$"  # between two $, _^ is no mathematics
LONG = f"{SHORT}: a name, as long as a path on somebody's disk, {'/folder' * 20}, {'W' * 90}"
NAME = "$_^$, 40 letters as a class or a setting"
X, T = np.ones((2, 2)), torch.arange(2)
IMAGES = torch.zeros(20, 1, 28, 28)
FIGURES = {
    "curves": lambda n, s: plot.curves(
        {n: ([1, 10], [3, 2]), f"{n} 2": ([1, 2], [3, 4]), f"{n} 3": 2.0}, n, n, n,
        log_x=True),
    "fit": lambda n, s: plot.curves({n: X, s: X}, n, n, n, points=X, band=(X[0], X[0], X[0])),
    "image_rows": lambda n, s: plot.image_rows({n: IMAGES, f"{s} ": IMAGES, s: IMAGES}, n,
                                               [s] * 20),
    "labels": lambda n, s: plot.image_rows({s: IMAGES}, n, [n] * 20),
    "signed": lambda n, s: plot.image_rows({n: IMAGES + 1, s: IMAGES}, n, signed=True),
    "dots": lambda n, s: plot.dots({n: [1, 2], f"{n} 2": [3]}, n, n),
    "bars": lambda n, s: plot.bars({n: [1.0] * 10, s: [2.0] * 10}, [NAME] * 10, n, n, n),
    "trials": lambda n, s: plot.trials(
        [{"settings": {f"{NAME} {j}": 0.1 + i for j in range(4)} | {s: w}, "score": 1 + i}
         for w, i in (("one word", 0), ("another", 1), ("a third", 2))], n, n),
    "histograms": lambda n, s: plot.histograms(
        {f"{NAME} {i}": {n: [1, 2, 3.5], s: [1, 3, 4]} for i in range(6)}, n, s),
    "heatmap": lambda n, s: plot.heatmap(X, [n, n], n, n, n, n),
    "fields": lambda n, s: plot.fields({f"{s} {i}": X for i in range(5)},
                                       {f"{s} {i}": (0, 1) for i in range(5)}, n),
    "scatter": lambda n, s: plot.scatter(torch.eye(2), T, [n, s], n, [n, n]),
    "scatter 3-D": lambda n, s: plot.scatter(torch.eye(3)[:2], T, [n, s], n, [NAME] * 3)}


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("name", [SHORT, LONG], ids=["short", "long"])
def test_no_name_of_any_length_is_cut_lies_over_another_or_is_read_as_mathematics(kind, name):
    figure = FIGURES[kind](name, SHORT)
    boxes = drawn(figure)
    width, height = figure.get_size_inches()
    assert width <= 6.7  # the width of a page's text: 7 points are 7 points
    assert all(text.get_fontsize() >= 7 for text in boxes)
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    if kind != "scatter 3-D":  # its axes turn into each other
        assert [words(pair) for pair in overlapping(boxes)
                if not any(text.get_rotation() % 90 for text in pair)] == []
    assert not any(text.get_parse_math() for text in boxes)


def ticks(axis):
    axis.figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            and tick.label1.get_text()]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("low, high", [
    (0.0094, 0.0101), (0.1, 0.9), (2, 2.9), (1e-6, 1e-1), (0.03, 40), (1, 60_000), (80, 110),
    (3e-7, 8e-7), (1e5, 3e9), (0.5, 0.5)])
def test_every_axis_has_three_labels_or_more_that_stand_apart(log, low, high):
    lines = {"a": ([low, high], [low, high])}
    axes = plot.curves(lines, "t", "x", "y", log_y=log, log_x=log).axes[0]
    boxes = drawn(axes.figure)
    for axis in (axes.xaxis, axes.yaxis):
        labels = [label for label in boxes if label in ticks(axis)]
        assert 3 <= len(labels) <= 10 and len(set(words(labels))) == len(labels), words(labels)
        assert not any(set(text) & set("e$") for text in words(labels)), words(labels)
    assert overlapping(boxes) == []


@pytest.mark.parametrize("epochs, wanted", [(1, ["0", "1", "2"]), (2, ["0", "1", "2", "3"])])
def test_a_run_of_few_epochs_has_whole_epochs_on_its_axis(epochs, wanted):
    axes = plot.curves({"a": (range(1, epochs + 1), [0.2] * epochs)}, "t", "x", "y").axes[0]
    assert words(ticks(axes.xaxis)) == wanted


@pytest.mark.parametrize("label", [
    "share of images", "fraction", "test accuracy, fraction", "error, fraction of images"])
def test_accuracies_are_in_per_cent(label):
    axes = plot.curves({"a": ([1, 5], [0.7, 0.9]), "PCA": 0.825}, "t", "x", label).axes[0]
    assert words(ticks(axes.yaxis)) == ["70%", "75%", "80%", "85%", "90%"]
    assert axes.lines[1].get_label() == "PCA (82.5%)"


def test_what_is_alone_needs_no_legend():
    assert plot.curves({"a": ([1, 2], [3, 4])}, "t", "x", "y").legends == []
    assert len(plot.curves(LINES, "t", "x", "y").legends) == 1


def test_numbers_that_are_not_finite_leave_the_others_drawn():
    figure = plot.curves({"a": ([1, 2, 3], [1.0, float("nan"), float("inf")]),
                          "b": ([1], [float("nan")])}, "t", "x", "y", log_y=True)
    assert len(drawn(figure)) > 6
