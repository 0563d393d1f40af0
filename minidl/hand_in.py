"""Exercise 2's zip: "a single zip file", with code, ex2.pdf and a README, its names left open.

    ex2_ID1_ID2.zip   README, ex2.pdf (once it lies beside report.tex), the scripts and proofs
                      of exercise 2 with what they import, and the bundle in report/
"""

import ast
import zipfile

from minidl.files import whole_file

NAME = "ex2_ID1_ID2"
README = """Exercise 2

NAME 1, ID1, cse user name: USER1
NAME 2, ID2, cse user name: USER2

How to run: pip install -r requirements.txt && python assignments/ex2_conv_ae.py
The proofs: python -m pytest theory
ex2.pdf is to be made of report/report.tex, in your own words.
"""
BESIDE = ("LICENSE", "minidl/__init__.py", "theory/conftest.py")


def hand_in(root, folder, files, answers):
    """Write the zip beside a sheet's bundle; files: of the bundle; answers: item -> files."""
    code = {root / name for name in BESIDE if (root / name).is_file()}
    needed = [line for line in (root / "requirements.txt").read_text().splitlines()
              if not line.startswith("-e")]  # the scripts find minidl beside them
    for path in {path for item, paths in answers.items() if item.startswith("S3.")
                 for path in paths}:
        code |= imported(root, path)
    with (whole_file(folder / f"{NAME}.zip") as path,
          zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive):
        archive.writestr(f"{NAME}/README", README)
        archive.writestr(f"{NAME}/requirements.txt", "\n".join(needed) + "\n")
        if (folder / "ex2.pdf").is_file():
            archive.write(folder / "ex2.pdf", f"{NAME}/ex2.pdf")
        else:
            print(f"{folder / 'ex2.pdf'}: not there yet, so it is not in {NAME}.zip")
        for file in sorted(code):
            archive.write(file, f"{NAME}/{file.relative_to(root)}")
        for name in sorted(set(files)):
            archive.write(folder / name, f"{NAME}/report/{name}")


def imported(root, path, found=()):
    """A file and all files of the project that it imports, by whatever way."""
    found = {*found, path}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                   [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                   if isinstance(node, ast.ImportFrom) and node.module else [])
        for module in modules:
            name = module.replace(".", "/")
            for file in (root / f"{name}.py", path.parent / f"{name}.py"):
                if file.is_file() and file not in found:
                    found |= imported(root, file, found)
    return found
