r"""Everything for a report, a folder for each sheet: `python -m minidl.publish.report`.

    outputs/report/S3/report.html   all of it on one page that needs no other file
                      report.tex    the writer's own, once made: it takes in body.tex, the same
                                    as the page, which is written anew each time
                      figures/  tables/  theory/   to paste; a table is there as .md and .tex
    outputs/report/S3/ex2_ID1_ID2.zip   what exercise 2 wants handed in (minidl/hand_in.py)

Each item of the sheet has the scripts and proofs that answer it: the question and its equation
as their files state them, settings, numbers, findings, figures and tables of the last run in
outputs/. A run that is missing, smaller than the README's or older than the code says so, with
the command. The words of a report are for its writer: what is here is to be cited. Checked in
tests/test_report.py.
"""

import argparse
import ast
import base64
import html
import json
import re
import sys
from pathlib import Path

from minidl.files import whole_file
from minidl.hand_in import hand_in
from minidl.lab.results import latex, markdown, tex
from minidl.publish import kept, readme, sheets

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
HEADINGS = {"h1": r"\section*", "h2": r"\subsection*", "h3": r"\subsubsection*"}
# H: a table stands where it is told of
PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{graphicx}
\usepackage[margin=2cm]{geometry}
\usepackage{float}
\floatplacement{table}{H}
\begin{document}
\input{body}
\end{document}
"""
PAGE_ROWS = 45  # a longer table does not fit on a page


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
            f'<a href="#{item}">{item}</a> {html.escape(words)}'
            for item, words in items.items()) + "</p>")
        for item, words in items.items():
            bundle.add("h2", f"{item}  {words}", item)
            if item not in answers:
                bundle.add("p", "No answer is in this copy.")
            for path in answers.get(item, ()):
                bundle.answer(path, item, [other for other in items if other != item
                                           and path in answers.get(other, ())])
        bundle.finish()
        missing[sheet] = bundle.missing
        if sheet == "S3":
            hand_in(root, bundle.folder, bundle.files, answers)
    return missing


class Bundle:
    """One sheet's folder: the page and the LaTeX text grow together."""

    def __init__(self, root, runs, folder):
        self.root, self.runs, self.folder = root, runs, folder
        self.kept = readme.kept(root)
        self.page, self.text, self.files = [], [], []
        self.shown, self.missing = set(), []

    def add(self, tag, words, name=""):
        """A heading, which may have a name to be linked to, a paragraph, or a `pre`."""
        place = f' id="{name}"' if name else ""
        self.page.append(f"<{tag}{place}>{html.escape(words)}</{tag}>")
        heading = HEADINGS.get(tag)
        self.text.append(f"{heading}{{{tex(words)}}}" if heading else
                         f"{{\\scriptsize\\begin{{verbatim}}\n{words}\n\\end{{verbatim}}}}"
                         if tag == "pre" else f"{tex(words)}\n")

    def answer(self, path, item, others):
        """A script with its run, or a proof with its written answer. others: the sheet's items
        that the same file answers; what is theirs alone is shown there."""
        name = path.relative_to(self.root).as_posix()
        folder, first = self.runs / path.stem, path not in self.shown
        self.shown.add(path)
        self.add("h3", name, path.stem if first else "")
        if first:
            words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            self.add("pre", words)
            if path.parent.name == "theory":
                self.put(f"theory/{path.stem}.txt", words.encode())
                self.add("p", f"Proven by: python -m pytest {name}")
        else:
            self.page.append("<p>The question, the settings and all else of it stand "
                             f'<a href="#{path.stem}">above</a>.</p>')
            self.text.append("The question, the settings and all else of it stand above.\n")
        if path.parent.name == "theory":
            return
        if (folder / "results.json").is_file():
            content = json.loads((folder / "results.json").read_text())
            if first:
                self.about(path.stem, content)
            self.show(path.stem, folder, content, lambda words: (
                not any(is_of(other, words) for other in others) if first
                else is_of(item, words)))
            if first:
                self.numbers(path.stem, content)
        elif first:
            self.missing.append(path.stem)
            self.warn(f"No run found. The command: python {name}")

    def warn(self, words):
        self.page.append(f'<p class="missing">{html.escape(words)}</p>')
        self.text.append(f"\\textbf{{{tex(words)}}}\n")

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
        if findings := list(filter(wanted, content["findings"])):
            self.page.append("<ul>" + "".join(
                f"<li>{html.escape(finding)}</li>" for finding in findings) + "</ul>")
            self.text.append("\\begin{itemize}\n" + "\n".join(
                f"\\item {tex(finding)}" for finding in findings) + "\n\\end{itemize}")
        for file in filter(wanted, content["files"]):
            if file.endswith(".png"):
                self.figure(f"{script}_{file}", (folder / file).read_bytes())
            elif file.endswith(".md"):
                self.table(f"{script}_{file.removesuffix('.md')}", (folder / file).read_text(),
                           (folder / file).with_suffix(".tex").read_text())

    def numbers(self, script, content):
        """The settings and the numbers of a run."""
        settings = [{"setting": key, "value": str(value)}
                    for key, value in content["settings"].items()]
        numbers = [{"number": key, "value": in_words(entry["value"]),
                    "std": f"{entry['std']:.2g}" if "std" in entry else "",
                    "n": entry.get("n", ""), "unit": entry["unit"]}
                   for key, entry in content["numbers"].items()]
        for name, rows in (("settings", settings), ("numbers", numbers)):
            if rows:
                self.table(f"{script}_{name}", markdown(rows),
                           latex(rows, f"{script}: {name}"))

    def figure(self, name, content):
        self.put(f"figures/{name}", content)
        words = html.escape(name.removesuffix(".png").replace("_", " "))
        self.page.append(f'<p><img alt="{words}" src="data:image/png;base64,'
                         f'{base64.b64encode(content).decode()}"></p>')
        self.text.append("\\begin{center}\n\\includegraphics[width=\\linewidth]"
                         f"{{figures/{name}}}\n\\end{{center}}")

    def table(self, name, as_markdown, as_latex):
        self.put(f"tables/{name}.md", as_markdown.encode())
        self.put(f"tables/{name}.tex", as_latex.encode())
        head, _, *rows = as_markdown.strip().split("\n")
        lines = [[cell.strip() for cell in line.replace(r"\|", "\0").split("|")[1:-1]]
                 for line in [head, *rows]]
        cells = "".join("<tr>" + "".join(
            f"<{'td' if i else 'th'}>{html.escape(cell).replace(chr(0), '|')}"
            f"</{'td' if i else 'th'}>" for cell in line) + "</tr>"
            for i, line in enumerate(lines))
        self.page.append(f'<div class="table"><table>{cells}</table></div>')
        self.text.append(f"{{\\footnotesize\\input{{tables/{name}.tex}}}}"
                         if len(rows) <= PAGE_ROWS else
                         tex(f"{len(rows)} rows stand in tables/{name}.md.") + "\n")

    def finish(self):
        page = ('<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
                f'content="width=device-width"><title>{self.folder.name}</title>'
                f"<style>{STYLE}</style><body>{''.join(self.page)}</body></html>")
        self.put("report.html", page.encode())
        self.put("body.tex", "\n\n".join(self.text).encode())
        if not (self.folder / "report.tex").is_file():  # its writer's words are in it
            self.put("report.tex", PREAMBLE.encode())
        self.files.append("report.tex")

    def put(self, name, content):
        self.files.append(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            beside.write_bytes(content)


def in_words(value):
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


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
