"""minidl/lab/cli.py: flags out of a signature, sizes, errors as sentences."""

import json

import pytest
import torch

from minidl.lab import cli
from minidl.lab.run import RunError

SIZES = {"quick": {"epochs": 1}, "full": {"epochs": 50, "rate": 0.5}}


def script(run, latent: "d, at 100% of it" = 12, epochs: "passes" = 10,
           rate: "of learning" = 0.1, start_at: "a word" = "left"):
    run.results.number("latent", latent, "numbers")


def start(tmp_path, *argv, main=script, **options):
    cli.start(main, argv=[*argv, "--out", str(tmp_path)], **SIZES, **options)
    return json.loads((tmp_path / "results.json").read_text())


def sentence(capsys, *argv, status=2, main=script):
    """What a user sees of a mistake: one sentence on stderr, that status, no traceback."""
    with pytest.raises(SystemExit) as stop:
        cli.start(main, argv=list(argv), data="mnist", **SIZES)
    said = capsys.readouterr().err
    assert stop.value.code == status
    assert said.count("\n") == 1 and "Traceback" not in said
    return said


@pytest.mark.parametrize(("argv", "settings"), [
    ([], {"latent": 12, "epochs": 10, "rate": 0.1, "start_at": "left"}),
    (["--quick"], {"latent": 12, "epochs": 1, "rate": 0.1, "start_at": "left"}),
    (["--full"], {"latent": 12, "epochs": 50, "rate": 0.5, "start_at": "left"}),
    (["--full", "--epochs", "3", "--start-at", "right"],
     {"latent": 12, "epochs": 3, "rate": 0.5, "start_at": "right"}),
])
def test_a_flag_wins_over_the_size_and_the_size_over_the_signature(tmp_path, argv, settings):
    content = start(tmp_path, *argv)
    assert content["settings"] == settings
    assert content["size"] == (argv[0][2:] if argv else "default")


def test_results_json_tells_all_that_a_reader_needs(tmp_path):
    content = start(tmp_path, "--seed", "7", "--device", "cpu")
    assert content["seed"] == 7 and content["device"] == "cpu" and content["data"] is None
    assert content["script"] == "test_cli"
    assert content["versions"]["torch"] == torch.__version__
    assert content["numbers"] == {"latent": {"value": 12, "unit": "numbers"}}
    assert 0 <= content["seconds"] < 60


def test_help_is_the_annotation_with_the_default_of_each_size(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.start(script, argv=["--help"], data="mnist", **SIZES)
    said = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert "--latent INT d, at 100% of it (default 12)" in said
    assert "--rate FLOAT of learning (default 0.1, full 0.5)" in said
    assert "minidl/lab/cli.py: flags out of a signature" in said  # the script's docstring


@pytest.mark.parametrize(("argv", "found"), [
    (["--latent", "0"], "argument --latent: found '0', expected a whole number of at least 1"),
    (["--latent", "1.5"], "argument --latent: found '1.5', expected a whole number"),
    (["--rate", "nan"], "argument --rate: found 'nan', expected a number of at least 0"),
    (["--rate", "-1"], "argument --rate: found '-1'"),
    (["--epochs", "1" + 400 * "0"], "argument --epochs: found"),
    (["--seed", "-1"], "argument --seed: found '-1', expected a whole number of at least 0"),
    (["--seed", 26 * "9"], "and below 2^63"),
    (["--latent", "999999999"], "of at least 1 and at most 100000"),
    (["--lat", "3"], "unrecognized arguments: --lat 3"),
    (["--quick", "--full"], "not allowed with argument --quick"),
    (["--device", "tpu"], "invalid choice: 'tpu'"),
])
def test_a_wrong_flag_is_one_sentence_and_status_2(capsys, argv, found):
    assert found in sentence(capsys, *argv)


@pytest.mark.parametrize(("there", "wanted", "device"), [
    (None, "auto", "cpu"), (None, "cuda", None), ("mps", "auto", "mps"), ("mps", "cpu", "cpu"),
    ("mps", "cuda", None), ("xpu", "xpu", "xpu"), ("cuda", "auto", "cuda:0")])
def test_the_device_is_what_torch_finds_or_one_sentence(monkeypatch, there, wanted, device):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: there is not None)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: torch.device(there))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    if device is None:
        with pytest.raises(RunError, match=f"--device {wanted}"):
            cli._device(wanted)
    else:
        assert str(cli._device(wanted)) == device


@pytest.mark.parametrize("width", [10**13, 10**18, 10**30])
def test_a_network_that_no_memory_holds_is_one_sentence(capsys, tmp_path, width):
    def main(run):
        torch.nn.Linear(width, 10)

    assert "need more memory than there is" in sentence(capsys, "--out", str(tmp_path),
                                                        main=main)


def test_a_mistake_in_the_code_keeps_its_traceback(tmp_path):
    def main(run):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        start(tmp_path, main=main)


def test_ctrl_c_says_how_to_go_on_and_ends_with_130(capsys, tmp_path, monkeypatch):
    def main(run, epochs: "passes" = 5):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["assignments/x.py"])
    with pytest.raises(SystemExit) as stop:
        cli.start(main, argv=["--epochs", "4", "--out", str(tmp_path)])
    assert stop.value.code == 130
    assert (f"python assignments/x.py --epochs 4 --out {tmp_path} --resume\n"
            in capsys.readouterr().err)
