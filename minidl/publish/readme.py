"""The tables of README.md and results/README.md, written from the kept results.

    python assignments/run_all.py --ledger        writes both from results/*.json

No number in them is typed by hand: sheets.HEADLINES names those of a script. They are taken
from its kept result and formatted here by their unit. Checked in tests/test_readme.py.
"""

import json
from pathlib import Path

from minidl.files import whole_file
from minidl.publish import sheets

BEGIN, END = "<!-- ledger: python assignments/run_all.py --ledger -->", "<!-- /ledger -->"
FORMS = {  # the beginning of a unit -> a number's format, and what stands after it
    "fraction": (".2%", ""), "nats": (".2f", " nats"), "validation, nats": (".0f", " nats"),
    "mean (": (".5f", ""),
    "mean |": (".4f", ""), "dB": ("+.2f", " dB"), "squared Frechet": (".1f", ""),
    "classes": (".0f", ""), "layers": (".0f", ""), "steps": (".0f", ""),
    "train": (",.0f", ""), "": (".3g", "")}
PICTURES = {  # script -> its figure that is kept, and the words for a reader who cannot see it
    "ex2_conv_ae": ("digits", "Ten test images of MNIST, their reconstructions by the "
                    "autoencoder from a 12-dimensional code, and by PCA with 12 components"),
    "hw2_vae": ("plane", "Digits decoded all over the plane of a variational autoencoder's "
                "two latents"),
    "hw2_latent_space": ("codes_t_SNE_2_D", "Test images of Fashion-MNIST placed by t-SNE of "
                         "an autoencoder's codes"),
    "hw2_gan": ("samples_over_time", "Clothes that a GAN generates from the same codes, epoch "
                "by epoch"),
    "hw1_features": ("activation_maximisation", "Inputs that maximise a network's score for "
                     "each kind of clothing")}
INTRODUCTION = """# The kept results

Written by `python assignments/run_all.py --ledger` from the files in this folder.
`<script>.json` is a finished default run, `<script>_full.json` a finished `--full` run. Each
file has the run's numbers, settings and seed, the versions, and the commit that trained it.

A value "a ± b" is a mean over several seeds (over folds, where cross-validated) and the sample
standard deviation. A number without ± comes from one seed. A paired gain is the mean of the
differences, seed by seed. S3.2 is an item of sheet S3, here exercise 2. Theory that no sheet
asks for is listed in [theory/README.md](../theory/README.md)."""


def results(root):
    """The kept results, in the order of their names."""
    return [json.loads(path.read_text("utf-8"))
            for path in sorted(Path(root, "results").glob("*.json"))]


def kept(root):
    """script -> the content of results/<script>_full.json, else of results/<script>.json."""
    found = sorted(results(root), key=lambda content: content["size"] == "full")
    return {content["script"]: content for content in found}


def picture(script):
    """Where the small copy of a script's figure is kept, in the repository."""
    return f"results/{script}_{PICTURES[script][0]}.png"


def beginnings(root):
    """The README's table: a sheet, where to begin, minutes of the run, its best number."""
    results = kept(root)
    lines = ["| sheet | begin with | minutes | result |", "|---|---|---|---|"]
    for sheet, script in sheets.BEGIN.items():
        content = results.get(script)
        minutes = f"{content['seconds'] / 60:.0f}" if content else ""
        lines.append(f"| {sheets.SHEETS[sheet]} | [`{script}`](assignments/{script}.py) | "
                     f"{minutes} | {headline(script, content)} |")
    return "\n".join(lines)


def ledger(root):
    """results/README.md: for each item of a sheet its scripts and proofs with their numbers,
    then the pictures that are kept."""
    results, shown, answers = kept(root), set(), sheets.answers(root)
    lines = [INTRODUCTION]
    for sheet, title in sheets.SHEETS.items():
        lines += [f"\n## {title}\n", "| item | asked for | script or proof | result |",
                  "|---|---|---|---|"]
        for item in (item for item in sheets.ITEMS if item.startswith(sheet)):
            first = f"{item} | {sheets.ITEMS[item]}"
            for path in answers.get(item, ()):
                new = path.stem not in shown and sheets.home(path.stem) in (item, None)
                numbers = headline(path.stem, results.get(path.stem), "") if new else ""
                shown |= {path.stem} if new else set()
                link = f"[`{path.stem}`](../{path.relative_to(root).as_posix()})"
                lines.append(f"| {first} | {link} | {numbers} |")
                first = " | "
        lines += [f"| {item} | {words} |  |  |" for item, words in sheets.NOT_OURS.items()
                  if item.startswith(sheet)]
    lines += [f"\n![{words}]({Path(picture(script)).name})"
              for script, (_, words) in PICTURES.items()
              if Path(root, picture(script)).is_file()]
    return "\n".join(lines) + "\n"


def headline(script, content, folder="results/"):
    """The numbers that stand for a script, and the size of the run that found them."""
    if not content:
        return ""
    numbers, size = content["numbers"], content["size"].replace("full", "`--full`")
    found = [f"{words} {number(name, numbers[name])}"
             for name, words in sheets.HEADLINES.get(script, {}).items() if name in numbers]
    file = f"{folder}{script}{'_full' if content['size'] == 'full' else ''}.json"
    return f"{', '.join(found)} ([{size}]({file}))"


def number(name, entry):
    """A number in its unit's form, with its deviation over seeds where it has one."""
    form, after = next(told for unit, told in FORMS.items() if entry["unit"].startswith(unit))
    value, std = entry["value"], entry.get("std")
    if name.startswith("paired") and form == ".2%":  # a difference of shares is no share
        value, std, form, after = 100 * value, std and 100 * std, "+.2f", " points"
    spread = f" ± {format(std, form.lstrip('+'))}" if std else ""
    return format(value, form) + spread + after


def write(root):
    """Write the table into README.md, in place of the one that is there, and the ledger."""
    path = Path(root, "README.md")
    before, _, after = parts(path.read_text("utf-8"))
    with whole_file(path) as new:
        new.write_text(f"{before}{BEGIN}\n\n{beginnings(root)}\n\n{END}{after}", "utf-8")
    with whole_file(Path(root, "results", "README.md")) as new:
        new.write_text(ledger(root), "utf-8")


def parts(text):
    """The README before, between and after the two markers."""
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between.strip(), after
