"""Assignment 8's autoencoders: sizes, the weights' start, the loss."""

import math

import asst8_conv_ae
import asst8_fc_ae
import pytest
import torch
from torch import nn

from minidl.data import load, to_unit
from minidl.lab import flags
from minidl.lab.layers import layer_rows
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric


# --- the networks ---------------------------------------------------------------------------

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


# --- the weights' start ---------------------------------------------------------------------

@pytest.mark.parametrize("build", [asst8_fc_ae.build, lambda: asst8_conv_ae.build(30)])
def test_every_layer_keeps_the_variance_of_its_input_at_the_start(build):
    """Away from the border. The weights' variance scatters by sqrt(2 / their number), five of
    these; the inputs' by far less. With torch's fan_in a transposed layer would have 1/2."""
    torch.manual_seed(0)
    for layer in build().modules():
        if hasattr(layer, "weight"):
            linear = isinstance(layer, nn.Linear)
            with torch.no_grad():
                y = layer(torch.randn(2000, layer.in_features) if linear else
                          torch.randn(100, layer.in_channels, 12, 12))
            variance = (y if linear else y[..., 4:-4, 4:-4]).var().item()
            assert variance == pytest.approx(1, abs=5 * (2 / layer.weight.numel())**0.5 + 0.02)
            assert layer.bias.abs().max() == 0


# --- the loss -------------------------------------------------------------------------------

@pytest.mark.parametrize("script", [asst8_fc_ae, asst8_conv_ae])
def test_the_loss_has_one_sigmoid_and_is_a_sum_over_the_pixels(
        script, module_folder, tmp_path, monkeypatch):
    """Where every logit is 1 and no weight moves it is sum_p [log(1 + e) - x_p], by hand.

    784 terms of at most 1.4 and a mean over 110 images: off by less than 1000 * 2^-24 of 1100.
    """
    build = script.build

    def of_ones(*d):
        network = build(*d)
        for p in network.parameters():
            nn.init.zeros_(p)
        nn.init.ones_(p)  # the last bias
        return network

    monkeypatch.setattr(script, "build", of_ones)
    monkeypatch.setattr(Run, "trained", lambda *_, **__: asst8_fc_ae.build())
    run = Run(script.__name__, "quick", {}, out=tmp_path, data=str(module_folder))
    amounts = {name: 1 for name in flags.amounts(script.main) if "epochs" in name}
    script.main(run, **amounts, learning_rate=0.0)

    ink = to_unit(load("mnist", str(module_folder)).train.x).double().mean().item()
    found, expected = run.history["train_bce"][-1], 784 * (math.log(1 + math.e) - ink)
    assert abs(found - expected) < 0.07
    twice = 1 / (1 + math.exp(-1))  # the logit after another sigmoid
    assert abs(784 * (math.log(1 + math.exp(twice)) - twice * ink) - expected) > 7
