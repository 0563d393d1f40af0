r"""Everything for a report, a folder for each sheet: `python -m minidl.publish.report`.

    outputs/report/S3/report.html   all of it on one page that needs no other file
                      report.tex    the writer's own, once made: it takes in body.tex, the same
                                    as the page, which is written anew each time
                      figures/  tables/  theory/   to paste; a table is there as .md and .tex

Each item of the sheet has the scripts and proofs that answer it: the question and its equation
as their files state them, settings, numbers, findings, figures and tables of the last run in
outputs/. A run that is missing, smaller than the README's or older than the code says so, with
the command. The words of a report are for its writer: what is here is to be cited. Checked in
tests/test_report.py.
"""

import argparse
import ast
import base64
import json
import re
import sys
from html import escape
from pathlib import Path

from minidl.lab.findings import told
from minidl.lab.results import cell, latex, markdown, tex
from minidl.publish import kept, readme, sheets
from minidl.publish.companion import mathematics
from minidl.publish.companion.frame import put
from minidl.publish.companion.prose import blocks, cells, one_line

ROOT = Path(__file__).resolve().parents[2]
STYLE = """:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
 padding: 0 1rem; color: light-dark(#1a1a1a, #dedede); background: light-dark(#fff, #17191d);
 overflow-wrap: break-word }
a { color: light-dark(#1a5a96, #86b9ec) }
pre { background: light-dark(#f4f4f4, #22262c); padding: .8rem; overflow-x: auto;
 font-size: 13px }
.table { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: 14px }
th, td { border: 1px solid #767676; padding: .2rem .6rem; text-align: left }
img { max-width: 100% } .missing { color: light-dark(#a00000, #ff9a8a); font-weight: bold }
h2 { margin-top: 3rem; border-bottom: 1px solid #767676 }"""
# H: a table stands where it is told of
PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{amsmath,amssymb,graphicx}
\usepackage[margin=2cm]{geometry}
\usepackage{float}
\floatplacement{table}{H}
\begin{document}
\input{body}
\end{document}
"""
LATEX = {"h1": "\\section*{%s}", "h2": "\\subsection*{%s}", "h3": "\\subsubsection*{%s}",
         "p": "%s\n", "p class=missing": "\\textbf{%s}\n"}
PAGE_ROWS = 45  # a longer table does not fit on a page
HAND_IN = {"S3": r"""printf 'NAME 1, ID1, USER1\nNAME 2, ID2, USER2\n' > README
echo 'pip install torch numpy matplotlib pytest; python assignments/ex2_conv_ae.py' >> README
zip -r ex2_ID1_ID2.zip README ex2.pdf assignments/[_e]*.py data_download.py minidl theory"""}


def write(root, runs, out):
    """Write the bundles of all sheets; -> {sheet: scripts without a run}."""
    answers, missing = {}, {}
    for path in sorted([*root.glob("assignments/*.py"), *root.glob("theory/*.py")]):
        for _, item in sheets.tags(path):
            answers.setdefault(item, []).append(path)
    for sheet, title in sheets.SHEETS.items():
        items = {item: words for item, words in sheets.ITEMS.items()
                 if item.startswith(sheet)}
        bundle = Bundle(root, runs, out / sheet)
        bundle.add("h1", f"{sheet}: {title}")
        bundle.page.append("<p>" + "<br>".join(
            f'<a href="#{item}">{item}</a> {escape(words)}'
            for item, words in items.items()) + "</p>")
        for item, words in items.items():
            bundle.add("h2", f"{item}  {words}", item)
            if item not in answers:
                bundle.add("p", "No answer is in this copy.")
            for path in answers.get(item, ()):
                bundle.answer(path, item, [other for other in items if other != item
                                           and path in answers.get(other, ())])
        bundle.finish(HAND_IN.get(sheet))
        missing[sheet] = bundle.missing
    return missing


class Bundle:
    """One sheet's folder: the page and the LaTeX text grow together."""

    def __init__(self, root, runs, folder):
        self.root, self.runs, self.folder = root, runs, folder
        self.kept = readme.kept(root)
        self.page, self.text = [], []
        self.shown, self.missing = set(), []

    def add(self, tag, words, name=""):
        """A heading, which may have a name to be linked to, or a paragraph."""
        place = f' id="{name}"' if name else ""
        self.page.append(f"<{tag}{place}>{escape(words)}</{tag.split()[0]}>")
        self.text.append(LATEX[tag] % tex(words))

    def warn(self, words):
        self.add("p class=missing", words)

    def answer(self, path, item, others):
        """A script with its run, or a proof with its written answer. others: the sheet's items
        that the same file answers; what is theirs alone is shown there."""
        name, script = path.relative_to(self.root).as_posix(), path.stem
        folder, first = self.runs / script, path not in self.shown
        self.shown.add(path)
        self.add("h3", name, script if first else "")
        if first:
            words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            self.page.append(f"<pre>{escape(words)}</pre>")
            self.text.append(typeset(words))
        else:
            self.page.append(f'<p>All else of it stands <a href="#{script}">above</a>.</p>')
            self.text.append("All else of it stands above.\n")
        if path.parent.name == "theory":
            if first:
                put(self.folder / f"theory/{script}.txt", words.encode())
                self.add("p", f"Proven by: python -m pytest {name}")
        elif (folder / "results.json").is_file():
            content = json.loads((folder / "results.json").read_text("utf-8"))
            if first:
                self.about(script, content)
            self.show(script, folder, content, lambda words: (
                not any(is_of(other, words) for other in others) if first
                else is_of(item, words)))
            if first:
                self.numbers(script, content)
        elif first:
            self.missing.append(script)
            self.warn(f"No run found. The command: python {name}")

    def about(self, script, content):
        """What was run; and where a better or newer run is to be had, its command."""
        self.add("p", f"Run: {content['size']} size, data {content['data']}, device "
                      f"{content['device']}, seed {content['seed']}, torch "
                      f"{content['versions']['torch']}.")
        if changed := kept.older(content, self.root):
            self.warn(f"Older than {', '.join(changed)}. The command: {kept.command(content)}")
        best = self.kept.get(script, content)
        if best["size"] == "full" != content["size"]:
            self.warn(f"The README's numbers are of a larger run: {kept.command(best)}")

    def show(self, script, folder, content, wanted):
        """The findings, figures and tables of a run that are wanted."""
        if findings := list(filter(wanted, told(content))):
            self.page.append("<ul>" + "".join(
                f"<li>{escape(finding)}</li>" for finding in findings) + "</ul>")
            self.text.append("\\begin{itemize}\n" + "\n".join(
                f"\\item {tex(finding)}" for finding in findings) + "\n\\end{itemize}")
        for file in filter(wanted, content["files"]):
            if file.endswith(".png"):
                self.figure(f"{script}_{file}", (folder / file).read_bytes())
            elif file.endswith(".md"):
                texts = [(folder / file).with_suffix(end).read_text("utf-8")
                         for end in (".md", ".tex")]
                self.table(f"{script}_{file.removesuffix('.md')}", *texts)

    def numbers(self, script, content):
        """The settings and the numbers of a run."""
        settings = [{"setting": key, "value": str(value)}
                    for key, value in content["settings"].items()]
        numbers = [{"number": key, "value": cell(entry["value"]),
                    "std": cell(entry.get("std", "")), "n": entry.get("n", ""),
                    "unit": entry["unit"]} for key, entry in content["numbers"].items()]
        for name, rows in (("settings", settings), ("numbers", numbers)):
            if rows:
                self.table(f"{script}_{name}", markdown(rows),
                           latex(rows, f"{script}: {name}"))

    def figure(self, name, content):
        put(self.folder / f"figures/{name}", content)
        words = escape(name.removesuffix(".png").replace("_", " "))
        self.page.append(f'<p><img alt="{words}" src="data:image/png;base64,'
                         f'{base64.b64encode(content).decode()}"></p>')
        self.text.append("\\begin{center}\n\\includegraphics[width=\\linewidth]"
                         f"{{figures/{name}}}\n\\end{{center}}")

    def table(self, name, as_markdown, as_latex):
        put(self.folder / f"tables/{name}.md", as_markdown.encode())
        put(self.folder / f"tables/{name}.tex", as_latex.encode())
        head, _, *rows = as_markdown.strip().split("\n")
        lines = [[escape(words.strip()).replace("\0", "|") for words in
                  line.replace(r"\|", "\0").split("|")[1:-1]] for line in (head, *rows)]
        made = "".join("<tr><td>" + "</td><td>".join(line) + "</td></tr>" for line in lines)
        made = made.replace("td>", "th>", 2 * len(lines[0]))    # the head's
        self.page.append(f'<div class="table"><table>{made}</table></div>')
        self.text.append(f"{{\\footnotesize\\input{{tables/{name}.tex}}}}"
                         if len(rows) <= PAGE_ROWS else
                         tex(f"{len(rows)} rows stand in tables/{name}.md.") + "\n")

    def finish(self, recipe):
        """Write the page and the text; recipe: how the sheet is handed in, if it says so."""
        if recipe:
            self.page.append("<h2>To hand in</h2><p>In the project's folder, with ex2.pdf "
                             "made of report.tex in your own words; your names for the "
                             "capitals:</p>"
                             f"<pre>{escape(recipe)}</pre>")
        page = ('<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
                f'content="width=device-width"><title>{self.folder.name}</title>'
                f"<style>{STYLE}</style><body>{''.join(self.page)}</body></html>")
        put(self.folder / "report.html", page.encode())
        put(self.folder / "body.tex", "\n\n".join(self.text).encode())
        if not (self.folder / "report.tex").is_file():  # its writer's words are in it
            put(self.folder / "report.tex", PREAMBLE.encode())


