"""The companion: nothing of a source is lost, no formula is wrong, links lead somewhere."""

import json
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from minidl.publish import sheets
from minidl.publish.companion import __main__ as companion
from minidl.publish.companion import contents, pages
from minidl.publish.companion.mathematics import Formula, split
from minidl.publish.companion.project import Project
from minidl.publish.companion.rows import rows
from minidl.publish.companion.svg import layout

ROOT = Path(__file__).resolve().parents[1]
STYLE = (ROOT / "minidl/publish/companion/style.css").read_text()
SCRIPT = "assignments/ex2_classifier.py"


class Page(HTMLParser):
    """The links, anchors and words of a page, whose tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.words, self.open = [], set(), "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[key] for key in ("href", "src") if key in found]
        self.ids.add(found.get("id"))
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def plain(html):
    return Page(html).words


def formulas(text):
    return [part.plain for part in split(text) if isinstance(part, Formula)]


def translate(text, **how):
    """The mathtext of a text that is one formula, without spaces."""
    parts = [part for part in split(text, weak=True, **how) if part != " "]
    return "".join(part.mathtext for part in parts).replace(" ", "")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(ROOT, tmp_path_factory.mktemp("outputs"))


# --- mathematics ----------------------------------------------------------------------------
@pytest.mark.parametrize(("text", "mathtext"), [
    ("1/2 sum_d (mu_d^2 - 1)", r"\frac{1}{2}\,{\sum}_{d}\,(\mu_{d}^{2} - 1)"),
    ("E_x 1/784 sum_p |x_hat_p - x_p|",
     r"E_{x}\,\frac{1}{784}\,{\sum}_{p}\,|\hat{x}_{p} - x_{p}|"),
    ("KL(q(z|x) || p(z)) >= 0", r"\mathrm{KL}(q(z\mid x)\,\Vert\,p(z)) \geq 0"),
    ("N(mu, diag(s^2))", r"\mathcal{N}(\mu,\,\operatorname{diag}(s^{2}))"),
    ("sqrt(v_hat) + eps", r"\sqrt{\hat{v}} + \epsilon"),
    ("W^T z", r"W^{\mathrm{T}}\,z"), ("k^{T-i}", "k^{T - i}"),
    ("S2^-1 S1", r"S_{2}^{-1}\,S_{1}"), ("a_c.z_n", r"a_{c} \cdot z_{n}"),
    ("(B, D) -> (B,)", r"(B,\,D) \rightarrow (B,)"), ("x[t-a]", "x[t - a]"),
    ("c_j = argmax_c p(c | u_j)", r"c_{j} = \operatorname{argmax}_{c} p(c\mid u_{j})"),
    ("prod_{j=i+1}^T f_j'", r"{\prod}_{j = i + 1}^{T}\,f_{j}^{\prime}"),
    ("A kron B^T", r"A \otimes B^{\mathrm{T}}"), ("z in R^d", r"z \in \mathbb{R}^{d}"),
    ("|z|^2 = {-1, 1}^D", r"|z|^{2} = \{- 1,\,1\}^{D}"), ("v_2N", "v_{2N}"),
    ("E -log p", r"E\;{-}\log p"), ("x <- x - 2e-9", r"x \leftarrow x - 2 \cdot 10^{-9}"),
    ("D* = 1", r"D^{\ast} = 1"), ("h * x", r"h \ast x"),
    ("x_1 .. x_t", r"x_{1}\,\ldots \,x_{t}")])
def test_plain_text_mathematics_becomes_mathtext_by_hand(text, mathtext):
    assert translate(text) == mathtext.replace(" ", "")
    assert layout(mathtext)[0] > 0


@pytest.mark.parametrize("text", [
    "log(1 - p", "1/2 [x + y", "x)", "sum_d x_d)", "[1 k; 0 1]", "x 2 = 1", "3 4", "a ==  b",
    "x_i_j", "x^2^3", "log =", "x = 1 +", "p(x |z)", "|x", "x_", "*.py", "f(x)[a:] = 1",
    "#{x_n < c}", "PCA-12"])
def test_what_the_grammar_does_not_know_stays_text(text):
    assert formulas(text) == []


@pytest.mark.parametrize(("text", "found"), [
    ("of a unit x_i in a sum, the mean of mu_d^2; a b_1 is one, and KL is not (6.32)",
     ["x_i", "mu_d^2", "b_1"]),
    ("the KL's weight changes by 1/2, one-cycle, and/or file(s)", []),
    ("q log(1-D) is concave, and a 1-D kernel is not", ["q log(1-D)"]),
    ("= diag(s^2)  E eps = 0, Cov = I", ["= diag(s^2)", "E eps = 0"]),  # set apart: no product
    ("test_l1 = 0.1, seed=0, run.epochs(n=3), `x_i = 1`, tests/test_x_i.py, --seed x", [])])
def test_formulas_are_found_between_words_and_code(text, found):
    assert formulas(text) == found


def test_signs_stand_in_the_order_of_their_source_and_none_is_lost():
    """Letters and digits of the mathtext are the plain text's: nothing is rearranged."""
    commands, seen = re.compile(r"\\[A-Za-z]+|[^A-Za-z0-9]"), 0
    for path in [*ROOT.glob("theory/test_[g-l]*.py"), *ROOT.glob("minidl/[a-g]*.py")]:
        for line in path.read_text("utf-8").splitlines():
            parts = split(line, display=True)
            assert line == "".join(p.plain if isinstance(p, Formula) else p for p in parts)
            for part in parts:
                if isinstance(part, Formula):
                    shown = commands.sub("", re.sub(r"10\^", "", part.mathtext))
                    rest = iter(part.plain)
                    assert all(sign in rest for sign in shown), part
                    seen += 1
    assert seen > 300


