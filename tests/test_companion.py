"""The companion: nothing of a source is lost, no formula is wrong, links lead somewhere."""

import json
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
from minidl.publish.companion.formulas import Formula, split
from minidl.publish.companion.mathematics import Untranslatable, translate
from minidl.publish.companion.png import smaller
from minidl.publish.companion.project import FOLDERS, Project
from minidl.publish.companion.prose import Prose
from minidl.publish.companion.rows import rows
from minidl.publish.companion.svg import Glyphs, layout

ROOT = Path(__file__).resolve().parents[1]
STYLE = (ROOT / "minidl/publish/companion/style.css").read_text()


def formulas(text, **how):
    return [part.plain for part in split(text, **how) if isinstance(part, Formula)]


# --- the translator -------------------------------------------------------------------------
@pytest.mark.parametrize(("plain", "mathtext"), [
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
    ("|z|^2 = {-1, 1}^D", r"|z|^{2} = \{-1,\,1\}^{D}"), ("v_2N", "v_{2N}"),
    ("E -log p", r"E\;{-}\log p"), ("x <- x - 2e-9", r"x \leftarrow x - 2 \cdot 10^{-9}"),
    ("D* = 1", r"D^{\ast} = 1"), ("h * x", r"h \ast x"),
    ("x_1 .. x_t", r"x_{1}\,\ldots \,x_{t}")])
def test_plain_text_mathematics_becomes_mathtext_by_hand(plain, mathtext):
    assert " ".join(translate(plain).split()) == " ".join(mathtext.split())
    assert layout(translate(plain))[0] > 0


@pytest.mark.parametrize(("plain", "mathtext"), [
    ("dL/dW = x", r"\dfrac{dL}{dW} = x"), ("d/dmu E f", r"\dfrac{d}{d\mu}\,E\,f"),
    ("p/(p+q)", r"\dfrac{p}{p + q}"), ("1/2N x", "1/2N\\,x"),
    ("d vec(Y)/db", r"d\,\operatorname{vec}(Y)/db"),     # the d belongs to vec(Y)
    ("(S_1 S_2)^(1/2)", r"(S_{1}\,S_{2})^{\frac{1}{2}}")])
def test_a_fraction_is_drawn_only_where_its_two_sides_are_certain(plain, mathtext):
    assert translate(plain, display=True).replace(" ", "") == mathtext.replace(" ", "")


@pytest.mark.parametrize("text", [
    "log(1 - p", "1/2 [x + y", "x)", "sum_d x_d)", "[1 k; 0 1]", "x 2 = 1", "3 4", "a ==  b",
    "x_i_j", "x^2^3", "log =", "x = 1 +", "p(x |z)", "|x", "x_", "*.py", "f(x)[a:] = 1",
    "#{x_n < c}", "PCA-12"])
def test_what_the_grammar_does_not_know_stays_text(text):
    with pytest.raises(Untranslatable):
        translate(text)
    assert formulas(text) == []


@pytest.mark.parametrize("text", ["test_l1 = 0.1", "seed=0", "run.epochs(n=3)", "`x_i = 1`",
                                  "tests/test_x_i.py", "--seed x", "one-cycle", "and/or"])
def test_code_stays_code(text):
    assert formulas(text) == []


def test_words_stay_words_and_formulas_between_them_are_found():
    text = "of a unit x_i in a sum, the mean of mu_d^2; a b_1 is one, and KL is not (6.32)"
    assert formulas(text) == ["x_i", "mu_d^2", "b_1"]
    assert formulas("the KL's weight changes by 1/2, one-cycle, and/or file(s)") == []
    assert formulas("q log(1-D) is concave, and a 1-D kernel is not") == ["q log(1-D)"]


@pytest.mark.parametrize(("name", "plain"), [
    ("gaussian_kl", "= 1/2 [log(det S2 / det S1) + a - b]"),
    ("gaussian_kl", "= E_1[(x - mu2)^T S2^-1 (x - mu2)]"),
    ("gaussian_kl", "= E_1[(x - mu1)^T S1^-1 (x - mu1)]"),
    ("jacobian_fc", "d vec(y)/d vec(W)"), ("jacobian_fc", "= I_m kron x^T"),
    ("conv_backward", "(J x) . y = x . (J^T y)")])
