"""What the pages need to know about the project: files, names, claims, tags, results."""

import ast
from pathlib import Path
from typing import NamedTuple

from minidl.lab import results
from minidl.publish import kept, sheets
from minidl.publish.companion.colours import references
from minidl.publish.companion.prose import title_of
from minidl.publish.companion.rows import definitions

FOLDERS = {"assignments": "Scripts", "theory": "Theory",
           "theory/appendix": "Theory, beyond the sheets", "minidl": "The formulas",
           "minidl/data": "Data", "minidl/lab": "Running a script",
           "minidl/publish": "Pages and reports",
           "minidl/publish/companion": "This companion", "tests": "Tests"}


def _place(path):
    """The order of reading: as the sheets ask, then what no sheet asks, by name."""
    items, own = list(sheets.ITEMS), [item for _, item in sheets.tags(path)]
    return min(map(items.index, own), default=len(items)), path.name


class Source:
    """A source file: its path in the project, its text, and what they say."""

    def __init__(self, path, text):
        self.path, self.text, self.tree = path, text, ast.parse(text)
        self.folder, _, name = path.rpartition("/")
        self.stem = name.removesuffix(".py")
        self.page = path.removesuffix(".py") + ".html"
        dotted = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.module = dotted if dotted.startswith("minidl") else self.stem  # in an import
        self.title = title_of(ast.get_docstring(self.tree) or "")[0]
        self.names = dict(definitions(self.tree))   # name -> syntax tree of what it defines


class Result(NamedTuple):
    """What the last run of a script left: results.json, and the folder of its figures."""

    file: Path
    content: dict
    figures: dict   # name -> Path
    older: str      # the files that changed since, in words
    own: bool       # run here, and not the one kept in the repository


class Project:
    def __init__(self, root, outputs):
        self.root, self.outputs = Path(root), Path(outputs)
        paths = [path for folder in ("", *FOLDERS) for path in sorted(
            (self.root / folder).glob("*.py"), key=_place) if path.stat().st_size]
        self.sources = [Source(path.relative_to(self.root).as_posix(), path.read_text("utf-8"))
                        for path in paths]
        names = [path.name for path in paths]
        self.by_path = {name: source for name, source in zip(names, self.sources, strict=True)
                        if names.count(name) == 1}      # a name does where only one has it
        self.by_path |= {source.path: source for source in self.sources}
        self.by_module = {source.module: source for source in self.sources}
        # number -> (source, test function) of theory's claims
        self.claims = {mark.args[0].value: (source, name) for source in self.sources
                       for name, node in source.names.items() for mark in node.decorator_list
                       if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "claim"}
        self.tags = {}      # item -> [(source, line)]
        for source in self.sources:
            for line, item in sheets.tags(self.root / source.path):
                self.tags.setdefault(item, []).append((source, line))
        self.references = {source.path: self._references(source) for source in self.sources}
        self.users = self._users()

    def _references(self, source):
        """{(line, column): (source, name or "")} of what a file uses of the project."""
        used = {place: (self.by_module[module] if module else source, name) for place, (
            module, name) in references(source.tree, self.by_module).items()}
        return {place: (target, name) for place, (target, name) in used.items()
                if not name or name in target.names}

    def _users(self):
        """(path, name) -> {source: names of the claims or functions there that use it}."""
        users = {}
        for source in self.sources:
            for (line, _), (target, name) in self.references[source.path].items():
                if target is not source and name:
                    inside = [n for n, node in source.names.items() if "." not in n
                              and node.lineno <= line <= node.end_lineno]
                    users.setdefault((target.path, name), {}).setdefault(
                        source, {}).update(dict.fromkeys(inside))
        return users

    def result(self, source):
        """The last run of a script, else the result kept in the repository, else None. A run
        of --quick, which tells nothing, is shown only where nothing is kept."""
        files = (self.outputs / source.stem / "results.json",
                 self.root / "results" / f"{source.stem}_full.json",
                 self.root / "results" / f"{source.stem}.json")
        found = [self._read(source, file) for file in files
                 if source.folder == "assignments" and file.exists()]
        return min(found, key=lambda r: r.content["size"] == "quick", default=None)

    def _read(self, source, file):
        own = file.name == "results.json"
        before = "" if own else f"{source.stem}_"
        pictures = {picture.stem.removeprefix(before): picture
                    for picture in sorted(file.parent.glob(f"{before}*.png"))}
        content = results.read(file)
        return Result(file, content, pictures, kept.age(content, self.root), own)
