"""Python in colours, line by line, and each name linked to where it is defined."""

import ast
import builtins
import html
import io
import keyword
import tokenize

SCOPES = (ast.FunctionDef, ast.Lambda)


def coloured(text, links=None):
    """The lines of a source as HTML; links: (line, column) of a name -> where it leads."""
    marks, links, before = {}, links or {}, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = _kind(token, before)
        target = links.get(token.start)
        if kind or target:
            for line, start, end in _lines(token):
                marks.setdefault(line, []).append((start, end, kind, target))
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            before = token.string
    return [_line(line, marks.get(number, [])) for number, line in enumerate(
        text.splitlines(), 1)]


def _kind(token, before):
    """The class of a token: k keyword, s string, c comment, n number, d definition,
    b builtin, t decorator."""
    if token.type == tokenize.COMMENT:
        return "c"
    if token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING"):
        return "s"
    if token.type == tokenize.NUMBER:
        return "n"
    if token.type == tokenize.OP and token.string == "@" and not token.line[
            :token.start[1]].strip():
        return "t"
    if token.type == tokenize.NAME:
        if keyword.iskeyword(token.string):
            return "k"
        if before in ("def", "class"):
            return "d"
        if before == "@":
            return "t"
        if before != "." and hasattr(builtins, token.string):
            return "b"
    return ""


def _lines(token):
    """(line, start, end) for each line that a token stands on."""
    (first, start), (last, end) = token.start, token.end
    for line in range(first, last + 1):
        yield line, start if line == first else 0, end if line == last else None


def _line(text, marks):
    made, done = "", 0
    for start, end, kind, target in marks:
        end = len(text) if end is None else end
        shown = html.escape(text[start:end], quote=False)
        if kind:
            shown = f'<i class="{kind}">{shown}</i>'
        if target:
            shown = f'<a href="{html.escape(target)}">{shown}</a>'
        made += html.escape(text[done:start], quote=False) + shown
        done = end
    return made + html.escape(text[done:], quote=False)


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
        if isinstance(node, SCOPES):
            hidden = hidden | _bound(node)
        if isinstance(node, ast.Name) and node.id not in hidden:
            target = bound.get(node.id) or own.get(node.id)
            if target and isinstance(node.ctx, ast.Load):
                found[node.lineno, node.col_offset] = target
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (
                node.value.id not in hidden and bound.get(node.value.id, ("", "-"))[1] == ""):
            found[node.end_lineno, node.end_col_offset - len(node.attr)] = (
                bound[node.value.id][0], node.attr)
        for child in ast.iter_child_nodes(node):
            visit(child, hidden)

    visit(tree, frozenset())
    return found


def _imports(tree, modules):
    """name -> (module, name in it or "") of all that a file imports from the project."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules:
                    bound[alias.asname or alias.name] = (alias.name, "")
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    bound[alias.asname or alias.name] = (inner, "")
                elif node.module in modules:
                    bound[alias.asname or alias.name] = (node.module, alias.name)
    return bound


def _bound(function):
    """The names that a function binds: its parameters, and what it assigns."""
    parts = function.args
    names = {arg.arg for arg in [*parts.posonlyargs, *parts.args, *parts.kwonlyargs,
                                 parts.vararg, parts.kwarg] if arg}
    stored = {node.id for node in ast.walk(function)
              if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return frozenset(names | stored)
