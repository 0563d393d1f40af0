"""Assignment 8's autoencoders: sizes, the weights' start, the loss, PCA beside them, runs."""

import asst8_conv_ae
import asst8_fc_ae
import asst8_fc_ae_study as study
import pytest
import torch
import torch.nn.functional as F
import whole_runs
from torch import nn

from minidl import linear_code, pca
from minidl.data import Split, to_unit
from minidl.layers import layer_rows, parameter_count
from minidl.losses import bce, evaluate, mse
from minidl.run import Run

SMALL = {asst8_fc_ae: [], asst8_conv_ae: ["--batch-size", "50"],  # exercise 1 is borrowed
         study: ["--batch-size", "50"]}


def start(script, folder, out, *argv):
    return whole_runs.start(script, folder, out, *SMALL[script], *argv, data="mnist")


@pytest.fixture(scope="module")
def results(module_folder, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    return {script: whole_runs.watched(
        script, module_folder, outputs / script.__name__, *argv, data="mnist")
        for script, argv in SMALL.items()}


@pytest.fixture
def run(tmp_path, module_folder):
    return Run("s", "quick", {}, out=tmp_path / "out", data=str(module_folder))


# --- whole runs -----------------------------------------------------------------------------

@pytest.mark.parametrize(("script", "headlines", "files"), [
    (asst8_fc_ae, ["test_mse", "test_l1", "test_bce", "least_test_bce", "pca_test_mse"],
     ["loss.png", "reconstructions.png"]),
    (asst8_conv_ae, ["test_mse", "pca_test_mse", "test_bce_PCA_30", "test_l1_CNN_30"],
     ["loss.png", "reconstructions.png", "sizes.png", "scores.tex"]),
    (study, ["val_bce_lecun_3_layers", "val_bce_cost_15_layers"],
     ["activations.png", "loss.png", "starts.tex"])])
def test_the_headlines_and_the_figures_are_there(results, script, headlines, files):
    assert whole_runs.shows(results[script], headlines, files)


@pytest.mark.parametrize("script", [asst8_fc_ae, study])
def test_stopped_in_the_middle_and_resumed_it_is_as_if_left_alone(
        results, script, module_folder, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    with interrupted(2):
        start(script, module_folder, tmp_path)
    assert whole_runs.same(start(script, module_folder, tmp_path, "--resume"),
                           results[script].content)


def test_exercise_2_ends_alike_whether_exercise_1_is_borrowed_or_trained_stopped_or_not(
        results, module_folder, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    with interrupted(4):
        start(asst8_conv_ae, module_folder, tmp_path)
    content = start(asst8_conv_ae, module_folder, tmp_path, "--resume")
    borrowed, numbers = results[asst8_conv_ae], content["numbers"]
    assert whole_runs.same(content, borrowed.content)
    trainings = [{path.stem for path in (out / "checkpoints").iterdir()}
                 for out in (tmp_path, borrowed.out)]
    assert trainings[0] - trainings[1] == {"autoencoder"}  # borrowed: not made anew
    assert numbers["test_mse_FC_30"] == results[asst8_fc_ae].content["numbers"]["test_mse"]


def test_the_test_images_are_read_once_after_the_last_training_and_never_by_the_study(results):
    for script in (asst8_fc_ae, asst8_conv_ae):
        events = results[script].events
        assert events.count("test") == 1 and events[-1] == "test" and "step" in events
    assert "test" not in results[study].events


# --- the networks ---------------------------------------------------------------------------

def test_the_parameters_are_the_sum_of_the_layers_by_hand():
    fc = 784 * 100 + 100 + 100 * 30 + 30 + 30 * 100 + 100 + 100 * 784 + 784
    assert parameter_count(asst8_fc_ae.build()) == fc == 163_814
    encoder = 16 * (9 + 1) + 32 * (16 * 9 + 1) + 64 * (32 * 9 + 1)
    decoder = 64 * 32 * 9 + 32 + 32 * 16 * 9 + 16 + 16 * 9 + 1
    assert parameter_count(asst8_conv_ae.build(576)) == encoder + decoder == 46_529
    middle = 576 * 30 + 30 + 30 * 576 + 576
    assert parameter_count(asst8_conv_ae.build(30)) == encoder + decoder + middle


def test_the_sizes_are_28_14_7_3_7_14_28_and_the_code_is_as_large_as_it_says():
    x = torch.rand(2, 1, 28, 28)
    encoder, decoder = asst8_conv_ae.build(576)
    rows = layer_rows(nn.Sequential(encoder, decoder), x[:1])[:-1]
    sizes = [int(row["output shape"].split()[-1]) for row in rows]
    assert sizes == [28, 28, 14, 14, 14, 7, 7, 7, 3, 7, 7, 14, 14, 28]
    assert encoder(x).shape == (2, 64, 3, 3)
    encoder, decoder = asst8_conv_ae.build(30)
    assert encoder(x).shape == (2, 30) and decoder(encoder(x)).shape == x.shape
    assert asst8_fc_ae.build()[:5](x).shape == (2, 30)
    # the other transposed convolutions' paddings on the first give back 6, not the 7 pooled
    assert nn.ConvTranspose2d(64, 32, 3, 2, 1, 1)(torch.rand(1, 64, 3, 3)).shape[-1] == 6


def test_the_studys_network_with_3_layers_is_exercise_1s():
    x = torch.rand(1, 1, 28, 28)
    torch.manual_seed(0)
    ours = study.build(3, study.LECUN)
    assert layer_rows(ours, x) == layer_rows(asst8_fc_ae.build(), x)
    torch.manual_seed(0)
    assert torch.equal(ours(x), asst8_fc_ae.build()(x))
    for depth in study.DEPTHS:
        network = study.build(depth, study.TORCH)
        assert sum(isinstance(layer, nn.SELU) for layer in network) == depth
        assert network[:depth + 2](x).shape == (1, 30)  # Flatten, then pairs up to the middle


# --- the weights' start ---------------------------------------------------------------------

def test_from_lecuns_normal_activations_stay_at_1_and_from_torchs_default_they_shrink():
    """Means over 10 networks, whose own layers differ by 0.1, so the means by 0.03. A third of
    the variance, layer by layer, is 0.58, 0.33, ... of the deviation, but for the biases."""
    torch.manual_seed(0)
    x = torch.randn(500, 1, 28, 28)
    ours, default = (torch.tensor([study.moments(study.build(9, name), x)
                                   for _ in range(10)]).mean(dim=0)
                     for name in (study.LECUN, study.TORCH))
    assert (ours[:, 0].abs() < 0.1).all() and ((ours[:, 1] - 1).abs() < 0.1).all(), ours
    assert default[1, 1] < 0.7 and default[-1, 1] < 0.3, default


@pytest.mark.parametrize("layer", [
    nn.Linear(300, 50), nn.Conv2d(16, 32, 3, padding="same"), nn.ConvTranspose2d(64, 32, 3, 2),
    nn.ConvTranspose2d(32, 16, 3, 2, 1, 1)])
def test_lecuns_normal_keeps_the_variance_through_every_kind_of_layer(layer):
    """Away from the border: 50 channels or so, of which each has a variance of its own."""
    torch.manual_seed(0)
    x = torch.randn(2000, 300) if isinstance(layer, nn.Linear) else torch.randn(
        20, layer.in_channels, 12, 12)

    def variance():
        with torch.no_grad():
            y = layer(x)
        return (y if y.ndim == 2 else y[..., 4:-4, 4:-4]).var().item()

    asst8_fc_ae.lecun_normal(layer, asst8_conv_ae.inputs_of(layer))
    assert variance() == pytest.approx(1, abs=0.1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")  # torch's own fan_in
    transposed = isinstance(layer, nn.ConvTranspose2d)
    assert variance() == pytest.approx(0.5 if transposed else 1, abs=0.1)


def test_every_layer_of_exercise_2_starts_from_lecuns_normal():
    torch.manual_seed(0)
    layers = [layer for layer in asst8_conv_ae.build(30).modules() if hasattr(layer, "weight")]
    assert len(layers) == 8
    for layer in layers:  # within five standard errors
        assert layer.bias.abs().max() == 0
        variance = asst8_conv_ae.inputs_of(layer) * layer.weight.var().item()
        assert variance == pytest.approx(1, abs=5 * (2 / layer.weight.numel()) ** 0.5), layer


# --- the loss -------------------------------------------------------------------------------

@pytest.mark.parametrize("script", [asst8_fc_ae, asst8_conv_ae])
def test_the_gradient_is_that_of_one_sigmoid_and_of_a_sum_over_the_pixels(script, run):
    """One step on all images, against torch's loss; two sigmoids and a mean are refuted."""
    data = run.load()
    build, rest = (asst8_fc_ae.build, ()) if script is asst8_fc_ae else (
        lambda: asst8_conv_ae.build(576), ("float32",))
    networks = []
    for _ in range(2):
        run.seed_everything(0)
        networks.append(build())
    ours, other = networks
    script.train(run, "one step", ours, data, 1, len(data.train.x), 1e-3, *rest)
    x = to_unit(data.train.x)

    def gradient(p):
        other.zero_grad()
        (F.binary_cross_entropy(p(other(x)), x, reduction="sum") / len(x)).backward()
        return torch.cat([p.grad.flatten() for p in other.parameters()])

    found = torch.cat([p.grad.flatten() for p in ours.parameters()])
    expected = gradient(torch.sigmoid)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    for wrong in (gradient(lambda logits: logits.sigmoid().sigmoid()), expected / 784):
        assert (wrong - expected).norm() > 0.3 * expected.norm()


def test_two_sigmoids_cannot_show_a_black_pixel():
    black = torch.zeros(1, 784)
    logits = torch.full((1, 784), -20.0)
    assert bce(logits, black) < 1e-5
    assert bce(logits.sigmoid(), black) > 784 * 0.69  # log 2 nats a pixel, the least there is


def test_both_exercises_show_the_same_images_whatever_was_drawn_before(run):
    split = Split(torch.zeros(40, 1, 28, 28), torch.zeros(40))
    index = asst8_fc_ae.random_places(run, split)
    torch.randperm(9, generator=run.generator)
    assert torch.equal(asst8_conv_ae.random_places(run, split), index)
    assert len(index.unique()) == 12 and index.max() > 12


def test_an_untrained_network_is_named_and_the_least_error_is_told_by_size(run):
    data = run.load()
    rows = {name: {"MSE": 0.01 * (i + 1), "L1": 0.05, "BCE": 90.0 - i,
                   "PCA of that MSE": i} for i, name in enumerate(
            ("CNN-576", "PCA-576", "FC-30", "PCA-30", "CNN-30"))}
    asst8_conv_ae.report(run, data, rows)
    first, second, *_, last = run.results.findings
    assert first.endswith("Best in MSE CNN-576, in L1 CNN-576, in BCE PCA-576.")
    assert second.endswith("Best in MSE FC-30, in L1 CNN-30, in BCE CNN-30.")
    named = [text for text in run.results.findings if "hardly learned" in text]
    assert named == [last] and last.startswith("CNN-30 is worse")


# --- minidl/linear_code.py ------------------------------------------------------------------

@pytest.fixture(scope="module")
def split():
    """Low-rank images and noise, in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    z, W = torch.randn(300, 5, generator=generator), torch.randn(5, 64, generator=generator)
    x = (z @ W + 0.3 * torch.randn(300, 64, generator=generator) - 0.5).sigmoid()
    return Split((255 * x).byte().view(300, 1, 8, 8), torch.zeros(300))


def test_the_first_components_are_the_smaller_pca_and_clipping_only_helps(split):
    code, x = pca.fit(split.x, 64), to_unit(split.x)
    for d in (1, 5, 20):
        small, short = pca.fit(split.x, d), linear_code.first(code, d)
        torch.testing.assert_close(short.components, small.components)
        x_hat = linear_code.clipped(small)(x)
        torch.testing.assert_close(linear_code.clipped(short)(x), x_hat)
        assert x_hat.shape == x.shape and x_hat.min() >= 0 and x_hat.max() <= 1
        before = small.decode(small.encode(x)).view_as(x)
        assert ((x_hat - x).abs() <= (before - x).abs()).all()
        assert mse(x_hat, x).mean() < mse(before, x).mean()
    none = linear_code.clipped(linear_code.first(code, 0))(x)
    torch.testing.assert_close(none, code.mean.view(1, 1, 8, 8).expand_as(x))


def test_the_margin_is_the_best_one_and_without_any_the_bce_is_not_finite(split):
    code, x = pca.fit(split.x, 2), to_unit(split.x)
    p = linear_code.clipped(code)(x).double()

    def cost(m):
        clipped = p.clamp(m, 1 - m)
        return F.binary_cross_entropy(clipped, x.double(), reduction="sum").item() / len(x)

    found = linear_code.margin(code, split)
    assert cost(found) == min(map(cost, linear_code.MARGINS))
    assert linear_code.MARGINS[0] > found > linear_code.MARGINS[-1]  # the least is inside
    cut_off = ((p == 0) & (x > 0)).flatten(1).any(dim=1)
    assert cut_off.any() and not bce(p.logit(), x.double())[cut_off].isfinite().any()


def test_the_size_of_the_same_mse_is_what_a_search_one_by_one_finds(split):
    code = pca.fit(split.x, 64)
    errors = [linear_code.mse_of(code, d, split) for d in range(65)]
    for wanted in (errors[0], errors[7], errors[7] * 1.001, errors[7] * 0.999, errors[64]):
        by_hand = next(d for d, error in enumerate(errors) if error <= wanted)
        assert linear_code.size_of_same_mse(code, wanted, split) == by_hand
    assert linear_code.size_of_same_mse(code, -1.0, split) == 65
    x_hat = linear_code.clipped(pca.fit(split.x, 7))
    assert errors[7] == pytest.approx(evaluate(lambda x, _: mse(x_hat(x), x), split))


@pytest.mark.real_data
def test_on_the_real_mnist_it_beats_pca_soon(real_data, tmp_path):
    content = start(asst8_fc_ae, "mnist", tmp_path, "--data-dir", real_data, "--images",
                    "6000", "--epochs", "10", "--batch-size", "64")
    ours, linear = (content["numbers"][key]["value"] for key in ("test_mse", "pca_test_mse"))
    assert content["data"] == "mnist" and ours < linear