def test_steps_of_proofs_are_formulas_on_their_page(project, name, plain):
    page = pages.FilePage(project, project.by_path[f"theory/test_{name}.py"]).html()
    assert f"<title>{plain}</title>" in page


def test_what_is_set_apart_by_two_spaces_is_no_product():
    assert formulas("= diag(s^2)  E eps = 0, Cov = I") == ["= diag(s^2)", "E eps = 0"]
    assert formulas("= KL(q || p)\u2003p(x, z) = p(x)") == ["= KL(q || p)", "p(x, z) = p(x)"]
    html = Prose(Glyphs(), lambda kind, text: None).block(
        f"(4) a_t = f(x_t)\n{' ' * 40}b_t = g(x_t)")
    assert plain(html) == "(4) a_t = f(x_t) \u2003b_t = g(x_t)" and html.count("<title>") == 2


def test_nothing_of_a_text_is_lost_by_splitting_it():
    for path in [*ROOT.glob("theory/test_[g-l]*.py"), *ROOT.glob("minidl/[a-g]*.py")]:
        for line in path.read_text().splitlines():
            parts = split(line)
            whole = "".join(p.plain if isinstance(p, Formula) else p for p in parts)
            assert whole == line


def test_the_signs_of_a_formula_stand_in_the_order_of_its_source():
    """Letters and digits of the mathtext are the plain text's: nothing is rearranged."""
    commands = re.compile(r"\\[A-Za-z]+|[^A-Za-z0-9]")
    seen = 0
    for path in sorted(ROOT.glob("theory/test_[g-l]*.py")):
        for line in path.read_text().splitlines():
            for part in split(line, display=True):
                if isinstance(part, Formula):
                    shown = commands.sub("", re.sub(r"10\^", "", part.mathtext))
                    rest = iter(part.plain)
                    assert all(sign in rest for sign in shown), part
                    seen += 1
    assert seen > 300


# --- rows -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def project():
    return Project(ROOT, ROOT / "outputs")


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
        lines = colours.coloured(source.text)
        assert [plain(line) for line in lines] == source.text.splitlines(), source.path
    line, = colours.coloured('x = "<b>&" < f(1)  # a & b')
    assert "<b>" not in line and plain(line) == 'x = "<b>&" < f(1)  # a & b'
    assert '<i class="s">"&lt;b&gt;&amp;"</i>' in line and '<i class="c">' in line


def test_a_name_leads_to_its_definition_unless_the_function_binds_it(project):
    source = project.by_path["minidl/vae.py"]
    named = {source.text.splitlines()[line - 1][column:].split("(")[0]: target
             for (line, column), target in project.references["minidl/vae.py"].items()}
    assert named["kl_to_std_normal"] == (project.by_path["minidl/gaussian.py"],
                                         "kl_to_std_normal")
    claims = project.references["theory/test_gaussian_kl.py"]
    text = project.by_path["theory/test_gaussian_kl.py"].text.splitlines()
    hidden = next(n for n, line in enumerate(text, 1) if line == "    def check(kl):")
    inside = [(line, column) for line, column in claims if hidden < line < hidden + 13]
    assert not [place for place in inside if text[place[0] - 1][place[1]:].startswith("kl(")]


# --- the pages ------------------------------------------------------------------------------
class Page(HTMLParser):
    """The links, anchors and words of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.words, self.sides = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[key] for key in ("href", "src") if key in found]
        self.ids.add(found.get("id"))

    def handle_data(self, data):
        self.words.append(data)


def plain(html):
    return "".join(Page(html).words)


@pytest.fixture(scope="module")
def site(project):
    """path -> text of some pages, of every folder, and all their files' names."""
    chosen = {"minidl/gaussian.py", "minidl/conv.py", "theory/test_gaussian_kl.py",
              "assignments/ex2_conv_ae.py", "minidl/idx.py", "tests/whole_runs.py"}
    made = {source.page: pages.FilePage(project, source).html()
            for source in project.sources if source.path in chosen}
    return {**made, "index.html": contents.index(project, {})}


