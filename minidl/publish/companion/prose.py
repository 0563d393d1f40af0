r"""Docstrings and comments: paragraphs, equations in their columns, links, code.

A line is an equation if it is indented and mostly a formula, or if it has columns (three or
more spaces apart). It keeps its place. All other lines are paragraphs, and are set anew.
"""

import ast
import re
import textwrap
from html import escape

from minidl.publish.companion.mathematics import Formula, split

FAR = 20    # columns of indentation, from which on a line is a remark on the one above it
LABEL = re.compile(r"\(\d+\)\s|\(?[a-h]\)\s|(?:[A-Z][\w-]*[ ,]?){1,4}[.:]\s|-> |Errors: ")
COMMAND = re.compile(r"\s*(python |pytest |torchrun |pip )")
PROGRAM = re.compile(r"\s*(def \w+\(.*|class \w.*|for \w.* in .*\(.*\)):(\s+#.*)?$|"
                     r"\s*\w+ = \{\"", re.M)
RELATION = re.compile(r"= |<= |>= |<- ")
BANNER = re.compile(r"-{3,} ?(.*?) ?-*$")
WORD = re.compile(r"`(?P<code>[^`]+)`|(?P<file>(?:\w+/)*\w+\.(?:py|json|md)\b)|"
                  r"\b(?P<claim>claims? \d+)|\b(?P<dotted>[a-z]\w*\.[a-z_]\w*)\b|"
                  r"\b(?P<name>[a-z]+(?:_[a-z0-9]+){1,}(?:\(\))?)")


def blocks(text):
    """(kind, lines) of a text in order: p a paragraph, eq lines that keep their place, pre a
    program."""
    for part in re.split(r"\n\s*\n", text):
        part = part.strip("\n")
        if PROGRAM.match(part) and _parses(part):
            yield "pre", part.split("\n")
        elif part.strip():
            yield from _stretches(part.split("\n"))


def _parses(text):
    """Whether a text is Python, and not pseudo-code with equations."""
    try:
        return bool(ast.parse(textwrap.dedent(text)))
    except SyntaxError:
        return False


def _stretches(lines):
    """The paragraphs and equations of lines without an empty one between them."""
    found, deep = [], lines[0].startswith("    ")
    for line in lines:
        before, last = (found[-1][0], found[-1][1][-1]) if found else ("", "")
        displayed = _displayed(line, deep, before == "eq" or last.endswith(":"))
        kind = "eq" if displayed else "p"
        label = LABEL.match(line.strip()) or COMMAND.match(line)
        if kind != before or (kind == "p" and label):
            found.append((kind, []))
        found[-1][1].append(line)
    return found


def _displayed(line, deep, after):
    """Whether a line keeps its place; after: after a colon, or another such line."""
    indent = len(line) - len(line.lstrip())
    if re.search(r"\S {3,}\S", line) or (indent and COMMAND.match(line)):
        return True
    if indent < (4 if deep else 2) or not (deep or after):
        return False
    formulas = sum(len(part.plain) for part in split(line.strip(), weak=True)
                   if isinstance(part, Formula))
    return deep or formulas > 0.6 * len(line.strip())


def title_of(text):
    """-> a docstring's first line, or its first sentence where that goes on; and the rest."""
    first, _, rest = text.partition("\n")
    sentence = re.match(r".*?[.?!](?=\s)", text, re.S)
    if not sentence or rest[:1] in ("", "\n") or first.endswith((".", "?", "!", ":")):
        return first, rest
    return " ".join(sentence[0].split()), text[sentence.end():]


def one_line(lines):
    """The words of a paragraph; what is set apart stays so."""
    return " ".join("\u2003" * (not line[:FAR].strip()) + line.strip() for line in lines)


