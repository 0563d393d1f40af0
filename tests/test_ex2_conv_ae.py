"""assignments/ex2_conv_ae.py and its study: shapes, whole runs, killed and resumed."""

import itertools
import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import ex2_conv_ae
import ex2_conv_ae_study as study
import killing
import pytest
import torch
from torch import nn

from minidl import cli
from minidl.data import Split
from minidl.layers import layer_rows, parameter_count
from minidl.losses import l1
from minidl.results import slug

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "assignments" / "ex2_conv_ae.py"
QUICK = {"epochs": 2, "images": 240}


def without_timings(path):
    """results.json but for seconds, as bytes: what must repeat."""
    content = json.loads((path / "results.json").read_text())
    del content["seconds"]
    content["numbers"] = {k: v for k, v in content["numbers"].items() if v["unit"] != "s"}
    return json.dumps(content).encode()


def run(main, folder, out, *argv):
    cli.start(main, data="mnist", quick=QUICK, argv=["--quick", "--data", str(folder), "--out",
                                                     str(out), *argv])
    return json.loads((out / "results.json").read_text())


# --- the network ----------------------------------------------------------------------

@pytest.mark.parametrize(("latent", "filters"), [(12, 16), (5, 4)])
def test_the_encoder_gives_d_numbers_and_the_decoder_pixels_in_0_to_1(latent, filters):
    x = torch.rand(3, 1, 28, 28)
    z = ex2_conv_ae.Encoder(latent, filters)(x)
    x_hat = ex2_conv_ae.Decoder(latent, filters)(z)
    assert z.shape == (3, latent) and x_hat.shape == x.shape
    assert x_hat.min() >= 0 and x_hat.max() <= 1
    assert ex2_conv_ae.MLP(latent)(z).shape == (3, 10)


def test_the_parameters_are_the_sum_of_the_layers_by_hand():
    encoder = [1 * 16 * 9 + 16, 32, 16 * 32 * 9 + 32, 64, 32 * 64 * 9 + 64, 128,
               64 * 16 * 256 + 256, 512, 256 * 12 + 12]
    decoder = [12 * 256 + 256, 512, 256 * 64 * 16 + 64 * 16, 2 * 64 * 16,
               64 * 32 * 9 + 32, 64, 32 * 16 * 16 + 16, 32, 16 * 1 * 16 + 1]
    assert parameter_count(ex2_conv_ae.Encoder()) == sum(encoder)
    assert parameter_count(ex2_conv_ae.Decoder()) == sum(decoder)


def test_the_studys_base_is_the_scripts_network_layer_by_layer():
    script = nn.Sequential(ex2_conv_ae.Encoder(), ex2_conv_ae.Decoder())
    x = torch.rand(1, 1, 28, 28)
    assert layer_rows(study.build(**study.BASE), x) == layer_rows(script, x)


@pytest.mark.parametrize("change", [c for g in study.QUESTIONS.values() for c in g.values()])
def test_every_variant_of_the_study_restores_the_shape_through_d_numbers(change):
    model, x = study.build(**(study.BASE | change)), torch.rand(2, 1, 28, 28)
    assert model(x).shape == x.shape
    latent = (study.BASE | change)["latent"]
    assert f"B x {latent}" in [row["output shape"] for row in layer_rows(model, x[:1])]


def test_a_change_of_the_study_changes_the_network():
    tables = [str(layer_rows(study.build(**(study.BASE | c)), torch.rand(1, 1, 28, 28)))
              for g in study.QUESTIONS.values() for c in g.values()]
    assert len(set(tables)) == len(tables)


# --- the L1 collapse (a trap): black is a strong local optimum ------------------------

def test_the_black_image_is_the_best_constant_where_most_pixels_are_black():
    x = torch.zeros(1000, 1, 28, 28)
    x[:, :, :, :14] = (torch.rand(1000, 1, 28, 14) < 0.3).float()  # ink in 30% of them
    black = l1(torch.zeros_like(x), x).mean()
    for constant in (0.01, 0.1, 0.5, x.mean(dim=0, keepdim=True)):
        assert l1(torch.zeros_like(x) + constant, x).mean() > black


