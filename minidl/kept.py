"""results/: the runs that the README's numbers are of, each of the code of now.

    results/<script>.json            a finished run's results.json
    results/<script>_<figure>.png    a small copy of one figure, of a few scripts

Kept is a run on the sheet's own data, with a size's own settings, of code that has not changed
since; --full goes before the default. Checked in tests/test_ledger.py.
"""

import io
import json
import runpy
from pathlib import Path
from unittest import mock

import matplotlib.image
import numpy as np

from minidl import cli, ledger, readme
from minidl.files import whole_file

SIZES = {"default": "", "full": " --full"}  # the lesser first; --quick tells nothing
MOST = 60_000  # bytes of a picture
LEVELS = 16    # of each colour, enough for drawings and small grey images


def keep(out, root):
    """Copy the runs in the folder `out` to results/ -> sentences on what was not kept."""
    told, before = [], readme.kept(root)
    for row in readme.ROWS:
        file = Path(out, row.script, "results.json")
        if not row.script or not file.is_file():
            continue
        content, there = json.loads(file.read_text("utf-8")), before.get(row.script)
        if reason := reason_against(row.script, content, root):
            told.append(f"{file} is not kept: {reason}")
        elif there and rank(there) > rank(content) and not older(there, root):
            told.append(f"{file} is not kept: there is a larger run of the same code")
        else:
            with whole_file(Path(root, "results", f"{row.script}.json")) as path:
                path.write_bytes(file.read_bytes())
            keep_picture(row, file.parent, root)
    return told


def rank(content):
    """0 for the default, 1 for --full."""
    return list(SIZES).index(content["size"])


def reason_against(script, content, root):
    """Why a run is not to be kept, and what makes one that is; "" where it is."""
    again = command(content)
    if content["size"] not in SIZES:
        return f"it is of size {content['size']}; run `{again}`"
    data, settings = own_settings(script, content["size"], root)
    if data and content["data"] != data:
        return f"its data are {content['data']}, the sheet's {data}; run `{again}`"
    if changed := older(content, root):
        return f"it is older than {', '.join(changed)}; run `{again}`"
    if other := [name for name in settings if settings[name] != content["settings"][name]]:
        return f"{', '.join(other)} set by hand; run `{again}`"
    return ""


def own_settings(script, size, root):
    """-> the sheet's data (None: the script's own), and the settings of a size: what the
    script's last line says to cli.start, which is not started here."""
    with mock.patch.object(cli, "start") as start:
        runpy.run_path(str(Path(root, "assignments", f"{script}.py")), run_name="__main__")
    (main,), sizes = start.call_args
    return sizes.pop("data", None), cli.settings(main, sizes, size)


def command(content):
    """What makes a run anew, in its size."""
    return f"python assignments/{content['script']}.py{SIZES.get(content['size'], '')}"


def older(content, root):
    """The files that changed since a run; the script, where the run tells no code."""
    now = ledger.code_of(content["script"], root)
    then = content.get("code") or now | {f"assignments/{content['script']}.py": ""}
    return sorted(file for file in now | then if now.get(file) != then.get(file))


def stale(root):
    """A sentence for each kept result that is older than its code."""
    return [f"results/{script}.json is older than {', '.join(changed)}: run "
            f"`{command(content)}`, then `python assignments/run_all.py --ledger`"
            for script, content in readme.kept(root).items()
            if (changed := older(content, root))]


def keep_picture(row, folder, root):
    """A small copy of the row's figure, for those whose figures are kept."""
    if row.script in readme.PICTURES:
        figure, path = folder / f"{row.figure}.png", Path(root, readme.picture(row))
        path.unlink(missing_ok=True)  # another run's
        if figure.is_file():
            with whole_file(path) as new:
                new.write_bytes(small(figure))


def small(figure):
    """A PNG of at most MOST bytes: as it is, or in few colours and as large as may be."""
    content, pixels, k = figure.read_bytes(), matplotlib.image.imread(figure)[..., :3], 1
    while len(content) > MOST:
        k += 1
        H, W = (n // k for n in pixels.shape[:2])
        x = pixels[:H * k, :W * k].reshape(H, k, W, k, 3).mean((1, 3))  # k x k pixels to one
        buffer = io.BytesIO()
        matplotlib.image.imsave(buffer, np.round(x * (LEVELS - 1)) / (LEVELS - 1),
                                format="png", metadata={"Software": None},
                                pil_kwargs={"optimize": True})
        content = buffer.getvalue()
    return content
