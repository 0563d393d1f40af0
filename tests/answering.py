"""pytest's --answers FILE: a reader's FILE is asked, judged and told, an item a test.

FILE runs in a process of its own, which is ended when one of its calls takes too long: an
endless loop, an exception or os._exit is a row of the table, and a new process is asked the
rest. A checker (theory/answering, tests/answers_traps.py) knows the items: PLACES by name;
calls(name, answers), what to do there, None: not answered; LIMIT, the seconds of a call; DTYPE
of new tensors; judged(results): (status, words, details) by name. Checked in test_answers.py.
"""

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
import torch

READING = 60  # seconds to read FILE, which may import much
ROOT = Path(__file__).resolve().parents[1]
CHECKERS = {ROOT / "theory/answers.py": "theory.answering",
            ROOT / "tests/answers_traps.py": "answers_traps"}


class FileError(Exception):
    """FILE as a whole cannot be asked: one sentence."""


# --- in the process of the answers ----------------------------------------------------------


def answer(file, checker, names):
    """Read FILE and do the calls of every name, telling each step as a line of JSON."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what FILE prints
        os.dup2(silence, stream)

    def tell(*line):
        print(json.dumps(line), file=channel, flush=True)

    def attempt(call, name=None):
        tell("starts", name)
        try:
            return None, call()
        except BaseException as error:  # SystemExit, too, would end this process
            lines = [f" (line {frame.lineno})" for frame in traceback.extract_tb(
                error.__traceback__) if frame.filename == file]
            words = " ".join(str(error).split())[:300]
            return f"{type(error).__name__}: {words}{''.join(lines[-1:])}", None
        finally:
            tell("ends")

    sys.path.append(str(Path(file).parent))
    checker, code = importlib.import_module(checker), Path(file).read_bytes()
    torch.set_default_dtype(checker.DTYPE)
    found = {"__name__": "answers", "__file__": file}
    error, _ = attempt(lambda: exec(compile(code, file, "exec"), found))
    if error:
        tell("unreadable", error)
        return
    for name in names:
        calls, error = checker.calls(name, found), None
        results = None if calls is None else []
        for call in calls or []:
            error, result = attempt(call, name)
            results.append(result)
            if error:
                break
        tell("found", name, error, results)


# --- outside --------------------------------------------------------------------------------


def ask(file, checker, names, limit):
    """Name -> (an error or None, what its calls returned; None: not answered)."""
    found, left = {}, list(names)
    while left:
        for name, error, results in one_process(file, checker, left, limit):
            found[name] = error, results
        left, before = [name for name in left if name not in found], left
        if left == before:
            raise FileError(f"{file}: its process ends before anything is asked")
    return found


def one_process(file, checker, names, limit):
    """Yield name, error, results until all is found, or the process ends or is ended."""
    command = f"import answering; answering.answer({str(file)!r}, {checker!r}, {names!r})"
    path = os.pathsep.join(map(str, (ROOT / "tests", ROOT)))
    process = subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        encoding="utf-8", env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    lines = queue.Queue()

    def pass_on():
        for line in process.stdout:
            lines.put(line)
        lines.put('["died"]')

    threading.Thread(target=pass_on, daemon=True).start()
    todo, name, seconds = set(names), None, None
    try:
        while todo:
            try:
                event, *rest = json.loads(lines.get(timeout=seconds))
            except queue.Empty:
                event, rest = "died", [f"it does not end within {seconds} seconds"]
            if event == "starts":
                name, seconds = rest[0], limit if rest[0] else READING
            elif event == "ends":
                seconds = None
            elif event == "found":
                todo.remove(rest[0])
                yield rest
            elif event == "unreadable" or name not in todo:
                raise FileError(f"{file}: {rest[0] if rest else 'it ends its process'}")
            else:
                yield name, rest[0] if rest else "it ends its process", None
                return
    finally:
        process.kill()
        process.wait()


def rows(file, checker, names):
    """Name -> (status, words, details), in the order of the names."""
    module = importlib.import_module(checker)
    found = ask(file, checker, names, module.LIMIT)
    judged = module.judged({
        name: results for name, (error, results) in found.items()
        if error is None and results is not None})
    table = {name: ("wrong", error, "") if error else ("not answered", "", "")
             for name, (error, _) in found.items()}
    return {name: judged.get(name, table[name]) for name in names}


# --- as tests -------------------------------------------------------------------------------


class WrongError(Exception):
    """An answer that is wrong: no traceback, but its row."""


class Answer(pytest.Item):
    def runtest(self):
        status, words, details = self.row
        if status == "not answered":
            pytest.skip(status)
        if status == "wrong":
            raise WrongError(f"{words}\n{details}".rstrip())

    def repr_failure(self, excinfo, style=None):
        if excinfo.errisinstance(WrongError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, 0, f"{self.parent.checker.PLACES[self.name]}: {self.name}"


class Sheet(pytest.File):
    def collect(self):
        self.checker = importlib.import_module(CHECKERS[self.path])
        for name in self.checker.PLACES:
            yield Answer.from_parent(self, name=name)


class Plugin:
    """With --answers nothing is collected but the items of theory/ and of tests/."""

    def __init__(self, file):
        self.file, self.items = Path(file).resolve(), []
        if not self.file.is_file():
            raise pytest.UsageError(f"--answers {file}: found no such file")

    def pytest_ignore_collect(self, collection_path):
        wanted = collection_path.is_dir() or collection_path in CHECKERS
        return None if wanted else True

    def pytest_collect_file(self, file_path, parent):
        there = file_path in CHECKERS and importlib.util.find_spec(CHECKERS[file_path])
        return Sheet.from_parent(parent, path=file_path) if there else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if not items:
            raise pytest.UsageError(f"--answers {self.file}: found no answers to check here")
        try:
            for path, checker in CHECKERS.items():
                chosen = {item.name: item for item in items if item.path == path}
                if chosen:
                    for name, row in rows(self.file, checker, list(chosen)).items():
                        chosen[name].row = row
        except FileError as error:
            raise pytest.UsageError(str(error)) from None
        self.items = items  # only these are told at the end

    def pytest_terminal_summary(self, terminalreporter):
        cells = [(item.reportinfo()[2], *item.row[:2]) for item in self.items]
        for place, status, words in cells:
            width = max(len(cell[0]) for cell in cells)
            terminalreporter.write_line(f"{place:<{width}}  {status:<12}  {words}".rstrip())
