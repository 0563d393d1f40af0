r"""Everything for a report, a folder for each sheet: `python -m minidl.report`.

    outputs/report/S3/report.html   all of it on one page that needs no other file
                      report.tex    the same for LaTeX, with figures/ and tables/ beside it
                      figures/  tables/  theory/   to paste; a table is there as .md and .tex
    outputs/report/S3/ex2_ID1_ID2.zip   what exercise 2 wants handed in, its names left open

Each item of the sheet has the scripts and proofs that answer it: the question and its equation
as their files state them, settings, numbers, findings, figures and tables of the last run in
outputs/. An item whose script was not run says which command is missing. The words of a report
are for its writer: what is here is to be cited. Checked in tests/test_report.py.
"""

import argparse
import ast
import base64
import html
import json
import sys
import zipfile
from pathlib import Path

from minidl import sheets
from minidl.files import whole_file
from minidl.results import latex, markdown, tex

ROOT = Path(__file__).resolve().parents[1]
STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
 padding: 0 1rem; color: #1a1a1a; background: #fff }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; font-size: 13px }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border: 1px solid #767676; padding: .2rem .6rem; text-align: left }
img { max-width: 100% } .missing { color: #a00000; font-weight: bold }
h2 { margin-top: 3rem; border-bottom: 1px solid #767676 }"""
# a new page an item: LaTeX holds no more than some dozen floating tables back
HEADINGS = {"h1": r"\section*", "h2": r"\clearpage\subsection*", "h3": r"\subsubsection*"}
PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{graphicx}
\usepackage[margin=2cm]{geometry}
% a table that is wider than the page is made as wide as the page
\newsavebox{\measured}
\let\plaintabular\tabular \let\endplaintabular\endtabular
\renewenvironment{tabular}[1]{\begin{lrbox}{\measured}\plaintabular{#1}}{%
\endplaintabular\end{lrbox}\ifdim\wd\measured>\linewidth
\resizebox{\linewidth}{!}{\usebox{\measured}}\else\usebox{\measured}\fi}
\begin{document}
"""
PAGE_ROWS = 45  # a longer table does not fit on a page
HANDED_IN = "ex2_ID1_ID2"  # S3: "a single zip file", with code, ex2.pdf and a README
NAMES = """Exercise 2

NAME 1, ID1, cse user name: USER1
NAME 2, ID2, cse user name: USER2

How to run: pip install -r requirements.txt && python assignments/ex2_conv_ae.py
ex2.pdf is to be made of report/report.tex, in your own words.
"""


def write(root, runs, out):
    """Write the bundles of all sheets; -> {sheet: scripts without a run}."""
    answers = {}
    for path in sorted([*root.glob("assignments/*.py"), *root.glob("theory/*.py")]):
        for _, item in sheets.tags(path):
            answers.setdefault(item, []).append(path)
    missing = {}
    for sheet, title in sheets.SHEETS.items():
        items = {item: words for item, words in sheets.ITEMS.items()
                 if item.startswith(sheet)}
        bundle = Bundle(root, runs, out / sheet)
        bundle.add("h1", f"{sheet}: {title}")
        for item, words in items.items():
            bundle.add("h2", f"{item}  {words}")
            for path in answers.get(item, ()):
                bundle.answer(path)
        bundle.finish()
        missing[sheet] = bundle.missing
    hand_in(root, out / "S3")
    return missing


class Bundle:
    """One sheet's folder: the page and the LaTeX text grow together."""

    def __init__(self, root, runs, folder):
        self.root, self.runs, self.folder = root, runs, folder
        self.page, self.text, self.shown, self.missing = [], [], set(), []

    def add(self, tag, words):
        """A heading, a paragraph, or a `pre`."""
        self.page.append(f"<{tag}>{html.escape(words)}</{tag}>")
        heading = HEADINGS.get(tag)
        self.text.append(f"{heading}{{{tex(words)}}}" if heading else
                         f"{{\\scriptsize\\begin{{verbatim}}\n{words}\n\\end{{verbatim}}}}"
                         if tag == "pre" else f"{tex(words)}\n")

    def answer(self, path):
        """A script with its run, or a proof with its written answer."""
        name = path.relative_to(self.root).as_posix()
        self.add("h3", name)
        if path in self.shown:
            self.add("p", "Shown above.")
            return
        self.shown.add(path)
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        self.add("pre", words)
        if path.parent.name == "theory":
            self.put(f"theory/{path.stem}.txt", words.encode())
            self.add("p", f"Proven by: python -m pytest {name}")
            return
        folder = self.runs / path.stem
        if not (folder / "results.json").is_file():
            self.missing.append(path.stem)
            self.page.append('<p class="missing">No run found. The command: '
                             f"python {html.escape(name)}</p>")
            self.text.append(f"\\textbf{{{tex(f'No run found: python {name}')}}}\n")
            return
        self.run(path.stem, folder, json.loads((folder / "results.json").read_text()))

    def run(self, script, folder, content):
        """Findings, figures, tables, numbers and settings of a run."""
        self.add("p", f"Run: {content['size']} size, data {content['data']}, device "
                      f"{content['device']}, seed {content['seed']}, torch "
                      f"{content['versions']['torch']}.")
        self.page.append("<ul>" + "".join(
            f"<li>{html.escape(finding)}</li>" for finding in content["findings"]) + "</ul>")
        self.text.append("\\begin{itemize}\n" + "\n".join(
            f"\\item {tex(finding)}" for finding in content["findings"])
            + "\n\\end{itemize}")
        for file in content["files"]:
            if file.endswith(".png"):
                self.figure(f"{script}_{file}", (folder / file).read_bytes())
            elif file.endswith(".md"):
                self.table(f"{script}_{file.removesuffix('.md')}", (folder / file).read_text(),
                           (folder / file).with_suffix(".tex").read_text())
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
        self.page.append(f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,'
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
        self.page.append(f"<table>{cells}</table>")
        self.text.append(f"{{\\footnotesize\\input{{tables/{name}.tex}}}}"
                         if len(rows) <= PAGE_ROWS else
                         tex(f"{len(rows)} rows stand in tables/{name}.md.") + "\n")

    def finish(self):
        page = ('<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
                f'content="width=device-width"><title>{self.folder.name}</title>'
                f"<style>{STYLE}</style><body>{''.join(self.page)}</body></html>")
        text = PREAMBLE + "\n\n".join(self.text) + "\n\\end{document}\n"
        self.put("report.html", page.encode())
        self.put("report.tex", text.encode())

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            beside.write_bytes(content)


def in_words(value):
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def hand_in(root, folder):
    """S3's zip: code, README with names to fill in, and the bundle in the place of ex2.pdf."""
    code = [root / name for name in ("requirements.txt", "data_download.py")]
    code += [*root.glob("assignments/ex2_*.py"), root / "assignments" / "_path.py",
             *root.glob("minidl/*.py")]
    with (whole_file(folder / f"{HANDED_IN}.zip") as path,
          zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive):
        archive.writestr(f"{HANDED_IN}/README", NAMES)
        for file in sorted(code):
            archive.write(file, f"{HANDED_IN}/{file.relative_to(root)}")
        for file in sorted(folder.rglob("*.*")):
            if file.suffix in (".html", ".tex", ".md", ".png", ".txt"):
                archive.write(file, f"{HANDED_IN}/report/{file.relative_to(folder)}")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m minidl.report",
                                     description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("outputs"), metavar="DIR",
                        help="holds the folders of the last runs (default outputs)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default outputs/report")
    flags = parser.parse_args(argv)
    if not (ROOT / "assignments").is_dir():
        sys.exit(f"minidl.report: found no assignments/ in {ROOT}, expected a checkout")
    out = flags.out or flags.runs / "report"
    for sheet, missing in write(ROOT, flags.runs, out).items():
        lacking = f"  no run of {', '.join(missing)}" if missing else ""
        print(f"{out / sheet / 'report.html'}{lacking}")


if __name__ == "__main__":
    main()
