"""The first page: what a sheet asks and which files answer it; all files."""

import json
from html import escape

from minidl.publish import sheets
from minidl.publish.companion.frame import frame
from minidl.publish.companion.project import FOLDERS


def index(project):
    """The first page: sheet, item, files; then all files."""
    parts = ["<h1>minidl, side by side</h1>",
             "<p>Each file's prose beside its code, with the proofs and the numbers of the "
             "last run.</p>"]
    for sheet, title in sheets.SHEETS.items():
        lines = "".join(_item(project, item, words)
                        for item, words in sheets.ITEMS.items() if item.startswith(sheet))
        parts.append(f'<h2>{escape(title)}</h2><table class="items">{lines}</table>')
    for folder, title in {"": "The project", **FOLDERS}.items():
        lines = "".join(f'<li><a href="{s.page}"><code>{escape(s.stem)}</code></a> '
                        f"{escape(s.title)}</li>"
                        for s in project.sources if s.folder == folder)
        if lines:
            parts.append(f'<h2>{escape(title)}</h2><ul class="files">{lines}</ul>')
    return frame("index.html", "minidl: the reading companion", "".join(parts))


def entries(project):
    """search.js: [words, page] of every file, claim and item of a sheet."""
    found = [[f"{s.stem}: {s.title}", s.page] for s in project.sources]
    found += [[f"claim {number}: {name.removeprefix('test_').replace('_', ' ')}",
               f"{source.page}#{name}"]
              for number, (source, name) in sorted(project.claims.items())]
    found += [[f"{item}: {words}", f"index.html#{item}"]
              for item, words in sheets.ITEMS.items()]
    return f"const ENTRIES = {json.dumps(found, indent=0)};\n"


def _item(project, item, words):
    """A row of the table: the files, each with the line of its first tag."""
    answers = dict(reversed(project.tags.get(item, [])))
    cells = [f'<a href="{source.page}#L{line}"><code>{escape(source.stem)}</code></a>'
             for source, line in reversed(answers.items())]
    return (f'<tr id="{item}"><th>{item}</th><td>{escape(words)}</td>'
            f'<td>{"<br>".join(cells)}</td></tr>')
