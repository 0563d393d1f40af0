"""minidl/publish/report.py: each item of each sheet with its run, or the missing command."""

import base64
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser

import pytest

from minidl.lab import stamp
from minidl.lab.results import Results
from minidl.publish import report, sheets

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
                  "seed": 0, "settings": {"latent": 12}, "versions": {"torch": "2.0"},
                  "code": code_of("ex2_conv_ae")})
    out = runs / "report"
    return out, report.write(report.ROOT, runs, out)


def code_of(script):
    return stamp.code_of(report.ROOT / "assignments" / f"{script}.py")


def words(page):
    """The text of a page, after its tags were seen to close in their order."""
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.text, self.names, self.links = [], [], [], []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "li", "p", "br"):
                self.open.append(tag)
            assert all(value.startswith("#") for name, value in attrs if name == "href")
            self.names += [value for name, value in attrs if name == "id"]
            self.links += [value[1:] for name, value in attrs if name == "href"]
            assert all(value.startswith("data:image/png;base64,")
                       for name, value in attrs if name == "src")

        def handle_endtag(self, tag):
            if tag not in ("li", "p"):
                assert self.open.pop() == tag

        def handle_data(self, data):
            self.text.append(data)

    reader = Reader()
    reader.feed(page)
    assert set(reader.links) <= set(reader.names)
    return " ".join(reader.text)


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_every_item_of_a_sheet_is_on_its_page_with_what_answers_it(bundles, sheet):
    text = words((bundles[0] / sheet / "report.html").read_text())
    for item, title in sheets.ITEMS.items():
        if item.startswith(sheet):
            after = text.rpartition(f"{item}  {title}")[2]  # the first is in the contents
            assert re.match(r"\s*(assignments|theory)/\w+\.py", after), item


def test_a_run_gives_its_numbers_findings_tables_and_figures(bundles):
    page = (bundles[0] / "S3" / "report.html").read_text()
    text = words(page)
    for found in ("50% of a_b & <c> are {found}.", "mean |x - x_hat| per pixel", "12,345",
                  "a|b", "quick size, data mnist", "latent"):
        assert found in text
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
        for finding in findings:
            results.finding(finding)
        results.save({"script": script, "size": "quick", "data": "mnist", "device": "cpu",
                      "seed": 0, "settings": {}, "versions": {"torch": "2.0"}} | content)
        report.write(report.ROOT, tmp_path, tmp_path / "report")
        return (tmp_path / "report" / sheet / "report.html").read_text()
    return write


def section(page, item):
    """What a page says of an item, up to the next."""
    return page.partition(f'<h2 id="{item}">')[2].partition("<h2")[0]


@pytest.mark.parametrize("script, items", [
    ("hw1_features", ["S1.5a", "S1.5b", "S1.5c", "S1.6"]),
    ("hw2_report_vae", ["S2.3", "S2.4", "S2.5", "S2.6"])])
def test_each_item_of_a_script_shows_its_own_figures_and_no_other(run_of, script, items):
    own = {item: [f"{name}.png" for name in sheets.SHOWN[item]] for item in items}
    files = [file for names in own.values() for file in names]
    page = run_of(script, items[0][:2], [*files, "other.png"])
    for item in items:
        shown = re.findall(r'img alt="([^"]+)"', section(page, item))
        assert {f"{script}_{file}"[:-4].replace("_", " ") for file in own[item]} == {
            words for words in shown if not words.endswith("other")}


def test_a_finding_of_one_part_of_a_task_stands_under_that_part(run_of):
    page = run_of("ex2_classifier_decoding", "S3",
                  findings=["(a) one", "(b) two", "(c) three"])
    for item, words in (("S3.3a", "(a) one"), ("S3.3b", "(b) two"), ("S3.3c", "(c) three")):
        assert re.findall(r"<li>(.*?)</li>", section(page, item)) == [words]


