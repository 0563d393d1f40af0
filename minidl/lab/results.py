"""What a run found: numbers with units, claims, tables in Markdown and LaTeX, figures."""

import itertools
import json
import math
import re
import textwrap
from pathlib import Path

import matplotlib

from minidl import UserError
from minidl.files import whole_file
from minidl.lab import notebook, plot

FORMATS = {"png": ["Software"], "pdf": ["CreationDate", "Creator", "Producer"]}


class Results:
    """Collects what a script found and writes it into the run's folder.

    results.json holds `about` (script, size, data, settings, ...) and

        numbers   name -> {"value", "unit"} and, where it is a mean, {"std", "n"}
        claims    {"claim": a sentence, "holds": true, false or null, "numbers": {...}}
        undefined names of numbers that were not finite, if any
        files     the figures and tables beside it

    Times differ from run to run: they are in `seconds` and in numbers whose unit is "s",
    nowhere else. All the rest repeats byte for byte on one machine.
    """

    def __init__(self, folder, path=None):
        """path: of a file's name, where it is written; by default beside the others."""
        self.folder = Path(folder)
        self.path = path or self.folder.joinpath
        self.numbers, self.undefined, self.claims, self.files = {}, [], [], []

    def number(self, name, value, unit, std=None, n=None):
        """Record a number: a mean over n, with its standard deviation where that is known.

        Accuracies are fractions. If a value is not finite, only its name is recorded.
        ValueError for a second one of a name: methods may differ in punctuation alone.
        """
        if name in self.numbers or name in self.undefined:
            raise ValueError(f"two numbers are called {name}")
        entry = {"value": value, "unit": unit, "std": std, "n": n}
        if all(math.isfinite(x) for x in (value, std) if x is not None):
            self.numbers[name] = {key: x for key, x in entry.items() if x is not None}
        else:
            self.undefined.append(name)

    def figure(self, name, figure):
        """Write a matplotlib figure as <name>.png and <name>.pdf, without date or version."""
        with matplotlib.rc_context(plot.STYLE):
            for kind, unwanted in FORMATS.items():
                with whole_file(self._file(f"{name}.{kind}")) as path:
                    figure.savefig(path, format=kind, metadata=dict.fromkeys(unwanted))
        notebook.show(self.path(f"{name}.png"))

    def table(self, name, rows, caption=""):
        """Write rows, dicts with the same keys, as <name>.md and <name>.tex."""
        self.text(f"{name}.md", markdown(rows))
        self.text(f"{name}.tex", latex(rows, caption))

    def text(self, name, text):
        """Write a file of text."""
        with whole_file(self._file(name)) as path:
            path.write_text(text, encoding="utf-8")

    def save(self, about):
        """Write results.json."""
        undefined = {"undefined": self.undefined} if self.undefined else {}
        text = json.dumps({**about, "numbers": self.numbers, **undefined,
                           "claims": self.claims, "files": self.files},
                          indent=2, allow_nan=False)
        with whole_file(self.path("results.json")) as path:
            path.write_text(text + "\n", encoding="utf-8")

    def _file(self, name):
        self.files.append(name)
        return self.path(name)


def read(path):
    """The content of a run's results.json, or of a kept one; UserError where it is none."""
    try:
        content = json.loads(path.read_bytes())
        if not {"script", "size", "settings", "numbers"} <= {*content}:
            raise ValueError("no run's results")
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: found damaged content ({error}), expected a run's results; "
                        "move it away, or run that script again") from error
    return content


def slug(name):
    """A name for files and keys: letters, digits and _ only."""
    return re.sub(r"\W+", "_", name).strip("_")


def cell(value):
    """A table's cell: whole numbers with their thousands set apart, others to four digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def markdown(rows, width=None):
    """Rows, dicts with the same keys, as a Markdown table with its columns aligned.

    width: of a terminal, on which the longest cells go on in further lines.
    """
    if not rows:
        return ""
    cells = [[cell(v).replace("|", r"\|") for v in row.values()] for row in rows]
    table = [[name.replace("|", r"\|") for name in rows[0]], *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    while width and sum(widths) + 3 * len(widths) + 1 > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    right = [isinstance(v, int | float) for v in rows[0].values()]
    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-")
                          for w, r in zip(widths, right, strict=True)) + "|\n"
    made = []
    for line in table:
        parts = [textwrap.wrap(text, w) if len(text) > w else [text]
                 for text, w in zip(line, widths, strict=True)]
        made.append("".join("| " + " | ".join(
            text.rjust(w) if r else text.ljust(w)
            for text, w, r in zip(texts, widths, right, strict=True)) + " |\n"
            for texts in itertools.zip_longest(*parts, fillvalue="")))
    return "".join([made[0], rule, *made[1:]])


def latex(rows, caption=""):
    """Rows as a LaTeX table that compiles without any package. With graphicx, a table that is
    wider than the text is scaled to the text's width."""
    columns = "".join("r" if isinstance(v, int | float) else "l" for v in rows[0].values())
    lines = [" & ".join(tex(cell(v)) for v in line) + r" \\"
             for line in [list(rows[0]), *(row.values() for row in rows)]]
    body = "\n".join([lines[0], r"\hline", *lines[1:]])
    return (f"\\begin{{table}}\n\\centering\n\\caption{{{tex(caption)}}}\n"
            f"\\sbox0{{\\begin{{tabular}}{{{columns}}}\n\\hline\n{body}\n\\hline\n"
            "\\end{tabular}}\n"
            "\\ifdim\\wd0>\\linewidth\\ifdefined\\resizebox"
            "\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi\\else\\usebox0\\fi\n"
            "\\end{table}\n")


def tex(text):
    """Escape what LaTeX would read as a command."""
    names = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
             "<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$"}
    return re.sub(r"[\\~^<>|±#$%&_{}]", lambda m: names.get(m[0], "\\" + m[0]), text).replace(
        "--", "-{}-")  # a flag's two hyphens, not a dash
