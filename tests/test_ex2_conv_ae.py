"""assignments/ex2_conv_ae.py and its study: sizes, the L1 collapse, what a run reports."""

import ex2_conv_ae
import ex2_conv_ae_study as study
import pytest
import torch
import whole_runs
from torch import nn

from minidl.data import Split
from minidl.lab.layers import layer_rows, parameter_count
from minidl.losses import l1

pytestmark = pytest.mark.numeric


def run(folder, out, *argv):
    content = whole_runs.start("ex2_conv_ae", out, "--data", str(folder), *argv, data="mnist")
    return {name: entry["value"] for name, entry in content["numbers"].items()}


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


# --- the L1 collapse (a trap): black is a strong local optimum ------------------------

def test_the_black_image_is_the_best_constant_where_most_pixels_are_black():
    x = torch.zeros(1000, 1, 28, 28)
    torch.manual_seed(0)
    x[:, :, :, :14] = (torch.rand(1000, 1, 28, 14) < 0.3).float()  # ink in 30% of them
    black = l1(torch.zeros_like(x), x).mean()
    for constant in (0.01, 0.1, 0.5, x.mean(dim=0, keepdim=True)):
        assert l1(torch.zeros_like(x) + constant, x).mean() > black


def test_no_gradient_leads_out_of_the_black_image_through_a_sigmoid():
    logit = torch.full((1, 1, 4, 4), -20.0, requires_grad=True)
    l1(torch.sigmoid(logit), torch.ones(1, 1, 4, 4)).sum().backward()
    assert logit.grad.abs().max() < 2.1e-9 / 16  # sigmoid'(-20) = exp(-20), of 16 pixels


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


# --- runs -----------------------------------------------------------------------------

def test_it_learns_more_than_the_best_constant_image(folder, tmp_path):
    """Of the classes, 10 bright rows; the median image of all of them shows none."""
    numbers = run(folder, tmp_path, "--epochs", "20", "--batch-size", "20")
    assert numbers["test_l1"] < numbers["median_image_test_l1"]
    assert numbers["median_image_test_l1"] < numbers["mean_image_test_l1"]
    assert numbers["PCA_test_l1"] < numbers["black_image_test_l1"]


def test_the_smallest_run_that_there_is(folder, tmp_path):
    assert run(folder, tmp_path, "--images", "3", "--epochs", "1")


@pytest.mark.real_data
def test_on_the_real_mnist_two_epochs_beat_pca(real_data, tmp_path):
    numbers = run("mnist", tmp_path, "--data-dir", real_data, "--images", "6000", "--epochs",
                  "2")
    assert numbers["test_l1"] < numbers["PCA_test_l1"]
