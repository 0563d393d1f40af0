"""assignments/hw1_regression.py: the points, the noise floor, a file of one's own, runs."""

import json

import hw1_regression as hw1
import pytest
import torch

from minidl import cli
from minidl.data import DataError
from minidl.run import Run

SMALL = ["--points", "60", "--trials", "3", "--folds", "2"]


def start(out, *argv):
    cli.start(hw1.main, argv=["--out", str(out), *SMALL, *argv], **hw1.SIZES)
    return json.loads((out / "results.json").read_text())


@pytest.fixture
def made(tmp_path):
    return hw1.read_or_make(Run("s", "default", {}, out=tmp_path), 300, "")


@pytest.fixture(scope="module")
def short():
    """Short trainings: what is tested is what surrounds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(hw1.SPACE, "steps", hw1.tune.Choice((20, 40)))
        yield


def test_training_points_leave_the_gaps_and_test_points_fill_them(made):
    (x, _), (test_x, _), _ = made
    assert len(x) == 300 and len(test_x) == 4000
    for low, high in hw1.GAPS:
        assert not ((low < x) & (x < high)).any()
        assert ((low < test_x) & (test_x < high)).sum() > 200
    assert x.min() < -4.8 and x.max() > 4.8


def test_the_function_itself_has_the_noise_floor_and_no_shift_of_it_is_better(made):
    """4,000 squared normals: a deviation of 2.2% of sigma^2."""
    _, (x, y), floor = made
    noise = (y.double() - hw1.f(x.double())).square().mean().item()
    assert floor == pytest.approx(noise, rel=1e-5)
    assert floor != hw1.SIGMA ** 2 and floor == pytest.approx(hw1.SIGMA ** 2, rel=0.07)
    for shift in (-0.1, 0.1):
        assert hw1.mse(lambda x, s=shift: hw1.f(x) + s, x, y) > floor


def test_the_saved_points_are_the_points(made, tmp_path):
    (x, y), _, _ = made
    read_x, read_y = hw1.read_points(tmp_path / "training.csv")
    torch.testing.assert_close(read_x, x, atol=1e-6, rtol=0)
    torch.testing.assert_close(read_y, y, atol=1e-6, rtol=0)


def test_a_network_fits_a_line_in_its_own_units():
    x = torch.linspace(100, 200, 50).unsqueeze(1)
    y = 1000 - 3 * x
    scale = (x.mean(), x.std()), (y.mean(), y.std())
    settings = {"width": 16, "layers": 1, "activation": "Tanh", "learning_rate": 1e-2,
                "weight_decay": 0.0, "steps": 600}
    assert hw1.mse(hw1.fit(settings, x, y, scale, seed=0), x, y) < 0.01 * y.var()


@pytest.mark.parametrize(("text", "line"), [
    ("x,y\n1,2\n3\n", "line 3: found '3'"), ("1,2\n3,nan\n", "line 2: found '3,nan'"),
    ("x,y\n1,2\n\n5,six\n", "line 4: found '5,six'"),
    ("1,2\n1,2,3\n", "line 2: found '1,2,3'")])
def test_a_bad_row_is_named_by_its_line(tmp_path, text, line):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"points.csv, {line}, expected two finite numbers"):
        hw1.read_points(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path, capsys, content):
    path = tmp_path / "points.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        start(tmp_path / "out", "--csv", str(path))
    assert stopped.value.code == 2 and "found no readable text file" in capsys.readouterr().err


def test_a_run_tells_the_floor_the_tuned_and_the_untuned_error(short, tmp_path):
    content = start(tmp_path / "a")
    numbers = {key: entry["value"] for key, entry in content["numbers"].items()}
    assert numbers["noise_floor_mse_expected"] == hw1.SIGMA ** 2
    assert numbers["noise_floor_mse"] == pytest.approx(hw1.SIGMA ** 2, rel=0.07)
    assert {"test_mse", "test_mse_untuned", "cross_validated_mse"} <= numbers.keys()
    assert any("f itself has test error" in f for f in content["findings"])
    again = start(tmp_path / "b")
    assert again["numbers"] == content["numbers"]
    assert again["findings"] == content["findings"]
    log = tmp_path / "a" / "trials" / "search" / "rank_0.jsonl"
    logged = log.read_text().splitlines()
    trials = sorted(map(json.loads, logged), key=hw1.tune.score_of)
    assert [f"{trial['score']:.4f}. Untuned" in content["findings"][1]  # of 3 the second
            for trial in trials] == [False, True, False]
    assert hw1.in_words(trials[1]["settings"]) in content["findings"][1]
    resumed = start(tmp_path / "a", "--resume")
    assert resumed["numbers"] == content["numbers"]
    assert log.read_text().splitlines() == logged


def test_points_of_ones_own_have_no_floor(short, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("x,y\n" + "".join(f"{i / 10},{i / 5}\n" for i in range(60)))
    content = start(tmp_path / "out", "--csv", str(path))
    assert "noise_floor_mse" not in content["numbers"]
    assert content["data"] == "points of mine.csv"
    assert content["numbers"]["test_mse"]["n"] == 12


def test_too_few_points_for_the_folds_are_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        start(tmp_path, "--points", "3")
    assert "--points 3: expected twice as many as --folds 2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        start(tmp_path, "--folds", "1")
    assert "--folds 1: expected 2 or more" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["1_0,2", "1e300,2", "1;2", "1,2,3", "1,", "nan,1", "nan,inf",
                                  "1.0,2x", "1x,2x", "1,2\x1d"])
def test_a_number_that_is_none_or_beyond_float32_is_refused_also_in_the_first_line(
        tmp_path, line):
    path = tmp_path / "points.csv"
    for before in ("", "x,y\n"):
        path.write_text(before + line + "\n" + "".join(f"{i},{i}\n" for i in range(20)))
        with pytest.raises(DataError, match=f"line {1 + len(before) // 4}: found "):
            hw1.read_points(path)


def test_a_spreadsheets_mark_and_line_ends_lose_no_point(tmp_path):
    path = tmp_path / "points.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(b" %d, %dE0\r\n" % (i, i) for i in range(20)))
    x, y = hw1.read_points(path)
    assert x[:, 0].tolist() == y[:, 0].tolist() == list(range(20))


@pytest.mark.parametrize("row", ["{},1", "1,{}"])
def test_points_that_do_not_vary_are_a_sentence(tmp_path, row):
    path = tmp_path / "points.csv"
    path.write_text("".join(row.format(i) + "\n" for i in range(20)))
    with pytest.raises(DataError, match="found one value of x or of y in all lines"):
        hw1.read_points(path)


def test_too_few_points_of_ones_own_are_a_sentence(tmp_path, capsys):
    path = tmp_path / "points.csv"
    path.write_text("".join(f"{i},{i}\n" for i in range(12)))
    with pytest.raises(SystemExit):
        start(tmp_path / "out", "--csv", str(path), "--folds", "9")
    assert "found 10 points to train on, expected twice as many as --folds 9" in (
        capsys.readouterr().err)
