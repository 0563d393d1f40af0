"""assignments/hw1_regression.py: the points, the noise floor, a file of one's own."""

import hw1_regression as hw1
import pytest
import torch
import whole_runs

from minidl.data import DataError
from minidl.data.points import GAPS, SIGMA, read_points

pytestmark = pytest.mark.numeric


def start(out, *argv):
    return whole_runs.start("hw1_regression", out, "--points", "60", "--trials", "3",
                            "--folds", "2", *argv, data=None)


@pytest.fixture
def made(generator):
    train, test, *_ = hw1.load("", 300, generator)
    return train, test


def test_training_points_leave_the_gaps_and_test_points_fill_them(made):
    (x, _), (test_x, _) = made
    assert len(x) == 300 and len(test_x) == 4000
    for low, high in GAPS:
        assert not ((low < x) & (x < high)).any()
        assert ((low < test_x) & (test_x < high)).sum() > 200
    assert x.min() < -4.8 and x.max() > 4.8


def test_the_function_itself_has_the_noise_floor_and_no_shift_of_it_is_better(made):
    """4,000 squared normals: a deviation of sqrt(2 / 4000) = 2.2% of sigma^2; five of them."""
    _, (x, y) = made
    floor = (hw1.f(x) - y).square().mean().item()
    assert floor != SIGMA ** 2 and floor == pytest.approx(SIGMA ** 2, rel=0.11)
    for shift in (-0.1, 0.1):
        assert (hw1.f(x) + shift - y).square().mean() > floor


def test_a_network_fits_a_line_in_its_own_units():
    x = torch.linspace(100, 200, 50).unsqueeze(1)
    y = 1000 - 3 * x
    scale = (x.mean(), x.std()), (y.mean(), y.std())
    settings = {"width": 16, "layers": 1, "activation": "Tanh", "learning_rate": 1e-2,
                "weight_decay": 0.0, "steps": 600}
    network = hw1.fit(settings, x, y, scale, seed=0)
    assert hw1.errors([network], scale, x, y).mean() < 0.01 * y.var()


@pytest.mark.parametrize(("text", "line"), [
    ("x,y\n1,2\n3\n", 3), ("1,2\n3,nan\n", 2), ("x,y\n1,2\n\n5,six\n", 4),
    ("1,2\n1,2,3\n", 2)] + [(before + bad + "\n1,1\n2,2\n", 1 + len(before) // 4)
                           for before in ("", "x,y\n") for bad in
                           ("1_0,2", "1e300,2", "1;2", "1,", "nan,inf", "1.0,2x", "1,2\x1d")])
def test_a_row_that_is_not_two_finite_numbers_is_named_by_its_file_and_line(
        tmp_path, text, line):
    """Beyond float32 is not finite; a first row may be names, but not half of them."""
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"points.csv, line {line}: found "):
        read_points(path)


@pytest.mark.parametrize("row", ["{},1", "1,{}", "{},0.1", "7.3,{}"])
@pytest.mark.parametrize("others", [0, 4])  # so few that the training points may be alike
def test_points_that_do_not_vary_are_refused(tmp_path, row, others):
    path = tmp_path / "points.csv"
    path.write_text("".join(row.format(i) + "\n" for i in range(20 - others))
                    + others * "-1,-1\n")
    with pytest.raises(DataError, match=path.name):
        read_points(path)


def test_points_far_from_zero_keep_their_differences(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("".join(f"{1e8 + i},{1e8 - i}\n" for i in range(20)))
    x, y = read_points(path)
    assert x[:, 0].diff().tolist() == [1] * 19 and y[:, 0].diff().tolist() == [-1] * 19


@pytest.mark.parametrize("content", [
    None, b"\xff\xfe\x00", b"".join(b"%d,%d\n" % (i, i) for i in range(4))])
def test_a_file_that_is_missing_or_no_text_or_too_short_is_one_sentence(
        tmp_path, capsys, content):
    path = tmp_path / "points.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        start(tmp_path / "out", "--csv", str(path))
    assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_spreadsheets_mark_and_line_ends_lose_no_point(tmp_path):
    path = tmp_path / "points.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(b" %d, %dE0\r\n" % (i, i) for i in range(20)))
    x, y = read_points(path)
    assert x[:, 0].tolist() == y[:, 0].tolist() == list(range(20))


def test_points_of_ones_own_have_no_floor_and_a_fifth_of_them_is_the_test(
        tmp_path, monkeypatch):
    monkeypatch.setitem(hw1.SPACE, "steps", hw1.tune.Choice((20, 40)))
    path = tmp_path / "mine.csv"
    path.write_text("x,y\n" + "".join(f"{i / 10},{i / 5}\n" for i in range(60)))
    content = start(tmp_path / "out", "--csv", str(path))
    assert "noise_floor_mse" not in content["numbers"]
    assert "test_mse" in content["numbers"] and len(content["claims"]) == 1
