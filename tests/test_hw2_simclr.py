"""Homework 2's SimCLR: its views, who is compared, and on what terms."""

import hw2_simclr
import hw2_simclr_study
import pytest
import torch
import whole_runs

pytestmark = pytest.mark.numeric
ARGV = ["--epochs", "1", "--batch-size", "32", "--filters", "2"]


def start(folder, out, *argv):
    return whole_runs.start("hw2_simclr", out, "--data", str(folder), *ARGV, *argv,
                            data="fashion-mnist")


def test_each_change_changes_the_images_and_none_leaves_them(generator):
    x = torch.randint(0, 256, (40, 1, 28, 28), generator=generator) / 255
    kinds = [*hw2_simclr_study.AFFINE, "brightness", "mirror"]
    views = {kind: hw2_simclr_study.view(x, torch.Generator().manual_seed(0), [kind])
             for kind in kinds}
    views["all"] = hw2_simclr.view(x, torch.Generator().manual_seed(0), mirror=True)
    for name, view in views.items():
        assert view.shape == x.shape and not torch.equal(view, x), name
        assert view.min() >= 0 and view.max() <= 1 + 2**-20  # of four weights that sum to 1
    assert torch.equal(hw2_simclr_study.view(x, torch.Generator(), []), x)


def test_the_study_changes_images_as_the_page_does(generator):
    x, kinds = torch.rand(8, 1, 28, 28, generator=generator), ["crop", "turn", "brightness"]
    for mirror in (False, True):
        a, b = (torch.Generator().manual_seed(3) for _ in "ab")
        assert torch.equal(hw2_simclr.view(x, a, mirror), hw2_simclr_study.view(
            x, b, kinds + ["mirror"] * mirror))


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
