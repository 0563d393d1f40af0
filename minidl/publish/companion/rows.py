"""A source file in rows: the prose on the left, the code that it explains on the right.

Prose is docstrings, and comments on lines of their own; all other lines are code. Each line of
the file is in one row, on one side. The lines in order are the file again:
tests/test_companion.py checks this for all files of the project.
"""

import ast
import io
import tokenize
from dataclasses import dataclass, field


@dataclass
class Row:
    name: str = ""               # of the function or class that begins here, else ""
    prose: list = field(default_factory=list)    # line numbers
    code: list = field(default_factory=list)
    docstring: range = range(0)  # its lines in the prose
    words: str = ""              # the docstring, without its indentation

    def code_lines(self, lines):
        """Its lines of code that are not blank."""
        return [line for line in self.code if lines[line - 1].strip()]


def rows(text):
    """The rows of a source file, in order.

    One begins with each definition, behind each, and with each comment; comments right above a
    definition belong to it.
    """
    tree, lines = ast.parse(text), text.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT
                and not token.line[:token.start[1]].strip()}    # and nothing else
    docstrings, starts, ends = _docstrings(tree), {}, set()
    for name, node in definitions(tree):
        starts[min([node.lineno, *(mark.lineno for mark in node.decorator_list)])] = name
        ends.add(node.end_lineno)
    found, line = [Row()], 1
    while line <= len(lines):
        row = found[-1]
        if line in docstrings:
            row.docstring, row.words = docstrings[line]
            row.prose += row.docstring
            line = row.docstring.stop
            continue
        code = row.code_lines(lines)
        if line in comments or line in starts:
            new = not row.prose or row.code or row.docstring    # else a comment above it
        else:
            first = row.docstring and not row.name and not code     # the file's docstring
            new = lines[line - 1].strip() and (first or (code and code[-1] in ends))
        if new and (row.prose or row.code):
            found.append(row := Row())
        row.name = starts.get(line, row.name)
        (row.prose if line in comments else row.code).append(line)
        line += 1
    return found


def definitions(tree, prefix=""):
    """(name, node) of each function and class, and of a class's methods as class.method."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{node.name}.")


def _docstrings(tree):
    """first line -> (lines, words) of the docstring of the file and of each definition."""
    nodes = [tree, *(node for _, node in definitions(tree))]
    first = {node.body[0]: ast.get_docstring(node) for node in nodes if node.body}
    return {string.lineno: (range(string.lineno, string.end_lineno + 1), words)
            for string, words in first.items() if words is not None}