def test_every_link_leads_to_a_page_and_a_place_that_are_there(site, project):
    files = {source.page: source for source in project.sources}
    read = {name: Page(text) for name, text in site.items()}
    for name, page in read.items():
        for link in page.links:
            path, _, anchor = link.partition("#")
            target = resolve(name, path)
            assert target in files or target in ("index.html", "style.css", "script.js"), link
            if anchor and target in read:
                assert anchor in read[target].ids, (name, link)
            elif anchor and target in files and not re.fullmatch(r"L\d+", anchor):
                assert anchor in files[target].names, (name, link)


def resolve(page, path):
    parts = [] if not path else page.split("/")[:-1]
    for part in path.split("/") if path else page.split("/"):
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def test_the_pages_ask_nothing_of_the_network(site):
    for text in site.values():
        page = Page(text)
        assert not [link for link in page.links if re.match(r"\w+:|//", link)]
        assert not re.search(r"<(?:script|style)[^>]*>[^<]|@import|url\(", text)
    assert "url(" not in STYLE and "@import" not in STYLE


def test_a_pages_words_are_the_words_of_its_source(site, project):
    """Left and right together, without spaces, quotes and #: nothing is missing or doubled."""
    for name in ("minidl/gaussian.html", "theory/test_gaussian_kl.html",
                 "minidl/idx.html"):
        source = next(s for s in project.sources if s.page == name)
        added = r'<p class="(?:used|tag)".*?</p>|<h2.*?</h2>|<ol class="claims".*?</ol>'
        text = re.sub(added, "", site[name].split("<main", 1)[1].split(">", 1)[1])
        shown = "".join(re.sub(r"[\s#\"`r]", "", plain(text)))
        wanted = re.sub(r"^# sheet:.*$", "", source.text, flags=re.M)
        assert sorted(shown) == sorted(re.sub(r"[\s#\"`r]", "", wanted)), name


def test_the_same_sources_give_the_same_pages(project, site):
    source = project.by_path["minidl/gaussian.py"]
    layout.cache_clear()
    again = pages.FilePage(project, source).html()
    assert again == site["minidl/gaussian.html"]


def test_a_run_stands_on_its_scripts_page_and_a_missing_run_is_named(project):
    source = project.by_path["assignments/ex2_conv_ae.py"]
    result = project.result(source)
    page = pages.FilePage(project, source, result, {"digits": "figures/x/digits.png"})
    words = plain(page.html())
    assert all(sentence in words for sentence in result.content["findings"])
    assert '<img src="../figures/x/digits.png"' in page.html()
    missing = plain(pages.FilePage(project, source).html())
    assert "python assignments/ex2_conv_ae.py makes one" in missing


def test_each_formula_keeps_its_plain_text_for_those_who_listen():
    glyphs = Glyphs()
    html = Prose(glyphs, lambda kind, text: None).block("that x_hat < y & z_1, by x_i = 1")
    assert "<title>x_hat &lt; y</title>" in html and 'role="img"' in html
    assert plain(html) == "that x_hat < y & z_1, by x_i = 1"
    assert 'fill="' not in html      # the page's colour


def test_columns_stay_columns():
    html = Prose(Glyphs(), lambda kind, text: None).block(
        "    a_t = W x_t     first\n        = V         second")
    cells = [[plain(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)]
             for line in re.findall(r"<tr>(.*?)</tr>", html)]
    assert cells == [["a_t", "= W x_t", "first"], ["", "= V", "second"]]


