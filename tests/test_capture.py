"""minidl/lab/capture.py: the graphs compute what the plain network does."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from minidl.lab import capture
from minidl.lab.capture import captured, recorded

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def some_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.Dropout(0.2), nn.Flatten(), nn.Linear(8 * 13 * 13, 10))


def losses(network, forward, device="cpu"):
    """The losses of some steps on other images each, one batch smaller, and in evaluation."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    found = []
    torch.manual_seed(2)
    for size in (16, 16, 16, 5, 16):
        x = torch.rand(size, 1, 28, 28, generator=generator).to(device)
        loss = forward(x).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        found.append(loss.detach())
    network.eval()
    with torch.no_grad():
        found.append(forward(torch.rand(16, 1, 28, 28, generator=generator).to(device)).mean())
    return torch.stack(found).cpu()


def record_on_a_cpu(monkeypatch, error=None):
    """In the place of torch's: runs the passes thrice as it does, then calls; -> the calls."""
    calls = []

    def make_graphed_callables(f, example):
        for _ in range(3):
            f(*example).sum().backward()
        if error:
            raise error
        return lambda *now: [calls.append(now[0].shape), f(*now)][1]

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make_graphed_callables)
    return calls


def test_on_a_cpu_it_is_the_network_itself():
    network = some_network()
    assert captured(network, torch.rand(16, 1, 28, 28)) is network


@pytest.mark.parametrize("error", [None, RuntimeError("stream is capturing")])
def test_recording_leaves_weights_statistics_generators_and_modes_also_where_it_fails(
        monkeypatch, error):
    record_on_a_cpu(monkeypatch, error)
    network = some_network()
    (network if error else network[3]).eval()  # all of it, or dropout alone
    before, numbers = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    modes = [part.training for part in network.modules()]
    with pytest.raises(RuntimeError) if error else contextlib.nullcontext():
        recorded(network, torch.rand(16, 1, 28, 28, generator=torch.Generator()), "float32")
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(p.grad is None for p in network.parameters())
    assert [part.training for part in network.modules()] == modes
    assert "forward" not in vars(network)  # so that copies of it run their own weights


def test_replays_are_for_training_batches_of_the_shape_and_give_the_same_losses(monkeypatch):
    calls = record_on_a_cpu(monkeypatch)
    network, plain = some_network(), some_network()
    forward = recorded(network, torch.rand(16, 1, 28, 28), "float32")
    assert torch.equal(losses(network, forward), losses(plain, plain))
    assert calls == 4 * [torch.Size([16, 1, 28, 28])]  # of 6: one smaller, one evaluated


def test_autocast_keeps_no_copies_of_weights_while_it_records(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda f, _: seen.append(
        (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled())))
    recorded(some_network(), torch.rand(16, 1, 28, 28), "bfloat16")
    assert seen == [(True, False)] and torch.is_autocast_cache_enabled()


def test_where_the_gpu_cannot_record_a_line_says_so_and_it_is_the_network(monkeypatch, capsys):
    class Image:
        is_cuda = True

    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(capture, "recorded", refuse)
    network = some_network()
    assert captured(network, Image()) is network
    assert "not permitted" in capsys.readouterr().out


@needs_gpu
def test_on_a_gpu_captured_and_plain_have_the_same_losses_to_rounding():
    network, plain = some_network().cuda(), some_network().cuda()
    network[3].p = plain[3].p = 0.0  # a graph draws other numbers
    forward = captured(network, torch.rand(16, 1, 28, 28, device="cuda"))
    assert forward is not network
    torch.testing.assert_close(losses(network, forward, "cuda"), losses(plain, plain, "cuda"),
                               rtol=1e-4, atol=1e-6)
