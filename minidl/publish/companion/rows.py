"""A source file in rows: the prose on the left, the code that it speaks of on the right.

Prose are docstrings and comments that have a line of their own; all other lines are code. Each
line of the file stands in one row, on one side, and the lines in order are the file again:
tests/test_companion.py puts all files of the project together from their rows.
"""

import ast
import io
import tokenize
from dataclasses import dataclass, field

DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@dataclass
class Row:
    name: str = ""               # of the function or class that begins here, else ""
    prose: list = field(default_factory=list)    # line numbers
    code: list = field(default_factory=list)
    docstring: tuple = ()        # the first and the last line of a docstring in its prose

    def code_lines(self, lines):
        """Its lines of code that are not blank."""
        return [line for line in self.code if lines[line - 1].strip()]


def rows(text):
    """The rows of a source file, in order.

    One begins with each definition, behind each, and with each comment; comments right above a
    definition belong to it.
    """
    tree, lines = ast.parse(text), text.splitlines()
    comments, docstrings = comment_lines(text), _docstrings(tree)
    starts, ends = {}, set()
    for name, node in definitions(tree):
        starts[min([node.lineno, *(mark.lineno for mark in node.decorator_list)])] = name
        ends.add(node.end_lineno)
    found, line = [Row()], 1
    while line <= len(lines):
        row = found[-1]
        if line in docstrings:
            row.docstring = line, docstrings[line]
            row.prose += range(line, docstrings[line] + 1)
            line = docstrings[line] + 1
            continue
        code = row.code_lines(lines)
        above = bool(row.prose) and not row.code and not row.docstring     # comments only
        first = bool(row.docstring) and not row.name and not code     # the file's docstring
        if line in comments or line in starts:
            new = not above
        else:
            ended = bool(code) and code[-1] in ends
            new = bool(lines[line - 1].strip()) and (first or ended)
        if new and (row.prose or row.code):
            found.append(row := Row())
        row.name = starts.get(line, row.name)
        (row.prose if line in comments else row.code).append(line)
        line += 1
    return found


def definitions(tree, prefix=""):
    """(name, node) of each function and class, and of a class's methods as class.method."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{node.name}.")


def comment_lines(text):
    """The numbers of the lines that hold a comment and nothing else."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT
            and not token.line[:token.start[1]].strip()}


def _docstrings(tree):
    """first line -> last line of the docstring of the file and of each definition."""
    nodes = [tree, *(node for _, node in definitions(tree))]
    strings = [node.body[0] for node in nodes if node.body and ast.get_docstring(node, False)]
    return {string.lineno: string.end_lineno for string in strings}
