"""The project without some answers: `python -m minidl.publish.handout --out DIR PLACE ...`.

A PLACE is a file (minidl/pca.py: all of its functions) or a function or class in it
(minidl/conv.py:conv2d). In the copy its body is `raise NotImplementedError`; name, arguments
and docstring, which state the task, stay. Nothing else changes, so the copy's tests fail where
something is missing and pass when a student has found it. A folder (theory) is left out as a
whole. Checked in tests/test_handout.py.
"""

import argparse
import ast
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = {".git", "__pycache__", ".pytest_cache", ".ruff_cache", "venv", ".venv"}
OF_USERS = {"outputs", "data"}  # at the top: minidl/data is code
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class HandoutError(Exception):
    """A place that is not there: one sentence."""


def blanked(text, name=None):
    """A file's text with the bodies of all its functions, or of what `name` is, taken out."""
    tree, lines = ast.parse(text), text.splitlines(keepends=True)
    chosen = [node for node in tree.body if isinstance(node, FUNCTIONS | ast.ClassDef)
              and name in (None, node.name)]
    if not chosen:
        raise HandoutError(f"found no {name or 'function'} at the top level, expected one of "
                           f"{', '.join(n.name for n in tree.body if hasattr(n, 'name'))}")
    functions = [inner for node in chosen for inner in (
        [node] if isinstance(node, FUNCTIONS) else node.body) if isinstance(inner, FUNCTIONS)]
    for function in reversed(functions):  # from the end, so that line numbers stay right
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        if body:
            first, last = body[0], body[-1]
            before = lines[first.lineno - 1][:first.col_offset]  # spaces, or a `def` in a line
            lines[first.lineno - 1:last.end_lineno] = [f"{before}raise NotImplementedError\n"]
    return "".join(lines)


def write(root, places, out):
    """Copy the project at `root` to `out` without the answers at the places."""
    root, changes, left_out = Path(root).resolve(), {}, []
    for place in places:
        file, _, name = place.partition(":")
        path = Path(root, file).resolve()
        if root not in path.parents:
            raise HandoutError(f"{place}: is not inside {root}, expected a place in it")
        file = path.relative_to(root).as_posix()
        if path.is_dir():
            left_out.append(file)
        elif path.is_file():
            try:
                text = changes.get(file) or path.read_text("utf-8")
                changes[file] = blanked(text, name or None)
            except (HandoutError, SyntaxError) as error:
                raise HandoutError(f"{place}: {error}") from None
        else:
            raise HandoutError(f"{place}: found no such file or folder in {root}")
    if root in Path(out).resolve().parents:
        raise HandoutError(f"--out {out}: is inside {root}, expected a folder beside it")
    shutil.copytree(root, out, ignore=lambda folder, names: {
        name for name in names
        if name in NOT_COPIED or (Path(folder) == root and name in OF_USERS)})
    for file in left_out:
        shutil.rmtree(Path(out, file))
    for file, text in changes.items():
        if Path(out, file).is_file():  # not in a folder that is left out
            Path(out, file).write_text(text, "utf-8")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m minidl.publish.handout",
                                     description=__doc__.partition("\n\n")[0])
    parser.add_argument("places", nargs="+", metavar="PLACE",
                        help="FILE, FILE:FUNCTION or FOLDER, as from the project's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    flags = parser.parse_args(argv)
    if flags.out.exists():
        parser.exit(2, f"--out {flags.out}: is there already, expected a new folder\n")
    try:
        write(ROOT, flags.places, flags.out)
    except HandoutError as error:
        parser.exit(2, f"{error}\n")
    print(f"{flags.out}: the project without {', '.join(flags.places)}")


if __name__ == "__main__":
    sys.exit(main())
