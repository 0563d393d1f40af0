"""Files that are whole or not there."""

import contextlib
import secrets
from pathlib import Path


@contextlib.contextmanager
def whole_file(path):
    """Yield a path beside `path` to write to; it is moved there when the block ends well.

    A reader finds the old file or the whole new one, whenever the process is killed; an error
    in the block leaves nothing behind.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # there only after a failure
