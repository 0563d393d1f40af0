"""Faults by the thousand: kills, full disks, mutated and malicious files, told in tables.

    python tests/torture.py                         50 kills, 20,000 mutated files
    python tests/torture.py --kills 5 --files 300   does it run

Every kill is followed by a check that nothing is half-written, every round of kills by a run
to the end, whose files are those of an undisturbed run but for timings. Exit status 1 where
anything did not survive. The short form is tests/test_torture.py.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a second waits busily for work
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "assignments")]

import faults  # noqa: E402
import killing  # noqa: E402
import mutating  # noqa: E402

from minidl.lab.results import markdown  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture") as scratch:
        good = [part(flags, Path(scratch)) for part in (kills, disks, files)]
    return not all(good)


def kills(flags, scratch):
    """Kills at random moments, as many of each kind."""
    rows, source = [], random.Random(flags.seed)
    with killing.kinds(scratch) as kinds:
        for i, (name, kind) in enumerate(kinds.items()):
            n, begun = (flags.kills + i) // len(kinds), time.perf_counter()
            (scratch / name).mkdir()
            survived, told = killing.survives(kind, n, source, scratch / name)
            rows.append({"kind": name, "kills": n, "survived": survived,
                         "seconds": round(time.perf_counter() - begun)})
            print(f"{name}: {survived} of {n} kills survived", *told, sep="\n", flush=True)
    total, survived = (sum(row[key] for row in rows) for key in ("kills", "survived"))
    print(f"\n{markdown(rows)}\n{survived} of {total} kills survived\n", flush=True)
    return survived == total


def disks(flags, scratch):
    """Disks that are full or read-only, clocks that go backwards."""
    rows = []
    for name, fault in faults.FAULTS.items():
        (scratch / name).mkdir()
        status, said, _ = killing.finished(fault, scratch / name)
        rows.append({"fault": name, "survived": not status, "said": said.strip()})
        print(f"{name}: {said}", flush=True)
    return all(row["survived"] for row in rows)


def files(flags, scratch):
    """Mutated files: a quarter of them of each kind that is asked for, and two kinds more."""
    rows = []
    for name in mutating.KINDS:
        kept = scratch / name
        kept.mkdir()
        n = flags.files // (4 if name in mutating.ASKED else 20)
        found = mutating.mutate(name, n, flags.seed, kept)
        unexpected = found.total() - found["read"] - found["refused"]
        rows.append({"file": name, "mutated": found.total(), "read right": found["read"],
                     "refused": found["refused"], "unexpected": unexpected})
        print(*(f"{name}: {said}" for said in found if said not in ("read", "refused")),
              sep="\n", end="", flush=True)
    total = sum(row["mutated"] for row in rows)
    unexpected = sum(row["unexpected"] for row in rows)
    print(f"{markdown(rows)}\n{unexpected} unexpected exceptions in {total:,} mutated files")
    return not unexpected


if __name__ == "__main__":
    sys.exit(main())
