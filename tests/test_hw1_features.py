"""Homework 1, features: what is said of a network's units, on networks made by hand."""

import hw1_classification as hw1
import hw1_features
import pytest
import torch

from minidl import features, fields, maximise
from minidl.data import Split, to_unit
from minidl.fields import kernels
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric


@pytest.fixture
def network():
    torch.manual_seed(0)
    return hw1.CNN(4, 10).eval()


@pytest.fixture
def run(tmp_path):
    return Run("s", "quick", {}, out=tmp_path)


@pytest.fixture
def images(generator):
    return Split(torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8,
                               generator=generator), torch.arange(40) % 10)


# --- receptive fields ------------------------------------------------------------------------

def test_a_field_is_read_off_the_parts_that_come_before(network):
    assert [fields.field(network, i)[0] for i in range(7)] == [3, 9, 17, 25, 37, 53, 69]
    assert kernels(network, network[4]) == [(3, 2, 1, 1), (3, 1, 1, 1), (2, 2, 0, 1)]
    with pytest.raises(ValueError, match="AdaptiveMaxPool2d"):
        kernels(network, network[-1])


def test_the_formula_is_the_support_of_the_gradient_in_every_layer(network, generator):
    """With pooling and residual pairs, on images of noise."""
    rows, _, squares = fields.measured(network, 200, generator)
    assert [row["size"] for row in rows] == [row["by the gradient"] for row in rows]
    assert all(row["agree"] for row in rows) and len(squares) == 7


# --- activations and weights -----------------------------------------------------------------

def test_excitation_is_the_maps_highest_value(network, images):
    with torch.no_grad():
        maps = features.maps(network, to_unit(images.x))
        assert torch.equal(maps[0], network[:2](to_unit(images.x)))  # before the ReLU
    for e, m in zip(features.excitation(network, images), maps, strict=True):
        assert torch.equal(e, m.relu().flatten(2).max(dim=2).values)
    assert not network[2]._forward_pre_hooks


def test_selectivity_of_known_profiles():
    y = torch.tensor([0, 0, 1, 2])
    excited = torch.tensor([[1.0, 4, 0], [3, 0, 0], [2, 0, 0], [2, 0, 0]])
    profiles = features.profile(excited, y, 3)
    assert profiles.tolist() == [[2, 2, 2], [2, 0, 0], [0, 0, 0]]
    assert features.profile(excited, y, 4)[:, 3].tolist() == [0, 0, 0]  # not nan
    assert features.selectivity(profiles).tolist() == [0, 1, 0]
    assert features.selectivity(torch.tensor([[3.0, 1, 1]])).item() == 0.5
    order = features.by_class(torch.tensor([[0.0, 0, 4], [9, 8, 8], [7, 0, 0], [1, 5, 1]]))
    assert order.tolist() == [2, 1, 3, 0]


def test_new_weights_are_of_a_copy_and_the_shapes_remain(network):
    old = {name: value.clone() for name, value in network.state_dict().items()}
    new = features.with_new_weights(network).state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, old[name]) and new[name].shape == value.shape
        assert value.dim() < 2 or not torch.equal(value, new[name]), name


# --- activation maximisation -----------------------------------------------------------------

def test_total_variation_of_pictures_that_are_known():
    x = torch.zeros(3, 1, 4, 5)
    x[1, 0, :, 2:] = 1                                     # one edge, 4 pixels long
    x[2, 0] = (torch.arange(4)[:, None] + torch.arange(5)) % 2  # a chessboard
    tv = maximise.total_variation(x)
    assert tv.tolist() == pytest.approx([0, 4 / 20, (3 * 5 + 4 * 4) / 20])


def test_blur_keeps_the_sum_and_spreads_by_sigma():
    x = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    x[..., 15, 15] = 1
    y = maximise.blur(x, 1.5)
    steps = torch.arange(31) - 15
    # both factors have 9 weights that are normalised in float32: 2 (1 + 9) 2^-24 = 1.2e-6
    assert y.sum().item() == pytest.approx(1, abs=1.2e-6)
    assert (y[0, 0].sum(dim=0) * steps**2).sum().item() == pytest.approx(
        1.5**2, rel=0.04)  # cut off at 3 sigma, which takes 2.7%
    assert torch.equal(y, y.flip(2)) and torch.equal(y, y.transpose(2, 3))


def test_the_ascent_finds_the_maximum_that_is_known(run):
    """a(x) = -|x - target|^2, without penalty: the picture becomes the target."""
    target = torch.tensor([0.3, 0.8]).view(2, 1, 1, 1).expand(2, 1, 28, 28)
    x = hw1_features.ascend(run, lambda x: -(x - target).square().sum(dim=(1, 2, 3)), 2,
                            False, 200)
    assert (x - target).abs().max() < 0.01  # it began 0.2 to 0.3 away, on average
