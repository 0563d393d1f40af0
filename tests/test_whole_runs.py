"""Every script, whole, on small data: it ends with its headline numbers and its figures, and
reads the test split once, after its last training step. One script of each kind of training is
stopped and resumed.

Only what a user is promised is checked here, not what a script says or how it is built. That
a training killed at any moment goes on to the same numbers: tests/test_run.py and
tests/test_torture.py, of any script.
"""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import hw1_regression
import pytest
import refuting
import torch
import whole_runs
from matplotlib import image

from minidl import tune
from minidl.data import grammar
from minidl.lab import plot
from minidl.publish import report, sheets

ROOT = Path(__file__).resolve().parents[1]
SMALL_VAE = ["--batch-size", "20", "--filters", "2", "--hidden", "16"]
SMALL_RNN = ["--reviews", "200", "--longest", "8"]
MNIST, FASHION, IMDB = "mnist", "fashion-mnist", "imdb"
TABLE = {  # script -> what its sheet asks for, small settings, the headlines of its results
    "ex2_conv_ae": (MNIST, ["--epochs", "2"], ["test_l1"]),
    "ex2_conv_ae_study": (MNIST, ["--epochs", "1", "--seeds", "1", "--images", "60"], []),
    "ex2_classifier": (MNIST, ["--epochs", "2"], ["test_accuracy"]),
    "ex2_classifier_decoding": (MNIST, ["--epochs", "2"], ["test_l1"]),
    "ex2_few_labels": (MNIST, [], ["test_accuracy_plain", "test_accuracy_best"]),
    "ex2_few_labels_study": (MNIST, ["--largest", "30"], []),
    "ex2_transfer": (MNIST, [], ["test_accuracy_plain", "test_accuracy_transfer",
                                 "paired_gain"]),
    "ex2_transfer_study": (MNIST, [], ["test_accuracy_stretch"]),
    "hw1_regression": (None, ["--points", "60", "--trials", "3", "--folds", "2"],
                       ["test_mse", "noise_floor_mse", "test_mse_untuned"]),
    "hw1_classification": (FASHION, ["--hidden", "32"],
                           ["test_accuracy_mlp", "test_accuracy_cnn"]),
    "hw1_features": (FASHION, ["--profiled", "60", "--steps", "4"], []),
    "hw1_optimizers": (FASHION, ["--rounds", "1", "--seeds", "1", "--rates", "1", "--images",
                                 "100", "--points", "20"], []),
    "hw1_tuning": (FASHION, ["--epochs", "1"], []),
    "hw2_conv_ae": (FASHION, ["--epochs", "1", "--fc-epochs", "1"],
                    ["test_mse", "test_mse_fully_connected", "pca_test_mse"]),
    "hw2_conv_ae_study": (FASHION, ["--filters", "2", "--hidden", "8"], []),
    "hw2_tuning": (FASHION, ["--subset", "60", "--filters", "2", "--hidden", "8"],
                   ["test_mse", "test_mse_untuned"]),
    "hw2_denoising": (FASHION, ["--filters", "2", "--hidden", "16"], ["psnr_gain_db"]),
    "hw2_fine_tuning": (FASHION, ["--rounds", "1", "--all-rounds", "1"], []),
    "hw2_latent_space": (FASHION, ["--points", "30", "--perplexity", "3", "--samples", "14"],
                         []),
    "hw2_gan": (FASHION, ["--filters", "2", "--samples", "20", "--batch-size", "20"],
                ["frechet_distance", "frechet_floor", "classes_covered",
                 "largest_class_share"]),
    "hw2_gan_study": (FASHION, ["--filters", "2", "--steps", "3", "--seeds", "2", "--samples",
                                "20"], []),
    "hw2_simclr": (FASHION, ["--epochs", "2", "--batch-size", "32", "--filters", "2"],
                   [f"probe_accuracy{rung}" for rung in
                    ("", "_raw_pixels", "_random", "_ae", "_supervised")]),
    "hw2_simclr_study": (FASHION, ["--subset", "40"], []),
    "hw2_vae": (MNIST, [*SMALL_VAE, "--epochs", "2", "--plane-epochs", "1"], ["test_nats"]),
    "hw2_vae_study": (MNIST, [*SMALL_VAE, "--subset", "60"], []),
    "hw2_report_vae": (MNIST, ["--epochs", "1", "--batch-size", "50"], ["test_nats"]),
    "hw2_report_vae_search": (MNIST, ["--subset", "60", "--population", "3"], []),
    "asst8_fc_ae": (MNIST, [], ["test_mse", "pca_test_mse"]),
    "asst8_conv_ae": (MNIST, ["--batch-size", "50"], ["test_mse", "pca_test_mse"]),
    "asst8_fc_ae_study": (MNIST, ["--batch-size", "50"], []),
    "asst8_rnn": (IMDB, SMALL_RNN, ["test_accuracy_last", "test_accuracy_best",
                                    "test_accuracy_unpacked"]),
    "asst8_rnn_study": (IMDB, SMALL_RNN, []),
    "asst8_text_cnn": (IMDB, ["--epochs", "1"], ["test_accuracy"])}