# --- a file in rows -------------------------------------------------------------------------
def test_the_rows_of_every_file_are_the_file_again(project):
    for source in project.sources:
        order = [number for row in rows(source.text)
                 for number in sorted(row.prose + row.code)]
        assert order == [n for n, _ in enumerate(source.text.splitlines(), 1)], source.path


def test_prose_stands_beside_the_code_that_it_speaks_of():
    text = ('"""Title."""\n\nimport os\n\n\ndef f(x):\n    """Of x."""\n    y = x  # no\n'
            "    # why\n    return y\n\n\n# above g\n@os.cache\ndef g():\n    pass\n\n\n"
            "A = 1\n")
    found = [(row.name, row.prose, row.code_lines(text.splitlines())) for row in rows(text)]
    assert found == [("", [1], []), ("", [], [3]), ("f", [7], [6, 8]), ("", [9], [10]),
                     ("g", [13], [14, 15, 16]), ("", [], [19])]


# --- the pages ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def site(project):
    """page -> text, of a file or two of every folder, and the first page."""
    chosen = {"minidl/gaussian.py", "minidl/conv.py", "theory/test_gaussian_kl.py", SCRIPT,
              "minidl/idx.py", "minidl/publish/companion/svg.py", "tests/test_companion.py"}
    return {"index.html": contents.index(project), **{
        source.page: pages.FilePage(project, source).html()
        for source in project.sources if source.path in chosen}}


def test_every_link_leads_to_a_page_and_a_place_that_are_there(site, project):
    files = {source.page: source.names for source in project.sources}
    read = {name: Page(text) for name, text in site.items()}
    for name, page in read.items():
        for link in page.links:
            assert not re.match(r"\w+:|//", link), "the pages ask nothing of the network"
            path, _, anchor = link.partition("#")
            target = posixpath.normpath(posixpath.join(name, "..", path)) if path else name
            assert target in (*files, "index.html", "style.css", "script.js",
                              "search.js"), (name, link)
            if target in read:
                assert not anchor or anchor in read[target].ids, (name, link)
            elif not re.fullmatch(r"L\d+", anchor):
                assert not anchor or anchor in files[target], (name, link)
    assert "url(" not in STYLE and "@import" not in STYLE


def test_the_search_finds_every_file_claim_and_item(project):
    entries = contents.entries(project).removeprefix("const ENTRIES = ").removesuffix(";\n")
    words, links = zip(*json.loads(entries), strict=True)
    files = {source.page for source in project.sources}
    assert {link.partition("#")[0] for link in links} == {*files, "index.html"}
    assert all(any(text.startswith(begin) for text in words) for begin in (
        "conv: ", "claim 1: ", *(f"{item}: " for item in sheets.ITEMS)))


def test_a_pages_words_are_the_words_of_its_source(site, project):
    """Left and right together, without spaces, quotes and #: nothing is missing or doubled."""
    for name in ("minidl/gaussian", "theory/test_gaussian_kl", "minidl/idx"):
        added = r'<p class="(?:used|tag)".*?</p>|<h2.*?</h2>|<ol class="claims".*?</ol>'
        text = re.search(r"<main[^>]*>(.*)</main>", site[f"{name}.html"], re.S)[1]
        shown = re.sub(r"[\s#\"`r]", "", plain(re.sub(added, "", text)))
        wanted = re.sub(r"^# sheet:.*$", "", project.by_path[f"{name}.py"].text, flags=re.M)
        assert sorted(shown) == sorted(re.sub(r"[\s#\"`r]", "", wanted)), name


def test_every_file_has_a_page_and_every_figure_a_copy(tmp_path):
    for path, text in (("a.py", '"""Of a."""\n'), ("minidl/b.py", "B = 1\n"),
                       (SCRIPT, "A = 2\n")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    run_in(tmp_path, "ex2_classifier")
    image.imsave(tmp_path / "ex2_classifier/digits.png", np.eye(8))
    assert companion.write(tmp_path, tmp_path, tmp_path / "out") == 3
    for name in ("index.html", "style.css", "script.js", "search.js", "a.html",
                 "minidl/b.html", "assignments/ex2_classifier.html"):
        assert (tmp_path / "out" / name).is_file()
    page = (tmp_path / "out/assignments/ex2_classifier.html").read_text()
    assert 'src="../figures/ex2_classifier/digits.png"' in page
    assert (tmp_path / "out/figures/ex2_classifier/digits.png").is_file()


# --- runs -----------------------------------------------------------------------------------
def run_in(folder, script, **content):
    (folder / script).mkdir(exist_ok=True)
    kept = json.loads((ROOT / "results" / f"{script}.json").read_text("utf-8"))
    del kept["trained"]
    (folder / script / "results.json").write_text(json.dumps(kept | content))


@pytest.fixture
def page_of_a_run(project):
    """The page of SCRIPT where outputs/ has a run with this content."""
    def made(**content):
        source = project.by_path[SCRIPT]
        run_in(project.outputs, source.stem, **content)
        return pages.FilePage(project, source, project.result(source)).html()
    yield made
    (project.outputs / "ex2_classifier/results.json").unlink()


def test_a_run_stands_on_its_scripts_page_and_a_missing_run_is_named(site, page_of_a_run):
    page = page_of_a_run(size="default", findings=["It is 5."], settings={"rate": 0.1})
    for words in ("Last run", "It is 5.", "rate 0.1", "default size"):
        assert words in plain(page)
    assert f"python {SCRIPT}" in plain(site["assignments/ex2_classifier.html"])
