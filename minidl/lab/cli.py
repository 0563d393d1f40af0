"""A script's command line, out of the signature of its main.

    def main(run, latent: "dimension of the code" = 12, epochs: "passes; amount" = 11):
        ...

    if __name__ == "__main__":
        cli.start(main, data="mnist", quick={"epochs": 1}, full={"epochs": 60})

minidl/lab/flags.py says what an annotation may hold. `quick` and `full` are the settings that
--quick and --full change; a flag given by hand wins over both. Checked in tests/test_cli.py.
"""

import argparse
import contextlib
import inspect
import os
import re
import shlex
import sys
import textwrap
from pathlib import Path

import torch

from data_download import DownloadError, replace_unprintable
from minidl import UserError
from minidl.files import alone
from minidl.lab import flags as flags_of
from minidl.lab import notebook, ranks
from minidl.lab.run import Run, RunError

SIZES = {"quick": "a test that it runs: at most 10 s on 2 cores",
         "default": "an honest answer: 5 minutes on 2 cores, 7 without bfloat16",
         "full": "the best number"}
DEVICES = ["auto", "cpu", "cuda", "mps", "xpu"]


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        # argparse would print its whole usage first; one sentence helps more
        self.exit(2, f"{self.prog}: {message} (--help lists the flags)\n")


def start(main, **how):
    """Run main(run, **settings) with the command line's settings, see `_start`.

    In a notebook, an exit would print a traceback below the sentence with the reason.
    """
    try:
        _start(main, **how)
    except SystemExit:
        if not notebook.shell():
            raise


