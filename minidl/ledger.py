"""Which code made a number: a hash of the script and of what it uses of the project.

    results.json, and what is kept of it in results/, holds   "code": {file: hash, ...}

Of the script all counts; of another file the functions, classes and constants that are used,
and what those use. Comments, docstrings and blank lines do not count: better words need no new
run. Left out are files that only show, store or tell, or that read data which are known by
their content: no number depends on them, except that cli.py counts numbers below 1e-38 as 0
(by which four scripts' results did not change in any digit). Checked in tests/test_ledger.py.
"""

import ast
import functools
import hashlib
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_NUMBER = {f"minidl/{name}.py" for name in (
    "cli", "checkpoint", "files", "glyphs", "idx", "layers", "ledger", "plot", "progress",
    "ranks", "results", "run", "sources", "style")} | {"data_download.py"}
THROUGH_RUN = {"load": ("minidl/data.py", "load"),
               "load_reviews": ("minidl/reviews.py", "load")}


def code_of(script, root=ROOT):
    """{file: hash} of what assignments/<script>.py uses; {} where there is no such script."""
    used, modules, waiting = {}, {}, [(f"assignments/{script}.py", None)]
    while waiting:
        name, part = waiting.pop()  # part: a name in the file, None for all of it
        if name in NO_NUMBER or part in used.get(name, ()) or not Path(root, name).is_file():
            continue
        used.setdefault(name, set()).add(part)
        if name not in modules:
            modules[name] = _module(Path(root, name).read_text(encoding="utf-8"), root)
        waiting += modules[name].uses(part)
        waiting += [(name, other) for other in modules[name].defined_with(part)]
    return {name: modules[name].hash(parts) for name, parts in sorted(used.items())}


class Module:
    """A file's text by its top-level statements."""

    def __init__(self, text, root):
        self.root, self.lines = root, bare(text)
        self.definitions, self.imported = {}, {}  # name -> statement; -> (file, name or None)
        self.body = ast.parse(text).body
        for statement in self.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imported |= dict(self._imports(statement))
            else:
                for name in _bound(statement):
                    self.definitions[name] = statement

    def defined_with(self, part):
        """Names of this file that the definition of `part` mentions."""
        if part is None or part not in self.definitions:
            return []
        mentioned = {node.id for node in ast.walk(self.definitions[part])
                     if isinstance(node, ast.Name)}
        return mentioned & self.definitions.keys()

    def uses(self, part):
        """Yield (file, name) of what `part`, or all of the file, takes from other files."""
        whole = part is None or part not in self.definitions
        for tree in self.body if whole else [self.definitions[part]]:
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.value.id == "run" and node.attr in THROUGH_RUN:
                        yield THROUGH_RUN[node.attr]
                    file, name = self.imported.get(node.value.id, (None, None))
                    if file and name is None:
                        yield file, node.attr
                elif isinstance(node, ast.Name):
                    file, name = self.imported.get(node.id, (None, None))
                    if file and name:
                        yield file, name

    def hash(self, parts):
        """Of the lines of these parts, or of all lines where one of them is None."""
        statements = [self.definitions[part] for part in parts if part in self.definitions]
        if None in parts:
            statements = self.body
        rows = sorted({row for statement in statements for row in range(
            min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list",
                                                               ()))]),
            statement.end_lineno + 1)})
        text = "\n".join(self.lines[row - 1] for row in rows if self.lines[row - 1])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _imports(self, statement):
        """Yield (name here, (file, name there or None for the file as a whole))."""
        for alias in statement.names:
            here = alias.asname or alias.name
            if isinstance(statement, ast.Import):
                yield here, (self._file(alias.name), None)
            elif file := self._file(f"{statement.module}.{alias.name}"):
                yield here, (file, None)
            else:
                yield here, (self._file(statement.module), alias.name)

    def _file(self, module):
        path = module.replace(".", "/") + ".py"
        return next((name for name in (path, f"assignments/{path}")
                     if Path(self.root, name).is_file()), None)


_module = functools.cache(Module)  # one text is read once for all scripts


def _bound(statement):
    """The names that a statement at the top level gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [node.id for target in targets if target
            for node in ast.walk(target) if isinstance(node, ast.Name)]


def bare(text):
    """A file's lines, empty where there was a comment or a docstring alone."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)):
            lines[node.lineno - 1:node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return [line.rstrip() for line in lines]
