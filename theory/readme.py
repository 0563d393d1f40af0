"""Rewrites the tables of theory/README.md from the claims in the sources.

    python theory/readme.py

It reads the files and imports none. Claim 115 fails where the README and the sources differ.
"""

import ast
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- claims: python theory/readme.py -->", "<!-- end of claims -->"


class Claim(NamedTuple):
    number: int
    kind: str
    name: str        # of the test function
    file: str
    question: str    # first line of the file's docstring


def functions(folder=HERE):
    """Every test function of the folder: (file, its syntax tree, the function)."""
    for path in sorted(folder.glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path.name, tree, node


def claims(folder=HERE):
    """All claims, by number: what stands in @claim(number, kind) above a test."""
    found = []
    for file, tree, test in functions(folder):
        question = ast.get_docstring(tree).splitlines()[0].rstrip(".")
        for mark in test.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "claim":
                number, kind = map(ast.literal_eval, mark.args)
                found.append(Claim(number, kind, test.name, file, question))
    return sorted(found)


def kinds(folder=HERE):
    """kit.KINDS: what a claim of a kind proves, in words."""
    for node in ast.parse((folder / "kit.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KINDS":
            return ast.literal_eval(node.value)
    raise ValueError("found no KINDS in kit.py, expected a dictionary")


def tables(found, kinds):
    """The two tables in Markdown: the kinds, and the claims under the question they answer."""
    lines = ["| kind | claims | what is checked |", "|---|---|---|"]
    for kind, words in kinds.items():
        lines.append(f"| {kind} | {sum(claim.kind == kind for claim in found)} | {words} |")
    files = dict.fromkeys(claim.file for claim in found)  # in the order of their first claim
    for file in files:
        here = [claim for claim in found if claim.file == file]
        lines += ["", f"**[{file}]({file})** {here[0].question}", "",
                  "| | kind | claim |", "|---|---|---|"]
        lines += [f"| {claim.number} | {claim.kind} | {statement(claim)} |" for claim in here]
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
    path.write_text(f"{before}{BEGIN}\n\n{tables(found, kinds())}\n\n{END}{after}",
                    encoding="utf-8")
    print(f"{path.name}: {len(found)} claims")


if __name__ == "__main__":
    main()
