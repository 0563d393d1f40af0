"""minidl/report.py: each item of each sheet with its run, or the command that is missing."""

import base64
import re
import zipfile
from html.parser import HTMLParser

import pytest

from minidl import report, sheets
from minidl.results import Results

PNG = b"\x89PNG not really"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The folder of the bundles where exercise 2's first script alone was run."""
    runs = tmp_path_factory.mktemp("runs")
    results = Results(runs / "ex2_conv_ae")
    results.folder.mkdir()
    results.number("test_l1", 0.025, "mean |x - x_hat| per pixel", std=0.001, n=3)
    results.finding("50% of a_b & <c> are {found}.")
    results.table("rows", [{"a|b": "x_1", "n": 12345}], "A 5% table")
    results.table("long", [{"i": i} for i in range(60)])
    results.files.append("loss.png")
    (results.folder / "loss.png").write_bytes(PNG)
    results.save({"script": "ex2_conv_ae", "size": "quick", "data": "mnist", "device": "cpu",
                  "seed": 0, "settings": {"latent": 12}, "versions": {"torch": "2.0"}})
    out = runs / "report"
    return out, report.write(report.ROOT, runs, out)


def words(page):
    """The text of a page, after its tags were seen to close in their order."""
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.text = [], []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "li", "p"):
                self.open.append(tag)
            assert not any(name == "href" for name, _ in attrs)
            assert all(value.startswith("data:image/png;base64,")
                       for name, value in attrs if name == "src")

        def handle_endtag(self, tag):
            if tag not in ("li", "p"):
                assert self.open.pop() == tag

        def handle_data(self, data):
            self.text.append(data)

    reader = Reader()
    reader.feed(page)
    return " ".join(reader.text)


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_every_item_of_a_sheet_is_on_its_page_with_what_answers_it(bundles, sheet):
    text = words((bundles[0] / sheet / "report.html").read_text())
    for item, title in sheets.ITEMS.items():
        if item.startswith(sheet):
            after = text.partition(f"{item}  {title}")[2]
            assert re.match(r"\s*(assignments|theory)/\w+\.py", after), item


def test_a_run_gives_its_numbers_findings_tables_and_figures(bundles):
    page = (bundles[0] / "S3" / "report.html").read_text()
    text = words(page)
    for found in ("50% of a_b & <c> are {found}.", "mean |x - x_hat| per pixel", "12,345",
                  "a|b", "quick size, data mnist", "latent"):
        assert found in text
    assert f"base64,{base64.b64encode(PNG).decode()}" in page
    assert (bundles[0] / "S3" / "figures" / "ex2_conv_ae_loss.png").read_bytes() == PNG


def test_a_missing_run_is_named_with_its_command(bundles):
    out, missing = bundles
    assert "ex2_conv_ae" not in missing["S3"] and "ex2_classifier" in missing["S3"]
    text = words((out / "S3" / "report.html").read_text())
    assert "No run found. The command: python assignments/ex2_classifier.py" in text
    assert "python assignments/ex2_conv_ae.py" not in re.findall(r"command: (\S+ \S+)", text)


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_latex_finds_what_it_includes_and_every_group_is_closed(bundles, sheet):
    folder = bundles[0] / sheet
    text = (folder / "report.tex").read_text()
    assert text.isascii()
    for name in re.findall(r"\\(?:input|includegraphics\[[^]]*\]){([^}]*)}", text):
        text += (folder / name).read_text() if name.endswith(".tex") else ""
        assert (folder / name).is_file()
    text = text.removeprefix(report.PREAMBLE)
    text = re.sub(r"\\begin{verbatim}.*?\\end{verbatim}", "", text, flags=re.S)
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0 and not re.search(r"(?<!\\)[%#]", text)


def test_a_table_that_is_longer_than_a_page_is_named_in_its_place(bundles):
    text = (bundles[0] / "S3" / "report.tex").read_text()
    assert r"60 rows stand in tables/ex2\_conv\_ae\_long.md." in text
    assert "{tables/ex2_conv_ae_rows.tex}" in text and "_long.tex" not in text


def test_the_zip_of_exercise_2_has_code_readme_and_report_with_names_left_open(bundles):
    with zipfile.ZipFile(bundles[0] / "S3" / "ex2_ID1_ID2.zip") as archive:
        names = archive.namelist()
        assert "NAME 1, ID1" in archive.read("ex2_ID1_ID2/README").decode()
    assert {name.split("/")[0] for name in names} == {"ex2_ID1_ID2"}
    for name in ("assignments/ex2_transfer.py", "minidl/run.py", "report/report.tex",
                 "report/figures/ex2_conv_ae_loss.png", "requirements.txt"):
        assert f"ex2_ID1_ID2/{name}" in names


def test_the_same_runs_give_the_same_pages(bundles, tmp_path):
    report.write(report.ROOT, bundles[0].parent, tmp_path)
    for path in bundles[0].rglob("report.*"):
        assert (tmp_path / path.relative_to(bundles[0])).read_bytes() == path.read_bytes()
