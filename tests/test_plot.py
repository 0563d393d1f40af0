"""minidl/lab/plot.py: each number, image and name is drawn where it belongs."""

import itertools

import numpy as np
import pytest
import torch

from minidl.lab import plot

LINES = {"a": ([1, 10, 100], [0.3, 0.2, 0.1]), "level": 0.125, "b": ([1, 50], [0.4, 0.3])}


def test_a_curve_goes_through_its_points_and_a_number_is_a_dotted_level():
    a, level, b = plot.curves(LINES, "MNIST: t", "images", "error").axes[0].lines
    for line, name in ((a, "a"), (b, "b")):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xydata(), np.transpose(LINES[name]))
    assert list(level.get_ydata()) == [0.125, 0.125] and level.get_linestyle() == ":"
    assert level.get_label() == "level (0.125)"


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


def image_rows(N, **more):
    """-> what was to be drawn, and a {(row, column): image} of each block of the figure."""
    x = torch.linspace(0, 1, 2 * N).reshape(2, N, 1, 1, 1).expand(2, N, 1, 3, 3)
    rows = {"input": x[0], "output": x[1]}
    figure = plot.image_rows(rows, "MNIST: t", **more)
    return rows, figure.axes, [cells(axes) for axes in figure.axes]


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


def ticks(axis):
    return {round(at - 0.5): label.get_text()
            for at, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)}


def test_images_beyond_the_columns_go_on_in_blocks_below():
    rows, blocks, shown = image_rows(5, columns=2, column_labels="vwxyz")
    assert [set(block) for block in shown] == [
        {(0, 0), (0, 1), (1, 0), (1, 1)}] * 2 + [{(0, 0), (1, 0)}]  # the rest stays blank
    for i, images in enumerate(rows.values()):
        for n in range(5):
            np.testing.assert_array_equal(shown[n // 2][i, n % 2], images[n, 0])
    for axes, labels in zip(blocks, ("vw", "xy", "z"), strict=True):
        assert ticks(axes.yaxis) == {0: "input", 1: "output"}
        assert ticks(axes.xaxis) == dict(enumerate(labels))


@pytest.mark.parametrize("N, columns, blocks, width", [(3, 20, 1, 3), (4, 4, 1, 4),
                                                       (5, 4, 2, 4), (2, 1, 2, 1)])
def test_the_grid_is_no_larger_than_its_images_need(N, columns, blocks, width):
    _, drawn, _ = image_rows(N, columns=columns)
    assert len(drawn) == blocks
    assert all(axes.get_xlim() == (0, width) and axes.get_ylim() == (2, 0) for axes in drawn)


def test_a_matrix_shows_its_counts_and_colours_them_by_the_rows_share():
    values = np.array([[1500, 500, 0], [1, 3, 0], [0, 0, 0]])  # no example of the last class
    axes = plot.matrix(values, ["a", "b", "c"], "MNIST: t", "predicted", "true").axes[0]
    written = {text.get_position()[::-1]: text for text in axes.texts}  # at (row, column)
    assert {at: text.get_text() for at, text in written.items()} == {
        (0, 0): "1,500", (0, 1): "500", (1, 0): "1", (1, 1): "3"}  # zeros stay empty
    np.testing.assert_array_equal(axes.images[0].get_array(),
                                  [[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 0]])
    assert axes.images[0].get_clim() == (0, 1)
    assert {at: text.get_color() for at, text in written.items()} == {
        (0, 0): "white", (0, 1): "black", (1, 0): "black", (1, 1): "white"}
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_bars_stand_side_by_side_around_their_name(count):
    groups = {f"group {i}": [i + 1, 10, 0.5] for i in range(count)}
    figure = plot.bars(groups, ["x", "y", "z"], "MNIST: t", "class", "variance")
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["x", "y", "z"]
    for (name, values), drawn in zip(groups.items(), axes.containers, strict=True):
        assert drawn.get_label() == name and [b.get_height() for b in drawn] == values
    for k, at in enumerate(axes.get_xticks()):
        left = [drawn[k].get_x() for drawn in axes.containers]
        right = [drawn[k].get_x() + drawn[k].get_width() for drawn in axes.containers]
        np.testing.assert_allclose(left[1:], right[:-1], atol=1e-12)  # they touch
        np.testing.assert_allclose([left[0], right[-1]], [at - 0.4, at + 0.4], atol=1e-12)
    colours = {drawn[0].get_facecolor() for drawn in axes.containers}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(colours) == count and legend == list(groups)


def test_signed_images_share_one_scale_that_is_symmetric():
    rows = {"a": torch.full((2, 1, 3, 3), -0.2), "b": torch.full((2, 1, 3, 3), 0.5)}
    figure = plot.image_rows(rows, "MNIST: t", signed=True)
    axes, _ = figure.axes  # and the scale is drawn
    assert {image.get_clim() for image in axes.images} == {(-0.5, 0.5)}
    assert len(cells(axes)) == 4


def test_histograms_are_densities_over_one_axis_of_known_weights():
    panels = {"conv": {"before": np.repeat([0.0, 1.0], 500), "after": np.zeros(1000)},
              "linear": {"before": np.linspace(-1, 1, 99), "after": np.linspace(-2, 2, 99)}}
    axes = plot.histograms(panels, "MNIST: t", "weight").axes
    assert [panel.get_title() for panel in axes[:2]] == ["conv", "linear"]
    before, after = (patch.get_xy() for patch in axes[0].patches)
    for density, highest in ((before, 20), (after, 40)):  # bins are 1/40 wide
        assert density[:, 1].max() == pytest.approx(highest)
    assert before[before[:, 1] > 1, 0].max() == 1 and after[after[:, 1] > 1, 0].max() == 1 / 40
    assert not axes[2].get_visible()


def test_a_heatmap_shows_its_values_and_their_unit():
    figure = plot.heatmap(np.arange(6.0).reshape(2, 3), ["a", "b"], "t", "unit", "class", "u")
    axes, scale = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0, 1, 2], [3, 4, 5]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel(), scale.get_ylabel()) == ("unit", "class", "u")


