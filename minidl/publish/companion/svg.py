r"""mathtext into SVG that follows the page's colour; each glyph's outline once a page.

A formula is a few <use> of symbols that `Glyphs.definitions` holds, in units of 1/1000 em, and
as tall and deep as matplotlib's layout says, so that it stands on the line of the text.
"""

import functools
import html
import re

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

EM = 1000
COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}    # matplotlib.path.Path's codes
POINTS = {1: 1, 2: 1, 3: 2, 4: 3, 79: 1}
PATHS = TextToPath()
KNOWN = {"": None}      # glyph -> its outline, of all formulas so far; empty it would be left


@functools.cache
def layout(mathtext):
    """(width, height, depth, glyphs, rules) of a formula in em/1000, y downwards.

    ValueError for what mathtext cannot read.
    """
    text = "$" + re.sub(r"([_^]){(.)}", r"\1\2", mathtext) + "$"  # each brace takes time
    font = FontProperties(size=PATHS.FONT_SCALE, math_fontfamily="stix")
    size = PATHS.get_text_width_height_descent(text, font, ismath=True)
    glyphs, _, rules = PATHS.get_glyphs_mathtext(font, text, KNOWN)
    scale = EM / PATHS.FONT_SCALE
    width, height, depth = (round(scale * length) for length in size)
    placed = [(name, round(scale * x), round(-scale * y), size) for name, x, y, size in glyphs]
    lines = [(round(scale * x0), round(-scale * y1), round(scale * (x1 - x0)),
              max(round(scale * (y1 - y0)), 40))
             for ((x0, y0), _, (x1, y1), *_), _ in rules]
    return width, height, depth, placed, lines


@functools.cache
def outline(name):
    """A glyph's SVG commands, relative, so that the numbers are short."""
    text, at, i, scale = "", (0, 0), 0, EM / PATHS.FONT_SCALE
    points, codes = KNOWN[name]
    points = [(round(scale * x), round(-scale * y)) for x, y in points]
    while i < len(codes):
        command, n = COMMANDS[codes[i]], POINTS[codes[i]]
        if command == "Z":
            text += "z"
        else:
            numbers = [z - origin for point in points[i:i + n]
                       for z, origin in zip(point, at, strict=True)]
            text += command.lower() + " ".join(map(str, numbers)).replace(" -", "-")
            at = points[i + n - 1]
            if command == "M":
                start = at
        if command == "Z":
            at = start
        i += n
    return text


class Glyphs:
    """The formulas of one page."""

    def __init__(self):
        self.numbers = {}    # glyph -> its number on the page

    def draw(self, mathtext, plain):
        """A formula as SVG, whose title is the plain text; ValueError where it has none."""
        width, height, depth, glyphs, lines = layout(mathtext)
        parts = []
        for name, x, y, size in glyphs:
            if not outline(name):
                continue    # a space
            number = self.numbers.setdefault(name, len(self.numbers))
            where = f'x="{x}" y="{y}"' if size == 1 else (
                f'transform="translate({x},{y})scale({size:.3g})"')
            parts.append(f'<use href="#g{number}" {where}/>')
        parts += [f'<path d="M{x} {y}h{w}v{h}h-{w}z"/>' for x, y, w, h in lines]
        above = height - depth
        return (f'<svg class="f" role="img" viewBox="0 {-above} {width} {height}" '
                f'style="width:{width / EM:.3f}em;height:{height / EM:.3f}em;'
                f'vertical-align:{-depth / EM:.3f}em"><title>{html.escape(plain)}</title>'
                + "".join(parts) + "</svg>")

    def definitions(self):
        """The outlines of all glyphs that the page has used so far."""
        paths = "".join(f'<path id="g{number}" d="{outline(name)}"/>'
                        for name, number in self.numbers.items())
        return f'<svg class="glyphs" aria-hidden="true"><defs>{paths}</defs></svg>'