# --- figures, colours, items ----------------------------------------------------------------
def test_a_figure_with_few_colours_is_kept_exactly_and_with_many_nearly(tmp_path):
    x = np.linspace(0, 1, 200)
    for name, pixels, bound in (
            ("few", np.repeat(np.eye(8)[..., None], 3, axis=2), 0),
            ("many", np.stack(np.broadcast_arrays(x, x[:, None], 0.5), axis=2), 0.13)):
        image.imsave(tmp_path / f"{name}.png", pixels)
        (tmp_path / "small.png").write_bytes(smaller(tmp_path / f"{name}.png"))
        again = image.imread(tmp_path / "small.png")[..., :3]
        assert abs(again - pixels).max() <= bound + 1 / 255, name


def luminance(colour):
    """WCAG 2's relative luminance of #rrggbb, or #rgb."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i:i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_that_is_read_has_a_contrast_of_4_5_in_both_themes():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)     # just too pale
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w+, #\w+)\);", STYLE))
    read = set(pairs) - {"page", "panel", "line"}
    assert {"text", "faint", "link", "comment", "keyword"} <= read
    for theme in (0, 1):
        at = {name: pair.split(", ")[theme] for name, pair in pairs.items()}
        for name in read:
            for ground in ("page", "panel"):
                assert contrast(at[name], at[ground]) >= 4.5, (name, ground, theme)
    assert set(re.findall(r"(?<!-)color: var\(--(\w+)\)", STYLE)) <= read


def test_every_item_of_the_sheets_is_answered_by_a_script_or_a_proof(project):
    for item in sheets.ITEMS:
        answers = {source.folder for source, _ in project.tags.get(item, [])}
        assert answers & {"assignments", "theory"}, f"nothing is tagged `# sheet: {item}`"
    assert project.tags.keys() <= sheets.ITEMS.keys(), "a tag that is no item"
    assert not sheets.ITEMS.keys() & sheets.NOT_OURS.keys()


def test_the_index_lists_every_item_and_every_file(site, project):
    page = Page(site["index.html"])
    assert set(sheets.ITEMS) <= page.ids
    assert {source.page for source in project.sources} <= set(page.links)
    assert {source.folder for source in project.sources} == {"", *FOLDERS}


def test_another_place_than_a_checkout_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(companion, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"found no assignments/ in .*, expected a checkout"):
        companion.main([])


# --- runs -----------------------------------------------------------------------------------

def run_in(folder, script, **content):
    (folder / script).mkdir(exist_ok=True)
    kept = json.loads((ROOT / "results" / f"{script}.json").read_text())
    del kept["trained"]
    (folder / script / "results.json").write_text(json.dumps(kept | content))


def test_a_quick_run_is_shown_only_where_nothing_is_kept(tmp_path):
    project, script = Project(ROOT, tmp_path), "assignments/ex2_classifier.py"
    for size, shown in (("quick", False), ("default", True)):
        run_in(tmp_path, "ex2_classifier", size=size)
        result = project.result(project.by_path[script])
        assert (result.file.parent.parent == tmp_path) is shown


def test_a_run_of_older_code_says_so_with_the_command(tmp_path):
    project, script = Project(ROOT, tmp_path), "assignments/ex2_classifier.py"
    source = project.by_path[script]
    run_in(tmp_path, "ex2_classifier", code=stamp.code_of(ROOT / script, ROOT))
    page = pages.FilePage(project, source, project.result(source)).html()
    assert "Last run" in page and "Older than" not in page
    for size, flag in (("default", ""), ("full", " --full")):
        run_in(tmp_path, "ex2_classifier", code="another", size=size)
        result = project.result(source)
        page = pages.FilePage(project, source, result).html()
        assert f"Older than {script}:</b> <code>python {script}{flag}</code>" in page
        assert "mnist, older than its code</p>" in contents.headline(source, result)


def test_a_kept_run_beside_a_quick_one_is_not_called_the_last(tmp_path):
    project = Project(ROOT, tmp_path)
    source = project.by_path["assignments/ex2_classifier.py"]
    run_in(tmp_path, "ex2_classifier", size="quick")
    page = pages.FilePage(project, source, project.result(source)).html()
    assert "<b>Kept run</b>" in page and "Last run" not in page


def test_the_index_has_the_readmes_numbers_once_with_their_size(tmp_path):
    project = Project(ROOT, tmp_path)
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
