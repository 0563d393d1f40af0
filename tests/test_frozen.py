"""minidl/frozen.py: what is frozen stays bit-identical, and what moves it anyway is named.

That an optimizer of all parameters, with decay, moves nothing: test_pitfalls.py, trap 7.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from minidl.frozen import frozen


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))


@pytest.fixture
def x():
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(1)) + 2


def test_the_momentum_of_earlier_steps_moves_nothing_and_later_all_of_it_learns_again(
        encoder, x):
    optimizer = torch.optim.SGD(encoder.parameters(), 0.1, momentum=0.9, weight_decay=0.1)

    def moved_by_a_step():
        before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        optimizer.zero_grad()
        encoder(x.requires_grad_()).square().mean().backward()
        optimizer.step()
        return [name for name, tensor in encoder.state_dict().items()
                if not torch.equal(tensor, before[name])]

    every = moved_by_a_step()
    assert every == list(encoder.state_dict())
    with frozen(encoder):
        assert moved_by_a_step() == []
    assert moved_by_a_step() == every


def test_the_gradient_passes_through_to_what_comes_before(encoder, x):
    with frozen(encoder):
        assert not any(p.requires_grad for p in encoder.parameters())
        encoder(x.requires_grad_()).sum().backward()
    assert x.grad.abs().max() > 0 and encoder[0].weight.grad is None


def test_running_statistics_that_moved_are_named_and_nothing_else(encoder, x):
    names = "1.running_mean, 1.running_var, 1.num_batches_tracked"
    with pytest.raises(RuntimeError, match=f": {names}$"), frozen(encoder):
        encoder.train()(x)


@pytest.mark.parametrize("violated", [False, True])
def test_afterwards_modes_and_learning_are_what_they_were(encoder, violated):
    encoder[0].bias.requires_grad_(False)  # not learning before
    encoder[2].eval()                      # not training before
    refused = pytest.raises(RuntimeError, match=r": 0\.weight$") if violated else nullcontext()
    with refused, frozen(encoder), torch.no_grad():
        assert not any(part.training for part in encoder.modules())
        encoder[0].weight[1, 2] += 1e-6 * violated
    assert [p.requires_grad for p in encoder.parameters()] == [True, False, True, True]
    assert [part.training for part in encoder.modules()] == [True, True, True, False]
