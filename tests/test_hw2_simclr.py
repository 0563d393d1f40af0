"""Homework 2's SimCLR: its views, who is compared, and on what terms."""

import hw2_simclr
import pytest
import torch
import whole_runs

pytestmark = pytest.mark.numeric
ARGV = ["--epochs", "1", "--batch-size", "32", "--filters", "2"]


def start(folder, out, *argv):
    return whole_runs.start("hw2_simclr", out, "--data", str(folder), *ARGV, *argv,
                            data="fashion-mnist")


def test_every_encoder_starts_from_the_same_weights(module_folder, tmp_path, monkeypatch):
    first = []

    class Watched(hw2_simclr.Encoder):
        def __init__(self, *args):
            super().__init__(*args)
            first.append([p.detach().clone() for p in self.parameters()])

    monkeypatch.setattr(hw2_simclr, "Encoder", Watched)
    start(module_folder, tmp_path)
    assert len(first) == 4
    for weights in first[1:]:
        assert all(map(torch.equal, weights, first[0]))


def test_trap_17_the_partner_of_view_i_is_i_plus_n_which_shows_the_same_image(
        module_folder, tmp_path, monkeypatch):
    made, shown, view = [], [], hw2_simclr.view

    class Watched(hw2_simclr.Encoder):
        def forward(self, x):
            shown.append((x, *made[-2:]))
            return super().forward(x)

    monkeypatch.setattr(hw2_simclr, "Encoder", Watched)
    monkeypatch.setattr(hw2_simclr, "view", lambda x, *args: [
        made.append((x, view(x, *args))), made[-1][1]][1])
    start(module_folder, tmp_path)
    steps = [step for step in shown if len(step[0]) == 64]
    assert steps
    for both, (x, one), (again, other) in steps:
        assert torch.equal(x, again) and torch.equal(both, torch.cat([one, other]))


def test_trap_17_a_probe_whose_encoder_is_not_frozen_is_an_error(
        module_folder, tmp_path, monkeypatch):
    """Running statistics that move while features are read."""
    monkeypatch.setattr(hw2_simclr, "infer", lambda net, x: net.train()(x / 255).detach())
    with pytest.raises(RuntimeError, match=r"frozen, yet changed: 1\.running_mean"):
        start(module_folder, tmp_path)
