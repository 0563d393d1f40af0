"""The code of a run, by commit and by hash, and its machine. Checked in
tests/test_stamp.py."""

import ast
import functools
import hashlib
import io
import platform
import subprocess
import tokenize
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def files_of(script, root=ROOT):
    """A script's file, and all files of the project that it imports or whose network it uses.
    """
    waiting, found = [Path(script)], set()
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found.add(path)
            waiting += [Path(root, folder, name + end) for name in imports(path)
                        for folder in ("", "assignments") for end in (".py", "/__init__.py")]
    return sorted(found)


@functools.cache
def imports(path):
    """What a file imports, as paths without their ends."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
              and node.func.attr == "trained" and isinstance(node.args[0], ast.Constant)):
            names.append(node.args[0].value)  # the script whose network it takes
    return [name.replace(".", "/") for name in names]


def code_of(script, root=ROOT):
    """One hash of `files_of`: only equal code continues a run or takes over a network."""
    return mark("".join(f"{path.name}\0{without_words(path.read_text('utf-8'))}\0"
                        for path in files_of(script, root)))


def without_words(source):
    """A file's lines without comments, docstrings and blank lines, which change no number."""
    spans, begins = [], True  # a docstring is a string that begins a statement
    for kind, _, start, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind == tokenize.COMMENT or (begins and kind == tokenize.STRING):
            spans.append((start, end))
        elif kind != tokenize.NL:
            begins = kind in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines = source.splitlines()
    for (first, start), (last, end) in reversed(spans):  # so that columns stay true
        lines[first - 1:last] = [lines[first - 1][:start] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def mark(text):
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def git(root, *words):
    """git's answer about the project; None without git or a repository."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True,
                              check=True, encoding="utf-8")
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit(root=ROOT):
    """The commit that is checked out, with "-changed" if code was edited since; None if there
    is none."""
    found = git(root, "rev-parse", "--short=12", "HEAD")
    return f"{found}-changed" if found and changed(root, "*.py") else found


def changed(root, *paths):
    """Whether a tracked file was edited since the commit that is checked out."""
    return bool(git(root, "status", "--porcelain", "--untracked-files=no", "--", *paths))


def processor(device):
    """The name of the processor, in words."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [line.split(":", 1)[1].strip() for line in info.read_text("utf-8").splitlines()
                 if line.startswith("model name")]
        name = named[0] if named else name
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
