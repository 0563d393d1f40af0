"""Assignment 8's autoencoders: sizes, the weights' start, the loss, PCA beside them."""

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
from minidl.evaluation import evaluate
from minidl.lab.layers import layer_rows, parameter_count
from minidl.lab.run import Run
from minidl.losses import bce, mse

pytestmark = pytest.mark.numeric

@pytest.fixture
def run(tmp_path, module_folder):
    return Run("s", "quick", {}, out=tmp_path / "out", data=str(module_folder))


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
    """Away from the border: 16 channels or more, whose variances, of 300 weights or so each,
    scatter by sqrt(2 / 300) = 0.08, so that their mean scatters by 0.02: five of these."""
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
def test_the_gradient_is_that_of_one_sigmoid_and_of_a_sum_over_the_pixels(
        script, run, monkeypatch):
    """One step on all images, against torch's loss; two sigmoids and a mean are refuted.

    In float64: a weight's gradient sums at most 110 * 784 products, which is off by a share of
    1e5 * 2^-53 = 1e-11 of their sizes, and these may be 100 times what is left of them.
    """
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    data = run.load()
    build, rest = (asst8_fc_ae.build, ()) if script is asst8_fc_ae else (
        lambda: asst8_conv_ae.build(576), ("float32",))
    networks = []
    for _ in range(2):
        run.seed_everything(0)
        networks.append(build().double())
    ours, other = networks
    script.train(run, "one step", ours, data, 1, len(data.train.x), 1e-3, *rest)
    x = to_unit(data.train.x)

    def gradient(p):
        other.zero_grad()
        (F.binary_cross_entropy(p(other(x)), x, reduction="sum") / len(x)).backward()
        return torch.cat([p.grad.flatten() for p in other.parameters()])

    found = torch.cat([p.grad.flatten() for p in ours.parameters()])
    expected = gradient(torch.sigmoid)
    assert (found - expected).norm() < 1e-8 * expected.norm()
    for wrong in (gradient(lambda logits: logits.sigmoid().sigmoid()), expected / 784):
        assert (wrong - expected).norm() > 0.3 * expected.norm()


def test_two_sigmoids_cannot_show_a_black_pixel():
    black = torch.zeros(1, 784)
    logits = torch.full((1, 784), -20.0)
    assert bce(logits, black) < 784 * 2.1e-9  # 784 log(1 + exp(-20))
    assert bce(logits.sigmoid(), black) > 784 * 0.69  # log 2 nats a pixel, the least there is


# --- minidl/linear_code.py ------------------------------------------------------------------

@pytest.fixture(scope="module")
def split():
    """Low-rank images and noise, in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    z, W = torch.randn(300, 5, generator=generator), torch.randn(5, 64, generator=generator)
    x = (z @ W + 0.3 * torch.randn(300, 64, generator=generator) - 0.5).sigmoid()
    return Split((255 * x).byte().view(300, 1, 8, 8), torch.zeros(300))


def fit64(x, d):
    """The PCA in float64: sums of 64 products below 8 in all are then off by 1e-13."""
    code = pca.fit(x, d)
    return code._replace(mean=code.mean.double(), components=code.components.double())


def test_the_first_components_are_the_smaller_pca_and_clipping_only_helps(split):
    code, x = fit64(split.x, 64), to_unit(split.x)
    for d in (1, 5, 20):
        small, short = fit64(split.x, d), linear_code.first(code, d)
        assert torch.equal(short.components, small.components)
        x_hat = linear_code.clipped(small)(x)
        torch.testing.assert_close(linear_code.clipped(short)(x), x_hat, rtol=0, atol=1e-12)
        assert x_hat.shape == x.shape and x_hat.min() >= 0 and x_hat.max() <= 1
        before = small.decode(small.encode(x)).view_as(x)
        assert ((x_hat - x).abs() <= (before - x).abs()).all()
        assert mse(x_hat, x).mean() < mse(before, x).mean()
    none = linear_code.clipped(linear_code.first(code, 0))(x)
    assert torch.equal(none, code.mean.view(1, 1, 8, 8).expand_as(x))


def test_the_margin_is_the_best_one_and_without_any_the_bce_is_not_finite(split):
    code, x = fit64(split.x, 2), to_unit(split.x)
    p = linear_code.clipped(code)(x).double()

    def cost(m):
        clipped = p.clamp(m, 1 - m)
        return F.binary_cross_entropy(clipped, x.double(), reduction="sum").item() / len(x)

    found = linear_code.margin(code, split)
    least, second = sorted(map(cost, linear_code.MARGINS))[:2]
    assert cost(found) == least < (1 - 1e-5) * second  # rounding cannot exchange them
    assert linear_code.MARGINS[0] > found > linear_code.MARGINS[-1]  # the least is inside
    cut_off = ((p == 0) & (x > 0)).flatten(1).any(dim=1)
    assert cut_off.any() and not bce(p.logit(), x.double())[cut_off].isfinite().any()


def test_the_size_of_the_same_mse_is_what_a_search_one_by_one_finds(split):
    code = fit64(split.x, 64)
    errors = [linear_code.mse_of(code, d, split) for d in range(65)]
    for wanted in (errors[0], errors[7], errors[7] * 1.001, errors[7] * 0.999, errors[64]):
        by_hand = next(d for d, error in enumerate(errors) if error <= wanted)
        assert linear_code.size_of_same_mse(code, wanted, split) == by_hand
    assert linear_code.size_of_same_mse(code, -1.0, split) == 65
    x_hat = linear_code.clipped(fit64(split.x, 7))
    assert errors[7] == pytest.approx(evaluate(lambda x, _: mse(x_hat(x), x), split), rel=1e-9)


@pytest.mark.real_data
def test_on_the_real_mnist_it_beats_pca_soon(real_data, tmp_path):
    content = whole_runs.start(
        "asst8_fc_ae", tmp_path, "--data", "mnist", "--data-dir", real_data, "--images",
        "6000", "--epochs", "10", "--batch-size", "64", data="mnist")
    ours, linear = (content["numbers"][key]["value"] for key in ("test_mse", "pca_test_mse"))
    assert content["data"] == "mnist" and ours < linear
