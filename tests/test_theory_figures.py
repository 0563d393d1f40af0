"""Claims of theory/figures.py: it runs in a bare checkout, the pictures show what they say."""

import runpy
import sys
from pathlib import Path

import pytest
from matplotlib import image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def figures():
    """The script's names, run where neither the path nor an import knows of minidl yet."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "minidl"]:
            patch.delitem(sys.modules, name)
        patch.setattr(sys, "path", [p for p in sys.path if Path(p).resolve() != ROOT])
        yield runpy.run_path(str(ROOT / "theory" / "figures.py"))


def texts(axes):
    """The words in the cells of one panel, and the (column, row) of each."""
    return {(int(t.get_position()[0] // 1), int(t.get_position()[1] // 1)): t.get_text()
            for t in axes.texts}


def test_it_writes_a_picture_for_every_claim(figures, tmp_path, capsys):
    figures["main"](["--out", str(tmp_path / "new")])
    written = [str(tmp_path / "new" / f"{name}.png") for name in figures["FIGURES"]]
    assert capsys.readouterr().out.split() == written
    for path in written:
        pixels = image.imread(path)
        assert pixels.shape[1] >= 1500 and pixels.std() > 0.1, path


def test_toeplitz_panels_hold_w_j_minus_i_at_i_j(figures):
    plain, strided, padded, dilated = figures["toeplitz"]().axes
    for axes, p, d in (plain, 0, 1), (strided, 0, 1), (padded, 1, 1), (dilated, 0, 2):
        found = texts(axes)
        assert len(found) == 3 * max(i + 1 for _, i in found)  # three weights a row
        for (j, i), word in found.items():
            assert word == "w" + "₀₁₂"[(j - i + p) // d], (i, j)


def test_the_pooled_outputs_are_those_of_the_title(figures):
    y, by_1, by_2 = ["".join(texts(axes)[2 * i + 1, 2] for i in range(4))
                     for axes in figures["strided_pooling"]().axes]
    assert (y, by_1, by_2) == ("0101", "1111", "1010")
    assert by_2 == y[-1:] + y[:-1]
    assert by_1 not in [y[-a:] + y[:-a] for a in range(4)]
