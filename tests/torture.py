"""Faults by the thousand: kills, full disks, mutated and malicious files, told in tables.

    python tests/torture.py                         50 kills, 20,000 mutated files
    python tests/torture.py --kills 5 --files 300   does it run
    python tests/torture.py --flags 300 --seed 1    nothing but so many command lines

Every kill is followed by a check that nothing is half-written, every round of kills by a run
to the end, whose files are those of an undisturbed run but for timings. Exit status 1 where
anything did not survive. The short form is tests/test_torture.py.
"""

import argparse
import functools
import gzip
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a second waits busily for work
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import commands  # noqa: E402
import faults  # noqa: E402
import killing  # noqa: E402
import mutating  # noqa: E402

import data_download  # noqa: E402
from minidl.data import review_sources  # noqa: E402


def caching(folder, resume):
    """The words of an archive of reviews; needs no --resume."""
    path = folder / "imdb" / "aclImdb_v1.tar.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(mutating.packed(mutating.TEXTS), 1, mtime=0))
    data_download.SETS["imdb"] = mutating.TINY
    review_sources._cached(path, print)


KILLED = {"run": faults.run, "caching": caching}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flags", type=int, nargs="?", const=300, metavar="N",
                        help="nothing but N command lines of the scripts, drawn by the seed")
    flags = parser.parse_args()
    parts = {"command lines": functools.partial(command_lines, flags)} if flags.flags else {
        **{f"kills of {name}": functools.partial(kills, work, flags)
           for name, work in KILLED.items()},
        **{name: functools.partial(disk, fault) for name, fault in faults.FAULTS.items()},
        **{f"mutated {name}": functools.partial(files, name, flags)
           for name in mutating.KINDS}}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="torture") as scratch:
        for name, part in parts.items():
            folder = Path(scratch, name)
            folder.mkdir()
            good, said = part(folder)
            wrong += not good
            print(f"{'ok   ' if good else 'WRONG'} {name}: {said}", flush=True)
    return wrong > 0


def kills(work, flags, folder):
    n = flags.kills // len(KILLED)
    wrong = killing.survives(work, n, random.Random(flags.seed), folder)
    return not wrong, "; ".join([f"{n} kills", *wrong])


def disk(fault, folder):
    status, said, _ = killing.finished(fault, folder)
    return not status, said.strip()


def files(name, flags, folder):
    found = mutating.mutate(name, flags.files // len(mutating.KINDS), flags.seed, folder)
    return found.keys() <= {"read", "refused"}, dict(found)


def command_lines(flags, folder):
    """Every odd end is printed with its command; -> how many ended with which status."""
    sets, source = commands.data_sets(folder), random.Random(flags.seed)

    def end(i):
        script, argv = lines[i]
        (folder / str(i)).mkdir()
        status, wrong = commands.outcome(script, argv, folder / str(i))
        if wrong:
            print(f"{script}.py {shlex.join(argv)}\n    {wrong}", flush=True)
        shutil.rmtree(folder / str(i), ignore_errors=True)
        return "WRONG" if wrong else f"status {status}"

    lines = [commands.line(source, sets, folder / str(i)) for i in range(flags.flags)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = Counter(pool.map(end, range(flags.flags)))
    return "WRONG" not in found, dict(found)


if __name__ == "__main__":
    sys.exit(main())
