"""What all pages share: the frame around them, links between them, how a file is written."""

import os
from html import escape
from pathlib import Path

from minidl.files import whole_file


def put(path, content):
    """Write a file's bytes, in folders that are made where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside:
        beside.write_bytes(content)


def relative(page, target):
    """The link from one page of the site to another."""
    path, mark, anchor = target.partition("#")
    if path == page or not path:
        return mark + anchor or Path(page).name
    return os.path.relpath(path, Path(page).parent) + mark + anchor


def frame(page, title, body, top=""):
    """A whole page."""
    style, script, entries, index = (relative(page, name) for name in (
        "style.css", "script.js", "search.js", "index.html"))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="{style}">
<script src="{entries}"></script><script src="{script}"></script></head><body>
<a class="skip" href="#text">Skip to the text</a>
<header class="top">
<nav aria-label="Pages"><a class="home" href="{index}">minidl</a> {top}</nav>
<search><input id="search" type="search" placeholder="Search"
 aria-label="Search titles, claims and items" aria-controls="found" autocomplete="off"
 data-index="{index}"><ul id="found" hidden></ul></search>
</header>
<main id="text" tabindex="-1">
{body}
</main></body></html>
"""
