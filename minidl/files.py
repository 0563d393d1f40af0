"""Files that are complete or absent; a folder to which one process at a time writes."""

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
    """Yield a path beside `path` to write to; it becomes `path` if the block has no error.

    A reader finds the old file or the whole new one, even if the process is killed. An error
    in the block leaves nothing behind; an OSError names `path`. What a killed process left is
    removed by the next process that writes the file. A lock shows that a process still writes.
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
    """Yield True if no other process is inside `alone` for this folder, else False.

    The lock is on the folder itself: it leaves no file behind, and ends with the process.
    Without locks (Windows, some network disks) the answer is always True.
    """
    with contextlib.ExitStack() as stack:
        granted = True
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            granted = lock(handle)
        yield granted


def lock(handle):
    """-> False if another process has the lock; it ends with the handle or the process."""
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
            if lock(handle) and beside.exists():  # else another process removed it
                break
        yield beside


def _clear_abandoned(path):
    """Remove what killed processes left of the file: partial files that are not locked."""
    names = f".{glob.escape(path.name)}.{16 * '[0-9a-f]'}.tmp"
    for left in path.parent.glob(names) if fcntl else ():
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_WRONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(handle)
