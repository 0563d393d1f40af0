"""What the pages need to know of the project: its files, names, claims, tags and results."""

import ast
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from minidl.publish import kept, readme, sheets
from minidl.publish.companion.colours import references
from minidl.publish.companion.rows import definitions

FOLDERS = {"assignments": "Scripts", "theory": "Theory", "minidl": "The library",
           "minidl/companion": "This companion", "tests": "Tests"}


@dataclass(frozen=True)
class Source:
    """A source file: its path in the project, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self):
        return ast.parse(self.text)

    @cached_property
    def names(self):
        """name -> syntax tree of what it defines."""
        return dict(definitions(self.tree))

    @cached_property
    def title(self):
        """The first paragraph of its docstring, in a line."""
        text = (ast.get_docstring(self.tree) or "").split("\n\n")[0]
        return " ".join(text.split("\n")[0].split())

    @property
    def page(self):
        return self.path.removesuffix(".py") + ".html"

    @property
    def stem(self):
        return Path(self.path).stem

    @property
    def folder(self):
        return self.path.rpartition("/")[0]

    @property
    def module(self):
        """As an import writes it."""
        name = self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return name if name.startswith("minidl") else name.rpartition(".")[2]


@dataclass(frozen=True)
class Result:
    """What the last run of a script left: results.json, and the folder of its figures."""

    file: Path
    content: dict
    figures: dict   # name -> Path
    older: list     # files that changed since

    @property
    def own(self):
        """Whether it was run here, and is not the one kept in the repository."""
        return self.file.name == "results.json"

    @property
    def command(self):
        return kept.command(self.content)


class Project:
    def __init__(self, root, outputs):
        self.root, self.outputs = Path(root), Path(outputs)
        paths = [*self.root.glob("*.py"), *(path for folder in FOLDERS for path in (
            self.root / folder).glob("*.py"))]
        self.sources = [Source(str(path.relative_to(self.root)), path.read_text("utf-8"))
                        for path in sorted(paths) if path.stat().st_size]
        self.by_path = {source.path: source for source in self.sources}
        self.by_module = {source.module: source for source in self.sources}

    @cached_property
    def unique(self):
        """file name -> source, where only one has it."""
        names = [Path(path).name for path in self.by_path]
        return {Path(source.path).name: source for source in self.sources
                if names.count(Path(source.path).name) == 1}

    @cached_property
    def references(self):
        """path -> {(line, column): (source, name or "")} of what it uses of the project."""
        found = {}
        for source in self.sources:
            found[source.path] = {}
            for place, (module, name) in references(source.tree, self.by_module).items():
                target = self.by_module[module] if module else source
                if not name or name in target.names:
                    found[source.path][place] = target, name
        return found

    @cached_property
    def users(self):
        """(path, name) -> {source: names of the claims or functions there that use it}."""
        users = {}
        for source in self.sources:
            spans = sorted((node.lineno, node.end_lineno, name)
                           for name, node in source.names.items() if "." not in name)
            for (line, _), (target, name) in self.references[source.path].items():
                if target is not source and name:
                    inside = [n for start, end, n in spans if start <= line <= end]
                    users.setdefault((target.path, name), {}).setdefault(
                        source, {}).update(dict.fromkeys(inside))
        return users

    @cached_property
    def claims(self):
        """number -> (source, test function) of theory's claims."""
        found = {}
        for source in self.sources:
            for name, node in source.names.items():
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "claim":
                        found[mark.args[0].value] = source, name
        return found

    @cached_property
    def tags(self):
        """item -> [(source, line)]."""
        found = {}
        for source in self.sources:
            for line, item in sheets.tags(self.root / source.path):
                found.setdefault(item, []).append((source, line))
        return found

    @cached_property
    def shows(self):
        """path -> what the README's table says that the script shows."""
        return {f"assignments/{row.script}.py": row.words for row in readme.ROWS if row.script}

    def result(self, source):
        """The last run of a script, else the result kept in the repository, else None. A run
        of --quick, which tells nothing, is shown only where nothing is kept."""
        if source.folder != "assignments":
            return None
        found = [self._read(source, file) for file in (
            self.outputs / source.stem / "results.json",
            self.root / "results" / f"{source.stem}_full.json",
            self.root / "results" / f"{source.stem}.json") if file.exists()]
        return min(found, key=lambda r: r.content["size"] == "quick", default=None)

    def _read(self, source, file):
        own = file.name == "results.json"
        pictures = file.parent.glob("*.png" if own else f"{source.stem}_*.png")
        names = {picture.stem.removeprefix("" if own else f"{source.stem}_"): picture
                 for picture in sorted(pictures)}
        content = json.loads(file.read_text("utf-8"))
        return Result(file, content, names, kept.older(content, self.root))
