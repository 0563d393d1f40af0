"""`python -m pytest` on two cores: a forked process takes turns with this one at the files.

Both read the number of the next file from one pipe. The forked process writes its reports to a
file; this one prints them. With pytest-xdist (-n), a single file, a single core or
TEST_PROCESSES=1 in the environment, pytest's loop is used. Checked in tests/test_conftest.py.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--answers", metavar="FILE", help="check the answers of a reader, and "
                     "nothing else: a copy of theory/answers.py, or networks and losses")


def pytest_configure(config):
    if config.option.answers:
        sys.path.insert(0, str(Path(__file__).parent / "tests"))
        import answering
        config.pluginmanager.register(answering.Plugin(config.option.answers))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    option, files = session.config.option, {}
    for item in session.items:
        files.setdefault(item.path, []).append(item)
    xdist = hasattr(session.config, "workerinput") or getattr(option, "dist", "no") != "no"
    processes = int(os.environ.get("TEST_PROCESSES", os.cpu_count() or 1))
    if (xdist or processes < 2 or not 2 <= len(files) <= 256 or session.testsfailed
            or option.collectonly or option.usepdb or not hasattr(os, "fork")):
        return None  # the loop of xdist or of pytest
    queue, end = os.pipe()
    os.write(end, bytes(range(len(files))))
    os.close(end)
    with tempfile.NamedTemporaryFile(buffering=0) as written, \
            Path(written.name).open("rb") as reports:
        _run(session, queue, list(files.values()), written, reports)
    return True


def _run(session, queue, files, written, reports):
    todo = dict.fromkeys(item.nodeid for item in session.items)
    other = multiprocessing.get_context("fork").Process(
        target=_run_and_write, args=(session, queue, files, written))
    other.start()
    try:
        for item in _drawn_and_run(session, queue, files):
            todo.pop(item.nodeid, None)
            _pass_on(session, reports, todo)
        while other.is_alive():
            other.join(0.1)
            _pass_on(session, reports, todo)
        _pass_on(session, reports, todo)  # what came before its end
    finally:
        other.kill()  # it has ended, but after an error or Ctrl-C here
        other.join()
    if todo:
        session.shouldfail = session.shouldfail or session.shouldstop or (
            f"the forked process died before the end of {next(iter(todo))}")
        raise session.Failed(session.shouldfail)


def _drawn_and_run(session, queue, files):
    """Yield the tests that were run: who reads a byte takes the file of that number."""
    while number := os.read(queue, 1):
        file = files[number[0]]
        for item, following in zip(file, [*file[1:], None], strict=True):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            yield item
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)


def _pass_on(session, reports, todo):
    """Report what the forked process has reported since, in whole lines."""
    hook = session.config.hook
    while (line := reports.readline()).endswith(b"\n"):
        report = hook.pytest_report_from_serializable(
            config=session.config, data=json.loads(line))
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            todo.pop(report.nodeid, None)
    reports.seek(-len(line), os.SEEK_CUR)


def _run_and_write(session, queue, files, written):
    """The forked process: a line of JSON for each report, and no word of its own."""
    config = session.config

    class Writer:
        def pytest_runtest_logreport(self, report):
            data = config.hook.pytest_report_to_serializable(config=config, report=report)
            written.write(json.dumps(data, default=str).encode() + b"\n")

    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # its files are the first process's
    capture.start_global_capturing()
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(Writer())
    try:
        for _ in _drawn_and_run(session, queue, files):
            pass
    except (session.Failed, session.Interrupted, KeyboardInterrupt):
        pass  # told by the first process
