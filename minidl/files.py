"""Files that are whole or not there; a folder that one process at a time writes to."""

import contextlib
import glob
import os
import secrets
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no locks, so nothing is cleared away and nobody is refused
    fcntl = None


@contextlib.contextmanager
def whole_file(path):
    """Yield a path beside `path` to write to; it is moved there when the block ends well.

    A reader finds the old file or the whole new one, whenever the process is killed. An error
    in the block leaves nothing behind; an OSError names `path`. What a killed process left is
    cleared away by the next that writes the file: it is locked while somebody writes it.
    Checked in tests/test_torture.py.
    """
    path = Path(path)
    try:
        _clear_abandoned(path)
        with _locked_file_beside(path) as beside:
            try:
                yield beside
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)  # there only after a failure
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".tmp"):
            error.filename, error.filename2 = str(path), None  # the file that a user knows
        raise


@contextlib.contextmanager
def alone(folder):
    """Yield whether no other process is in such a block for this folder.

    The lock is on the folder itself: it leaves no file behind, and a kill gives it back.
    Without locks (Windows, some network disks) it is always granted.
    """
    with contextlib.ExitStack() as stack:
        granted = True
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            granted = lock(handle)
        yield granted


def lock(handle):
    """-> False where another process has the lock; it ends with the handle or the process."""
    with contextlib.suppress(AttributeError, OSError):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextlib.contextmanager
def _locked_file_beside(path):
    """A new file's path, the file locked until the block ends; it may be written by name."""
    with contextlib.ExitStack() as stack:
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        while fcntl:
            handle = os.open(beside, os.O_CREAT | os.O_WRONLY, 0o666)
            stack.callback(os.close, handle)
            if lock(handle) and beside.exists():  # else another cleared it away in between
                break
        yield beside


def _clear_abandoned(path):
    """Remove what killed processes left of the file: what is there and not locked."""
    names = f".{glob.escape(path.name)}.{16 * '[0-9a-f]'}.tmp"
    for left in path.parent.glob(names) if fcntl else ():
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_WRONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(handle)
