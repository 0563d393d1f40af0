"""The page of a file: its prose and code in step, and what its last run found."""

import ast
import re
from html import escape

from minidl.publish import sheets
from minidl.publish.companion import colours
from minidl.publish.companion.frame import frame, numbers, relative
from minidl.publish.companion.prose import Prose
from minidl.publish.companion.rows import rows
from minidl.publish.companion.svg import Glyphs

NAMED = re.compile(r'\.(?:figure|number|mean|table)\(\s*"(\w+)"')   # results under a name


class FilePage:
    """The page of one source file."""

    def __init__(self, project, source, result=None, figures=None):
        self.project, self.source, self.result = project, source, result
        self.figures = figures or {}     # name -> the figure's place in the site
        self.glyphs, self.shown = Glyphs(), set()
        self.prose = Prose(self.glyphs, self.link)
        self.lines = source.text.splitlines()
        places = {place: self.place(*target) for place, target in
                  project.references[source.path].items()}
        self.coloured = colours.coloured(source.text, places)

    def place(self, source, name=""):
        return relative(self.source.page, source.page + (f"#{name}" if name else ""))

    def link(self, kind, text):
        """Where a word of the prose leads."""
        project, name = self.project, text.strip("`()")
        if kind == "file":
            target = project.by_path.get(name) or project.unique.get(name)
            return target and target is not self.source and self.place(target)
        if kind == "claim":
            claim = project.claims.get(int(text.split()[1]))
            return claim and self.place(*claim)
        if kind == "dotted" or (kind == "code" and "." in name):
            module, _, symbol = name.rpartition(".")
            target = project.by_module.get(f"minidl.{module}") or project.by_module.get(module)
            return target and symbol in target.names and self.place(target, symbol)
        return name in self.source.names and f"#{name}"

    def html(self):
        made = [self.row(row, first=i == 0) for i, row in enumerate(self.rows())]
        top = f"<span>{escape(self.source.path)}</span>{self.chips()}{self.near()}"
        entries = "".join(f'<li><a href="#{name}">{escape(name)}</a></li>'
                          for name in self.source.names if "." not in name)
        aside = f'<nav class="toc" aria-label="This file"><ul>{entries}</ul></nav>'
        return frame(self.source.page, f"{self.source.path} - minidl", "".join(
            [self.glyphs.definitions(), *made]), top, aside if entries else "")

    def rows(self):
        """The file's rows; the first code stands beside the file's docstring."""
        found = rows(self.source.text)
        while len(found) > 1 and found[0].docstring and not found[1].name and (
                not found[0].code_lines(self.lines)) and all(
                sheets.TAG.match(self.lines[n - 1]) for n in found[1].prose):
            more = found.pop(1)
            found[0].prose += more.prose
            found[0].code += more.code
        return found

    def chips(self):
        """The items of the sheets that this file answers."""
        items = dict.fromkeys(item for item, places in self.project.tags.items()
                              if any(source is self.source for source, _ in places))
        return "".join(
            f'<a class="chip" href="{relative(self.source.page, "index.html")}#{item}" '
            f'title="{escape(sheets.ITEMS.get(item, ""))}">{item}</a>' for item in items)

    def near(self):
        """Links to the files before and after this one in its folder."""
        folder = [s for s in self.project.sources if s.folder == self.source.folder]
        at, made = folder.index(self.source), ""
        for step, word in ((-1, "previous"), (1, "next")):
            if 0 <= at + step < len(folder):
                other = folder[at + step]
                made += (f'<a class="near" rel="{word[:4]}" href="{self.place(other)}" '
                         f'title="{escape(other.path)}">{word} file</a>')
        return made

    def row(self, row, first):
        """A row: prose, code, and the figures that this code draws."""
        prose = self.prose_of(row)
        code = self.code_of(row)
        if first:
            side = self.run() or self.claims()
            side = f'<div class="side">{side}</div>' if side else ""
            return (f'<section class="row lead"><div class="prose">{prose}</div>'
                    f'<div class="right">{side}{code}</div></section>')
        if not row.code_lines(self.lines) and not prose:
            return ""
        heading, classes = "", "row"
        if row.name:
            heading = (f'<h2 id="{row.name}" data-stop tabindex="-1"><a href="#{row.name}">'
                       f'{escape(row.name)}</a></h2>')
            classes += " method" if "." in row.name else " begins"
        elif "<h3>" in prose:
            prose = prose.replace("<h3>", '<h3 data-stop tabindex="-1">', 1)
        return (f'<section class="{classes}"><div class="prose">{heading}{prose}'
                f'{self.used(row)}{self.drawn(row)}</div>{code}</section>')

    def prose_of(self, row):
        comments = [n for n in row.prose
                    if not row.docstring or not row.docstring[0] <= n <= row.docstring[1]]
        tags = [n for n in comments if sheets.TAG.match(self.lines[n - 1])]
        words = [self.lines[n - 1] for n in comments if n not in tags]
        made = self.prose.comment(words) if words else ""
        if row.docstring:
            made += self.prose.docstring(self.docstring(row), title=row.docstring[0] == 1)
        made += "".join(f'<p class="tag" id="L{n}">{self.tag(n)}</p>' for n in tags)
        return made

    def tag(self, number):
        items = sheets.TAG.match(self.lines[number - 1])[1].split(", ")
        index = relative(self.source.page, "index.html")
        return "sheet: " + ", ".join(f'<a href="{index}#{item}">{item}</a>' for item in items)

    def docstring(self, row):
        """Its text: the value of the string, without the indentation."""
        first, last = row.docstring
        nodes = [self.source.tree, *self.source.names.values()]
        for node in nodes:
            if node.body and node.body[0].lineno == first:
                return ast.get_docstring(node)
        raise ValueError(f"no docstring in line {first} to {last}")

    def code_of(self, row):
        lines = row.code_lines(self.lines)
        if not lines:
            return '<div class="code"></div>'
        shown = "".join(f'<span id="L{n}" data-n="{n}">{self.coloured[n - 1]}\n</span>'
                        for n in row.code if lines[0] <= n <= lines[-1])
        return f'<pre class="code"><code>{shown}</code></pre>'

    def used(self, row):
        """Which claims prove this function, which tests and scripts use it."""
        users = self.project.users.get((self.source.path, row.name), {}) if row.name else {}
        proofs, others = [], []
        by_name = {claim: number for number, claim in self.project.claims.items()}
        for source, names in users.items():
            numbers = [(by_name[source, name], name) for name in names
                       if (source, name) in by_name]
            proofs += [f'<a href="{self.place(source, name)}">{number}</a>'
                       for number, name in numbers]
            if not numbers:
                others.append(f'<a href="{self.place(source)}">{escape(source.stem)}</a>')
        made = [("Claims", proofs), ("Used in", others)]
        return "".join(f'<p class="used">{word} {", ".join(links)}</p>'
                       for word, links in made if links)

    def drawn(self, row):
        """The figures that this row's code names."""
        code = "\n".join(self.lines[n - 1] for n in row.code)
        named = NAMED.findall(code)
        return "".join(self.figure(name) for name in named
                       if name in self.figures and name not in self.shown)

    def figure(self, name):
        self.shown.add(name)
        place, words = relative(self.source.page, self.figures[name]), name.replace("_", " ")
        return (f'<figure><a href="{place}"><img src="{place}" loading="lazy" '
                f'alt="{escape(words)}"></a><figcaption>{escape(words)}</figcaption></figure>')

    def run(self):
        """What the last run found; or the command."""
        if not self.source.path.startswith("assignments/") or self.source.stem == "_path":
            return ""
        if not self.result:
            return (f'<p class="run">No run of this script is at hand: <code>python '
                    f'{escape(self.source.path)}</code> makes one.</p>')
        found, file = self.result.content, self.result.file
        settings = ", ".join(f"{key} {value}" for key, value in found["settings"].items())
        name = "Last run" if self.result.own else "Kept run"
        head = (f'<p class="run"><b>{name}</b> {escape(str(found["size"]))} size, '
                f'{escape(str(found["data"]))}, seed {found["seed"]}, {found["device"]}, '
                f'{found["seconds"]:.0f} s: <code>{file.parent.name}/{file.name}</code></p>')
        if self.result.older:
            head += (f'<p class="run"><b>Older than {escape(", ".join(self.result.older))}:'
                     f'</b> <code>{escape(self.result.command)}</code> makes a new one.</p>')
        sentences = "".join(f"<li>{escape(words)}</li>" for words in found["findings"])
        return (f'<h2>What it found</h2>{head}<ul class="findings">{sentences}</ul>'
                f'<details><summary>Numbers</summary>{numbers(found["numbers"])}</details>'
                f'<details><summary>Settings</summary><p>{escape(settings)}</p></details>'
                f'{self.loose()}')

    def claims(self):
        """What a file of theory proves."""
        here = [(number, name) for number, (source, name) in self.project.claims.items()
                if source is self.source]
        lines = "".join(
            f'<li value="{number}"><a href="#{name}">'
            f'{name.removeprefix("test_").replace("_", " ")}</a></li>'
            for number, name in sorted(here))
        return f'<h2>Claims</h2><ol class="claims">{lines}</ol>' if here else ""

    def loose(self):
        """The figures that no line of the code names."""
        named = set(NAMED.findall(self.source.text))
        loose = "".join(self.figure(name) for name in self.figures if name not in named)
        return f'<div class="figures">{loose}</div>' if loose else ""
