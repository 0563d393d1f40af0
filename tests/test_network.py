"""minidl/lab/network.py: a network is made fast and stays what it is; infer."""

import copy

import pytest
import torch
from torch import nn

from minidl.data import reviews
from minidl.lab import fast, infer
from minidl.lab.network import network


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.Flatten(), nn.Linear(8 * 13 * 13, 10))


@pytest.fixture
def x(generator):
    return torch.rand(16, 1, 28, 28, generator=generator)


@pytest.mark.numeric
def test_in_32_bits_a_training_step_is_the_same_up_to_rounding(x):
    found = []
    for net in (cnn(), network(cnn(), "cpu")):
        net(x).square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in net.parameters()]).double())
    # a gradient is a sum of at most 16 * 13 * 13 products, in another order
    assert (found[0] - found[1]).norm() < 16 * 169 * 2**-24 * found[0].norm()


def test_a_copy_and_a_part_of_it_are_networks_of_their_own(x):
    net = network(cnn(), "cpu", bits=16).eval()
    other = copy.deepcopy(net)
    nn.init.zeros_(other[-1].weight)
    assert torch.equal(other(x), other[-1].bias.expand(16, 10))
    assert net(x).std() > 0 and torch.equal(net[-1](net[:-1](x)), net(x))


def test_bits_16_are_used_while_it_trains_alone_and_float32_comes_out(x, monkeypatch):
    monkeypatch.setattr(fast, "has_bfloat16", lambda device: True)
    net, plain = network(cnn(), "cpu", bits=16), cnn()
    plain.load_state_dict(net.state_dict())
    types = []
    net[-1].register_forward_hook(lambda *call: types.append(call[2].dtype))
    for training, kind in ((True, torch.bfloat16), (False, torch.float32)):
        assert net.train(training)(x).dtype == torch.float32 and types.pop() == kind
    plain.load_state_dict(net.state_dict())
    assert torch.allclose(net(x), plain.eval()(x), rtol=0, atol=1352 * 2**-24 * 10)
    with pytest.raises(RuntimeError):
        net(x[:, :, :5])  # a pass that fails
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.numeric
def test_torchs_rnn_has_the_same_states_and_gradients(generator):
    x, found = torch.randn(7, 3, 4, generator=generator, dtype=torch.float64), []
    for swapped in (False, True):
        torch.manual_seed(0)
        rnn = nn.RNN(4, 5, dtype=torch.float64)
        h, last = (network(rnn, "cpu") if swapped else rnn)(x)
        assert last.shape == (1, 3, 5)
        (h.square().sum() + last.sum()).backward()
        found.append([h, *(p.grad for p in rnn.parameters())])
    for a, b in zip(*found, strict=True):  # float64; fewer than 1,000 sums and products
        assert (a - b).abs().max() < 1000 * 2**-53 * (1 + a.abs().max())


def test_infer_is_the_network_in_evaluation_a_few_at_a_time(x):
    net = cnn()
    whole = copy.deepcopy(net).eval()(x)
    for size in (16, 5, 1):
        # of each output 1,352 products are summed, in an order that depends on the batch
        assert torch.allclose(infer(net, x, size=size), whole, rtol=0, atol=1352 * 2**-22)
    assert net.training and not infer(net, x).requires_grad
    assert torch.equal(infer(lambda x: 2 * x, x, size=3), 2 * x)
    pixels = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    assert infer(nn.Identity(), pixels).tolist() == [[0, torch.tensor(51 / 255).item(), 1]]


def test_infer_reads_reviews_in_their_order():
    split = reviews.Reviews(torch.arange(2, 8, dtype=torch.int32),
                            torch.tensor([0, 3, 4, 6]), torch.zeros(3, dtype=torch.int64))
    assert infer(lambda w, n: w.sum(1) * 10 + n, split, 2).tolist() == [72, 51, 132]
    assert infer(lambda w, n: w.sum(1) * 10 + n, split).tolist() == [93, 51, 132]  # of all
