"""Python in colours, line by line, and each name linked to where it is defined."""

import ast
import io
import itertools
import keyword
import tokenize
from html import escape


def coloured(text, links=None):
    """The lines of a source as HTML; links: (line, column) of a name -> where it leads."""
    lines = text.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]
    made, done, before = "", 0, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind, target = _kind(token, before), (links or {}).get(token.start)
        if (kind or target) and token.string:   # a dedent is empty, at a name's place
            start, end = (starts[line - 1] + at for line, at in (token.start, token.end))
            parts = text[start:end].split("\n")     # a string's lines, each for itself
            made += escape(text[done:start], quote=False)
            made += "\n".join(_shown(part, kind, target) for part in parts)
            done = end
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            before = token.string
    return (made + escape(text[done:], quote=False)).split("\n")


def _shown(text, kind, target):
    shown = escape(text, quote=False)
    shown = f'<i class="{kind}">{shown}</i>' if kind else shown
    return f'<a href="{escape(target)}">{shown}</a>' if target else shown


def _kind(token, before):
    """The class of a token: k keyword, s string, c comment, n number, d definition."""
    name = tokenize.tok_name[token.type]
    if name in ("COMMENT", "NUMBER"):
        return name[0].lower()
    if name == "STRING" or name.startswith("FSTRING"):
        return "s"
    if name == "NAME" and keyword.iskeyword(token.string):
        return "k"
    return "d" if before in ("def", "class") else ""


def references(tree, modules):
    """What a file uses of the project: (line, column) -> (module, name or "").

    modules: the names of all modules of the project, as an import writes them. A name that a
    function binds itself is its own, and no reference.
    """
    bound = _imports(tree, modules)
    own = {node.name: ("", node.name) for node in tree.body
           if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    found = {}

    def visit(node, hidden):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            hidden = hidden | _bound(node)
        if isinstance(node, ast.Name) and node.id not in hidden:
            target = bound.get(node.id) or own.get(node.id)
            if target and isinstance(node.ctx, ast.Load):
                found[node.lineno, node.col_offset] = target
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = bound.get(node.value.id, ("", "-"))
            if not name and node.value.id not in hidden:
                at = node.end_lineno, node.end_col_offset - len(node.attr)
                found[at] = module, node.attr
        for child in ast.iter_child_nodes(node):
            visit(child, hidden)

    visit(tree, frozenset())
    return found


def _imports(tree, modules):
    """name -> (module, name in it or "") of all that a file imports from the project."""
    bound = {}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        outer = getattr(node, "module", None) or ""
        for alias in node.names:
            whole = f"{outer}.{alias.name}".lstrip(".")
            if whole in modules:
                bound[alias.asname or alias.name] = whole, ""
            elif outer in modules:
                bound[alias.asname or alias.name] = outer, alias.name
    return bound


def _bound(function):
    """The names that a function binds: its parameters, and what it assigns."""
    names = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    return names | {node.id for node in ast.walk(function)
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
