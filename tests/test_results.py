"""minidl/lab/results.py: what is written and printed is what was found."""

import json
import shutil
import subprocess

import pytest

from minidl.lab import plot
from minidl.lab.results import FORMATS, Results, latex, markdown, tex
from minidl.lab.run import Run

ROWS = [{"variant": "a_b | 50%", "parameters": 1234567, "L1": 0.0265432},
        {"variant": "c", "parameters": 5, "L1": 12345.6}]


def test_on_a_terminal_a_wide_table_goes_on_below_and_loses_no_word():
    rows = [{"layer": "ConvTranspose2d(64, 32, kernel_size=3, stride=2, padding=1)",
             "output shape": "B x 32 x 7 x 7", "parameters": 18464},
            {"layer": "GELU()", "output shape": "", "parameters": 0}]
    lines = markdown(rows, 60).splitlines()
    assert {len(line) for line in lines} == {60} and len(lines) == 6
    cells = [line.split("|")[1] for line in lines[2:5]]
    assert " ".join("".join(cells).split()) == rows[0]["layer"]
    assert markdown(rows, 200) == markdown(rows)


def test_markdown_is_aligned_escapes_bars_and_rounds_for_reading():
    assert markdown(ROWS).splitlines() == [
        r"| variant    | parameters |      L1 |",
        r"|------------|-----------:|--------:|",
        r"| a_b \| 50% |  1,234,567 | 0.02654 |",
        r"| c          |          5 |  12,346 |"]


def test_latex_escapes_what_it_would_read_as_a_command():
    assert tex("run.py --full") == "run.py -{}-full"  # two hyphens, not a dash
    assert tex(r"50% of a_b & {x} #1 $2 ~ ^ \ < > | ±") == (
        r"50\% of a\_b \& \{x\} \#1 \$2 \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"$<$ $>$ $|$ $\pm$")
    assert r"a\_b $|$ 50\% & 1,234,567 & 0.02654 \\" in latex(ROWS, "L1 in %")
    assert r"\caption{L1 in \%}" in latex(ROWS, "L1 in %")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_latex_table_compiles(tmp_path):
    (tmp_path / "t.tex").write_text("\\documentclass{article}\\begin{document}"
                                    f"{latex(ROWS, 'L1 < 50% | a_b')}\\end{{document}}")
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True,
                   capture_output=True)


def test_results_json_holds_numbers_with_units_and_no_unknowns(tmp_path):
    results = Results(tmp_path)
    results.number("a", 0.5, "fraction", std=0.1, n=3)
    results.number("b", 7, "s")
    results.table("t", ROWS)
    results.save({"script": "x"})
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "script": "x", "numbers": {"a": {"value": 0.5, "unit": "fraction", "std": 0.1, "n": 3},
                                   "b": {"value": 7, "unit": "s"}},
        "claims": [], "files": ["t.md", "t.tex"]}


def test_a_second_number_of_a_name_does_not_replace_the_first(tmp_path):
    run = Run("s", "quick", {}, out=tmp_path)
    with pytest.raises(ValueError, match="two numbers are called error_k_3"):
        run.scores("fraction", error={"k = 3": 0.1, "k: 3": 0.2})


@pytest.mark.parametrize("value, std", [(float("nan"), None), (1.0, float("inf"))])
def test_a_number_that_is_not_finite_is_named_and_everything_else_kept(
        tmp_path, capsys, value, std):
    run = Run("s", "quick", {}, out=tmp_path)
    run.results.number("bad", value, "s", std)
    run.results.number("good", 1.5, "s")
    run.finish()
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["numbers"] == {"good": {"value": 1.5, "unit": "s"}}
    assert content["undefined"] == ["bad"]
    assert "Not a finite number here, so not recorded: bad." in capsys.readouterr().out


def test_the_same_figure_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "pdf", ["CreationDate", "Creator", "Producer"])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Results(tmp_path / folder).figure("f", plot.curves(
            {"a": ([1, 2, 3], [0.1, 0.05, 0.02]), "level": 0.1}, "t", "x", "y"))
    for name, start in (("f.png", b"\x89PNG"), ("f.pdf", b"%PDF")):
        a, b = ((tmp_path / folder / name).read_bytes() for folder in ("a", "b"))
        assert a == b and a[:4] == start
