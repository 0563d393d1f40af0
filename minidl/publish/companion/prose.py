"""Docstrings and comments as HTML: paragraphs, equations in their columns, links, code.

A line is an equation, and keeps its place, if it is indented and most of it is one, or if it
has columns, set apart by three spaces or more. All other lines are paragraphs, set anew.
"""

import ast
import html
import re
import textwrap

from minidl.publish.companion.formulas import Formula, split

FAR = 20    # columns of indentation, from which on a line is a remark on the one above it
LABEL = re.compile(r"\(\d+\)\s|\(?[a-h]\)\s|(?:[A-Z][\w-]*[ ,]?){1,4}[.:]\s|-> |Errors: ")
COMMAND = re.compile(r"\s*(python |pytest |torchrun |pip )")
PROGRAM = re.compile(r"\s*(def \w+\(.*|class \w.*|for \w.* in .*\(.*\)):(\s+#.*)?$|"
                     r"\s*\w+ = \{\"", re.M)
BANNER = re.compile(r"-{3,} ?(.*?) ?-*$")
WORD = re.compile(r"`([^`]+)`|((?:\w+/)*\w+\.(?:py|json|md)\b)|\b(claims? \d+)|"
                  r"\b([a-z]\w*\.[a-z_]\w*)\b|\b([a-z]+(?:_[a-z0-9]+){1,}(?:\(\))?)")


class Prose:
    """Sets the prose of one page; link(kind, text) tells where a name leads, or None."""

    def __init__(self, glyphs, link):
        self.glyphs, self.link = glyphs, link

    def docstring(self, text, title=False):
        """A docstring's text, dedented, from its first line on; that is a file's title."""
        first, _, rest = text.partition("\n")
        if title:
            return f"<h1>{self.inline(first)}</h1>" + "".join(
                self.block(part.strip("\n")) for part in re.split(r"\n\s*\n", rest)
                if part.strip())
        blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", rest)]
        if rest and not rest.startswith("\n") and rest.split("\n", 1)[0].strip():
            blocks[0] = f"{first}\n{blocks[0]}"     # the first sentence goes on
        else:
            blocks.insert(0, first)
        return "".join(self.block(block) for block in blocks if block.strip())

    def comment(self, lines):
        """Lines of comments, without their indentation."""
        text = "\n".join(re.sub(r"^\s*#+ ?", "", line) for line in lines)
        banner = BANNER.match(text)
        if banner:
            rest = text.split("\n", 1)[1:]
            title = self.inline(banner[1].split("\n")[0])
            return f"<h3>{title}</h3>" + "".join(self.block(part) for part in rest)
        return self.block(text)

    def block(self, text):
        """Lines without an empty one between them."""
        lines = text.split("\n")
        if PROGRAM.match(text) and _parses(text):
            return f"<pre>{html.escape(textwrap.dedent(text))}</pre>"
        parts, paragraph, display = [], [], []

        def flush():
            if paragraph:
                words = " ".join("\u2003" * (not line[:FAR].strip()) + line.strip()
                                 for line in paragraph)
                hang = ' class="hang"' if LABEL.match(words) else ""
                parts.append(f"<p{hang}>{self.inline(words)}</p>")
            if display:
                parts.append(self.columns(display))
            paragraph.clear(), display.clear()

        deep = len(lines[0]) - len(lines[0].lstrip()) >= 4
        for line in lines:
            after = bool(display) or (bool(paragraph) and paragraph[-1].endswith(":"))
            if self.displayed(line, deep, after):
                if paragraph:
                    flush()
                display.append(line)
            else:
                label = LABEL.match(line.strip()) or COMMAND.match(line)
                if display or (paragraph and label):
                    flush()
                paragraph.append(line)
        flush()
        return "".join(parts)

    def displayed(self, line, deep, after):
        """Whether a line keeps its place; after: after a colon, or another such line."""
        indent = len(line) - len(line.lstrip())
        if re.search(r"\S {3,}\S", line) or (indent and COMMAND.match(line)):
            return True
        if indent < (4 if deep else 2) or not (deep or after):
            return False
        formulas = sum(len(part.plain) for part in split(line.strip(), weak=True)
                       if isinstance(part, Formula))
        return deep or formulas > 0.6 * len(line.strip())

    def columns(self, lines):
        """Lines as a table: a column wherever two or more spaces end, or a relation stands
        below the beginning of another line's column."""
        cells = [_cells(line) for line in lines]
        starts = {at for row in cells for at, text in row
                  if any(text.startswith(sign) for sign in ("= ", "<= ", ">= ", "<- "))}
        cells = [_split_at(row, starts) for row in cells]
        places = [at for row in cells for at, _ in row]
        edges = sorted({row[0][0] for row in cells} | {
            at for at in places if places.count(at) > 1})
        table = "".join(f"<tr>{self.line(row, edges)}</tr>" for row in cells)
        flush = " flush" if edges[0] == 0 else ""
        return f'<div class="eq{flush}"><table>{table}</table></div>'

    def line(self, row, edges):
        """A line's cells, those that share no edge with another line's in one."""
        groups, made, done = [], "", 0
        for at, text in row:
            if at in edges:
                groups.append((at, []))
            groups[-1][1].append(f'<span class="part">{self.cell(text)}</span>')
        for i, (at, parts) in enumerate(groups):
            end = groups[i + 1][0] if i + 1 < len(groups) else edges[-1] + 1
            span = sum(at <= edge < end for edge in edges)
            made += "<td></td>" * (edges.index(at) - done)
            made += (f'<td colspan="{span}">' if span > 1 else "<td>") + (
                " ".join(parts) + "</td>")
            done = edges.index(at) + span
        return made

    def cell(self, text):
        """One column of a line: a formula as a whole, or words with formulas."""
        if COMMAND.match(text):
            return f'<code class="command">{html.escape(text)}</code>'
        parts = split(text, weak=True, display=True)
        if any(isinstance(part, str) and re.search(r"\w", part) for part in parts):
            parts = split(text, display=True)
        return self.parts(parts)

    def inline(self, text):
        return self.parts(split(text))

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
            return html.escape(part.plain)

    def words(self, text):
        """Plain words; names of code in a code's letters, and linked where they lead."""
        text = re.sub(r" {2,}", "\u2003", text)
        made, done = "", 0
        for match in WORD.finditer(text):
            kind, word = next((i, group) for i, group in enumerate(match.groups()) if group)
            target = self.link(("code", "file", "claim", "dotted", "name")[kind], word)
            shown = html.escape(match[0] if kind else word)
            shown = shown if kind == 2 else f"<code>{shown}</code>"
            if kind == 3 and not target:
                shown = html.escape(match[0])
            if target:
                shown = f'<a href="{html.escape(target)}">{shown}</a>'
            made += html.escape(text[done:match.start()]) + shown
            done = match.end()
        return made + html.escape(text[done:])


def _parses(text):
    """Whether a text is Python, and not pseudo-code with equations."""
    try:
        ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return False
    return True


def _cells(line):
    """(column, text) of the parts of a line between two spaces or more."""
    return [(match.start(), match[0]) for match in re.finditer(r"\S+(?: \S+)*", line)]


def _split_at(row, starts):
    """Cells split where another line's relation begins and this line has one too."""
    made = []
    for at, text in row:
        for column in sorted(starts):
            inside = column - at
            if 0 < inside < len(text) and text[inside - 1] == " " and (
                    text[inside:].split(" ")[0] in ("=", "<=", ">=", "<-")):
                made.append((at, text[:inside].rstrip()))
                at, text = column, text[inside:]
        made.append((at, text))
    return made
