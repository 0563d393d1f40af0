"""The trials of a search: each run once, logged as it ends, spread over the ranks of torchrun.

A search that was killed continues: a trial in the logs is not run again. A trial that raises,
or whose score is not finite, is a recorded failure, not the end of the search. Each rank
writes its own log, so that none waits for another. A rank that dies loses only its current
trial. Checked in tests/test_tune.py.
"""

import copy
import json
import math
import os
import time
from pathlib import Path

from minidl.lab import ranks
from minidl.lab.progress import Line


class Trials:
    """Trials of objective(settings, budget) -> score, the lower the better; logs in `folder`.

    Called with a list of settings it gives a list of trials: {"settings", "budget", "score" or
    "failure", "seconds"}.
    """

    def __init__(self, objective, folder, made_by=""):
        """made_by: only trials of a log with this value are taken from it."""
        self.objective, self.folder, self.made_by = objective, Path(folder), made_by
        self.rank, self.size = ranks.rank_and_size()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"rank_{self.rank}.jsonl"
        if self.log.exists():  # without a last line that a kill or a full disk cut off
            os.truncate(self.log, self.log.read_bytes().rfind(b"\n") + 1)
        self.done = []  # every trial, in the order in which they were proposed
        self.known = self._gather(self._read_logs())

    def __call__(self, proposals, budget=None):
        """-> a trial for each of the settings."""
        wanted = [{"settings": settings, "budget": budget} for settings in proposals]
        keys = [_key(trial) for trial in wanted]
        new = {key: trial for key, trial in zip(keys, wanted, strict=True)
               if key not in self.known}
        own, line = {}, Line()
        for key in list(new)[self.rank::self.size]:
            line.update(f"{self.folder.name}  trial {len(self.known) + len(own) + 1}")
            own[key] = self._run(dict(new[key]))
        line.clear()
        self.known |= self._gather(own)
        # a log has lists for tuples: the settings are those that were given
        found = [self.known[key] | trial for key, trial in zip(keys, wanted, strict=True)]
        self.done += found
        return found

    def _run(self, trial):
        start = time.perf_counter()
        try:
            settings = copy.deepcopy(trial["settings"])  # its own, to change as it likes
            score = float(self.objective(settings, trial["budget"]))
            trial |= {"score": score} if math.isfinite(score) else {
                "failure": f"the score is {score}"}
        except OSError:  # the disk's failure, not the settings'
            raise
        except Exception as error:  # a trial's failure is a result, not the search's end
            trial["failure"] = f"{type(error).__name__}: {error}"
        trial["seconds"] = time.perf_counter() - start
        try:
            with self.log.open("a", encoding="utf-8", newline="\n") as log:
                log.write(json.dumps(trial | {"made_by": self.made_by}) + "\n")
        except OSError as error:
            error.filename = str(self.log)  # a full disk's error names no file
            raise
        return trial

    def _gather(self, trials):
        """The union over all ranks, each of which may have a disk of its own."""
        return {key: trial for one in ranks.gather(dict(trials)) for key, trial in one.items()}

    def _read_logs(self):
        """The whole lines of all logs; a line that a kill cut off is an unfinished trial."""
        found = {}
        for path in sorted(self.folder.glob("rank_*.jsonl")):
            for line in path.read_bytes().split(b"\n"):
                try:
                    trial = json.loads(line)
                    if trial.pop("made_by") == self.made_by and math.isfinite(
                            trial["seconds"]) and ("failure" in trial or math.isfinite(
                                trial["score"])):
                        found[_key(trial)] = trial
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    continue  # no whole trial
        return found


def _key(trial):
    return json.dumps({"settings": trial["settings"], "budget": trial["budget"]},
                      sort_keys=True)