def test_a_run_that_is_older_or_smaller_than_the_kept_one_says_so(run_of):
    page = run_of("hw2_vae", "S0", code="another")
    assert "Older than assignments/hw2_vae.py. The command: python assignments/hw2" in page
    assert "of a larger run: python assignments/hw2_vae.py --full" in page
    page = run_of("hw2_vae", "S0", code=code_of("hw2_vae"), size="full")
    assert "Older than" not in section(page, "S0.5a") and "a larger run" not in page


def test_written_words_stay_and_what_is_of_an_earlier_run_is_not_handed_in(run_of, tmp_path):
    run_of("ex2_conv_ae", "S3", ["old.png"])
    folder = tmp_path / "report" / "S3"
    (folder / "report.tex").write_text("in my own words")
    (folder / "ex2.pdf").write_bytes(b"%PDF")
    (tmp_path / "ex2_conv_ae" / "results.json").unlink()
    run_of("ex2_conv_ae", "S3", ["new.png"])
    with zipfile.ZipFile(folder / "ex2_ID1_ID2.zip") as archive:
        read = {name.removeprefix("ex2_ID1_ID2/"): archive.read(name)
                for name in archive.namelist()}
    assert read["report/report.tex"] == b"in my own words" and read["ex2.pdf"] == b"%PDF"
    assert b"new.png" in read["report/body.tex"]
    assert "report/figures/ex2_conv_ae_new.png" in read
    assert "report/figures/ex2_conv_ae_old.png" not in read


def test_what_is_handed_in_runs_by_itself_and_holds_no_more_than_it_needs(bundles, tmp_path):
    with zipfile.ZipFile(bundles[0] / "S3" / "ex2_ID1_ID2.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "ex2_ID1_ID2"
    assert not re.search("^-e", (folder / "requirements.txt").read_text(), re.M)
    assert not (folder / "minidl" / "gan.py").exists()
    for command in (["assignments/ex2_conv_ae.py", "--help"], ["-m", "pytest", "-q", "theory",
                    "-k", "every_shift_on_Z", "-p", "no:cacheprovider"]):
        done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("theory/test_*.py"))) == 5


def test_a_missing_run_is_named_with_its_command(bundles):
    out, missing = bundles
    assert "ex2_conv_ae" not in missing["S3"] and "ex2_classifier" in missing["S3"]
    text = words((out / "S3" / "report.html").read_text())
    assert "No run found. The command: python assignments/ex2_classifier.py" in text
    assert "python assignments/ex2_conv_ae.py" not in re.findall(r"command: (\S+ \S+)", text)


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


def test_a_table_that_is_longer_than_a_page_is_named_in_its_place(bundles):
    text = (bundles[0] / "S3" / "body.tex").read_text()
    assert r"60 rows stand in tables/ex2\_conv\_ae\_long.md." in text
    assert "{tables/ex2_conv_ae_rows.tex}" in text and "_long.tex" not in text


def test_the_zip_of_exercise_2_has_code_readme_and_report_with_names_left_open(bundles):
    with zipfile.ZipFile(bundles[0] / "S3" / "ex2_ID1_ID2.zip") as archive:
        names = archive.namelist()
        assert "NAME 1, ID1" in archive.read("ex2_ID1_ID2/README").decode()
    assert {name.split("/")[0] for name in names} == {"ex2_ID1_ID2"}
    for name in ("assignments/ex2_transfer.py", "minidl/lab/run.py", "report/report.tex",
                 "report/figures/ex2_conv_ae_loss.png", "requirements.txt"):
        assert f"ex2_ID1_ID2/{name}" in names


def test_the_same_runs_give_the_same_pages(bundles, tmp_path):
    report.write(report.ROOT, bundles[0].parent, tmp_path)
    for path in bundles[0].rglob("report.*"):
        assert (tmp_path / path.relative_to(bundles[0])).read_bytes() == path.read_bytes()
