r"""mathtext into SVG that follows the page's colour; each glyph's outline once a page.

A formula is a few <use> of symbols that `Glyphs.definitions` holds, in units of 1/1000 em. Its
height and depth are those of matplotlib's layout, so that it stands on the line of the text.
"""

import functools
import html
import itertools
import re

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}    # matplotlib.path.Path's codes
PATHS = TextToPath()
SCALE = 1000 / PATHS.FONT_SCALE     # to 1/1000 em
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
    width, height, depth = (round(SCALE * length) for length in size)
    placed = [(name, round(SCALE * x), round(-SCALE * y), size) for name, x, y, size in glyphs]
    lines = [(round(SCALE * x0), round(-SCALE * y1), round(SCALE * (x1 - x0)),
              max(round(SCALE * (y1 - y0)), 40))
             for ((x0, y0), _, (x1, y1), *_), _ in rules]
    return width, height, depth, placed, lines


@functools.cache
def outline(name):
    """A glyph's SVG commands."""
    made, (points, codes) = "", KNOWN[name]
    for code, group in itertools.groupby(zip(points, codes, strict=True), lambda p: p[1]):
        made += COMMANDS[code]
        if COMMANDS[code] != "Z":
            made += " ".join(f"{round(SCALE * x)} {round(-SCALE * y)}" for (x, y), _ in group)
    return made.replace(" -", "-")


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
        return (f'<svg class="f" role="img" viewBox="0 {depth - height} {width} {height}" '
                f'style="width:{width / 1000:.3f}em;height:{height / 1000:.3f}em;'
                f'vertical-align:{-depth / 1000:.3f}em"><title>{html.escape(plain)}</title>'
                + "".join(parts) + "</svg>")

    def definitions(self):
        """The outlines of all glyphs that the page has used so far."""
        paths = "".join(f'<path id="g{number}" d="{outline(name)}"/>'
                        for name, number in self.numbers.items())
        return f'<svg class="glyphs" aria-hidden="true"><defs>{paths}</defs></svg>'
