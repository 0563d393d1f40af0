"""What all pages share: the frame around them, links between them, numbers."""

import os
from html import escape
from pathlib import Path


def relative(page, target):
    """The link from one page of the site to another."""
    path, mark, anchor = target.partition("#")
    if path == page or not path:
        return mark + anchor
    return os.path.relpath(path, Path(page).parent) + mark + anchor


def frame(page, title, body, top="", aside=""):
    """A whole page."""
    def to(target):
        return relative(page, target)

    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="{to('style.css')}">
<script src="{to('script.js')}"></script>
</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<header class="top">
<nav aria-label="Pages"><a class="home" href="{to('index.html')}">minidl</a> {top}</nav>
<button id="theme" type="button" title="Light or dark (t)">Light or dark</button>
</header>
{aside}<main id="text" tabindex="-1">
{body}
</main>
</body>
</html>
"""


def numbers(content):
    """results.json's numbers as a table."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{value(entry['value'])}"
        + (f" &#177; {value(entry['std'])}" if "std" in entry else "")
        + f"</td><td>{escape(entry['unit'])}"
        + (f", n = {entry['n']:,}" if "n" in entry else "") + "</td></tr>"
        for name, entry in content.items())
    return f'<div class="eq"><table class="numbers">{lines}</table></div>'


def value(number):
    if isinstance(number, int) or number == int(number):
        return f"{int(number):,}"
    return f"{number:.4g}"
