r"""Run every script in one size; a script whose network others use comes before them.

    python assignments/run_all.py            about an hour on 2 CPU cores
    python assignments/run_all.py --quick    does every script run? 3 minutes
    python assignments/run_all.py --full     the best numbers: a night and a day
    python assignments/run_all.py --resume   continue where it was stopped or killed
    python assignments/run_all.py --ledger   no run: keep the finished runs in results/, write
                                             the tables of README.md and results/README.md
    python assignments/run_all.py --restamp  short runs: does the present code still give the
                                             numbers in results/?

Each script is a process of its own; its folder in outputs/ holds what it printed, log.txt.
Small networks gain little from a second core. So one script per core runs at a time, with one
thread each (--jobs); on a GPU, one script at a time. If a script fails, the others still run.
Failures are listed at the end, and the exit status is then 1.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import _path  # noqa: F401
import torch

from data_download import replace_unprintable
from minidl import UserError
from minidl.files import alone, lock, whole_file
from minidl.lab import cli
from minidl.lab.progress import Line, clock
from minidl.lab.results import markdown
from minidl.publish import kept, readme, restamp

HERE = Path(__file__).parent
STARTED = "\n$ python "  # in a log: here a script was started
# script -> the scripts whose trained networks it takes. Where there is a choice, the longest
# come first, so that none of them runs alone at the end
NEEDS = {
    "hw1_classification": (), "ex2_conv_ae": (), "hw2_conv_ae": (),
    "hw2_conv_ae_study": (), "hw2_vae": (), "hw2_simclr": (), "hw2_denoising": (),
    "ex2_conv_ae_study": (), "hw1_tuning": (), "hw2_vae_study": (), "asst8_rnn": (),
    "hw2_tuning": (), "hw2_report_vae": (), "hw2_report_vae_search": ("hw2_report_vae",),
    "hw2_simclr_study": (), "hw2_gan": ("hw1_classification",), "asst8_text_cnn": (),
    "hw2_gan_study": ("hw1_classification",), "ex2_classifier": (),
    "ex2_transfer": ("ex2_conv_ae",), "ex2_transfer_study": ("ex2_conv_ae",),
    "ex2_few_labels_study": (), "hw1_optimizers": (),
    "hw2_fine_tuning": ("hw2_conv_ae", "hw1_classification"),
    "ex2_few_labels": (), "hw1_regression": (),
    "ex2_classifier_decoding": ("ex2_conv_ae", "ex2_classifier"),
    "asst8_rnn_study": (), "asst8_fc_ae": (),
    "asst8_fc_ae_study": (), "asst8_conv_ae": ("asst8_fc_ae",),
    "hw1_features": ("hw1_classification",),
    "hw2_latent_space": ("hw2_conv_ae", "hw1_classification")}


def main(argv=None):
    """-> exit status: 0, 1 where a script failed, 130 after Ctrl-C; ends with 2 for a mistake
    of the user's."""
    replace_unprintable()
    flags, common = parse(argv)
    try:
        with cli.mistakes("run_all.py", flags.out):
            if flags.ledger:
                return ledger(flags.out)
            if flags.restamp is not None:
                for words in restamp.restamp(flags.restamp, HERE.parent, flags.data_dir):
                    print(words, flush=True)
                return 0
            return run_all(flags, common)
    except KeyboardInterrupt:
        print("\nStopped. The same command with --resume continues.", file=sys.stderr)
        return 130


def run_all(flags, common):
    """Run the scripts, print how long each took and why some failed -> exit status."""
    state_file = flags.out / "run_all.json"
    state = begun(state_file, flags.resume, common)
    started = time.perf_counter()
    flags.out.mkdir(parents=True, exist_ok=True)
    save(state, state_file)  # an earlier run's would pass for this one's
    failed = run_them(flags, common, state, state_file)
    rows = [{"script": name, "minutes": clock(seconds)}
            for name, seconds in sorted(state["seconds"].items(), key=lambda s: -s[1])]
    print(f"\n{markdown(rows)}\nAll together {clock(time.perf_counter() - started)}, "
          f"{flags.jobs} at a time.")
    for name, sentence in failed.items():
        print(f"FAILED {name}: {sentence} ({flags.out / name / 'log.txt'})")
    return bool(failed)


