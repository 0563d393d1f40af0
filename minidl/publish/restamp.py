"""Does later code still make a kept result? `python assignments/run_all.py --restamp`.

The code of the result's last stamp and the present code run side by side on this machine. Each
setting that says what (network, rates, shares) has its kept value, each that says how much
(`flags.amounts`) its --quick value. If every number that both report is the same bit for bit,
the result gets "same_as", the present commit, and its claims the present words. Otherwise the
first number that differs is named, and the run that is due. Checked in tests/test_kept.py.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minidl.lab import flags, stamp
from minidl.publish import kept, readme


def restamp(names, root, data_dir=None):
    """Stamp the kept results of the scripts `names`, or all; yields a sentence for each."""
    if stamp.changed(root):
        yield (f"{root}: found changes that are in no commit, expected a clean tree; commit "
               "them, then restamp")
        return
    results = [content for content in readme.results(root)
               if not names or content["script"] in names]
    data_dir = Path(data_dir or os.environ.get("MINIDL_DATA") or Path(root, "data")).resolve()
    now = stamp.git(root, "rev-parse", "--short=12", "HEAD")
    with tempfile.TemporaryDirectory() as scratch:
        for commit in {now, *map(kept.shown_by, results)}:
            archive = f"{scratch}/{commit}.zip"
            if stamp.git(root, "archive", "--output", archive, commit) is not None:
                shutil.unpack_archive(archive, Path(scratch, commit))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            told = pool.map(lambda content: side_by_side(
                content, root, Path(scratch), now, data_dir), results)
            for content, words in zip(results, told, strict=True):
                yield f"{kept.path_of(root, content).name}: {words}"


def side_by_side(content, root, scratch, now, data_dir):
    """Run the code of then and of now -> what came of it, in words; stamps the result."""
    script, then = content["script"], kept.shown_by(content)
    if not Path(scratch, then).is_dir():
        return f"commit {then} is not here; fetch it, or run `{kept.command(content)}`"
    if not kept.older(content, root):
        return f"no file of it changed since {then}"
    main, sizes, _ = kept.declared(script, root)
    kept_settings, settings = content["settings"], flags.settings(main, sizes, "quick")
    for name in settings.keys() & kept_settings.keys() - set(flags.amounts(main)):
        settings[name] = kept_settings[name]
    of_then = parameters(Path(scratch, then, "assignments", f"{script}.py"))
    before = {name: value for name, value in (kept_settings | settings).items()
              if name in of_then}
    found = []
    for folder, given in ((then, before), (now, settings)):
        out = Path(scratch, f"{folder}-out-{content['size']}", script)
        if failure := ran(Path(scratch, folder), content, given, out, data_dir):
            return f"the code of {folder} fails: {failure}"
        found.append(json.loads((out / "results.json").read_text("utf-8")))
    moved, shared = first_difference(*(run["numbers"] for run in found))
    if moved:
        return f"{moved}; run `{kept.command(content)}`"
    content["same_as"] = {"commit": now, "checked": "at small amounts"}
    content["settings"] = {name: value for name, value in kept_settings.items()
                           if name in settings}
    reword(content.get("claims", []), *(run["claims"] for run in found))
    kept.write(root, content)
    return f"the same numbers as {then}, all {shared} of them"


def reword(claims, then, now):
    """Give kept claims today's sentences, if both codes make the same claims in this order."""
    if ([claim["claim"] for claim in claims] == [claim["claim"] for claim in then]
            and all(list(a["numbers"].values()) == list(b["numbers"].values())
                    and a["holds"] == b["holds"] for a, b in zip(then, now, strict=False))
            and len(then) == len(now)):
        for claim, today in zip(claims, now, strict=True):
            claim["claim"] = today["claim"]


def parameters(path):
    """The settings of a script, without running it; none where there is no such file."""
    text = path.read_text("utf-8") if path.is_file() else ""
    return [argument.arg for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and node.name == "main"
            for argument in node.args.args[1:]]


def ran(root, content, settings, out, data_dir):
    """Run a script of the project at `root` -> why it failed, or ""."""
    argv = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    if content["data"].replace("-", "").isalnum():  # a data set, not a script's own points
        argv += ["--data", content["data"], "--data-dir", str(data_dir)]
    done = subprocess.run(
        [sys.executable, f"assignments/{content['script']}.py", "--quick", "--device", "cpu",
         "--seed", str(content["seed"]), *argv, "--out", str(out)],
        cwd=root, capture_output=True, text=True, encoding="utf-8", errors="replace",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)})
    said = (done.stderr or done.stdout).strip().splitlines()
    return (said[-1] if said else "no word") if done.returncode else ""


def first_difference(then, now):
    """-> the first number that both report and that moved, in words ("" where none did), and
    how many both report."""
    shared = [name for name in then if name in now and then[name]["unit"] != "s"]
    for name in shared:
        for part in ("value", "std"):
            a, b = then[name].get(part), now[name].get(part)
            if a is not None and b is not None and a != b:
                moved = f"{name} ({part}) moved from {a!r} to {b!r}, by {b - a:.3g}"
                return moved, len(shared)
    return "" if shared else "no number is reported by both", len(shared)