def test_no_gradient_leads_out_of_the_black_image_through_a_sigmoid():
    logit = torch.full((1, 1, 4, 4), -20.0, requires_grad=True)
    l1(torch.sigmoid(logit), torch.ones(1, 1, 4, 4)).sum().backward()
    assert logit.grad.abs().max() < 1e-8


@pytest.mark.parametrize(("constant", "expected"), [
    (0, True), (0.09, True), (-0.09, True), (0.11, False), (3, False), (-3, False)])
def test_collapsed_is_what_shows_no_ink_and_not_what_merely_has_a_large_error(
        constant, expected, generator):
    """A network that shows one grey, so many times the images' mean. Three times is further
    from the images than black is, and not black."""
    x = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8, generator=generator)
    ink = x.float().mean().item() / 255
    layer = nn.Conv2d(1, 1, 1).requires_grad_(False)
    layer.weight.zero_(), layer.bias.fill_(constant * ink)
    assert ex2_conv_ae.collapsed(layer, Split(x, torch.zeros(50))) == expected
    error = l1(layer(x / 255), x / 255).mean().item()
    assert not expected or 0.9 * ink < error < 1.1 * ink
    assert abs(constant) < 1 or error > 0.9 * ink  # by the error alone it would be black


# --- whole runs -----------------------------------------------------------------------

@pytest.fixture(scope="module")
def glyph_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def command(out, data_dir, *argv):
    return [sys.executable, str(SCRIPT), "--data", "glyphs", "--data-dir", str(data_dir),
            "--out", str(out), "--quick", "--images", "480", "--epochs", "6", *argv]


@pytest.fixture(scope="module")
def alone(glyph_dir, tmp_path_factory):
    """The run that was left alone, as a new user would start it, and what it printed."""
    out = tmp_path_factory.mktemp("alone")
    done = subprocess.run(command(out, glyph_dir), capture_output=True, text=True, check=True,
                          cwd=out)
    return out, done.stdout


def test_the_script_prints_its_data_layers_epochs_findings_and_files(alone):
    out, said = alone
    lines = said.splitlines()
    assert lines[0].startswith("Data: embedded glyphs (digits, not MNIST), 440 training")
    assert "| sum " in said and "585,597" in said
    assert sum(line.startswith("autoencoder  epoch ") for line in lines) == 6
    findings = [line[2:] for line in lines if line.startswith("- ")]
    assert findings == json.loads((out / "results.json").read_text())["findings"] != []
    assert all("MNIST" not in f.replace("not MNIST", "") for f in findings)
    for name in ("loss.png", "digits.png", "best_median_worst.png", "layers.tex", "scores.md"):
        assert name in lines[-1] and (out / name).stat().st_size > 100


def test_results_json_has_the_headline_and_its_baselines(alone):
    content = json.loads((alone[0] / "results.json").read_text())
    numbers = {key: entry["value"] for key, entry in content["numbers"].items()}
    assert content["data"] == "glyphs-digits" and content["size"] == "quick"
    assert content["settings"]["latent"] == 12
    assert content["numbers"]["test_l1"]["unit"] == "mean |x - x_hat| per pixel"
    assert content["numbers"]["test_l1"]["n"] == 80
    assert numbers["median_image_test_l1"] < numbers["mean_image_test_l1"]
    assert 0 < numbers["PCA_test_l1"] < numbers["black_image_test_l1"] < 0.3


def test_the_same_command_twice_gives_the_same_results(alone, glyph_dir, tmp_path):
    subprocess.run(command(tmp_path, glyph_dir), capture_output=True, check=True)
    assert without_timings(tmp_path) == without_timings(alone[0])


def test_another_seed_gives_other_numbers(folder, tmp_path):
    a, b = (run(ex2_conv_ae.main, folder, tmp_path / seed, "--seed", seed, "--epochs", "1")
            for seed in "01")
    assert a["numbers"]["test_l1"] != b["numbers"]["test_l1"]