NEVER = {"hw1_features", "asst8_fc_ae_study", "asst8_rnn_study", "hw2_gan_study",
         "hw2_simclr_study", "hw2_vae_study"}  # validation alone


@pytest.fixture(scope="module", autouse=True)
def shortened():
    """A few reviews and a few steps between two looks; threads are put back."""
    texts, threads = list(grammar.texts(400, 80)), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grammar, "texts", lambda: texts)
        for script, name, few in (("ex2_few_labels", "ROUND", 2), ("ex2_transfer", "ROUND", 2),
                                  ("ex2_few_labels_study", "ROUND", 2),
                                  ("ex2_transfer_study", "ROUND", 2),
                                  ("hw2_fine_tuning", "EVERY", 3),
                                  ("hw2_gan_study", "AHEAD", (0, 2))):
            patch.setattr(f"{script}.{name}", few, raising=False)
        patch.setitem(hw1_regression.SPACE, "steps", tune.Choice((20, 40)))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The scripts' folders, side by side: a later one finds an earlier one's network."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def whole(module_folder, outputs):
    """name -> the script's WholeRun, made when it is asked for."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = whole_runs.watched(
                name, outputs / name, *command(name, module_folder), data=TABLE[name][0])
        return made[name]

    return run


def command(name, folder):
    data, argv, _ = TABLE[name]
    where = {None: [], IMDB: ["--data", "embedded"]}.get(data, ["--data", str(folder)])
    return [*where, *argv]


@pytest.mark.parametrize("item", sheets.ANSWERS)
def test_the_numbers_and_figures_that_answer_an_item_are_in_its_scripts_run(item, whole):
    script, *names = sheets.ANSWERS[item]
    content = whole(script).content
    found = {*content["numbers"], *(Path(file).stem for file in content["files"])}
    assert [name for name in names if name not in found] == [], sorted(found)
    shown = {Path(file).stem for file in content["files"]}
    assert shown & {*names}, f"a report shows a figure or a table of {item}"


def test_every_script_is_run_here():
    assert TABLE.keys() == sheets.HEADLINES.keys()


def test_every_item_has_an_answer_in_a_run_or_in_a_proof():
    proven = {item for path in ROOT.glob("theory/test_*.py") for _, item in sheets.tags(path)}
    assert sheets.ITEMS.keys() == sheets.ANSWERS.keys() | proven
    assert not sheets.ITEMS.keys() & sheets.NOT_OURS.keys()
    for item, (script, *_) in sheets.ANSWERS.items():
        tagged = {tag for _, tag in sheets.tags(ROOT / "assignments" / f"{script}.py")}
        assert item in tagged


@pytest.mark.parametrize("name", TABLE)
def test_a_script_ends_with_its_headlines_and_figures_and_reads_the_test_split_once_last(
        name, whole, outputs):
    content, events, _ = whole(name)
    for headline in TABLE[name][2]:
        assert math.isfinite(content["numbers"][headline]["value"]), headline
    assert content["numbers"] and any(file.endswith(".png") for file in content["files"])
    assert all((outputs / name / file).stat().st_size > 50 for file in content["files"])

    trains = "zero_grad" in (ROOT / f"assignments/{name}.py").read_text("utf-8")
    assert name == "hw1_regression" or "step" in events or not trains
    tests = events.count("test")
    if name != "hw1_regression":  # whose test points are made with the others
        assert tests == (name not in NEVER), tests
        assert name in NEVER or events[-1] == "test"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_a_report_has_letters_of_7_points_and_where_the_sheet_says_so_six_pages(
        sheet, whole, outputs, tmp_path):
    """With all claims, as if each held. The letters of a figure have 7 points or more at its
    own size (tests/test_plot.py), and none is set smaller, or wider than the text."""
    for script in {script for item, (script, *_) in sheets.ANSWERS.items()
                   if item.startswith(sheet)}:
        content = whole(script).content
        for file in content["files"]:
            target = tmp_path / script / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(outputs / script / file, target)
        claims = [claim | {"holds": True} for claim in content["claims"]]
        target.with_name("results.json").write_text(json.dumps(content | {"claims": claims}))
    folder = tmp_path / "report"
    report.Report(ROOT, tmp_path, sheet, folder).write()
    done = subprocess.run(["pdflatex", "-halt-on-error", "report.tex"], cwd=folder,
                          capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    (page,) = re.findall(r"newlabel{appendix}{{\w*}{(\d+)}",
                         (folder / "report.aux").read_text())
    assert sheet not in ("S0", "S1") or int(page) - 1 <= 6
    assert max(map(float, re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)),
               default=0) < 10
    for part in set(folder.glob("parts/*.tex")) - {folder / "parts/appendix.tex"}:
        for width, name in re.findall(r"\[width=([\d.]+)in\]{(.*?)}", part.read_text()):
            drawn = image.imread(folder / name).shape[1] / plot.STYLE["savefig.dpi"]
            assert float(width) > drawn - 0.02, name  # a pixel


@pytest.mark.parametrize("name", TABLE)
def test_other_numbers_would_make_each_claim_false(name, whole):
    for sentence, *claim in whole(name).claims:
        assert refuting.refuted(*claim), sentence


@pytest.mark.parametrize(("name", "epochs"), [
    ("ex2_few_labels_study", 8), ("asst8_conv_ae", 6), ("hw2_gan", 3), ("hw2_vae", 2),
    ("asst8_rnn", 3)])
def test_stopped_in_the_middle_and_resumed_it_ends_as_if_left_alone(
        name, epochs, whole, module_folder, tmp_path, interrupted):
    """Many short trainings; a network that is borrowed
    or, here, trained; two players; a schedule of the loss; reviews of uneven lengths."""
    argv, data = command(name, module_folder), TABLE[name][0]
    with interrupted(epochs):
        whole_runs.start(name, tmp_path, *argv, data=data)
    resumed = whole_runs.start(name, tmp_path, *argv, "--resume", data=data)
    assert resumed["numbers"] == whole(name).content["numbers"]


@pytest.mark.parametrize(("name", "flag", "value"), [
    ("ex2_conv_ae", "--latent", "784"), ("ex2_conv_ae", "--batch-size", "1"),
    ("hw1_classification", "--batch-size", "1"), ("hw1_regression", "--folds", "1"),
    ("hw1_tuning", "--folds", "21"), ("hw1_regression", "--folds", "61"),
    ("hw2_tuning", "--folds", "1"), ("hw2_gan", "--samples", "1"),
    ("hw2_simclr", "--tau", "0"), ("hw2_latent_space", "--perplexity", "30"),
    ("asst8_text_cnn", "--narrowest", "6"), ("asst8_text_cnn", "--word-dropout", "1")])
def test_a_setting_that_cannot_work_is_one_sentence_that_names_it(
        name, flag, value, module_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        whole_runs.start(name, tmp_path, *command(name, module_folder), flag, value,
                         data=TABLE[name][0])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1 and flag in said, said
    assert value in said or "expected" in said
