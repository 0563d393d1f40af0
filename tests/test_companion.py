"""The companion: nothing of a source is lost, no formula is wrong, links lead somewhere."""

import ast
import io
import itertools
import json
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from minidl.lab import stamp
from minidl.publish import readme, sheets
from minidl.publish.companion import __main__ as companion
from minidl.publish.companion import colours, contents, pages
from minidl.publish.companion.mathematics import Formula, split
from minidl.publish.companion.png import MOST, small
from minidl.publish.companion.project import FOLDERS, Project
from minidl.publish.companion.prose import Prose
from minidl.publish.companion.rows import rows
from minidl.publish.companion.svg import Glyphs, layout

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


def prose(text):
    return Prose(Glyphs(), lambda kind, name: None).text(text)


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


@pytest.mark.parametrize(("text", "mathtext"), [
    ("dL/dW = x", r"\dfrac{dL}{dW} = x"), ("d/dmu E f", r"\dfrac{d}{d\mu}\,E\,f"),
    ("p/(p+q)", r"\dfrac{p}{p + q}"), ("1/2N x", "1/2N\\,x"),
    ("d vec(Y)/db", r"d\,\operatorname{vec}(Y)/db"),     # the d belongs to vec(Y)
    ("(S_1 S_2)^(1/2)", r"(S_{1}\,S_{2})^{\frac{1}{2}}")])
def test_a_fraction_is_drawn_only_where_its_two_sides_are_certain(text, mathtext):
    assert translate(text, display=True) == mathtext.replace(" ", "")


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


def test_each_formula_is_drawn_and_keeps_its_plain_text_for_those_who_listen():
    html = prose("that x_hat < y & z_1, by x_i = 1")
    assert "<title>x_hat &lt; y</title>" in html and 'role="img"' in html and "<use" in html
    assert plain(html) == "that x_hat < y & z_1, by x_i = 1"
    assert 'fill="' not in html      # the page's colour


def test_columns_stay_columns():
    cells = [[plain(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)]
             for line in re.findall(r"<tr>(.*?)</tr>", prose(
                 "    a_t = W x_t     first\n        = V         second"))]
    assert cells == [["a_t", "= W x_t", "first"], ["", "= V", "second"]]


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


def test_colours_lose_no_letter_and_escape_what_html_reads(project):
    for source in project.sources[::5]:
        shown = "\n".join(colours.coloured(source.text))
        assert plain(shown) == source.text, source.path
    line, = colours.coloured('x = "<b>&" < f(1)  # a & b')
    assert '<i class="s">"&lt;b&gt;&amp;"</i>' in line and '<i class="c">' in line
    assert '<i class="t">' in colours.coloured("@cache\ndef f(): pass")[0]
    assert '<i class="t">' not in colours.coloured("y = x @ W")[0]     # no decorator


def test_a_name_leads_to_its_definition_unless_the_function_binds_it():
    tree = ast.parse("from minidl.gaussian import kl\nfrom minidl import pca\n"
                     "def f(x, kl):\n    return kl(x)\nkl(f, pca.PCA)")
    assert colours.references(tree, {"minidl.gaussian", "minidl.pca"}) == {
        (5, 0): ("minidl.gaussian", "kl"), (5, 3): ("", "f"), (5, 6): ("minidl.pca", ""),
        (5, 10): ("minidl.pca", "PCA")}


