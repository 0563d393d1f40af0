"""The conftest.py at the root: two processes share the files and lose no result."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEET = """import multiprocessing, os, time
def meet():  # until every process has a file
    with open("pids", "a") as pids: pids.write(f"{os.getpid()}\\n")
    while len({*open("pids")}) < int(os.environ["TEST_PROCESSES"]): time.sleep(0.01)
"""
FILE = """
def test_it(): meet()
def test_too(capfd): print("told"); assert capfd.readouterr().out == "told\\n"
"""
BAD = """
def test_bad(): meet(); assert not f"in {os.getpid()}"
"""
DIES = """
def test_dies(): meet(); multiprocessing.parent_process() and os._exit(0)
"""


@pytest.fixture
def pytest_in(tmp_path):
    """Run pytest on six small files there -> exit status, text, the processes that ran."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here: pytest's own loop is used")
    shutil.copy(ROOT / "conftest.py", tmp_path)

    def run(*flags, content=FILE, processes="2"):
        for name in "abcdef":
            (tmp_path / f"test_{name}.py").write_text(MEET + content)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags],
            cwd=tmp_path, capture_output=True, text=True, timeout=300,
            env={**os.environ, "TEST_PROCESSES": processes})
        return done.returncode, done.stdout, (tmp_path / "pids").read_text().split()
    return run


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_test_is_run_once_in_so_many_processes(pytest_in, processes):
    status, text, pids = pytest_in("-p", "no:xdist", processes=processes)
    assert status == 0 and "12 passed" in text, text
    assert len(pids) == 6 and len(set(pids)) == int(processes)


def test_with_xdist_its_processes_run_every_test_once(pytest_in):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    status, text, pids = pytest_in("-n", "2")
    assert status == 0 and "12 passed" in text, text
    assert len(pids) == 6 and len(set(pids)) == 2


def test_failures_of_both_processes_are_told(pytest_in):
    status, text, _ = pytest_in(content=BAD)
    assert status == 1 and "6 failed" in text, text
    told = [line for line in text.splitlines() if line.startswith("E ") and "in " in line]
    assert len(set(told)) == 2, text


def test_a_process_that_dies_is_no_success(pytest_in):
    status, text, _ = pytest_in(content=DIES)
    assert status != 0 and "died before the end of test_" in text, text
