"""The conftest.py at the root: two processes share the files and lose no result."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE = """import os, time
def test_it(): open("pids", "a").write(f"{os.getpid()}\\n"); time.sleep(0.1)
def test_too(capfd): print("told"); assert capfd.readouterr().out == "told\\n"
"""


@pytest.fixture
def pytest_in(tmp_path):
    """Run pytest on six small files there, some of them with other content."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here: pytest's own loop is used")
    shutil.copy(ROOT / "conftest.py", tmp_path)

    def run(*flags, processes="2", **others):
        for name in "abcdef":
            (tmp_path / f"test_{name}.py").write_text(others.get(name, FILE))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, "TEST_PROCESSES": processes})
        return done.returncode, done.stdout
    return run


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_test_is_run_once_in_so_many_processes(pytest_in, tmp_path, processes):
    status, text = pytest_in(processes=processes)
    assert status == 0 and "12 passed" in text, text
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 6 and len(set(pids)) == int(processes)


def test_failures_of_both_processes_are_told(pytest_in):
    bad = "def test_bad():\n    number = 6 * 7\n    assert number == 41\n"
    status, text = pytest_in(b=bad, c=bad, d=bad, e=bad)
    assert status == 1 and "4 failed, 4 passed" in text, text
    assert len(re.findall(r"assert 42 == 41", text)) >= 4
    assert "FAILED test_e.py::test_bad" in text


def test_the_first_failure_can_be_the_last(pytest_in):
    status, text = pytest_in("-x", **dict.fromkeys("abcdef", "def test_bad(): assert False"))
    assert status == 1 and "6 failed" not in text, text


def test_a_process_that_dies_is_no_success(pytest_in):
    dies = ("import os, time\nfirst = os.getpid()\n"
            "def test_dies(): os._exit(0) if os.getpid() != first else time.sleep(0.5)\n")
    status, text = pytest_in(**dict.fromkeys("abcdef", dies))
    assert status != 0 and "the forked process died before the end of test_" in text, text
