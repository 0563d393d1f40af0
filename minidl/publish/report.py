r"""The draft of a sheet's report: `python -m minidl.publish.report [SHEET ...]`.

    outputs/report/S3/report.tex    the writer's own once it is there: title and questions; it
                                    takes in parts/*.tex, which are written anew each time
                      report.html   the same on one page that needs no other file
                      figures/  tables/   to paste; a table is there as .md and .tex

Introduction, Method, Results and an appendix, out of the last runs in outputs/. An item of the
sheet has its best figures, its table, its numbers and the claims that hold. Where a report
wants its writer's words, there is a question. A run that is missing, smaller than the kept one
or older than the code says so, with the command. Checked in tests/test_report.py.
"""

import argparse
import ast
import base64
import re
from html import escape
from pathlib import Path

from data_download import replace_unprintable
from minidl.lab import cli, plot
from minidl.lab.findings import in_words
from minidl.lab.results import latex, markdown, read, tex
from minidl.publish import kept, readme, sheets
from minidl.publish.companion import mathematics
from minidl.publish.companion.frame import put
from minidl.publish.companion.prose import COMMAND, Prose, blocks, cells, one_line
from minidl.publish.companion.svg import Glyphs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = Path("outputs")
STYLE = (HERE / "report.css").read_text("utf-8")
PREAMBLE = (HERE / "report.tex").read_text("utf-8")
LATEX = {"h2": "\\section{%s}", "h3": "\\subsection*{%s}", "h4": "\\paragraph{%s}",
         "p": "%s\n", "p class=missing": "\\textbf{%s}\n"}
PAGE_ROWS = 45  # a longer table does not fit on a page
MAIN_ROWS = 6  # a longer one stands in the appendix
NARROW = 3.4  # inches, of a figure beside which something has room
FEW_LETTERS = {1: 60, 0: 40}  # a table's row: beside the claims, with such a figure or alone
WIDEST, HIGHEST = 6.8, 9  # inches, of a page's text
OWN = "In your own words: "
LAYER = re.compile(r"Conv|Linear|Embedding|RNN|\w*Pool")  # has a row of its own
DEFAULTS = re.compile(r"(kernel_size|in_features|out_features)=|"
                      r", (padding=0|dilation=1|ceil_mode=False|inplace=False)")
HAND_IN = {"S3": r"""printf 'NAME 1, ID1, USER1\nNAME 2, ID2, USER2\n' > README
echo 'pip install torch numpy matplotlib pytest; python assignments/ex2_conv_ae.py' >> README
zip -r ex2_ID1_ID2.zip README ex2.pdf assignments/[_e]*.py data_download.py minidl theory"""}


