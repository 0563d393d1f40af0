"""Homework 1, features: what is said of a network's units, on networks made by hand."""

import hw1_classification as hw1
import hw1_features
import pytest
import torch
from torch import nn

from minidl import features, fields, maximise, pca
from minidl.augment import random_affine
from minidl.data import Split, to_unit
from minidl.evaluation import per_example
from minidl.fields import kernels, receptive_field
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric


@pytest.fixture
def network():
    torch.manual_seed(0)
    return hw1.CNN(4, 10).eval()


@pytest.fixture
def images(generator):
    return Split(torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8,
                               generator=generator), torch.arange(40) % 10)


# --- receptive fields ------------------------------------------------------------------------

def conv(k, s=1, p=0, d=1, channels=(6, 6)):
    return nn.Conv2d(*channels, k, s, p, d)


STACKS = {
    "one": lambda: [conv(3, p=1)],
    "pooling": lambda: [conv(3, p=1), nn.MaxPool2d(2), nn.BatchNorm2d(6), nn.ReLU(),
                        conv(3, p=1)],
    "strides": lambda: [conv(4, 2, 1), nn.ReLU(), conv(3, 2, 1), nn.ReLU(), conv(2)],
    "dilation": lambda: [conv(2, d=3), nn.ReLU(), conv(3, p=2), nn.AvgPool2d(2), conv(2, d=2)],
    "overlap": lambda: [nn.MaxPool2d(3, 2, 1), conv(3, p=1), nn.ReLU(), nn.MaxPool2d(2)],
    "residual": lambda: [conv(3, p=1), nn.MaxPool2d(2), nn.ReLU(), hw1.Residual(
        conv(3, p=1), nn.ReLU(), conv(3, p=1), nn.ReLU()), conv(1)]}