def begun(state_file, resume, common):
    """-> what a run has done so far: nothing, unless it continues an earlier one."""
    state = {"flags": common, "seconds": {}}
    if not state_file.exists():
        return state
    try:
        earlier = json.loads(state_file.read_bytes())
        found, _ = earlier["flags"], dict(earlier["seconds"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{state_file}: found a file that no run wrote, expected none; name "
                        "another --out") from error
    if resume and found != common:
        raise UserError(f"{state_file}: found {found}, expected a run with flags {common}; "
                        "without --resume it starts again")
    return earlier if resume else state


def parse(argv):
    """-> the flags, and those that each script is given."""
    parser = argparse.ArgumentParser(
        "run_all.py", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="does every script run?")
    size.add_argument("--full", action="store_true", help="the best numbers")
    parser.add_argument("--device", choices=cli.DEVICES, default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", metavar="DIR", help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=NEEDS, default=list(NEEDS),
                        metavar="SCRIPT", help="these scripts, by name")
    parser.add_argument("--jobs", type=int, help="scripts at a time")
    parser.add_argument("--resume", action="store_true", help="continue an earlier run")
    parser.add_argument("--ledger", action="store_true",
                        help="no run: keep the results of --out, write the README's tables")
    parser.add_argument("--restamp", nargs="*", choices=NEEDS, metavar="SCRIPT",
                        help="short runs of the old and the present code: are the numbers in "
                             "results/, of all or of these scripts, still the same?")
    flags = parser.parse_args(argv)
    if flags.jobs is None:
        alone = flags.device != "cpu" and torch.cuda.is_available()
        flags.jobs = 1 if alone else os.cpu_count()
    if flags.out.exists() and not flags.out.is_dir():
        parser.error(f"--out {flags.out}: found a file, expected a folder")
    if flags.jobs < 1:
        parser.error(f"--jobs: found {flags.jobs}, expected 1 or more")
    common = ["--device", flags.device, "--seed", str(flags.seed)]
    common += [f"--{size}" for size in ("quick", "full") if getattr(flags, size)]
    return flags, common + (["--data-dir", flags.data_dir] if flags.data_dir else [])


def run_them(flags, common, state, state_file):
    """Start what has all that it needs while there is room -> name -> why it failed."""
    waiting = [name for name in NEEDS if name in flags.only and name not in state["seconds"]]
    left = {*waiting} if flags.resume else set()
    total, running, failed, line = len(flags.only), {}, {}, Line()
    try:
        while waiting or running:
            blocked = {*waiting, *(name for name, _, _ in running.values())}
            left = {name for name in left if goes_on(flags.out / name)}
            for name in [n for n in waiting if not blocked & {*NEEDS[n]} and n not in left]:
                if len(running) + len(left) < flags.jobs:
                    waiting.remove(name)
                    process = start(name, flags, common)
                    running[process.pid] = name, process, time.perf_counter()
            for pid, (name, process, begun) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[pid]
                seconds = time.perf_counter() - begun
                if process.returncode:
                    failed[name] = last_line(flags.out / name / "log.txt")
                else:
                    state["seconds"][name] = round(seconds, 1)
                    save(state, state_file)
                done = len(state["seconds"]) + len(failed)
                line.done(f"{done:2d}/{total} {'FAILED' if process.returncode else 'done'} "
                          f"{name}  {clock(seconds)}")
            names = ", ".join([*(name for name, _, _ in running.values()),
                               *(f"{name} (left by a killed run)" for name in left)])
            line.update(f"{len(state['seconds']) + len(failed):2d}/{total} running: {names}")
            time.sleep(0.05)
    finally:  # after Ctrl-C no script continues alone
        for _, process, _ in running.values():
            process.terminate()
    return failed


def start(name, flags, common):
    """The process of a script; if the run is resumed, the script resumes its epochs, too."""
    folder = flags.out / name
    folder.mkdir(parents=True, exist_ok=True)
    threads = max(1, os.cpu_count() // flags.jobs)
    resume = ["--resume"] if flags.resume else []
    command = [sys.executable, HERE / f"{name}.py", *common, *resume, "--out", folder]
    with (folder / "log.txt").open("ab") as log:  # it may refuse: an earlier run's stays
        lock(log.fileno())  # the script's, too, as long as it has this file
        log.write(f"{STARTED}{shlex.join(map(str, command[1:]))}\n".encode())
        log.flush()
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads),
                 "PYTHONIOENCODING": "utf-8:replace"})


def goes_on(folder):
    """Does a script of an earlier run_all.py still run? It survives a kill -9 of run_all.py.
    It is waited for, since it would refuse a second run in its folder."""
    with alone(folder / "log.txt") as granted:
        return not granted


def ledger(out, root=HERE.parent):
    """Keep the finished runs, write the README's tables, say whose code has changed since."""
    told = kept.keep(out, root)
    readme.write(root)
    old = [script for script, content in readme.kept(root).items()
           if kept.older(content, root)]
    if old:
        told.append(f"Code has changed since {', '.join(old)}; "
                    "`python assignments/run_all.py --restamp` says if that matters")
    print(*told, f"Wrote {root / 'README.md'}", sep="\n")
    return 0


def last_line(log):
    """Why a script ended: the last line that it printed."""
    said = log.read_text("utf-8", errors="replace").rpartition(STARTED)[2]
    lines = [text for text in said.split("\n")[1:] if text.strip()]
    return lines[-1] if lines else "no word"


def save(state, state_file):
    with whole_file(state_file) as path:
        path.write_text(json.dumps(state, indent=1), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
