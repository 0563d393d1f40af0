"""Writes the reading companion, `python -m minidl.publish.companion`; open its index.html.

Every source file becomes a page. Docstrings and comments are on the left, with typeset
equations; the code that they explain is on the right. The figures of the last run in outputs/
are where the code draws them. The pages need no network and no server.
"""

import argparse
from pathlib import Path

from data_download import replace_unprintable
from minidl.lab import cli
from minidl.publish.companion import contents, pages
from minidl.publish.companion.frame import put
from minidl.publish.companion.png import small
from minidl.publish.companion.project import Project

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def write(root, outputs, out):
    """Write the site of the project at `root` into `out`; -> the number of files' pages."""
    project, out = Project(root, outputs), Path(out)
    for name in ("style.css", "script.js"):
        put(out / name, (HERE / name).read_bytes())
    for source in project.sources:
        figures = {}
        if result := project.result(source):
            for name, picture in result.figures.items():
                figures[name] = f"figures/{source.stem}/{name}.png"
                put(out / figures[name], small(picture))
        page = pages.FilePage(project, source, result, figures)
        put(out / source.page, page.html().encode())
    put(out / "index.html", contents.index(project).encode())
    put(out / "search.js", contents.entries(project).encode())
    return len(project.sources)


def main(argv=None):
    replace_unprintable()
    parser = argparse.ArgumentParser(prog="python -m minidl.publish.companion",
                                     description=__doc__.partition("\n\n")[0])
    parser.parse_args(argv)
    runs = Path("outputs")
    with cli.mistakes("companion", runs / "companion"):
        count = write(ROOT, runs, runs / "companion")
    print(f"{count} files, side by side: {runs / 'companion/index.html'}")


if __name__ == "__main__":
    main()
