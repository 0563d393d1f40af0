"""A run's folder: a run replaces and removes only its own files there.

    run.json    {"size": the run's, "made_by": what must be equal to continue this run,
                 "files": [names]}

A file is listed there before it is written. Whatever else is in the folder is the user's.
Checked in tests/test_folder.py.
"""

import contextlib
import json
from pathlib import Path

from minidl import UserError
from minidl.files import whole_file
from minidl.lab import ranks
from minidl.lab.checkpoint import CheckpointError, compare

SIZES = ["quick", "default", "full"]  # in hours of training


class FolderError(UserError):
    """A folder with files that no run wrote: one sentence."""


class Folder:
    """The folder `out` of a run that is made by `made_by`, name -> value."""

    def __init__(self, out, made_by, resume=False, size="full"):
        self.out, self.made_by, self.resume = Path(out), dict(made_by), resume
        self.size = size
        self.out.mkdir(parents=True, exist_ok=True)
        self.record, self.begun = self.out / "run.json", False
        self.earlier_by, self.earlier, self.earlier_size = self._read()
        self.files = list(self.earlier) if resume else []
        self.agree({})
        if "results.json" not in self.earlier and (self.out / "results.json").exists():
            raise FolderError(f"{self.out}: found a results.json that no run wrote, "
                              "expected none; name another --out")
        state, found = self._worth()
        if not resume and found in SIZES[SIZES.index(size) + 1:]:
            raise FolderError(f"{self.out}: found {state} {found} run, which this {size} one "
                              "would replace, expected none larger; name another --out")

    def begin(self):
        """Remove the files of an earlier run, which could be taken for this one's. Once, and
        not before data and flags are known to be valid. Results are removed first, so that a
        kill in between leaves no results without their checkpoints."""
        if self.begun:
            return
        self.begun = True
        if not self.resume:
            for name in sorted(self.earlier, key=lambda name: name != "results.json"):
                path = self.out / name
                if path.resolve().is_relative_to(self.out.resolve()):
                    path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # not empty: there are others in it
                        path.parent.rmdir() if path.parent != self.out else None
        self._write()
        self.others = {path for path in self.out.rglob("*") if path.is_file()}
        ranks.gather(None)  # all have cleared away and looked before one begins

    def path(self, name):
        """The path of a file that the run is about to write, listed as its own.

        FolderError if no run wrote a file of that name that is there, or if a link leads to a
        folder elsewhere: a run removes and searches nothing there.
        """
        path = self.out / name
        if not path.parent.resolve().is_relative_to(self.out.resolve()):
            raise FolderError(f"{path.parent}: found a link to another place, expected a "
                              f"folder in {self.out}")
        self.begin()
        if name not in self.files:
            if path in self.others:
                raise FolderError(f"{path}: found a file that no run wrote, "
                                  "expected none; move it away, then add --resume")
            self.files.append(name)
            self._write()
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def agree(self, made_by):
        """Note further settings of the run; CheckpointError if the run that is to continue
        had other ones."""
        self.made_by |= made_by
        if self.resume:
            both = self.earlier_by.keys() & self.made_by.keys()
            compare(self.record, *({key: one[key] for key in both}
                                   for one in (self.earlier_by, self.made_by)))

    def _worth(self):
        """-> "a finished" and the size of the run here; "an unfinished" for a --full run,
        whose hours count before its end; else None, None."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return "a finished", json.loads((self.out / "results.json").read_bytes())["size"]
        begun = any((self.out / name).exists() for name in self.earlier)
        return ("an unfinished", "full") if self.earlier_size == "full" and begun else (
            None, None)

    def _read(self):
        """-> made_by, files and size of the run that was here before."""
        try:
            found = json.loads(self.record.read_bytes())
            made_by, files = found["made_by"], found["files"]
            if not (isinstance(made_by, dict) and isinstance(files, list)
                    and {*map(type, files)} <= {str}):
                raise ValueError("no settings and files")
            return made_by, list(files), found.get("size")
        except FileNotFoundError:
            return {}, [], None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{self.record}: found damaged content ({error!r}), "
                                  "expected a run's settings; name another --out") from error

    def _write(self):
        with whole_file(self.record) as beside:
            beside.write_text(json.dumps({"size": self.size, "made_by": self.made_by,
                                          "files": self.files}, indent=1) + "\n",
                              encoding="utf-8")
