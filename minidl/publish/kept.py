"""results/: the runs with the README's numbers, and the code that trained them.

    results/<script>.json            a finished default run's results.json
    results/<script>_full.json       a finished --full run's
    results/<script>_<figure>.png    a small copy of one figure, of a few scripts

    "trained": {"commit", "processor", "threads", "precision"}   what made the numbers
    "same_as": {"commit", "checked"}   later code that makes them too, by restamp.py

A run is kept if it has the sheet's data, the settings of its size, and committed code. `older`
says whether code has changed since; no test asks it. Checked in tests/test_kept.py.
"""

import ast
import functools
import importlib.util
import json
from pathlib import Path

from minidl.files import whole_file
from minidl.lab import flags, results, stamp
from minidl.publish import readme, sheets
from minidl.publish.companion.png import small

SIZES = {"default": "", "full": " --full"}  # the smaller first; --quick means nothing
MACHINE = ("commit", "processor", "threads", "precision")


def keep(out, root):
    """Copy the runs in the folder `out` to results/ -> sentences on what was not kept."""
    told = []
    for script in sheets.HEADLINES:
        file = Path(out, script, "results.json")
        if not file.is_file():
            continue
        content = results.read(file)
        if reason := reason_against(script, content, root):
            told.append(f"{file} is not kept: {reason}; run `{command(content)}`")
            continue
        content["trained"] = {name: content.pop(name) for name in MACHINE}
        del content["code"]
        there = path_of(root, content)
        before = json.loads(there.read_text("utf-8")) if there.is_file() else {}
        own = "trained", "numbers", "seconds"
        if any(before.get(name) != content[name] for name in own):
            write(root, content)  # else it is this very run, and may have been stamped since
        if content["size"] == readme.kept(root)[script]["size"]:  # the README's
            keep_picture(script, file.parent, root)
    return told


def write(root, content):
    """Write a kept result."""
    with whole_file(path_of(root, content)) as path:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")


def path_of(root, content):
    """The file of a kept result."""
    full = "_full" if content["size"] == "full" else ""
    return Path(root, "results", f"{content['script']}{full}.json")


def reason_against(script, content, root):
    """Why a run is not to be kept; "" where it is."""
    if content["size"] not in SIZES:
        return f"it is of size {content['size']}"
    if content["seed"] != 0:
        return f"its seed is {content['seed']}"
    main, sizes, data = declared(script, root)
    if data and content["data"] != data:
        return f"its data are {content['data']}, the sheet's {data}"
    settings = flags.settings(main, sizes, content["size"])
    if other := [name for name in settings if settings[name] != content["settings"].get(name)]:
        return f"{', '.join(other)} set by hand"
    if not content.get("commit") or content["commit"].endswith("-changed"):
        return "its code is in no commit"
    return ""


def declared(script, root):
    """-> a script's main, its sizes, and the sheet's data (None: the script's own)."""
    path = Path(root, "assignments", f"{script}.py")
    spec = importlib.util.spec_from_file_location(script, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = [keyword.value.value for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "cli.start"
            for keyword in node.keywords if keyword.arg == "data"]
    return module.main, module.SIZES, data[0] if data else None


def command(content):
    """The command for a run, in its size."""
    return f"python assignments/{content['script']}.py{SIZES.get(content['size'], '')}"


def shown_by(content):
    """The latest commit of which it is known that its code makes these numbers."""
    return content.get("same_as", content["trained"])["commit"]


def older(content, root):
    """The files whose code, not only words, changed since a run; [] where git is silent."""
    script = Path(root, "assignments", f"{content['script']}.py")
    if "trained" not in content and content.get("code") == stamp.code_of(script, root):
        return []
    commit = shown_by(content) if "trained" in content else content.get("commit", "")
    files = {path.relative_to(root).as_posix() for path in stamp.files_of(script, root)}
    commit = commit.removesuffix("-changed")
    found = sorted(name for name in _changed_since(commit, root) & files
                   if _code(root, name, commit)
                   != stamp.without_words(Path(root, name).read_text("utf-8")))
    return found or ([] if "trained" in content else [f"assignments/{script.name}"])


def age(content, root):
    """The files that are newer than a run, in words; empty if none is."""
    files = older(content, root)
    named = ", ".join(files[:2]) + " and others" * bool(files[2:])
    return files and f"Older than {named}"


@functools.cache
def _changed_since(commit, root):
    return {*(stamp.git(root, "diff", "--name-only", commit) or "").splitlines()}


@functools.cache
def _code(root, name, commit):
    """A file's code without words at a commit; "" where there was none."""
    return stamp.without_words(stamp.git(root, "show", f"{commit}:{name}") or "")


def keep_picture(script, folder, root):
    """A small copy of a script's figure, for those whose figures are kept."""
    if script in readme.PICTURES:
        figure = folder / f"{readme.PICTURES[script][0]}.png"
        path = Path(root, readme.picture(script))
        path.unlink(missing_ok=True)  # another run's
        if figure.is_file():
            with whole_file(path) as new:
                new.write_bytes(small(figure))
