"""minidl/lab/fast.py: CUDA graphs compute what the plain network does."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from minidl.lab import fast
from minidl.lab.fast import recorded
from minidl.lab.network import network as made_fast

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


def test_on_a_cpu_nothing_is_recorded():
    x = torch.rand(16, 1, 28, 28)
    assert type(made_fast(some_network(), "cpu", graph=x)) is nn.Sequential


@pytest.mark.parametrize("error", [None, RuntimeError("stream is capturing")])
def test_recording_leaves_weights_statistics_generators_and_modes_also_where_it_fails(
        monkeypatch, error):
    record_on_a_cpu(monkeypatch, error)
    network = some_network()
    (network if error else network[3]).eval()  # all of it, or dropout alone
    before, numbers = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    modes = [part.training for part in network.modules()]
    with pytest.raises(RuntimeError) if error else contextlib.nullcontext():
        recorded(network, torch.rand(16, 1, 28, 28, generator=torch.Generator()))
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(p.grad is None for p in network.parameters())
    assert [part.training for part in network.modules()] == modes
    assert "forward" not in vars(network)  # so that copies of it run their own weights


def test_a_replay_gives_the_same_losses(monkeypatch):
    calls = record_on_a_cpu(monkeypatch)
    network, plain = some_network(), some_network()
    forward = recorded(network, torch.rand(16, 1, 28, 28))
    assert torch.equal(losses(network, forward), losses(plain, plain))
    assert len(calls) == 6


def test_no_copies_of_weights_in_16_bits_are_kept_while_it_records(monkeypatch):
    monkeypatch.setattr(fast, "has_bfloat16", lambda device: True)
    seen, network = [], made_fast(some_network(), "cpu", bits=16)
    network[0].register_forward_hook(lambda *_: seen.append(
        (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled())))
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda f, example: f(*example))
    recorded(network, torch.rand(16, 1, 28, 28))
    assert seen == [(True, False)] and torch.is_autocast_cache_enabled()


def test_where_the_gpu_cannot_record_a_line_says_so_and_it_is_the_network(monkeypatch, capsys):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(fast, "recorded", refuse)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    network = made_fast(some_network(), "cpu", graph=torch.rand(16, 1, 28, 28))
    assert type(network) is nn.Sequential
    assert "not permitted" in capsys.readouterr().out


@needs_gpu
def test_on_a_gpu_recorded_and_plain_have_the_same_losses_to_rounding():
    network, plain = some_network().cuda(), some_network().cuda()
    network[3].p = plain[3].p = 0.0  # a graph draws other numbers
    forward = made_fast(network, "cuda", graph=torch.rand(16, 1, 28, 28, device="cuda"))
    assert type(forward) is not nn.Sequential
    torch.testing.assert_close(losses(network, forward, "cuda"), losses(plain, plain, "cuda"),
                               rtol=1e-4, atol=1e-6)
