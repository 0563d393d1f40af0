"""Rewrites the tables of theory/README.md from the claims in the sources.

    python theory/readme.py

Claim 115 fails where the README and the sources differ.
"""

import ast
from pathlib import Path
from typing import NamedTuple

from kit import EVIDENCE, PROVEN

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- claims: python theory/readme.py -->", "<!-- end of claims -->"


class Claim(NamedTuple):
    number: int
    kind: str
    item: str        # of a sheet, "" where no sheet asks
    name: str        # of the test function
    file: str        # within theory/
    question: str    # first line of the file's docstring


def functions(folder=HERE):
    """Every test function of the folder: (file, its syntax tree, the function)."""
    for path in sorted([*folder.glob("test_*.py"), *folder.glob("appendix/test_*.py")]):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path.relative_to(folder).as_posix(), tree, node


def claims(folder=HERE):
    """All claims, in the order of the sheets: what stands in @claim(...) above a test."""
    found = []
    for file, tree, test in functions(folder):
        question = ast.get_docstring(tree).splitlines()[0].rstrip(".")
        for mark in test.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "claim":
                number, kind, *item = map(ast.literal_eval, mark.args)
                found.append(Claim(number, kind, *(item or [""]), test.name, file, question))
    return sorted(found, key=lambda claim: ("/" in claim.file, claim.number))


def tables(found):
    """The tables in Markdown: the kinds, and the claims under the question they answer."""
    lines = ["| kind | claims | what is checked | a green test is |", "|---|---|---|---|"]
    for kinds, worth in (PROVEN, "a proof, for the sizes listed"), (EVIDENCE, "evidence"):
        lines += [f"| {kind} | {sum(claim.kind == kind for claim in found)} | {words} "
                  f"| {worth} |" for kind, words in kinds.items()]
    for file in dict.fromkeys(claim.file for claim in found):
        here = [claim for claim in found if claim.file == file]
        lines += ["", f"**[{file}]({file})** {here[0].question}", "",
                  "| claim | answers | kind | statement |", "|---|---|---|---|"]
        lines += [f"| {claim.number} | {claim.item} | {claim.kind} | {statement(claim)} |"
                  for claim in here]
    return "\n".join(lines)


def statement(claim):
    return claim.name.removeprefix("test_").replace("_", " ")


def between_markers(text):
    """What stands between the two markers: (before, between, after)."""
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between.strip(), after


def main():
    path = HERE / "README.md"
    before, _, after = between_markers(path.read_text(encoding="utf-8"))
    found = claims()
    path.write_text(f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}", encoding="utf-8")
    print(f"{path.name}: {len(found)} claims")


if __name__ == "__main__":
    main()