class Report:
    """One sheet's folder: the page and the LaTeX text grow together."""

    def __init__(self, root, runs, sheet, folder):
        self.root, self.runs, self.sheet, self.folder = root, runs, sheet, folder
        self.kept = readme.kept(root)
        answers = sheets.answers(root)
        self.items = {item: answers.get(item, []) for item in sheets.ITEMS
                      if item.startswith(sheet)}
        self.scripts = {path.stem: path for paths in self.items.values() for path in paths
                        if path.parent.name == "assignments"}
        self.page, self.parts = [], {}
        self.glyphs, self.shown, self.noted = Glyphs(), set(), set()
        self.prose = Prose(self.glyphs, lambda kind, name: None)

    def write(self):
        """-> the scripts without a run."""
        self.section("Introduction")
        self.own("what is the goal of this sheet, and which main strategies did you choose?")
        self.section("Method")
        self.add("p", f"The code is not ours but minidl's: {', '.join(self.scripts)}.")
        own = [script for script in self.scripts if sheets.home(script)]  # no study
        self.box("\\begin{multicols}{2}\\raggedright", "")
        for script in own:
            self.method(script)
        self.box("\\end{multicols}", "")
        for script in own:
            self.architecture(script)
        self.own("what did you change in this code and its settings, and why?")
        self.section("Results")
        for item in self.items:
            self.item(item)
        self.section("Discussion")
        self.own("what do the results say together, and what would you try next?")
        self.section("Appendix")
        for script in self.scripts:
            self.appendix(script)
        self.finish()
        return [script for script in own if not self.content(script)]

    # --- the sections ------------------------------------------------------------------------

    def method(self, script):
        """A script's question, equations and settings."""
        title, _, words = docstring(self.scripts[script]).partition("\n")
        self.add("h4", f"{script}: {title.rpartition(': ')[2]}")
        self.text_of("\n\n".join(
            "\n".join(line for line in lines if not COMMAND.match(line))
            for kind, lines in blocks(words) if kind == "eq").strip("\n"))
        if not (content := self.content(script)):
            return
        settings = ", ".join(f"{name} {value}" for name, value in content["settings"].items())
        self.add("p", f"{content['data']}, seed {content['seed']}, "
                      f"{content['size']} size. {settings}.")

    def architecture(self, script):
        """The table of a script's first network."""
        content = self.content(script) or {"files": ()}
        layers = [file for file in content["files"] if re.match(r"layers\w*\.md$", file)]
        for file in layers[:1]:  # all of them, layer by layer, are in the appendix
            name = file.removesuffix(".md").replace("layers", "architecture")
            self.table(content, name, architecture(table_of(self.runs / script / file)))

    def item(self, item):
        """An item's answer: figures, table, numbers, claims; or proofs."""
        self.text = self.parts[item.replace(".", "_")] = []
        self.add("h3", sheets.ITEMS[item], item)
        if not self.items[item]:
            self.add("p", "No answer is in this copy.")
        for path in self.items[item]:
            if path.parent.name != "assignments":
                self.proof(path)
        if item not in sheets.ANSWERS:
            return
        script, *names = sheets.ANSWERS[item]
        if not (content := self.content(script)):
            self.add("p class=missing", "No run found. The command: "
                                        f"python assignments/{script}.py")
        else:
            self.answer(item, content, names)
        self.own("what does this show, and why?")

    def answer(self, item, content, names):
        """A run's figures, numbers, claims and table. A narrow figure and a narrow table stand
        beside the claims."""
        note = self.doubt(content)
        if note and note not in self.noted:  # once a script
            self.add("p class=missing", note)
            self.noted.add(note)
        files = [file for name in names for file in content["files"]
                 if file.removesuffix(".png") == name]
        narrow = [file for file in files
                  if self.inches(content["script"], file)[0] <= NARROW]
        alone = narrow[:len(narrow) % 2]
        table = self.main_table(content, names, item)
        small = table and letters(table[1]) <= FEW_LETTERS[len(alone)]
        left, right = (f"\\begin{{minipage}}[t]{{{width}\\linewidth}}\\vspace{{0pt}}"
                       for width in ((0.49, 0.49) if alone else (0.64, 0.34)))
        middle = f"\\end{{minipage}}\\hfill{right}", "</div><div>"
        if alone or small:
            self.box(f"\\noindent{left}", '<div class="beside"><div>')
        if alone:
            self.figures(content, alone)
            self.box(*middle)
        self.numbers(content, names, item)
        self.claims(content, item)
        if small:
            if not alone:
                self.box(*middle)
            self.table(content, *table)
        if alone or small:
            self.box("\\end{minipage}\n", "</div></div>")
        self.figures(content, narrow[len(alone):], "htb")
        for file in (file for file in files if file not in narrow):
            self.figures(content, [file], "htb")
        if table and not small:
            self.table(content, *table)

    def proof(self, path):
        """A written answer to a theoretical question."""
        name = path.relative_to(self.root).as_posix()
        if path in self.shown:
            self.add("p", f"The answer is part of the one above, {name}.")
            return
        self.shown.add(path)
        self.text_of(docstring(path))
        self.add("p", f"Checked by: python -m pytest {name}")

    def main_table(self, content, names, item):
        """The table that an item names; of a script's own item else its scores. Its name and
        rows, or None."""
        script = content["script"]
        wanted = [name for name in names if not name.startswith("layers")]
        wanted += ["scores"] if sheets.home(script) == item else []
        for name in (name for name in wanted if f"{name}.md" in content["files"]):
            rows = table_of(self.runs / script / f"{name}.md")
            if 1 < len(rows) <= MAIN_ROWS:  # a single row's numbers stand in a sentence
                return name, rows
        return None

    def numbers(self, content, names, item):
        """The numbers that an item names, in one sentence."""
        words = sheets.HEADLINES.get(content["script"], {})
        if sheets.home(content["script"]) == item:
            names = dict.fromkeys([*names, *words])
        found = [words.get(name, name.replace("_s_", "'s ").replace("_", " ")) + " "
                 + readme.number(name, content["numbers"][name])
                 for name in names if name in content["numbers"]]
        if found:
            self.add("p", f"{'; '.join(found)}{self.mark(content)}.")

    def claims(self, content, item):
        """The claims that hold, and how many this run does not show."""
        home = sheets.home(content["script"]) == item
        claims = [claim for claim in content.get("claims", ())
                  if claim["claim"].startswith(f"({item[-1]}) ")
                  or (home and not re.match(r"\([a-h]\) ", claim["claim"]))]
        held = [claim for claim in claims if claim["holds"]]
        self.list([f"{in_words(claim)}{self.mark(content)}" for claim in held])
        if others := len(claims) - len(held):
            self.add("p", f"Not shown by this run, so no answer: {others} of {len(claims)} "
                          "claims, see the appendix.")

    def appendix(self, script):
        """The other figures and tables of a run, and the claims that do not hold."""
        if not (content := self.content(script)):
            return
        self.add("h3", f"{script}{self.mark(content)}", script)
        study = sheets.home(script) is None  # its claims stand nowhere else
        self.list([in_words(claim) for claim in content.get("claims", ())
                   if study or not claim["holds"]])
        files = [file for file in content["files"] if (script, file) not in self.shown]
        for file in files:
            if file.endswith(".png"):
                self.figures(content, [file])
            elif file.endswith(".md"):
                rows = table_of(self.runs / script / file)
                self.table(content, file.removesuffix(".md"), rows)

    # --- what a run is worth -----------------------------------------------------------------

    def content(self, script):
        """results.json of a script's last run, or None."""
        file = self.runs / script / "results.json"
        return read(file) if file.is_file() else None

    def best(self, content):
        """The kept run of the same script; its default one where none is kept."""
        return self.kept.get(content["script"], content | {"size": "default"})

    def mark(self, content):
        """What stands behind each number of a run that is smaller than the kept one."""
        order = ("quick", *kept.SIZES)
        smaller = order.index(content["size"]) < order.index(self.best(content)["size"])
        return f" ({content['size']} run)" if smaller else ""

    def doubt(self, content):
        """What speaks against a run, with the command for a better one; or ""."""
        if self.mark(content):
            command = kept.command(self.best(content))
            return f"A smaller run than the kept one. Better: {command}"
        age = kept.age(content, self.root)
        return age and f"{age}. Run again: {kept.command(content)}"

    def caption(self, content, name):
        """What a figure or table shows, and of which run; a table with its unit."""
        file = self.runs / content["script"] / f"{name}.tex"
        text = file.read_text("utf-8") if file.is_file() else ""
        found = re.search(r"\\caption{(.+)}", text)
        unit = f" ({plain(found[1])})" if found else ""
        return (f"{name.replace('_', ' ')}{unit}: {content['script']}, {content['data']}"
                f"{self.mark(content)}")

    # --- both pages --------------------------------------------------------------------------

    def section(self, words):
        self.text = self.parts[words.lower()] = []
        self.add("h2", words)

    def add(self, tag, words, name=""):
        """A heading, which may have a name to be linked to, or a paragraph."""
        place = f' id="{name}"' if name else ""
        self.page.append(f"<{tag}{place}>{escape(words)}</{tag.split()[0]}>")
        label = f"\\label{{{name}}}" if name else ""
        self.text.append(LATEX[tag] % tex(words) + label)

    def own(self, question):
        """A blank for the writer, with the question; in LaTeX it is the writer's file's."""
        self.page.append(f'<p class="own"><em>{OWN}{escape(question)}</em></p>')
        self.text.append(("own", question))

    def list(self, sentences):
        if sentences:
            lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
            self.page.append(f"<ul>{lines}</ul>")
            lines = "\n".join(f"\\item {tex(sentence)}" for sentence in sentences)
            self.text.append("{\\footnotesize\\begin{itemize}\n" + lines
                             + "\n\\end{itemize}\\par}")

    def text_of(self, words):
        """A docstring, its formulas typeset."""
        if words:
            self.page.append(self.prose.text(words))
            self.text.append(typeset(words))

    def box(self, latex, page):
        """The beginning or the end of a box, on both pages."""
        self.text.append(latex)
        self.page.append(page)

    def inches(self, script, file):
        """Width and height that a figure was drawn at."""
        head = (self.runs / script / file).read_bytes()[:24]  # of a PNG: it ends with pixels
        return [int.from_bytes(head[at:at + 4], "big") / plot.STYLE["savefig.dpi"]
                for at in (16, 20)]

    def figures(self, content, files, place="H"):
        """Add figures, unscaled so that their letters keep their size; narrow ones stand side
        by side. place: where LaTeX may put them; H means here."""
        if not files:
            return
        script = content["script"]
        self.page.append("<figure>")
        lines = [f"\\begin{{figure}}[{place}]\n\\centering"]
        for file in files:
            self.shown.add((script, file))
            source = self.runs / script / file
            for copied in filter(Path.is_file, (source, source.with_suffix(".pdf"))):
                name = f"figures/{script}_{copied.name}"
                put(self.folder / name, copied.read_bytes())
            width, height = self.inches(script, file)
            width *= min(1, WIDEST / width, HIGHEST / height)
            words = escape(source.stem.replace("_", " "))
            self.page.append(f'<img alt="{words}" style="width: {width / WIDEST:.0%}" '
                             "src=\"data:image/png;base64,"
                             f'{base64.b64encode(source.read_bytes()).decode()}">')
            lines.append(f"\\includegraphics[width={width:.2f}in]{{{name}}}")
        names = ", ".join(Path(file).stem for file in files)
        caption = self.caption(content, names)
        self.page.append(f"<figcaption>{escape(caption)}</figcaption></figure>")
        label = f"\\label{{fig:{script}_{names.partition(',')[0]}}}"
        self.text.append("\n".join([*lines, f"\\caption{{{tex(caption)}}}{label}",
                                    "\\end{figure}"]))

    def table(self, content, name, rows):
        """Add a table of a run: its rows as they are, or with rows joined."""
        script, caption = content["script"], self.caption(content, name)
        self.shown.add((script, f"{name}.md"))
        name = f"{script}_{name}"
        put(self.folder / f"tables/{name}.md", markdown(rows).encode())
        put(self.folder / f"tables/{name}.tex", latex(rows, caption).encode())
        lines = [list(rows[0]), *(row.values() for row in rows)]
        made = "".join(
            "<tr>" + "".join(f"<td>{escape(words)}</td>" for words in line) + "</tr>"
            for line in lines)
        made = made.replace("td>", "th>", 2 * len(rows[0]))    # the head's
        self.page.append(f'<div class="table"><table><caption>{escape(caption)}</caption>'
                         f"{made}</table></div>")
        self.text.append(f"{{\\scriptsize\\input{{tables/{name}.tex}}}}"
                         if len(rows) <= PAGE_ROWS else
                         tex(f"{len(rows)} rows are in tables/{name}.md.") + "\n")

    def finish(self):
        """Write the page, the parts, and the writer's file where there is none."""
        title = sheets.SHEETS[self.sheet]
        if recipe := HAND_IN.get(self.sheet, ""):
            recipe = ("<h2>To hand in</h2><p>In the project's folder, with ex2.pdf made of "
                      "report.tex in your own words; your names for the capitals:</p>"
                      f"<pre>{escape(recipe)}</pre>")
        page = ('<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
                f'content="width=device-width"><title>{escape(title)}</title>'
                f"<style>{STYLE}</style><body>{self.glyphs.definitions()}"
                f"<h1>{escape(title)}</h1><p>NAMES</p>{''.join(self.page)}{recipe}"
                "</body></html>")
        put(self.folder / "report.html", page.encode())
        body = [PREAMBLE, "\\begin{document}\n\\begin{center}\n"
                f"{{\\Large {tex(title)}}}\\\\[1ex]\nNAMES\n\\end{{center}}"]
        for part, text in self.parts.items():
            lines = [line for line in text if isinstance(line, str)]
            put(self.folder / f"parts/{part}.tex", "\n\n".join(lines).encode())
            if part == "appendix":
                body.append("\\clearpage\\appendix\\label{appendix}")
            small = "\\footnotesize" if part == "method" else ""
            body.append(f"{{{small}\\input{{parts/{part}}}\\par}}")
            body += [f"\n\\emph{{{OWN}{tex(line[1])}}}\n" for line in text
                     if isinstance(line, tuple)]
        body.append("\\end{document}\n")
        if not (self.folder / "report.tex").is_file():  # its writer's words are in it
            put(self.folder / "report.tex", "\n".join(body).encode())


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def table_of(path):
    """The rows of a Markdown table, as dicts of text."""
    head, _, *rows = path.read_text("utf-8").strip().split("\n")
    lines = [[words.strip().replace("\0", "|") for words in
              line.replace(r"\|", "\0").split("|")[1:-1]] for line in (head, *rows)]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def letters(rows):
    """How wide a table is: the letters of each column's longest cell."""
    return sum(max(map(len, [name, *(row[name] for row in rows)])) for name in rows[0])