def _start(main, *, data=None, quick=None, full=None, argv=None):
    """Run main(run, **settings).

    Exit status: 0; 2 and one sentence for a mistake of the user; 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    replace_unprintable()
    script = Path(inspect.getfile(main))
    sizes = {"quick": quick or {}, "full": full or {}}
    flags, settings = _parse(main, script.name, sizes, data, argv)
    out = flags.out or Path("outputs", script.stem)
    try:
        # numbers below 1e-38, as in Adam's means for dead units, count as 0: a processor is
        # many times slower with them
        torch.set_flush_denormal(True)
        with mistakes(script.name, out):
            ranks.join()
            device = _device(flags.device)
            with _own(out), ranks.silent_but_for_the_first():
                run = Run(script.stem, flags.size, settings, device=device, seed=flags.seed,
                          sheet_data=data, data=flags.data, data_dir=flags.data_dir,
                          resume=flags.resume, out=out)
                main(run, **settings)
                run.finish()
            ranks.leave()
    except KeyboardInterrupt:
        sys.stdout.flush()
        again = [a for a in argv if a != "--resume"] + ["--resume"]
        print(f"\nStopped. To continue from the last whole epoch: python {sys.argv[0]} "
              f"{shlex.join(again)}", file=sys.stderr)
        sys.exit(130)
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def mistakes(program, out):
    """End the program with status 2 and one sentence for what its user can correct."""
    try:
        yield
    except Exception as error:
        words = _sentence(error, out)
        if words is None:
            raise
        with contextlib.suppress(OSError):  # a full disk may be where the output goes, too
            sys.stdout.flush()
        print(f"{program}: {words}", file=sys.stderr)
        sys.exit(2)


def _sentence(error, out):
    """A sentence for an error that the user can correct; None for an error of the code."""
    if isinstance(error, (UserError, DownloadError)):
        return str(error)
    if isinstance(error, OSError):  # the disk's, as where it is full
        return (f"{error.filename or out}: found '{error.strerror or error}', expected room "
                "to read and write")
    no_room = re.search("can't allocate|out of memory|[oO]verflow", str(error))
    if isinstance(error, MemoryError) or (no_room and isinstance(
            error, (RuntimeError, TypeError))):  # torch has a kind of its own for each device
        return ("found settings that need more memory than there is, expected smaller ones "
                f"({textwrap.shorten(str(error), 100, placeholder=' ...')})")
    return None


@contextlib.contextmanager
def _own(out):
    """Make the folder `out`; inside the block, only this run (all its ranks) writes to it."""
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):  # asked before anything is cleared away in it
        raise RunError(f"--out {out}: found a folder that cannot be written to, expected room "
                       "for results")
    first = ranks.rank_and_size()[0] == 0
    with alone(out) if first else contextlib.nullcontext(True) as granted:
        if not all(ranks.gather(granted)):
            raise RunError(f"--out {out}: found another run that writes to this folder, "
                           "expected one at a time; wait for its end or name another folder")
        yield


def _parse(main, name, sizes, data, argv):
    """-> the common flags, and main's settings: signature, then size, then flags by hand."""
    parameters = flags_of.parameters(main)
    parser = _Parser(prog=name, description=inspect.getmodule(main).__doc__,
                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    _add_common(parser, data)
    group = parser.add_argument_group("settings")
    for p in parameters:
        shown = ", ".join([f"default {p.default}", *(
            f"{size} {settings[p.name]}" for size, settings in sizes.items()
            if p.name in settings)])
        group.add_argument(f"--{p.name.replace('_', '-')}", type=flags_of.reader(p),
                           default=argparse.SUPPRESS, metavar=type(p.default).__name__.upper(),
                           help=f"{flags_of.words(p)} ({shown})".replace("%", "%%"))
    flags = parser.parse_args(argv)
    by_hand = {p.name: getattr(flags, p.name) for p in parameters if hasattr(flags, p.name)}
    return flags, flags_of.settings(main, sizes, flags.size) | by_hand


def _add_common(parser, data):
    group = parser.add_argument_group("size").add_mutually_exclusive_group()
    for size, help in SIZES.items():
        if size != "default":
            group.add_argument(f"--{size}", dest="size", action="store_const", const=size,
                               default="default", help=help)
    add = parser.add_argument_group("every script").add_argument
    add("--device", choices=DEVICES, default="auto", help="(default auto)")
    add("--seed", type=_seed, default=0, metavar="INT",
        help="random seed of weights, order and validation split (default 0)")
    if data:
        embedded, others = (
            ("the embedded corpus", "imdb, embedded, or a folder with train/neg, train/pos, "
             "test/neg and test/pos") if data == "imdb" else
            ("the embedded glyphs", "mnist, fashion-mnist, glyphs, or a folder with four IDX "
             "files"))
        add("--data", default="auto", metavar="SET",
            help=f"auto ({data}, or {embedded} where it cannot be loaded), {others} "
                 "(default auto)")
        add("--data-dir", type=Path, metavar="DIR",
            help="folder of the data sets (default $MINIDL_DATA, else data/)")
    else:
        parser.set_defaults(data=None, data_dir=None)
    add("--out", type=Path, metavar="DIR", help="output folder (default outputs/SCRIPT)")
    add("--resume", action="store_true", help="continue from the last whole epoch in --out")


def _seed(text):
    """A whole number that torch accepts as a seed."""
    if text.isdecimal() and int(text) < 2**63:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"found {text!r}, expected a whole number of at least 0 and below 2^63")


def _device(wanted):
    """The device of this name; auto: the accelerator that torch finds, else the CPU."""
    there = torch.accelerator.is_available()
    found = torch.accelerator.current_accelerator() if there else None
    if wanted not in ("auto", "cpu", found and found.type):
        other = found.type if found else "no such device"
        raise RunError(f"--device {wanted}: torch finds {other}, expected a device that is "
                       "there, cpu or auto")
    if wanted == "cpu" or found is None:
        return torch.device("cpu")
    if found.type == "cuda":
        number = int(os.environ.get("LOCAL_RANK", 0))  # among torchrun's processes here
        return torch.device("cuda", number % torch.cuda.device_count())
    return torch.device(found.type)