class Prose:
    """Sets the prose of one page; link(kind, text) tells where a name leads, or None."""

    def __init__(self, glyphs, link):
        self.glyphs, self.link = glyphs, link

    def docstring(self, text, title=False):
        """A docstring's text, dedented; the first line of a file's is its title."""
        if not title:
            return self.text(text)
        first, rest = title_of(text)
        return f"<h1>{self.parts(split(first))}</h1>{self.text(rest)}"

    def comment(self, lines):
        """Lines of comments, without their indentation."""
        first, *rest = lines = [re.sub(r"^\s*#+ ?", "", line) for line in lines]
        if banner := BANNER.match(first):
            return f"<h3>{self.parts(split(banner[1]))}</h3>" + self.text("\n".join(rest))
        return self.text("\n".join(lines))

    def text(self, text):
        return "".join(self.block(kind, lines) for kind, lines in blocks(text))

    def block(self, kind, lines):
        if kind == "pre":
            return "<pre>" + escape(textwrap.dedent("\n".join(lines))) + "</pre>"
        if kind == "eq":
            return self.columns(lines)
        words = one_line(lines)
        hang = ' class="hang"' if LABEL.match(words) else ""
        return f"<p{hang}>{self.parts(split(words))}</p>"

    def columns(self, lines):
        """Lines as a table: a column wherever two or more spaces end, or a relation stands
        below the beginning of another line's column."""
        rows = [cells(line) for line in lines]
        starts = {at for row in rows for at, text in row if RELATION.match(text)}
        rows = [_split_at(row, starts) for row in rows]
        places = [at for row in rows for at, _ in row]
        edges = sorted({row[0][0] for row in rows} | {
            at for at in places if places.count(at) > 1})
        table = "".join(f"<tr>{self.line(row, edges)}</tr>" for row in rows)
        flush = " flush" if edges[0] == 0 else ""
        return f'<div class="eq{flush}"><table>{table}</table></div>'

    def line(self, row, edges):
        """A line's cells, those that share no edge with another line's in one."""
        groups, made, done = [], "", 0
        for at, text in row:
            if at in edges:
                groups.append((edges.index(at), []))
            groups[-1][1].append(f'<span class="part">{self.cell(text)}</span>')
        for (first, parts), (after, _) in zip(groups, [*groups[1:], (len(edges), ())],
                                              strict=True):
            made += "<td></td>" * (first - done)
            made += f'<td colspan="{after - first}">{" ".join(parts)}</td>'
            done = after
        return made

    def cell(self, text):
        """One column of a line: a formula as a whole, or words with formulas."""
        if COMMAND.match(text):
            return f'<code class="command">{escape(text)}</code>'
        parts = split(text, weak=True, display=True)
        if any(isinstance(part, str) and re.search(r"\w", part) for part in parts):
            parts = split(text, display=True)
        return self.parts(parts)

    def parts(self, parts):
        made, before = "", ""
        for part in parts:
            if isinstance(part, Formula):
                made, before = made + before, self.formula(part)
                continue
            if before and part[0] in ",.;:?!)":      # no line begins with these
                before, part = f'<span class="one">{before}{part[0]}</span>', part[1:]
            made, before = made + before + self.words(part), ""
        return made + before

    def formula(self, part):
        try:
            return self.glyphs.draw(part.mathtext, part.plain)
        except ValueError:      # mathtext's own grammar refuses it
            return escape(part.plain)

    def words(self, text):
        """Plain words; names of code in a code's letters, and linked where they lead."""
        text = re.sub(r" {2,}", "\u2003", text)
        made, done = "", 0
        for match in WORD.finditer(text):
            kind = match.lastgroup
            target = self.link(kind, match[kind])
            shown = escape(match[kind])
            if kind in ("code", "file", "name") or (kind == "dotted" and target):
                shown = f"<code>{shown}</code>"
            if target:
                shown = f'<a href="{escape(target)}">{shown}</a>'
            made += escape(text[done:match.start()]) + shown
            done = match.end()
        return made + escape(text[done:])


def cells(line):
    """(column, text) of the parts of a line between two spaces or more."""
    return [(match.start(), match[0]) for match in re.finditer(r"\S+(?: \S+)*", line)]


def _split_at(row, starts):
    """Cells split where another line's relation begins and this line has one too."""
    made = []
    for at, text in row:
        for column in sorted(starts):
            before, after = text[:max(column - at, 0)], text[max(column - at, 0):]
            if before.endswith(" ") and RELATION.match(after):
                made.append((at, before.rstrip()))
                at, text = column, after
        made.append((at, text))
    return made