def test_fields_are_logarithms_with_their_square_outlined():
    gradients = {"conv 1": np.array([[0, 1.0], [10, 100]]), "conv 2": np.ones((3, 3))}
    first, second, _ = plot.fields(gradients, {"conv 1": (0, 1), "conv 2": (1, 2)}, "t").axes
    np.testing.assert_allclose(first.images[0].get_array(), [[-6, -2], [-1, 0]])
    square = second.patches[0]
    assert (square.get_xy(), square.get_width(), square.get_height()) == ((0.5, 0.5), 2, 2)


def test_a_class_has_its_own_look_and_its_name_at_its_median():
    y = torch.arange(120) % 12
    points = torch.rand(120, 2) + torch.stack([y % 3, y // 3], dim=1)  # names have room
    axes = plot.scatter(points, y, [f"class {c}" for c in range(12)], "t", ("a", "b")).axes[0]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 12
    for c, (line, text) in enumerate(zip(axes.lines, axes.texts, strict=True)):
        np.testing.assert_allclose(line.get_xydata(), points[y == c], atol=1e-7)
        assert text.get_text() == line.get_label() == f"class {c}"
        assert text.get_position() == pytest.approx(np.median(points[y == c], axis=0))
    space = plot.scatter(torch.rand(9, 3), torch.zeros(9), ["x"], "t", "abc").axes[0]
    assert space.get_zlabel() == "c"


def overlapping(figure, texts):
    """How many pairs of texts lie over each other as the figure is drawn."""
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    return sum(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("dims", [2, 3])
def test_names_of_classes_at_one_place_are_written_apart(dims, monkeypatch):
    points, y = 1e-3 * torch.rand(20, dims), torch.arange(20) % 10
    points[:2] = torch.tensor([[-1.0], [1.0]])
    names = [f"class {c}" for c in range(10)]
    figure = plot.scatter(points, y, names, "t", "abc"[:dims])
    assert overlapping(figure, figure.axes[0].texts) == 0
    monkeypatch.setattr(plot, "_apart", lambda middles, sizes: middles)
    figure = plot.scatter(points, y, names, "t", "abc"[:dims])
    assert overlapping(figure, figure.axes[0].texts) > 10


def test_what_stands_below_images_does_not_run_together():
    labels = [f"ankle boot\nnot pullover\np = 0.00{i % 9}" for i in range(20)]
    figure = plot.image_rows({"a long name, with two parts": torch.rand(20, 1, 28, 28)}, "t",
                             labels, columns=10)
    texts = [text for axes in figure.axes
             for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert overlapping(figure, texts) == 0
    assert all(text.get_window_extent().x0 >= 0 for text in texts)


def test_few_measured_values_are_the_ticks():
    at = plot.curves({"a": ([0.2, 0.5, 0.8], [3, 2, 1])}, "t", "x", "y").axes[0].get_xticks()
    assert list(at) == [0.2, 0.5, 0.8]


def test_trials_have_the_axes_that_they_were_drawn_from_and_failures_are_left_out():
    done = [{"settings": {"rate": 10.0 ** -i, "layers": i}, "score": i + 1.0}
            for i in range(4)]
    done.append({"settings": {"rate": 1.0, "layers": 9}, "failure": "nan"})
    rate, layers = plot.trials(done, "t", "error", ["rate"]).axes[:2]
    assert rate.get_xscale() == "log" and layers.get_xscale() == "linear"
    assert sorted(layers.lines[0].get_xdata()) == [0, 1, 2, 3]
    assert list(rate.lines[1].get_xydata()[0]) == [1.0, 1.0]  # the star: least score
