"""The project without some answers: `python -m minidl.publish.handout --out DIR PLACE ...`.

A PLACE is a file (minidl/pca.py: all of its functions) or a function or class in it
(minidl/conv.py:conv2d). In the copy its body is `raise NotImplementedError`. Its name,
arguments and docstring stay, since they state the task. The copy's tests fail where something
is missing, and pass when a student has written it. Of a written proof (theory/test_lti.py)
only the question stays. A folder (theory) is left out, except for the template of answers;
so are the tests that import from it and the links to it. Checked in tests/test_handout.py.
"""

import argparse
import ast
import re
import shutil
import sys
from pathlib import Path

from data_download import replace_unprintable
from minidl import UserError
from minidl.lab import cli, stamp
from minidl.publish.companion.rows import definitions

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = {".git", "__pycache__", ".pytest_cache", ".ruff_cache", "venv", ".venv"}
OF_USERS = {"outputs", "data"}  # at the top: minidl/data is code
TEMPLATE = Path("theory/answers.py")  # asks, and answers nothing: it stays
LINK = re.compile(r"\[([^]]+)\]\(([^)#:]+)(?:#[^)]*)?\)")  # [text](file#part), no URL


class HandoutError(UserError):
    """A place that does not exist: one sentence."""


def blanked(text, name=None):
    """A file's text without the bodies of all its functions, or of the one called `name`."""
    lines, found = text.splitlines(keepends=True), dict(definitions(ast.parse(text)))
    if not found or name not in (None, *found):
        raise HandoutError(f"found no {name or 'function'}, expected one of "
                           f"{', '.join(found)}")
    functions = [node for path, node in found.items() if isinstance(node, ast.FunctionDef)
                 and name in (None, path, path.partition(".")[0])]  # a class's: all methods
    for function in reversed(functions):  # from the end, so that line numbers stay right
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        if body:
            first, last = body[0], body[-1]
            # a decorated body begins with its decorator
            start = min(node.lineno for node in (first, *getattr(first, "decorator_list", [])))
            before = lines[start - 1][:first.col_offset]  # spaces, or a `def` in a line
            lines[start - 1:last.end_lineno] = [f"{before}raise NotImplementedError\n"]
    return "".join(lines)


def question(text):
    """What a written proof answers: the first paragraph of its docstring, and its tags."""
    title = ast.get_docstring(ast.parse(text)).partition("\n\n")[0]
    tags = [line for line in text.splitlines() if line.startswith("# sheet: ")]
    return "\n".join([f'r"""{title}\n\nThe proof is left to the reader.\n"""', *tags, ""])


def chosen(root, places):
    """Places -> {file: its text without the answers}, [folders that are left out]."""
    changes, folders = {}, []
    for place in places:
        file, _, name = place.partition(":")
        path = Path(root, file).resolve()
        if root not in path.parents:
            raise HandoutError(f"{place}: is not inside {root}, expected a place in it")
        file = path.relative_to(root)
        if path.is_dir():
            folders.append(file)
        elif path.is_file():
            text = changes.get(file) or path.read_text("utf-8")
            proof = file.parts[0] == "theory" and file.name.startswith("test_")
            try:
                changes[file] = question(text) if proof else blanked(text, name or None)
            except (HandoutError, SyntaxError) as error:
                raise HandoutError(f"{place}: {error}") from None
        else:
            raise HandoutError(f"{place}: found no such file or folder in {root}")
    return changes, folders


def write(root, places, out):
    """Copy the project at `root` to `out` without the answers at the places.

    -> the files, relative to root, whose originals complete the copy again.
    """
    root, out = Path(root).resolve(), Path(out).resolve()
    changes, folders = chosen(root, places)
    if root in out.parents:
        raise HandoutError(f"--out {out}: is inside {root}, expected a folder beside it")
    shutil.copytree(root, out, ignore=lambda folder, names: {
        name for name in names
        if name in NOT_COPIED or (Path(folder) == root and name in OF_USERS)})
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    names = {name for folder in folders for name in (
        folder.name, *(path.stem for path in Path(root, folder).glob("*.py")))}
    missing = {file for file in files if file != TEMPLATE and (
        not {*folders}.isdisjoint(file.parents)
        or (file.match("tests/*.py") and not names.isdisjoint(
            name.partition("/")[0] for name in stamp.imports(out / file))))}
    for file in missing:
        (out / file).unlink()
    for folder in sorted(out.rglob("*/"), reverse=True):  # from within
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for file in files:
        if file.suffix == ".md" and file not in missing:
            changes[file] = LINK.sub(lambda link, at=file.parent: link[1] if (
                (root / at / link[2]).exists() and not (out / at / link[2]).exists())
                else link[0], (out / file).read_text("utf-8"))
    changed = [file for file, text in changes.items() if file not in missing
               and text != (out / file).read_text("utf-8")]
    for file in changed:
        (out / file).write_text(changes[file], "utf-8")
    return sorted(file.as_posix() for file in (*changed, *missing))


def main(argv=None):
    replace_unprintable()
    parser = argparse.ArgumentParser(prog="python -m minidl.publish.handout",
                                     description=__doc__.partition("\n\n")[0])
    parser.add_argument("places", nargs="+", metavar="PLACE",
                        help="FILE, FILE:FUNCTION or FOLDER, relative to the project's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    flags = parser.parse_args(argv)
    if flags.out.exists():
        parser.exit(2, f"--out {flags.out}: exists already, expected a new folder\n")
    with cli.mistakes("handout", flags.out):
        changed = write(ROOT, flags.places, flags.out)
    print(f"{flags.out}: the project without {', '.join(flags.places)}. The originals of "
          f"these {len(changed)} files complete it:", *changed, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
