"""The page of a file: its prose beside its code, and the results of its last run."""

import re
from html import escape

from minidl.lab.findings import told
from minidl.lab.results import cell
from minidl.publish import kept, sheets
from minidl.publish.companion import colours
from minidl.publish.companion.frame import frame, relative
from minidl.publish.companion.prose import Prose
from minidl.publish.companion.rows import rows
from minidl.publish.companion.svg import Glyphs

DRAWN = re.compile(r'\.(?:figure|curves|pictures|bars)\(\s*"(\w+)"')    # under a name


class FilePage:
    """The page of one source file."""

    def __init__(self, project, source, result=None, figures=None):
        self.project, self.source, self.result = project, source, result
        self.figures = figures or {}     # name -> the figure's place in the site
        self.glyphs, self.shown = Glyphs(), set()
        self.prose = Prose(self.glyphs, self.link)
        self.lines = source.text.splitlines()
        self.coloured = colours.coloured(source.text, {
            at: self.place(*target) for at, target in project.references[source.path].items()})

    def place(self, source, name=""):
        return relative(self.source.page, source.page + (f"#{name}" if name else ""))

    def link(self, kind, text):
        """Where a word of the prose leads."""
        project, name = self.project, text.strip("`()")
        if kind == "file":
            target = project.by_path.get(name)
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
        made = [self.flow(group) for group in self.groups()]
        top = f"<span>{escape(self.source.path)}</span>{self.chips()}{self.near()}"
        return frame(self.source.page, f"{self.source.path} - minidl", "".join(
            [self.glyphs.definitions(), *made]), top)

    def groups(self):
        """The rows, a row whose prose is longer than its code with those after it: their code
        stands beside its prose. A line of prose takes the place of one and a half of code."""
        lead, *others = self.rows()
        groups = [[lead]]
        room = 1.5 * len(lead.prose) - len(lead.code) - self.lead_height()
        for row in others:
            if room < 6:
                groups.append([])
                room = 1.5 * len(row.prose) + 3
            groups[-1].append(row)
            room -= len(row.code) + 4
        return groups

    def flow(self, group):
        """The rows of a group. In the grid, the first row's prose stands beside all code but
        the last row's end. Beside that stands the prose of the other rows."""
        n = len(group)
        if n == 1:
            return self.row(*group)
        made = ""
        for i, row in enumerate(group):
            prose = f"1 / span {n}" if i == 0 else f"{n + i}"
            code = f"{i + 1} / span {n if i == n - 1 else 1}"
            made += self.row(row, f' style="--at:{prose}"', f' style="--at:{code}"')
        return f'<div class="flow">{made}</div>'

    def rows(self):
        """The file's rows. The first code stands beside the file's docstring; a method without
        prose, beside its class's."""
        found = rows(self.source.text)
        while len(found) > 1 and found[0].docstring and not found[1].name and (
                not found[0].code_lines(self.lines)) and all(map(self.tag, found[1].prose)):
            more = found.pop(1)
            found[0].prose += more.prose
            found[0].code += more.code
        made = found[:1]
        for row in found[1:]:
            if not row.prose and row.name.rpartition(".")[0] == made[-1].name != "":
                made[-1].code += row.code
            else:
                made.append(row)
        return made

    def tag(self, number):
        """What a line says of a sheet's items, or None."""
        return sheets.TAG.match(self.lines[number - 1])

    def item(self, item, words=""):
        """A link to an item of the first page; what it asks for is in its tooltip."""
        page = relative(self.source.page, "index.html")
        return (f'<a {words}href="{page}#{item}" title="{escape(sheets.ITEMS.get(item, ""))}">'
                f"{item}</a>")

    def chips(self):
        """The items of the sheets that this file answers."""
        items = [item for item, places in self.project.tags.items()
                 if any(source is self.source for source, _ in places)]
        return "".join(self.item(item, "class=chip ") for item in items)

    def near(self):
        """Links to the files before and after this one in its folder."""
        folder = [s for s in self.project.sources if s.folder == self.source.folder]
        at = folder.index(self.source)
        return "".join(f'<a class="near" rel="{word[:4]}" href="{self.place(other)}" '
                       f'title="{escape(other.path)}">{word} file</a>'
                       for word, beside in (("previous", folder[:at][-1:]),
                                            ("next", folder[at + 1:][:1])) for other in beside)

    def lead_height(self):
        """About how many lines stand beside the file's docstring: a run fills the place."""
        if self.source.folder == "assignments":
            return 60
        return sum(source is self.source for source, _ in self.project.claims.values())

    def row(self, row, at="", code_at=""):
        """A row: prose, code, and the figures that this code draws. Above the first row's code
        is the last run, or the claims. at: their places in the grid of a group."""
        if 1 in (*row.prose, *row.code):
            side = self.run() or self.claims()
            side = side and f'<div class="side">{side}</div>'
            return (f'<section class="row lead"><div class="prose"{at}>{self.prose_of(row)}'
                    f'</div><div class="right"{code_at}>{side}{self.code_of(row)}</div>'
                    '</section>')
        prose, code = self.prose_of(row), self.code_of(row, code_at)
        if not row.code_lines(self.lines) and not prose:
            return ""
        heading, classes = "", "row"
        if row.name:
            heading = f'<h2 id="{row.name}"><a href="#{row.name}">{escape(row.name)}</a></h2>'
            classes += " method" if "." in row.name else " begins"
        return (f'<section class="{classes}"><div class="prose"{at}>{heading}{prose}'
                f'{self.used(row)}{self.drawn(row)}</div>{code}</section>')

    def prose_of(self, row):
        tags = [n for n in row.prose if self.tag(n)]
        words = [self.lines[n - 1] for n in row.prose if n not in (*row.docstring, *tags)]
        made = self.prose.comment(words) if words else ""
        if row.docstring:
            made += self.prose.docstring(row.words, title=row.docstring.start == 1)
        for n in tags:
            links = ", ".join(map(self.item, self.tag(n)[1].split(", ")))
            made += f'<p class="tag" id="L{n}">sheet: {links}</p>'
        return made

    def code_of(self, row, at=""):
        lines = row.code_lines(self.lines)
        if not lines:
            return f'<div class="code"{at}></div>'
        shown = "".join(f'<span id="L{n}" data-n="{n}">{self.coloured[n - 1]}\n</span>'
                        for n in row.code if lines[0] <= n <= lines[-1])
        return f'<pre class="code"{at}><code>{shown}</code></pre>'

    def used(self, row):
        """Which claims prove this function, which tests and scripts use it."""
        proofs, others = [], []
        numbers = {claim: number for number, claim in self.project.claims.items()}
        for source, names in self.project.users.get((self.source.path, row.name), {}).items():
            proving = [name for name in names if (source, name) in numbers]
            proofs += [f'<a href="{self.place(source, name)}">{numbers[source, name]}</a>'
                       for name in proving]
            if not proving:
                others.append(f'<a href="{self.place(source)}">{escape(source.stem)}</a>')
        return "".join(f'<p class="used">{word} {", ".join(links)}</p>'
                       for word, links in (("Claims", proofs), ("Used in", others)) if links)

    def drawn(self, row):
        """The figures that this row's code names."""
        named = DRAWN.findall("\n".join(self.lines[n - 1] for n in row.code))
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
            return (f'<p class="run">There is no run of this script: <code>python '
                    f'{escape(self.source.path)}</code> makes one.</p>')
        found, file = self.result.content, self.result.file
        settings = ", ".join(f"{key} {value}" for key, value in found["settings"].items())
        name = "Last run" if self.result.own else "Kept run"
        head = (f'<p class="run"><b>{name}</b> {escape(found["size"])} size, '
                f'{escape(found["data"])}, seed {found["seed"]}, {found["device"]}, '
                f'{found["seconds"]:.0f} s: <code>{file.parent.name}/{file.name}</code></p>')
        if self.result.older:
            head += (f'<p class="run"><b>{escape(self.result.older)}:</b> '
                     f'<code>{escape(kept.command(found))}</code> makes a new one.</p>')
        sentences = "".join(f"<li>{escape(words)}</li>" for words in told(found))
        return (f'<h2>What it found</h2>{head}<ul class="findings">{sentences}</ul>'
                f'<details><summary>Numbers</summary>{numbers(found["numbers"])}</details>'
                f'<details><summary>Settings</summary><p>{escape(settings)}</p></details>'
                f'{self.loose()}')

    def loose(self):
        """The figures that no line of the code names."""
        named = DRAWN.findall(self.source.text)
        loose = "".join(self.figure(name) for name in self.figures if name not in named)
        return loose and f'<div class="figures">{loose}</div>'

    def claims(self):
        """What a file of theory proves."""
        here = sorted((number, name) for number, (source, name) in self.project.claims.items()
                      if source is self.source)
        lines = "".join(f'<li value="{number}"><a href="#{name}">'
                        f'{name.removeprefix("test_").replace("_", " ")}</a></li>'
                        for number, name in here)
        return f'<h2>Claims</h2><ol class="claims">{lines}</ol>' if here else ""


def numbers(content):
    """results.json's numbers as a table."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{cell(entry['value'])}"
        + (f" &#177; {cell(entry['std'])}" if "std" in entry else "")
        + f"</td><td>{escape(entry['unit'])}"
        + (f", n = {entry['n']:,}" if "n" in entry else "") + "</td></tr>"
        for name, entry in content.items())
    return f'<div class="eq"><table class="numbers">{lines}</table></div>'
