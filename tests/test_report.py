"""minidl/publish/report.py: each item of each sheet with its run, or the missing command."""

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


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The folder of the bundles where exercise 2's first script alone was run."""
    runs = tmp_path_factory.mktemp("runs")
    results = Results(runs / "ex2_conv_ae")
    results.folder.mkdir()
    results.number("test_l1", 0.025, "mean |x - x_hat| per pixel", std=0.001, n=3)
    results.table("rows", [{"a|b": "x_1", "n": 12345}], "A 5% table")
    results.table("long", [{"i": i} for i in range(60)])
    results.files.append("loss.png")
    (results.folder / "loss.png").write_bytes(PNG)
    results.save({"script": "ex2_conv_ae", "size": "quick", "data": "mnist", "device": "cpu",
                  "seed": 0, "settings": {"latent": 12}, "versions": {"torch": "2.0"},
                  "findings": ["50% of a_b & <c> are {found}."],
                  "code": code_of("ex2_conv_ae")})
    out = runs / "report"
    return out, report.write(report.ROOT, runs, out)


def code_of(script):
    return stamp.code_of(report.ROOT / "assignments" / f"{script}.py")


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_every_item_of_a_sheet_is_on_its_page_with_what_answers_it(bundles, sheet):
    page = Page((bundles[0] / sheet / "report.html").read_text())
    for link in page.links:     # to a place on the page, which needs no other file
        assert link.startswith("data:image/png;base64,") or link.removeprefix("#") in page.ids
    for item, title in sheets.ITEMS.items():
        if item.startswith(sheet):
            after = page.words.rpartition(f"{item}  {title}")[2]    # first in the contents
            assert re.match(r"\s*(assignments|theory)/\w+\.py", after), item


def test_a_run_gives_its_numbers_findings_tables_and_figures(bundles):
    page = (bundles[0] / "S3" / "report.html").read_text()
    for found in ("50% of a_b & <c> are {found}.", "mean |x - x_hat| per pixel", "12,345",
                  "0.025", "a|b", "quick size, data mnist", "latent"):
        assert found in Page(page).words
    assert f"base64,{base64.b64encode(PNG).decode()}" in page
    assert (bundles[0] / "S3" / "figures" / "ex2_conv_ae_loss.png").read_bytes() == PNG


@pytest.fixture
def run_of(tmp_path):
    """Writes the run of a script with these figures and findings; -> the page of a sheet."""
    def write(script, sheet, files=(), findings=(), **content):
        results = Results(tmp_path / script)
        results.folder.mkdir(exist_ok=True)
        for file in files:
            results.files.append(file)
            (results.folder / file).write_bytes(PNG)
        results.save({"script": script, "size": "quick", "data": "mnist", "device": "cpu",
                      "seed": 0, "settings": {}, "versions": {"torch": "2.0"},
                      "findings": findings} | content)
        report.write(report.ROOT, tmp_path, tmp_path / "report")
        return (tmp_path / "report" / sheet / "report.html").read_text()
    return write


def section(page, item):
    """What a page says of an item, up to the next."""
    return page.partition(f'<h2 id="{item}">')[2].partition("<h2")[0]


def test_each_item_of_a_script_shows_its_own_figures_and_no_other(run_of):
    own = {item: {f"{name}.png" for name in sheets.SHOWN[item]}
           for item in ("S1.5a", "S1.5b", "S1.5c", "S1.6")}
    page = run_of("hw1_features", "S1", [*set().union(*own.values()), "other.png"])
    for item, files in own.items():
        shown = re.findall(r'img alt="hw1 features ([^"]+)"', section(page, item))
        assert {words.replace(" ", "_") + ".png" for words in shown} - {"other.png"} == files


def test_a_finding_of_one_part_of_a_task_stands_under_that_part(run_of):
    page = run_of("ex2_classifier_decoding", "S3",
                  findings=["(a) one", "(b) two", "(c) three"])
    for item, words in (("S3.3a", "(a) one"), ("S3.3b", "(b) two"), ("S3.3c", "(c) three")):
        assert re.findall(r"<li>(.*?)</li>", section(page, item)) == [words]


