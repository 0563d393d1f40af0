"""assignments/ex2_conv_ae.py and its study: the sheet's shapes, L1, and the collapse."""

import ex2_conv_ae
import ex2_conv_ae_study as study
import pytest
import torch
import whole_runs
from torch import nn

from minidl.lab.layers import layer_rows, parameter_count
from minidl.losses import l1

pytestmark = pytest.mark.numeric


def run(folder, out, *argv):
    content = whole_runs.start("ex2_conv_ae", out, "--data", str(folder), *argv, data="mnist")
    return {name: entry["value"] for name, entry in content["numbers"].items()}


# --- the network ----------------------------------------------------------------------

@pytest.mark.parametrize(("d", "filters", "hidden"), [(12, 16, 256), (5, 4, 0)])
def test_the_encoder_gives_d_numbers_and_the_decoder_pixels_in_0_to_1(d, filters, hidden):
    x = torch.rand(3, 1, 28, 28)
    z = ex2_conv_ae.Encoder(d, filters, hidden)(x)
    x_hat = ex2_conv_ae.Decoder(d, filters, hidden)(z)
    assert z.shape == (3, d) and x_hat.shape == x.shape
    assert x_hat.min() >= 0 and x_hat.max() <= 1


def test_the_parameters_are_the_sum_of_the_layers_by_hand():
    encoder = [1 * 16 * 9 + 16, 32, 16 * 32 * 9 + 32, 64, 32 * 64 * 9 + 64, 128,
               64 * 16 * 256 + 256, 512, 256 * 12 + 12]
    decoder = [12 * 256 + 256, 512, 256 * 64 * 16 + 64 * 16, 2 * 64 * 16,
               64 * 32 * 9 + 32, 64, 32 * 16 * 16 + 16, 32, 16 * 1 * 16 + 1]
    assert parameter_count(ex2_conv_ae.Encoder()) == sum(encoder)
    assert parameter_count(ex2_conv_ae.Decoder()) == sum(decoder)


@pytest.mark.parametrize("hidden", [256, 0])
def test_the_studys_network_is_the_scripts_layer_by_layer(hidden):
    script = nn.Sequential(ex2_conv_ae.Encoder(hidden=hidden),
                           ex2_conv_ae.Decoder(hidden=hidden))
    x = torch.rand(1, 1, 28, 28)
    assert layer_rows(study.build(hidden=hidden), x) == layer_rows(script, x)


@pytest.mark.parametrize("name", study.VARIANTS)
def test_every_variant_of_the_study_restores_the_shape_through_d_numbers(name):
    change = study.VARIANTS[name]
    net, x = study.build(**change), torch.rand(2, 1, 28, 28)
    assert net(x).shape == x.shape
    shapes = [row["output shape"] for row in layer_rows(net, x[:1])]
    assert f"B x {change.get('d', 12)}" in shapes
    if change.get("pool"):  # in place of stride: nothing else, so as many parameters
        assert parameter_count(net) == parameter_count(study.build())
    for kind, other in change.get("swap", {}).items():
        kinds = [type(layer) for layer in net]
        assert kind not in kinds and other in kinds


def test_without_fully_connected_layers_a_variant_has_as_many_parameters_as_the_base():
    wider = parameter_count(study.build(**study.VARIANTS["the same, more filters"]))
    assert wider == pytest.approx(parameter_count(study.build()), rel=0.01)


# --- the L1 collapse (a trap): black is a strong local optimum ------------------------

def test_no_gradient_leads_out_of_the_black_image_through_a_sigmoid():
    logit = torch.full((1, 1, 4, 4), -20.0, requires_grad=True)
    l1(torch.sigmoid(logit), torch.ones(1, 1, 4, 4)).sum().backward()
    assert logit.grad.abs().max() < 2.1e-9 / 16  # sigmoid'(-20) = exp(-20), of 16 pixels


# --- runs -----------------------------------------------------------------------------

def test_it_learns_more_than_the_black_image(folder, tmp_path):
    """Of the classes, 10 bright rows; PCA of 12 components holds them as well."""
    numbers = run(folder, tmp_path, "--epochs", "20", "--batch-size", "20")
    assert numbers["test_l1"] < numbers["black_image_test_l1"]
    assert numbers["PCA_test_l1"] < numbers["black_image_test_l1"]