def architecture(rows):
    """A table of layers, with normalisation and activation in the row of their layer."""
    made = []
    for row in rows:
        row["layer"] = DEFAULTS.sub("", row["layer"])
        if made and row["output shape"] and not LAYER.match(row["layer"]):
            before = made[-1]
            before["layer"] += f", {row['layer'].partition('(')[0]}"
            before["output shape"] = row["output shape"]
            total = sum(int(r["parameters"].replace(",", "")) for r in (before, row))
            before["parameters"] = f"{total:,}"
        else:
            made.append(row)
    return made


def plain(text):
    """The words that results.tex escaped."""
    for sign in "~^<>|±\\#$%&_{}":
        text = text.replace(tex(sign), sign)
    return text


def typeset(text):
    """A docstring for LaTeX, its formulas set, lines of equations as they stand."""
    def escaped(words):
        words = tex(words).replace("--", "-{}-").replace("\u2003", r"\quad ")
        return re.sub(r"`([^`]+)`", r"\\texttt{\1}", words)

    made = []
    for kind, lines in blocks(text):
        if kind == "pre":
            made.append("\n".join([r"\begin{verbatim}", *lines, r"\end{verbatim}"]))
        elif kind == "p":
            made.append(mathematics.latex(one_line(lines), escaped))
        else:
            rows = [r" \qquad ".join(mathematics.latex(words, escaped, weak=True)
                                     for _, words in cells(line)) for line in lines]
            made.append("\\begin{quote}\n" + "\\newline\n".join(rows) + "\n\\end{quote}")
    return "\n\n".join(made) + "\n"


def main(argv=None):
    replace_unprintable()
    parser = argparse.ArgumentParser(prog="python -m minidl.publish.report",
                                     description=__doc__.partition("\n\n")[0])
    parser.add_argument("sheets", nargs="*", metavar="SHEET",
                        help=f"of {', '.join(sheets.SHEETS)} (default all)")
    wanted = parser.parse_args(argv).sheets
    for sheet in wanted:
        if sheet not in sheets.SHEETS:
            parser.exit(2, f"report: found no sheet {sheet}, expected some of "
                           f"{', '.join(sheets.SHEETS)}\n")
    for sheet in wanted or sheets.SHEETS:
        folder = RUNS / "report" / sheet
        with cli.mistakes("report", folder):
            missing = Report(ROOT, RUNS, sheet, folder).write()
        lacking = f"  no run of {', '.join(missing)}" if missing else ""
        print(f"{folder / 'report.tex'}{lacking}")


if __name__ == "__main__":
    main()
