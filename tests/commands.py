"""Command lines drawn at random: each ends with status 0, or 2 and one sentence.

Every flag of every script, with values at, below and above its bounds and of other types, on
data sets that are tiny, odd, damaged or not there; always --quick. Status 2 comes before any
training, but for a training that diverges. Used in tests/torture.py --flags.
"""

import math
import os
import resource
import signal
import sys
from pathlib import Path
from unittest import mock

import killing
import torch
import whole_runs

from minidl.lab import cli, flags
from minidl.publish import kept

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "assignments").glob("*_*.py")
                 if path.stem not in ("_path", "run_all"))
TOO_LONG = 900  # seconds, for what takes some 5 alone
MEMORY = 2**33  # bytes: beyond, a network is too large for this machine
DIVERGED = "is the usual remedy"  # the end of the sentence of a training that diverges
ODD = ["x", "", "nan", "inf", "-inf", "1e400", "1.5", "-1", "-0.0", "0", "9" * 400, "1e-300"]


# --- data sets ------------------------------------------------------------------------------

IMAGES = {
    **{f"{n}_images": {"n": n, "tests": 4} for n in (0, 1, 3, 4, 12, 40)},
    "two_images_each": {"n": 4, "tests": 4, "classes": [0, 1]},
    "one_class": {"classes": [3]}, "two_classes": {"classes": [0, 200]},
    "letters": {"n": 260, "classes": range(1, 27)}, "one_test_image": {"tests": 1},
    "no_test_image": {"tests": 0}, "uneven": {"classes": [0] * 30 + [1, 2]},
    "black": {"change": lambda x: 0 * x}, "white": {"change": lambda x: 0 * x + 255},
    "alike": {"change": lambda x: x[:1].repeat(len(x), 0)},
    "wide": {"change": lambda x: x[:, :, 1:]}, "plain": {}, "name $_^$ {x}": {}}
REVIEWS = {"one_each": ["good"], "empty": [""] * 5, "alike": ["a film"] * 8, "plain": [
    f"{'a long film ' * i} number {i}" for i in range(12)], "long": ["word " * 3000] * 3}
POINTS = {"line": [f"{i},{2 * i}" for i in range(60)], "alike": ["7.3,1"] * 60,
          "few": ["1,2"] * 3, "ten": [f"{i},{i * i}" for i in range(10)], "empty": [],
          "far": [f"{1e14 + i},{i}" for i in range(40)], "words": ["a,b"] * 20}


def data_sets(folder):
    """Write them all -> what the sheets ask for -> the folders."""
    for name, settings in IMAGES.items():
        whole_runs.write_images(folder / "images" / name, **settings)
    for name, texts in REVIEWS.items():
        for kind in ("train/neg", "train/pos", "test/neg", "test/pos"):
            (folder / "reviews" / name / kind).mkdir(parents=True)
            for i, text in enumerate(texts):
                path = folder / "reviews" / name / kind / f"{i}_1.txt"
                path.write_text(f"{text} {kind[-3:]}", encoding="utf-8")
    (folder / "points").mkdir()
    for name, lines in POINTS.items():
        (folder / "points" / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    return {kind: sorted(map(str, (folder / kind).iterdir()))
            for kind in ("images", "reviews", "points")}


# --- command lines --------------------------------------------------------------------------

def value(parameter, amount, source):
    """A value for a flag: in its bounds, at them, beyond them, or of another type."""
    low, high, choices = flags._bounds(parameter)
    kind = type(parameter.default)
    if kind is str:
        return source.choice([*choices, parameter.default, *ODD])
    step = 1 if kind is int else 1e-3
    beyond = source.random() < 0.25
    if amount:  # more of it is no mistake, and takes hours
        return str(source.choice([low - step, source.choice(ODD)] if beyond else
                                 [low, low + step, low + 2 * step]))
    if beyond:
        far = high + step if high < math.inf else 1e30
        return str(source.choice([low - step, far, source.choice(ODD)]))
    large = low + 2 * step if high in (math.inf, flags.LARGEST) else high  # else it is slow
    return str(source.choice([low, low + step, parameter.default, large]))


def line(source, sets, scratch):
    """-> a script's name, and its command line."""
    script = source.choice(SCRIPTS)
    main, sizes, data = kept.declared(script, ROOT)
    parameters, quick = flags.parameters(main), flags.settings(main, sizes, "quick")
    argv = ["--quick", "--out", str(scratch / "out")]
    kind = {"imdb": "reviews", None: "points"}.get(data, "images")
    found = source.choice(sets[kind])
    if data:
        wrong = ["nowhere", "", "mnits", str(scratch)]
        argv += ["--data", source.choice(wrong if source.random() < 0.1 else [found])]
    elif source.random() < 0.7:
        argv += ["--csv", found]
    for p in source.sample(parameters, min(len(parameters), source.choice((0, 0, 1, 1, 2)))):
        amount = p.name in flags.amounts(main) or quick[p.name] != p.default
        argv += [f"--{p.name.replace('_', '-')}={value(p, amount, source)}"]
    for flag, odd in (("seed", [*ODD, "7"]), ("device", ["cpu", "cuda", "mps", "x"]),
                      ("out", ["/dev/null", "/proc/x", sets["points"][0]]),
                      ("no-such-flag", ["1"])):
        if source.random() < 0.03:
            argv += [f"--{flag}={source.choice(odd)}"]
    return script, argv + ["--resume"] * (source.random() < 0.1)


def run(script, argv, folder):
    """Run a script in this process, which ends with its status."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(TOO_LONG)
    os.chdir(folder)
    backward = torch.Tensor.backward

    def noted(self, *args, **options):
        Path(folder, "trained").touch()
        return backward(self, *args, **options)

    with mock.patch.object(torch.Tensor, "backward", noted):
        main, sizes, data = kept.declared(script, ROOT)
        sys.argv[0] = f"{script}.py"
        cli.start(main, data=data, **sizes, argv=argv)


def outcome(script, argv, folder):
    """-> status, and "" or what is wrong with how it ended."""
    status, said, _ = killing.finished(run, script, argv, folder)
    last = said.strip().rpartition("\n")[2]
    if status not in (0, 2):
        return status, "HANGS" if status == -signal.SIGALRM else f"status {status}: {last}"
    if status == 2 and not last.startswith(f"{script}.py: "):
        return 2, f"no sentence at the end: {last}"
    if status == 2 and (folder / "trained").exists() and not last.endswith(DIVERGED):
        return 2, f"after training: {last}"
    return status, ""