@pytest.mark.parametrize("name", STACKS)
def test_the_formula_is_the_support_of_the_gradient(name, generator):
    """At each of three places; a formula that forgets the jump is found wrong."""
    torch.manual_seed(0)
    stack = nn.Sequential(conv(1, channels=(1, 6)), *STACKS[name](), last := nn.ReLU())
    layers = kernels(stack, last)
    size, jump, begin = receptive_field(layers)
    first = -(begin // jump)
    for at in range(first, first + 3):
        side = begin + at * jump + size + jump
        x = torch.rand(400, 1, side, side, generator=generator)
        seen = fields.support(fields.gradient_map(stack, -1, at, x))
        expected = begin + at * jump, begin + at * jump + size - 1
        assert seen == 2 * expected, f"{name}, unit {at}: {seen}, formula {expected}"
        no_jump = 1 + sum((k - 1) * d for k, _, _, d in layers)
        assert (seen[1] - seen[0] + 1 == no_jump) == (name == "one")


def test_a_field_is_read_off_the_parts_that_come_before(network):
    assert [fields.field(network, i)[0] for i in range(7)] == [3, 9, 17, 25, 37, 53, 69]
    assert kernels(network, network[4]) == [(3, 2, 1, 1), (3, 1, 1, 1), (2, 2, 0, 1)]
    with pytest.raises(ValueError, match="AdaptiveMaxPool2d"):
        kernels(network, network[-1])
    with pytest.raises(ValueError, match="is no part"):
        kernels(network[:4], network[5])
    with pytest.raises(ValueError, match="square"):
        kernels(odd := nn.Sequential(nn.Conv2d(1, 1, (3, 5))), odd[0])


def test_the_middle_that_holds_a_share():
    g = torch.zeros(9, 9)
    g[1:8, 1:8] = 1.0
    g[4, 4] = 100.0
    assert [fields.holding(g, share) for share in (0.6, 0.7, 0.99, 1)] == [1, 3, 7, 7]


# --- activations and weights -----------------------------------------------------------------

def test_a_dead_unit_is_counted(network, images):
    before = [int(features.dead(e).sum()) for e in features.excitation(network, images)]
    network[5].bias.data[2] = -100
    excited = features.excitation(network, images)
    after = [int(features.dead(e).sum()) for e in excited]
    assert after[1] == before[1] + 1 and features.dead(excited[1])[2] and after[0] == before[0]


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


def test_the_weights_deviation_and_kurtosis():
    two = torch.tensor([-1.0, 1, -1, 1])
    assert features.kurtosis(two).item() == 1
    ramp = torch.linspace(0, 1, 10_001).double()
    assert features.kurtosis(ramp).item() == pytest.approx(1.8, rel=1e-6)  # of float32's steps
    (row,) = features.weight_rows({"before": {"a": two}, "after": {"a": 3 * two + 5}})
    assert row["std after"] == pytest.approx(3 * row["std before"], rel=1e-14)
    assert row["kurtosis before"] == row["kurtosis after"] == 1


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


def test_the_prior_is_the_gaussian_of_the_images(generator):
    """-log p of its picture is, up to a constant, that of torch's own Gaussian; z = 0 is the
    mean; what lies beyond [0, 1] is cut."""
    x = 0.5 + 0.02 * torch.randn(500, 1, 2, 3, generator=generator, dtype=torch.float64)
    prior = maximise.GaussianPrior(pca.fit(x, 6))
    z = torch.randn(5, 1, 2, 3, generator=generator, dtype=torch.float64)
    mu, covariance = x.flatten(1).mean(dim=0), torch.cov(x.flatten(1).T, correction=0)
    gaussian = torch.distributions.MultivariateNormal(mu, covariance)
    log_p = gaussian.log_prob(prior.picture(z).flatten(1)) - gaussian.log_prob(mu)
    torch.testing.assert_close(prior.penalty(z), -log_p)
    torch.testing.assert_close(prior.picture(0 * z)[0].flatten(), mu)
    far = prior.picture(1000 * z)
    assert far.min() == 0 and far.max() == 1


def test_the_ascent_raises_its_unit_and_smoothness_lowers_the_total_variation(
        network, images, tmp_path, generator):
    """Of the same starts: a unit deep inside, each way; the plain picture varies most."""
    run = Run("s", "quick", {}, out=tmp_path)
    ways = maximise.ways(maximise.GaussianPrior(pca.fit(images.x, 784)), 0.02, run.generator)
    s = per_example(lambda x, _: network(x), images, network).std(dim=0)

    def logits(x):
        return network(x).diagonal() / s

    tv = {}
    network.requires_grad_(False)
    for name, way in ways.items():
        heights = []
        for steps in (0, 30):
            run.seed_everything(0)
            x, height = hw1_features.ascend(run, logits, 10, way, steps)
            heights.append(height)
        assert (heights[1] > heights[0]).all(), f"{name}: {heights}"
        assert x.min() >= 0 and x.max() <= 1 and not x.requires_grad
        tv[name] = maximise.total_variation(x).mean().item()
    assert tv["smoothness"] < 0.5 * tv["no regularisation"], tv


def test_the_ascent_finds_the_maximum_that_is_known(tmp_path):
    """a(x) = -|x - target|^2, without penalty: the picture becomes the target."""
    run, target = Run("s", "quick", {}, out=tmp_path), torch.full((2, 1, 28, 28), 0.3)
    target[1] = 0.8
    way = maximise.Way(torch.sigmoid, lambda z, x: x.new_zeros(len(x)), lambda x: x, 0.1)
    x, height = hw1_features.ascend(
        run, lambda x: -(x - target).square().sum(dim=(1, 2, 3)), 2, way, 200)
    assert (x - target).abs().max() < 0.01  # it began 0.2 to 0.3 away, on average
    assert (height > -784 * 0.01**2).all()


def test_random_moves_pass_the_gradient_on(generator):
    x = torch.rand(2, 1, 8, 8, generator=generator, requires_grad=True)
    random_affine(x, generator, degrees=5, scale=0.05, shear=0.05, shift=0.05).sum().backward()
    assert (x.grad[..., 2:6, 2:6] > 0).all()