def test_a_run_that_is_older_than_its_code_or_smaller_than_the_kept_one_says_so(run_of):
    page = run_of("hw2_vae", "S0", code="another")
    assert "Older than assignments/hw2_vae.py. The command: python assignments/hw2" in page
    assert "of a larger run: python assignments/hw2_vae.py --full" in page
    page = run_of("hw2_vae", "S0", code=code_of("hw2_vae"), size="full")
    assert "Older than" not in section(page, "S0.5a") and "a larger run" not in page


def test_a_missing_run_is_named_with_its_command(bundles):
    out, missing = bundles
    assert "ex2_conv_ae" not in missing["S3"] and "ex2_classifier" in missing["S3"]
    commands = re.findall(r"command: (\S+ \S+\.py)<", (out / "S3" / "report.html").read_text())
    assert "python assignments/ex2_classifier.py" in commands
    assert "python assignments/ex2_conv_ae.py" not in commands


def test_what_its_writer_wrote_stays(run_of, tmp_path):
    run_of("ex2_conv_ae", "S3")
    (tmp_path / "report/S3/report.tex").write_text("in my own words")
    run_of("ex2_conv_ae", "S3", ["new.png"])
    assert (tmp_path / "report/S3/report.tex").read_text() == "in my own words"
    assert "new.png" in (tmp_path / "report/S3/body.tex").read_text()


def test_what_the_recipe_hands_in_has_names_left_open_and_runs_by_itself(bundles, tmp_path):
    page = html.unescape((bundles[0] / "S3" / "report.html").read_text())
    assert "NAME 1, ID1" in page
    names = re.search(r"zip -r ex2_ID1_ID2\.zip README ex2\.pdf (.*)</pre>", page)[1].split()
    for path in (path for name in names for path in report.ROOT.glob(name)):
        place = tmp_path / path.relative_to(report.ROOT)
        place.parent.mkdir(exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    assert (tmp_path / "assignments/ex2_transfer.py").is_file()
    for command in (["assignments/ex2_conv_ae.py", "--help"],
                    ["-m", "pytest", "-q", "theory/test_lti.py", "-p", "no:cacheprovider"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True,
                              timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


# --- LaTeX ----------------------------------------------------------------------------------
def test_the_equations_of_a_docstring_are_set_and_all_else_stays_text():
    assert report.typeset("With x_hat < 1 and 5% of `a_b`:\n\n    y = x^2   by (1)") == (
        "With $\\hat{x} < 1$ and 5\\% of \\texttt{a\\_b}:\n\n"
        "\\begin{quote}\n$y = x^{2}$ \\qquad by (1)\n\\end{quote}\n")


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_latex_finds_what_it_includes_and_every_group_is_closed(bundles, sheet):
    folder = bundles[0] / sheet
    text = (folder / "report.tex").read_text().replace(
        r"\input{body}", (folder / "body.tex").read_text())
    assert text.isascii()
    for name in re.findall(r"\\(?:input|includegraphics\[[^]]*\]){([^}]*)}", text):
        text += (folder / name).read_text() if name.endswith(".tex") else ""
        assert (folder / name).is_file()
    text = re.sub(r"\\begin{verbatim}.*?\\end{verbatim}", "", text, flags=re.S)
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0 and not re.search(r"(?<!\\)[%#]", text)
    for kind in ("quote", "itemize", "center", "table"):
        assert text.count(f"\\begin{{{kind}}}") == text.count(f"\\end{{{kind}}}")
    if shutil.which("pdflatex"):
        done = subprocess.run(["pdflatex", "-halt-on-error", "report.tex"], cwd=folder,
                              capture_output=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:]


def test_a_table_that_is_longer_than_a_page_is_named_in_its_place(bundles):
    text = (bundles[0] / "S3" / "body.tex").read_text()
    assert r"60 rows stand in tables/ex2\_conv\_ae\_long.md." in text
    assert "{tables/ex2_conv_ae_rows.tex}" in text and "_long.tex" not in text