def again(out, data_dir, *argv):
    cli.start(ex2_conv_ae.main, data="mnist", **ex2_conv_ae.SIZES,
              argv=command(out, data_dir, *argv)[2:])


def test_killed_at_five_moments_and_resumed_it_is_as_if_left_alone(alone, glyph_dir, tmp_path):
    """kill -9 at five moments: before the first epoch's end, then one epoch later each."""
    moments = random.Random(0)
    for wanted in (0, 1, 1, 1, 1):
        process, lines = killing.start(again, tmp_path, glyph_dir, *["--resume"] * wanted)
        seen = 0
        for line in lines:
            seen += line.startswith("autoencoder  epoch")
            if (not wanted and line.startswith("| sum")) or (wanted and seen >= wanted):
                time.sleep(moments.uniform(0, 0.1))
                break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "results.json").exists()
    status, said, _ = killing.finished(again, tmp_path, glyph_dir, "--resume")
    assert not status and "epochs are in" in said
    assert without_timings(tmp_path) == without_timings(alone[0])


def test_it_learns_and_does_not_collapse(folder, tmp_path):
    content = run(ex2_conv_ae.main, folder, tmp_path, "--epochs", "30")
    numbers = {key: entry["value"] for key, entry in content["numbers"].items()}
    assert numbers["test_l1"] < numbers["median_image_test_l1"]
    assert not any("COLLAPSED" in finding for finding in content["findings"])


def test_a_loss_that_explodes_is_a_sentence_with_epoch_and_step(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(ex2_conv_ae.main, folder, tmp_path, "--learning-rate", "1e38", "--epochs", "5")
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert re.search(r"autoencoder  epoch \d/5, step \d+: (train|val)_l1 is nan, ", said)


@pytest.mark.parametrize(("script", "argv", "wanted"), [
    (ex2_conv_ae, ["--latent", "784"], "expected fewer numbers"),
    (ex2_conv_ae, ["--batch-size", "1"], "expected fewer numbers"),
    (study, ["--batch-size", "1"], "expected 2 or more, for batch normalisation")])
def test_settings_that_cannot_work_are_a_sentence(
        folder, tmp_path, capsys, script, argv, wanted):
    with pytest.raises(SystemExit) as stop:
        run(script.main, folder, tmp_path, *argv)
    assert stop.value.code == 2 and wanted in capsys.readouterr().err


def test_the_smallest_run_that_there_is(folder, tmp_path):
    assert run(ex2_conv_ae.main, folder, tmp_path, "--images", "3", "--epochs", "1")["numbers"]


def test_the_study_answers_each_question(folder, tmp_path):
    content = run(study.main, folder, tmp_path, "--seeds", "2", "--epochs", "1")
    for question in "abcd":
        assert any(f.startswith(f"{question}. ") for f in content["findings"])
    told = {f.split(" has test L1")[0] for f in content["findings"]}
    assert "a. bottleneck: fully convolutional (55,540 parameters)" in told
    assert ("b. strides: strides 2, 4: 28-14-4 (with filters (16, 64) and strides (2, 4), "
            "598,205 parameters)") in told
    names = [name for group in study.QUESTIONS.values() for name in group]
    for name, key in itertools.product(names, ("test_l1", "val_l1", "seconds")):
        assert content["numbers"][f"{key}_{slug(name)}"]["n"] == 2
    assert {"designs.png", "latent_size.png", "collapse.png", "variants.tex"} <= set(
        content["files"])


@pytest.mark.real_data
def test_on_the_real_mnist_one_epoch_beats_pca(real_data, tmp_path):
    content = run(ex2_conv_ae.main, "mnist", tmp_path, "--data-dir", real_data, "--images",
                  "6000", "--epochs", "2")
    assert content["data"] == "mnist"
    assert content["numbers"]["test_l1"]["value"] < content["numbers"]["PCA_test_l1"]["value"]
