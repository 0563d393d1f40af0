"""`python -m pytest` on two cores: a forked process takes turns with this one at the files.

Both draw the next file from one pipe, so that neither waits long for the other; the forked
one sends its reports through a second pipe. A single file or a single core is run as ever, and
so is everything with TEST_PROCESSES=1 in the environment. Checked in tests/test_conftest.py.
"""

import json
import os
import signal

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    files = {}
    for item in session.items:
        files.setdefault(item.path, []).append(item)
    option = session.config.option
    processes = int(os.environ.get("TEST_PROCESSES", os.cpu_count() or 1))
    if (processes < 2 or not 2 <= len(files) <= 256 or session.testsfailed
            or option.collectonly or option.usepdb or not hasattr(os, "fork")):
        return None  # pytest's own loop
    queue, end = os.pipe()
    os.write(end, bytes(range(len(files))))
    os.close(end)
    _run(session, _drawn(queue, list(files.values())))
    return True


def _drawn(queue, files):
    """Yield the tests of this process: whoever reads a byte takes the file of that number."""
    while number := os.read(queue, 1):
        yield from files[number[0]]


def _run(session, items):
    results, reports = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_send(session, items, reports)
    os.close(reports)
    os.set_blocking(results, False)
    unread, reported = b"", set()
    try:
        for item, following in _with_the_next(items):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            reported.add(item.nodeid)
            unread = _receive(session, results, unread, reported)
        os.set_blocking(results, True)
        _receive(session, results, unread, reported)
    finally:
        os.kill(child, signal.SIGKILL)  # it has ended, but after an error or Ctrl-C here
        os.waitpid(child, 0)
    lost = [item.nodeid for item in session.items if item.nodeid not in reported]
    if lost:
        session.shouldfail = f"the forked process died before the end of {lost[0]}"
        raise session.Failed(session.shouldfail)


def _with_the_next(items):
    """Yield (item, the one after it or None): pytest then knows which fixtures to end."""
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        yield item, following
        item = following


def _receive(session, results, unread, reported):
    """Pass on the reports that have come; -> the part of a line at the end. Stops where a
    failure is to be the last one (-x)."""
    try:
        while block := os.read(results, 2**16):
            *lines, unread = (unread + block).split(b"\n")
            for line in lines:
                _pass_on(session.config, json.loads(line), reported)
    except BlockingIOError:
        pass
    if session.shouldfail or session.shouldstop:
        raise session.Failed(session.shouldfail or session.shouldstop)
    return unread


def _pass_on(config, data, reported):
    report = config.hook.pytest_report_from_serializable(config=config, data=data)
    if report.when == "setup":
        config.hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
    config.hook.pytest_runtest_logreport(report=report)
    if report.when == "teardown":
        reported.add(report.nodeid)


def _run_and_send(session, items, reports):
    """The forked process: run, send each report as a line, and never return."""
    config = session.config

    class Sender:
        def pytest_runtest_logreport(self, report):
            data = config.hook.pytest_report_to_serializable(config=config, report=report)
            line = json.dumps(data, default=str).encode() + b"\n"
            while line:
                line = line[os.write(reports, line):]

    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the first process
        capture = config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()  # its files are the first process's
        capture.start_global_capturing()
        config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(Sender())
        for item, following in _with_the_next(items):
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    finally:
        os._exit(0)
