"""minidl/publish/report.py: the draft of a sheet's report, as LaTeX and as a page.

Its pages and the size of its letters, with the figures of real runs: test_whole_runs.py."""

import base64
import html
import re
import shutil
import subprocess
import sys

import pytest
from test_companion import Page

from minidl.lab import stamp
from minidl.lab.results import Results
from minidl.publish import report, sheets

PNG = base64.b64decode(     # one black pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJg"
    "gg==")


def code_of(script):
    return stamp.code_of(report.ROOT / "assignments" / f"{script}.py")


def run_of(runs, script, names, *, rows=2, claims=(), **content):
    """Write a finished run with a number of each name, and these figures and tables."""
    results = Results(runs / script)
    results.folder.mkdir()
    for name in names:
        results.number(name, 0.025, "mean |x - x_hat| per pixel", std=0.001, n=3)
        results.table(name, [{"layer": f"Linear(x_{i}, 5)", "output shape": "B x 5",
                              "parameters": 12345} for i in range(rows)], "A 5% table")
        results.files.append(f"{name}.png")
        (results.folder / f"{name}.png").write_bytes(PNG)
    for sentence, holds in claims:
        results.claims.append({"claim": sentence, "holds": holds, "numbers": {"gain": 0.5}})
    results.save({"script": script, "size": "full", "data": "mnist", "device": "cpu",
                  "seed": 0, "settings": {"latent": 12}, "versions": {"torch": "2.0"},
                  "code": code_of(script)} | content)


def drafts(runs, *wanted):
    """The reports -> sheet -> (page, the LaTeX text with all that it takes in)."""
    made = {}
    for sheet in wanted:
        folder = runs / "report" / sheet
        report.Report(report.ROOT, runs, sheet, folder).write()
        made[sheet] = (folder / "report.html").read_text(), whole(folder, "report.tex")
    return made


