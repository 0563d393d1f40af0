"""Small data sets that every test can use, and the reason where real data are absent."""

import contextlib
import os
import socket

# before torch: small work gains nothing by threads, threads that wait slow a busy machine, and
# a process forked after they started waits for them without end where torch has GNU's OpenMP
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
import whole_runs

from minidl.lab import plot, results
from minidl.lab.run import Run


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Only this machine itself can be reached: no test depends on a network."""
    connect = socket.socket.connect

    def local_only(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            raise ConnectionRefusedError(f"a test wanted to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(scope="session", autouse=True)
def small_figures():
    """Figures are drawn in every run of a script, and most of a short run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plot.STYLE, "savefig.dpi", 30)
        patch.delitem(results.FORMATS, "pdf")
        yield


@pytest.fixture
def real_data():
    """The folder of the real data sets; the test is skipped where there is none."""
    if "MINIDL_DATA" not in os.environ:
        pytest.skip("MINIDL_DATA is not set: the real data sets are not at hand")
    return os.environ["MINIDL_DATA"]


@pytest.fixture
def folder(tmp_path):
    """120 + 30 images: class c is a bright row 2c + 3."""
    return whole_runs.write_images(tmp_path / "stripes")


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory):
    """The same for all tests of a file, which leave it as it is."""
    return whole_runs.write_images(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture
def interrupted():
    """`with interrupted(n): start(...)`: Ctrl-C in the n-th epoch of all its trainings."""
    @contextlib.contextmanager
    def stop(n):
        epochs, begun = Run.epochs, []

        def stopping(self, *args, **parts):
            for epoch in epochs(self, *args, **parts):
                begun.append(epoch)
                if len(begun) == n:
                    raise KeyboardInterrupt
                yield epoch

        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
            patch.setattr(Run, "epochs", stopping)
            yield
        assert stopped.value.code == 130

    return stop


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