# --- the pages ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def site(project):
    """page -> text, of a file or two of every folder, and the first page."""
    chosen = {"minidl/gaussian.py", "minidl/conv.py", "theory/test_gaussian_kl.py", SCRIPT,
              "minidl/idx.py", "minidl/publish/companion/svg.py", "tests/test_companion.py"}
    return {"index.html": contents.index(project, {}), **{
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
    for page in ("index", "a", "minidl/b", "assignments/ex2_classifier"):
        assert (tmp_path / f"out/{page}.html").is_file()
    page = (tmp_path / "out/assignments/ex2_classifier.html").read_text()
    assert 'src="../figures/ex2_classifier/digits.png"' in page
    assert (tmp_path / "out/figures/ex2_classifier/digits.png").is_file()


def test_the_index_lists_every_item_and_every_file(site, project):
    page = Page(site["index.html"])
    assert set(sheets.ITEMS) <= page.ids
    assert {source.page for source in project.sources} <= set(page.links)
    assert {source.folder for source in project.sources} == {"", *FOLDERS}


def test_the_search_knows_every_title_claim_and_item_and_the_order_is_the_sheets(project):
    text = contents.entries(project).removeprefix("const ENTRIES = ").rstrip(";\n")
    words, places = zip(*json.loads(text), strict=True)
    assert {source.page for source in project.sources} <= set(places)
    for number, (source, name) in project.claims.items():
        assert any(word.startswith(f"claim {number}: ") for word in words)
        assert f"{source.page}#{name}" in places
    assert {f"{item}: {asked}" for item, asked in sheets.ITEMS.items()} <= set(words)
    scripts = [s.stem for s in project.sources if s.folder == "assignments"]
    assert scripts.index("hw1_regression") < scripts.index("hw2_vae") < scripts.index(
        "ex2_conv_ae") < scripts.index("asst8_fc_ae")


def test_a_link_has_words_and_a_target_and_does_not_stand_twice_in_a_row(site):
    for name, text in site.items():
        links = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', text, re.S)
        assert all(target and plain(words).strip() for target, words in links), name
        assert not re.search(r'(<a href="[^"]*">[^<]*</a>),? \1', text), name


def test_another_place_than_a_checkout_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(companion, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="assignments/"):
        companion.main([])


# --- runs -----------------------------------------------------------------------------------
def run_in(folder, script, **content):
    (folder / script).mkdir(exist_ok=True)
    kept = json.loads((ROOT / "results" / f"{script}.json").read_text("utf-8"))
    del kept["trained"]
    (folder / script / "results.json").write_text(json.dumps(kept | content))


@pytest.fixture
def page_of_a_run(project):
    """The page of SCRIPT, and its result, where outputs/ has a run with this content."""
    def made(**content):
        source = project.by_path[SCRIPT]
        run_in(project.outputs, source.stem, **content)
        result = project.result(source)
        page = pages.FilePage(project, source, result).html()
        return page, contents.headline(source, result)
    yield made
    (project.outputs / "ex2_classifier/results.json").unlink()


def test_a_run_stands_on_its_scripts_page_and_a_missing_run_is_named(site, page_of_a_run):
    page, _ = page_of_a_run(size="default", findings=["It is 5."], settings={"rate": 0.1})
    for words in ("Last run", "It is 5.", "rate 0.1", "default size"):
        assert words in plain(page)
    assert f"python {SCRIPT}" in plain(site["assignments/ex2_classifier.html"])


def test_a_quick_run_is_shown_only_where_nothing_is_kept(page_of_a_run):
    page, _ = page_of_a_run(size="quick")
    assert "Kept run" in page and "Last run" not in page


@pytest.mark.parametrize(("size", "flag"), [("default", ""), ("full", " --full")])
def test_a_run_of_older_code_says_so_with_the_command(page_of_a_run, size, flag):
    page, headline = page_of_a_run(size=size, code=stamp.code_of(ROOT / SCRIPT))
    assert "Older than" not in page and "older" not in headline
    page, headline = page_of_a_run(size=size, code="another")
    assert f"Older than {SCRIPT}:</b> <code>python {SCRIPT}{flag}</code>" in page
    assert "older than its code" in headline


def test_the_index_has_the_readmes_numbers_once_with_their_size(project):
    results = {source.path: result for source in project.sources
               if (result := project.result(source))}
    page = contents.index(project, results)
    numbers = results["assignments/hw1_features.py"].content["numbers"]
    for name, words in sheets.HEADLINES["hw1_features"].items():
        told = readme.number(name, numbers[name])
        assert page.count(f"<td>{told}</td><td>{words}</td>") == 1
    assert page.count('hw1_features: see <a href="#S1.5a">S1.5a</a>') == 3
    for script in ("hw2_vae", "hw2_vae_study"):     # two answer one item: which found what?
        run = results[f"assignments/{script}.py"].content
        assert f"<p>{script}: {run['size']} size, {run['data']}" in page


# --- pictures and colours -------------------------------------------------------------------
def test_a_large_picture_has_few_bytes_and_each_pixel_is_a_mean(tmp_path):
    pixels = np.random.default_rng(0).random((200, 300, 3))
    image.imsave(tmp_path / "large.png", pixels)
    content = small(tmp_path / "large.png")
    assert len(content) <= MOST < (tmp_path / "large.png").stat().st_size
    again = image.imread(io.BytesIO(content))[..., :3]
    k = 200 // len(again)
    means = pixels[:len(again) * k, :again.shape[1] * k].reshape(
        len(again), k, -1, k, 3).mean((1, 3))
    assert k > 1 and abs(again - means).max() <= 2 / 255    # two roundings to a byte


def contrast(*colours):
    """WCAG 2's ratio of the relative luminances of two colours #rrggbb."""
    found = []
    for colour in colours:
        parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                            for c in parts)
        found.append(0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    return max(found) / min(found)


def test_every_colour_that_is_read_has_a_contrast_of_4_5_in_both_themes():
    assert contrast("#777777", "#ffffff") < 4.5 < contrast("#767676", "#ffffff")
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w+, #\w+)\);", STYLE))
    read = set(pairs) - {"page", "panel", "line"}
    assert set(re.findall(r"(?<!-)color: var\(--(\w+)\)", STYLE)) <= read
    for name, ground in itertools.product(read, ("page", "panel")):
        both_themes = zip(pairs[name].split(", "), pairs[ground].split(", "), strict=True)
        assert all(contrast(*colours) >= 4.5 for colours in both_themes), (name, ground)