def typeset(text):
    """A docstring for LaTeX, its formulas set, lines of equations as they stand."""
    def plain(words):
        words = tex(words).replace("--", "-{}-").replace("\u2003", r"\quad ")
        return re.sub(r"`([^`]+)`", r"\\texttt{\1}", words)

    made = []
    for kind, lines in blocks(text):
        if kind == "pre":
            made.append("\n".join([r"\begin{verbatim}", *lines, r"\end{verbatim}"]))
        elif kind == "p":
            made.append(mathematics.latex(one_line(lines), plain))
        else:
            rows = [r" \qquad ".join(mathematics.latex(words, plain, weak=True)
                                     for _, words in cells(line)) for line in lines]
            made.append("\\begin{quote}\n" + "\\newline\n".join(rows) + "\n\\end{quote}")
    return "\n\n".join(made) + "\n"


def is_of(item, words):
    """Whether a file, or a finding that begins with "(b)", is of this item alone."""
    return (any(re.fullmatch(rf"{name}(_\w+)?\.\w+", words)
                for name in sheets.SHOWN.get(item, ()))
            or words.startswith(f"({item[-1]}) "))


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m minidl.publish.report",
                                     description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("outputs"), metavar="DIR",
                        help="holds the folders of the last runs (default outputs)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default outputs/report")
    flags = parser.parse_args(argv)
    if not (ROOT / "assignments").is_dir():
        sys.exit(f"report: found no assignments/ in {ROOT}, expected a checkout")
    out = flags.out or flags.runs / "report"
    for sheet, missing in write(ROOT, flags.runs, out).items():
        lacking = f"  no run of {', '.join(missing)}" if missing else ""
        print(f"{out / sheet / 'report.html'}{lacking}")


if __name__ == "__main__":
    main()
