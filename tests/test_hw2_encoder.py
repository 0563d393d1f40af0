"""Homework 2's encoder: fine-tuned on labels, and what its codes hold."""

import math

import hw2_fine_tuning
import hw2_latent_space
import pytest
import torch
import whole_runs

pytestmark = pytest.mark.numeric


def test_the_first_evaluation_with_the_accuracy_counts():
    for accuracies, looks in (([0.5, 0.85, 0.79, 0.9], 2), ([0.84, 0.86], 2)):
        found = hw2_fine_tuning.steps_to_85({"val_accuracy": accuracies})
        assert found == looks * hw2_fine_tuning.EVERY
    assert math.isnan(hw2_fine_tuning.steps_to_85({"val_accuracy": [0.5, 0.849]}))


def test_fine_tuning_starts_from_a_copy_and_the_mlps_of_a_seed_begin_alike(
        module_folder, tmp_path, monkeypatch):
    """Each training changes its network; a later one starts from the autoencoder's all the
    same."""
    begun = []

    def train(run, name, net, *_):
        begun.append((name, {key: value.clone() for key, value in net.state_dict().items()}))
        net.load_state_dict({key: value + 1 for key, value in net.state_dict().items()})
        run.history.update(val_accuracy=[0.5])

    monkeypatch.setattr(hw2_fine_tuning, "train", train)
    whole_runs.start("hw2_fine_tuning", tmp_path, "--data", str(module_folder),
                     data="fashion-mnist")
    (scratch, *_), (first, *_, last) = (
        [weights for name, weights in begun if kind in name]
        for kind in (hw2_fine_tuning.SCRATCH, hw2_fine_tuning.PRETRAINED))
    encoder = [key for key in first if key.startswith("0.")]
    assert all(torch.equal(first[key], last[key]) for key in encoder)
    assert not torch.equal(first["0.0.weight"], scratch["0.0.weight"])
    assert all(torch.equal(first[key], scratch[key]) for key in first.keys() - set(encoder))


def test_codes_by_each_rule_are_like_the_codes_that_it_was_fitted_to(generator):
    y = torch.arange(4000) % 2
    z = torch.randn(4000, 3, generator=generator) @ torch.diag(torch.tensor([1.0, 2, 3]))
    z[y == 1] += 10
    torch.manual_seed(0)
    rules = hw2_latent_space.rules(z, y)
    box, one, per_class = (rule.sample((4000,)) for rule in rules.values())
    assert (box >= z.amin(dim=0)).all() and (box <= z.amax(dim=0) + 1e-5).all()
    between = [((d.mean(dim=1) - 5).abs() < 1).float().mean().item() for d in (one, per_class)]
    assert between[0] > 0.1 and between[1] < 0.02  # one Gaussian fills the gap of two
    surprise = [-rule.log_prob(z).mean().item() for rule in rules.values()]
    assert surprise[2] < surprise[1] < surprise[0]  # the more a rule knows, the less
