"""Writes the reading companion, `python -m minidl.publish.companion`; open its index.html.

Every source file becomes a page: docstrings and comments on the left, their equations set, the
code that they speak of on the right, the numbers and figures of the last run where the code
makes them. The pages need no network and no server. Left out are search and other languages.
"""

import argparse
import sys
from pathlib import Path

from minidl.files import whole_file
from minidl.publish.companion import contents, pages
from minidl.publish.companion.png import smaller
from minidl.publish.companion.project import Project

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LARGE = 50_000  # bytes of a figure that is made smaller


def write(root, outputs, out):
    """Write the site of the project at `root` into `out`; -> the number of files' pages."""
    project, out, results = Project(root, outputs), Path(out), {}
    for name in ("style.css", "script.js"):
        _write(out / name, (HERE / name).read_bytes())
    for source in project.sources:
        if result := project.result(source):
            results[source.path] = result
        figures = {name: f"figures/{source.stem}/{name}.png"
                   for name in (result.figures if result else ())}
        for name, place in figures.items():
            _write(out / place, _picture(result.figures[name]))
        page = pages.FilePage(project, source, result, figures)
        _write(out / source.page, page.html().encode())
    _write(out / "index.html", contents.index(project, results).encode())
    return len(project.sources)


def _picture(path):
    """A figure's bytes, made fewer where there are many."""
    return smaller(path) if path.stat().st_size > LARGE else path.read_bytes()


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside:
        beside.write_bytes(content)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m minidl.publish.companion",
                                     description=__doc__.partition("\n\n")[0])
    for flag, default, words in (
            ("--out", Path("outputs", "companion"), "gets the pages"),
            ("--runs", Path("outputs"), "holds the folders of the scripts' last runs")):
        parser.add_argument(flag, type=Path, default=default, metavar="DIR",
                            help=f"{words} (default {default})")
    flags = parser.parse_args(argv)
    if not (ROOT / "assignments").is_dir():
        sys.exit(f"companion: found no assignments/ in {ROOT}, expected a checkout of "
                 "the project")
    count = write(ROOT, flags.runs, flags.out)
    print(f"{count} files, side by side: {flags.out / 'index.html'}")


if __name__ == "__main__":
    main()