def whole(folder, name):
    """A LaTeX file with those that it takes in."""
    text = (folder / name).read_text()
    return re.sub(r"\\input{([^}.]*)(?:\.tex)?}",
                  lambda found: whole(folder, f"{found[1]}.tex"), text)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The drafts of all sheets where the first scripts of exercise 2 alone were run."""
    runs = tmp_path_factory.mktemp("runs")
    run_of(runs, "ex2_conv_ae", ["layers", "digits", "loss", "test_l1"], claims=[
        ("50% of a_b & <c> are {found}.", True), ("It is refuted.", False),
        ("It is undecided.", None)])
    run_of(runs, "ex2_classifier", ["error", "test_accuracy"], rows=60, size="quick")
    return runs / "report", drafts(runs, *sheets.SHEETS)


def section(page, item):
    """What a page says of an item, up to the next heading of its kind."""
    after = page.partition(f'<h3 id="{item}">')[2].partition("</h3>")[2]
    return re.split(r"<h[23]", after)[0]


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_introduction_method_results_appendix_and_every_item_in_both(bundles, sheet):
    page, text = bundles[1][sheet]
    order = ["Introduction", "Method", "Results", "Discussion", "Appendix"]
    assert re.findall(r"<h2>(\w+)</h2>", page) == order
    assert re.findall(r"\\section{(\w+)}", text) == order
    items = [item for item in sheets.ITEMS if item.startswith(sheet)]
    assert re.findall(r'<h3 id="(S\w\.\w+)"', page) == items
    assert re.findall(r"\\label{(S\w\.\w+)}", text) == items
    for item in items:
        assert re.search(r"(assignments|theory)/\S+\.py|<img", section(page, item)), item
    for link in Page(page).links:     # to a place on the page, which needs no other file
        assert link.startswith(("data:image/png;base64,", "#g"))


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_the_page_and_the_latex_text_say_the_same(bundles, sheet):
    """Every sentence, question, caption and cell; formulas aside, which both set."""
    page, text = bundles[1][sheet]
    body = page.partition("<body>")[2].partition("To hand in")[0]
    body = re.sub(r"<svg.*?</svg>|<style.*?</style>", " ", body, flags=re.S)
    said = re.findall(r"[A-Za-z]{5,}", html.unescape(re.sub(r"<[^>]*>", " ", body)))
    written = " ".join(re.findall(r"[A-Za-z]{5,}", report.plain(text)))
    assert len(said) > 50 and [word for word in said if word not in written] == []


def test_a_run_gives_its_figures_tables_numbers_and_claims(bundles):
    out, made = bundles
    item = Page(section(made["S3"][0], "S3.1")).words
    for found in ("50% of a_b & <c> are {found}.", "test L1 0.0250", "12,345",
                  "test l1 (A 5% table): ex2_conv_ae, mnist"):
        assert found in item
    assert f"base64,{base64.b64encode(PNG).decode()}" in section(made["S3"][0], "S3.1")
    assert (out / "S3/figures/ex2_conv_ae_digits.png").read_bytes() == PNG


def test_a_claim_that_does_not_hold_is_no_answer(bundles):
    for text in bundles[1]["S3"]:
        main, appendix = text.split("Discussion")
        assert "refuted" not in main and "undecided" not in main
        assert "2 of 3 claims" in main
        assert "NOT in this run: It is refuted." in appendix


def test_a_smaller_run_is_marked_at_every_number_figure_and_table(bundles):
    for text in bundles[1]["S3"]:
        assert "error 0.0250 ± 0.0010 (quick run)" in report.plain(text)
        captions = re.findall(r"caption>?\{?([^<}]*ex2.?.?classifier, mnist[^<}]*)", text)
        assert captions and all("(quick run)" in caption for caption in captions)
    assert "A smaller run than the kept one" in section(bundles[1]["S3"][0], "S3.2")


def test_a_missing_run_and_one_of_older_code_say_so_with_the_command(bundles, tmp_path):
    page = bundles[1]["S3"][0]
    assert "python assignments/ex2_transfer.py" in section(page, "S3.5")
    run_of(tmp_path, "hw2_vae", ["loss"], code="another")
    page = section(drafts(tmp_path, "S0")["S0"][0], "S0.5a")
    assert ("Older than assignments/hw2_vae.py. "
            "Run again: python assignments/hw2_vae.py") in page


def test_what_its_writer_wrote_stays(tmp_path):
    run_of(tmp_path, "ex2_conv_ae", ["digits"])
    drafts(tmp_path, "S3")
    (tmp_path / "report/S3/report.tex").write_text("in my own words")
    (tmp_path / "report/S3/parts/S3_1.tex").unlink()
    drafts(tmp_path, "S3")
    assert (tmp_path / "report/S3/report.tex").read_text() == "in my own words"
    assert "digits" in (tmp_path / "report/S3/parts/S3_1.tex").read_text()


def test_what_the_recipe_hands_in_has_names_left_open_and_runs_by_itself(bundles, tmp_path):
    page = html.unescape(bundles[1]["S3"][0])
    names = re.search(r"zip -r ex2_ID1_ID2\.zip README ex2\.pdf (.*)</pre>", page)[1].split()
    for path in (path for name in names for path in report.ROOT.glob(name)):
        place = tmp_path / path.relative_to(report.ROOT)
        place.parent.mkdir(exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    assert (tmp_path / "assignments/ex2_transfer.py").is_file()
    for command in (["assignments/ex2_conv_ae.py", "--help"],
                    ["-m", "pytest", "-q", "theory/test_lti.py", "-p", "no:cacheprovider"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_sheet_that_is_not_there_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        report.main(["S9"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("report: found no sheet S9, expected some of S1")


# --- LaTeX ----------------------------------------------------------------------------------
def test_the_equations_of_a_docstring_are_set_and_all_else_stays_text():
    assert report.typeset("With x_hat < 1 and 5% of `a_b`:\n\n    y = x^2   by (1)") == (
        "With $\\hat{x} < 1$ and 5\\% of \\texttt{a\\_b}:\n\n"
        "\\begin{quote}\n$y = x^{2}$ \\qquad by (1)\n\\end{quote}\n")
    words = "a_b: 5% ~ x^2 < {y} | #1 & $2 ± 1 \\ z > w"
    assert report.plain(report.tex(words)) == words


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_latex_finds_what_it_includes_and_every_group_is_closed(bundles, sheet):
    text = bundles[1][sheet][1]
    for name in re.findall(r"\\includegraphics\[[^]]*\]{([^}]*)}", text):
        assert (bundles[0] / sheet / name).is_file()
    text = re.sub(r"\\begin{verbatim}.*?\\end{verbatim}|(?<!\\)%.*", "", text, flags=re.S)
    for kind in ("quote", "itemize", "figure", "table", "document"):
        assert text.count(f"\\begin{{{kind}}}") == text.count(f"\\end{{{kind}}}")
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
