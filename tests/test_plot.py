"""minidl/lab/plot.py: each number, image and name is drawn where it belongs."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

from minidl.lab import plot

LINES = {"a": ([1, 10, 100], [0.3, 0.2, 0.1]), "level": 0.125, "b": ([1, 50], [0.4, 0.3])}
EPS = np.finfo(float).eps


def words(ticks):
    return [tick.get_text() for tick in ticks]


def test_a_curve_goes_through_its_points_and_a_number_is_a_dotted_level():
    axes = plot.curves(LINES, "MNIST: t", "images", "error").axes[0]
    a, level, b = axes.lines
    for line, name in ((a, "a"), (b, "b")):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xydata(), np.transpose(LINES[name]))
    assert list(level.get_ydata()) == [0.125, 0.125] and level.get_linestyle() == ":"
    assert level.get_label() == "level (0.125)"
    assert axes.figure.get_suptitle() == "MNIST: t"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("images", "error")


def test_21_curves_have_21_different_looks():
    lines = {str(i): ([0, 1], [i, i]) for i in range(21)}
    drawn = plot.curves(lines, "t", "x", "y").axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 21


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("log_y", [False, True])
def test_each_axis_is_logarithmic_where_asked_for(log_x, log_y):
    axes = plot.curves(LINES, "t", "x", "y", log_y=log_y, log_x=log_x).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == tuple(
        "log" if log else "linear" for log in (log_x, log_y))
    if not log_x:  # epochs are whole: no tick at 2.5
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_few_measured_values_are_the_ticks():
    at = plot.curves({"a": ([0.2, 0.5, 0.8], [3, 2, 1])}, "t", "x", "y").axes[0].get_xticks()
    assert list(at) == [0.2, 0.5, 0.8]


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


def test_signed_images_share_one_scale_that_is_symmetric():
    rows = {"a": torch.full((2, 1, 3, 3), -0.25), "b": torch.full((2, 1, 3, 3), 0.5)}
    axes, _ = plot.image_rows(rows, "t", signed=True).axes  # and the scale is drawn
    assert {image.get_clim() for image in axes.images} == {(-0.5, 0.5)}


def test_a_matrix_shows_its_counts_and_colours_them_by_the_rows_share():
    values = np.array([[1500, 500, 0], [1, 3, 0], [0, 0, 0]])  # no example of the last class
    axes = plot.matrix(values, ["a", "b", "c"], "t", "predicted", "true").axes[0]
    written = {text.get_position()[::-1]: text for text in axes.texts}  # at (row, column)
    assert {at: text.get_text() for at, text in written.items()} == {
        (0, 0): "1,500", (0, 1): "500", (1, 0): "1", (1, 1): "3"}  # zeros stay empty
    np.testing.assert_array_equal(axes.images[0].get_array(),
                                  [[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 0]])
    assert axes.images[0].get_clim() == (0, 1)
    assert {at: text.get_color() for at, text in written.items()} == {
        (0, 0): "white", (0, 1): "black", (1, 0): "black", (1, 1): "white"}
    assert words(axes.get_xticklabels()) == words(axes.get_yticklabels()) == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_bars_stand_side_by_side_around_their_name(count):
    groups = {f"group {i}": [i + 1, 10, 0.5] for i in range(count)}
    figure = plot.bars(groups, ["x", "y", "z"], "t", "class", "variance")
    axes = figure.axes[0]
    assert words(axes.get_xticklabels()) == ["x", "y", "z"]
    for (name, values), drawn in zip(groups.items(), axes.containers, strict=True):
        assert drawn.get_label() == name and [b.get_height() for b in drawn] == values
    # a position is below 3 after six roundings of EPS/2; two of them are compared
    close = {"rtol": 0, "atol": 2 * 6 * 3 * EPS / 2}
    for k, at in enumerate(axes.get_xticks()):
        left = [drawn[k].get_x() for drawn in axes.containers]
        right = [drawn[k].get_x() + drawn[k].get_width() for drawn in axes.containers]
        np.testing.assert_allclose(left[1:], right[:-1], **close)  # they touch
        np.testing.assert_allclose([left[0], right[-1]], [at - 0.4, at + 0.4], **close)
    colours = {drawn[0].get_facecolor() for drawn in axes.containers}
    assert len(colours) == count and words(figure.legends[0].get_texts()) == list(groups)


@pytest.mark.numeric
def test_histograms_are_densities_over_one_axis():
    panels = {"conv": {"before": np.repeat([0.0, 1.0], 500), "after": np.zeros(1000)},
              "linear": {"before": np.linspace(-1, 1, 99), "after": np.linspace(-2, 2, 99)}}
    axes = plot.histograms(panels, "t", "weight").axes
    assert [panel.get_title() for panel in axes[:2]] == ["conv", "linear"]
    before, after = (patch.get_xy() for patch in axes[0].patches)
    for density, highest in ((before, 20), (after, 40)):
        # a bin is 1/40 wide, the difference of edges that are off by EPS/2 each: 40 EPS of it
        assert density[:, 1].max() == pytest.approx(highest, rel=50 * EPS, abs=0)
    assert before[before[:, 1] > 1, 0].max() == 1
    assert after[after[:, 1] > 1, 0].max() == np.linspace(0, 1, 41)[1]
    assert not axes[2].get_visible()


def test_histograms_of_eight_groups_are_drawn():
    groups = {f"group {i}": np.arange(9.0) + i for i in range(8)}
    figure = plot.histograms({"weights": groups}, "t", "weight")
    assert words(figure.legends[0].get_texts()) == list(groups)


def test_a_heatmap_shows_its_values_and_their_unit():
    figure = plot.heatmap(np.arange(6.0).reshape(2, 3), ["a", "b"], "t", "unit", "class", "u")
    axes, scale = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0, 1, 2], [3, 4, 5]])
    assert words(axes.get_yticklabels()) == ["a", "b"] and scale.get_ylabel() == "u"


@pytest.mark.numeric
def test_fields_are_logarithms_with_their_square_outlined():
    gradients = {"conv 1": np.array([[0, 1.0], [10, 100]]), "conv 2": np.ones((3, 3))}
    first, second, _ = plot.fields(gradients, {"conv 1": (0, 1), "conv 2": (1, 2)}, "t").axes
    np.testing.assert_allclose(first.images[0].get_array(), [[-6, -2], [-1, 0]],
                               rtol=8 * EPS)  # of log10, at most 4 units in the last place
    square = second.patches[0]
    assert (square.get_xy(), square.get_width(), square.get_height()) == ((0.5, 0.5), 2, 2)


def test_a_class_has_its_own_look_and_its_name_at_its_median():
    y = torch.arange(60) % 12  # class c: five points around (c % 3, c // 3), one of them there
    around = torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]) / 4
    points = torch.stack([y % 3, y // 3], dim=1) + around.repeat_interleave(12, dim=0)
    axes = plot.scatter(points, y, [f"class {c}" for c in range(12)], "t", ("a", "b")).axes[0]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 12
    for c, (line, text) in enumerate(zip(axes.lines, axes.texts, strict=True)):
        np.testing.assert_array_equal(line.get_xydata(), points[y == c])
        assert text.get_text() == line.get_label() == f"class {c}"
        assert text.get_position() == (c % 3, c // 3)
    space = plot.scatter(torch.eye(3), torch.zeros(3), ["x"], "t", "abc").axes[0]
    assert space.get_zlabel() == "c"


def overlapping(figure, texts):
    """How many pairs of texts lie over each other as the figure is drawn."""
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    return sum(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("dims", [2, 3])
def test_names_of_classes_at_one_place_are_written_apart(dims, monkeypatch):
    points, y = torch.zeros(40, dims), torch.arange(40) % 10
    points[:2] = torch.tensor([[-1.0], [1.0]])
    names = [f"class {c}" for c in range(10)]
    figure = plot.scatter(points, y, names, "t", "abc"[:dims])
    assert overlapping(figure, figure.axes[0].texts) == 0
    monkeypatch.setattr(plot, "_apart", lambda middles, sizes: middles)
    figure = plot.scatter(points, y, names, "t", "abc"[:dims])
    assert overlapping(figure, figure.axes[0].texts) == 10 * 9 / 2


@pytest.mark.parametrize("rows", [1, 9])
def test_what_stands_below_and_beside_images_does_not_run_together_and_is_not_cut(rows):
    labels = [f"ankle boot\nnot pullover\np = 0.00{i % 9}" for i in range(20)]
    names = [f"a long name, with two parts{' ' * i}" for i in range(rows)]
    figure = plot.image_rows({name: torch.zeros(20, 1, 28, 28) for name in names}, "t",
                             labels, columns=10)
    texts = [text for axes in figure.axes
             for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert overlapping(figure, texts) == 0
    assert all(text.get_window_extent().x0 >= 0 for text in texts)


def test_trials_have_the_axes_that_they_were_drawn_from_and_failures_are_left_out():
    done = [{"settings": {"rate": 10.0 ** -i, "layers": i}, "score": i + 1.0}
            for i in range(4)]
    done.append({"settings": {"rate": 1.0, "layers": 9}, "failure": "nan"})
    rate, layers = plot.trials(done, "t", "error", ["rate"]).axes[:2]
    assert rate.get_xscale() == "log" and layers.get_xscale() == "linear"
    assert sorted(layers.lines[0].get_xdata()) == [0, 1, 2, 3]
    assert list(rate.lines[1].get_xydata()[0]) == [1.0, 1.0]  # the star: least score


NAME = "cost$_^$"
X = np.ones((2, 2))
FIGURES = {
    "curves": (plot.curves, {NAME: ([1, 10], [3, 2])}, NAME, NAME, NAME, False, True),
    "image_rows": (plot.image_rows, {NAME: torch.zeros(2, 1, 3, 3)}, NAME, [NAME, NAME]),
    "matrix": (plot.matrix, X, [NAME, NAME], NAME, NAME, NAME),
    "dots": (plot.dots, {NAME: [1, 2]}, NAME, NAME),
    "bars": (plot.bars, {NAME: [1, 2]}, [NAME, NAME], NAME, NAME, NAME),
    "fit": (plot.fit, X, {NAME: X}, None, NAME, NAME, NAME),
    "trials": (plot.trials, [{"settings": {"rate": 1}, "score": 1}], NAME, NAME),
    "histograms": (plot.histograms, {NAME: {NAME: [1, 2, 3]}}, NAME, NAME),
    "heatmap": (plot.heatmap, X, [NAME, NAME], NAME, NAME, NAME, NAME),
    "fields": (plot.fields, {NAME: X}, {NAME: (0, 1)}, NAME),
    "scatter": (plot.scatter, torch.eye(2), torch.arange(2), [NAME, "b"], NAME, [NAME, "y"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_dollar_in_a_name_is_drawn_as_it_is(name):
    """In titles, on axes, in legends. Matplotlib draws a \\$ as $, and reads mathematics
    between two $ without it (here it would fail)."""
    draw, *args = FIGURES[name]
    figure = draw(*args)
    figure.draw_without_rendering()
    found = {text.get_text() for text in figure.findobj(Text) if "cost" in text.get_text()}
    assert found == {NAME.replace("$", r"\$")} and not any(map(is_math_text, found))
    assert is_math_text(NAME)
