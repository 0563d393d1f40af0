"""The first page: what a sheet asks, which files answer it, and their numbers; all files."""

import json
from html import escape

from minidl.publish import readme, sheets
from minidl.publish.companion.frame import frame
from minidl.publish.companion.project import FOLDERS


def index(project, results):
    """The first page: sheet, item, files, findings; then all files."""
    parts = ["<h1>minidl, side by side</h1>",
             "<p>Each file's prose beside its code, with the proofs and the numbers of the "
             "last run. The keys <kbd>j</kbd> and <kbd>k</kbd> go from section to section. "
             "The key <kbd>/</kbd> searches titles, claims and items.</p>"]
    first = {}
    for sheet, title in sheets.SHEETS.items():
        lines = "".join(_item(project, results, item, words, first)
                        for item, words in sheets.ITEMS.items() if item.startswith(sheet))
        parts.append(f'{_heading(title)}<table class="items">{lines}</table>')
    for folder, title in {"": "The project", **FOLDERS}.items():
        lines = "".join(f'<li><a href="{s.page}"><code>{escape(s.stem)}</code></a> '
                        f"{escape(s.title)}</li>"
                        for s in project.sources if s.folder == folder)
        parts.append(f'{_heading(title)}<ul class="files">{lines}</ul>' if lines else "")
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


def _heading(title):
    return f'<h2 data-stop tabindex="-1">{escape(title)}</h2>'


def _item(project, results, item, words, first):
    """A row of the table; first: script -> the item that has its numbers."""
    answers = dict(reversed(project.tags.get(item, [])))
    cells, found = [], ""
    for source, line in reversed(answers.items()):
        cells.append(f'<a href="{source.page}#L{line}"><code>{escape(source.stem)}</code></a>')
        if source.path in results:
            place = first.setdefault(source.path, item)
            found += headline(source, results[source.path]) if place == item else (
                f'<p>{escape(source.stem)}: see <a href="#{place}">{place}</a></p>')
    return (f'<tr id="{item}"><th>{item}</th><td>{escape(words)}</td>'
            f'<td>{"<br>".join(cells)}</td><td class="found">{found}</td></tr>')


def headline(source, result):
    """The numbers that a script's name stands for, as in the README, and of which run."""
    content = result.content
    lines = "".join(f"<tr><td>{escape(readme.number(name, content['numbers'][name]))}</td>"
                    f"<td>{escape(words)}</td></tr>"
                    for name, words in sheets.HEADLINES.get(source.stem, {}).items()
                    if name in content["numbers"])
    older = ", older than its code" if result.older else ""
    run = f"{source.stem}: {content['size']} size, {content['data']}{older}"
    return f"<table>{lines}</table><p>{escape(run)}</p>" if lines else ""
