"""minidl/frozen.py: what is frozen stays bit-identical, and what moves it anyway is named."""

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


def copy(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(module, before):
    return [name for name, tensor in module.state_dict().items()
            if not torch.equal(tensor, before[name])]


def decaying(name, *modules):
    """Optimizers that move a parameter of gradient 0 too: by weight decay and momentum."""
    every = [p for module in modules for p in module.parameters()]
    return {"sgd": lambda: torch.optim.SGD(every, 0.1, momentum=0.9, weight_decay=0.1),
            "adamw": lambda: torch.optim.AdamW(every, 0.1, weight_decay=0.1)}[name]()


def steps(optimizer, x, *modules):
    for _ in range(3):
        optimizer.zero_grad()
        nn.Sequential(*modules)(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_optimizer_of_all_parameters_moves_the_other_module_alone(encoder, x, name):
    decoder = nn.Linear(3, 4)
    optimizer = decaying(name, encoder, decoder)
    steps(optimizer, x, encoder, decoder)  # the optimizer has a momentum for all of them
    before, other = copy(encoder), copy(decoder)
    with frozen(encoder):
        steps(optimizer, x, encoder, decoder)
    assert moved(encoder, before) == [] and moved(decoder, other) == ["weight", "bias"]
    steps(optimizer, x, encoder, decoder)  # and afterwards all of it learns again
    assert moved(encoder, before) == list(before)


def test_the_gradient_passes_through_to_what_comes_before(encoder, x):
    with frozen(encoder):
        assert not any(p.requires_grad for p in encoder.parameters())
        encoder(x.requires_grad_()).sum().backward()
    assert x.grad.abs().max() > 0 and encoder[0].weight.grad is None


def test_running_statistics_that_moved_are_named_and_nothing_else(encoder, x):
    names = "1.running_mean, 1.running_var, 1.num_batches_tracked"
    with pytest.raises(RuntimeError, match=f": {names}$"), frozen(encoder):
        encoder.train()(x)


def test_a_weight_changed_by_hand_is_named(encoder):
    with (pytest.raises(RuntimeError, match=r": 0\.weight$"),
          frozen(encoder), torch.no_grad()):
        encoder[0].weight[1, 2] += 1e-6


@pytest.mark.parametrize("violated", [False, True])
def test_afterwards_modes_and_learning_are_what_they_were(encoder, x, violated):
    encoder[0].bias.requires_grad_(False)  # not learning before
    encoder[2].eval()                      # not training before
    learning = [p.requires_grad for p in encoder.parameters()]
    training = [part.training for part in encoder.modules()]
    assert learning == [True, False, True, True] and training == [True, True, True, False]
    try:
        with frozen(encoder):
            assert not any(part.training for part in encoder.modules())
            if violated:
                encoder.train()(x)
    except RuntimeError:
        assert violated
    assert [p.requires_grad for p in encoder.parameters()] == learning
    assert [part.training for part in encoder.modules()] == training
