"""Homework 2's fine-tuning, codes, GAN and SimCLR: what is compared, on what terms."""

import math

import hw2_fine_tuning
import hw2_gan
import hw2_gan_study
import hw2_latent_space
import hw2_simclr
import numpy as np
import pytest
import torch
import whole_runs

from minidl import gan
from minidl.data import Split
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric


# --- the encoder ----------------------------------------------------------------------------

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


# --- the GAN --------------------------------------------------------------------------------

@pytest.fixture
def run(tmp_path):
    settings = {"latent": 4, "filters": 2, "learning_rate": 1e-3, "batch_size": 2}
    return Run("s", "quick", settings, out=tmp_path, sheet_data="fashion-mnist")


def test_d_alone_takes_as_many_steps_as_told_and_g_none(run):
    """Also where the images are few: they are gone through again."""
    split = Split(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), torch.arange(5))
    G, D = hw2_gan.players(run, 4, 2)
    before, taken = [p.detach().clone() for p in G.parameters()], []
    D.register_forward_hook(lambda *_: taken.append(1))
    hw2_gan_study.play(run, G, D, split, 7)
    assert len(taken) == 2 * 7  # real and generated
    assert all(map(torch.equal, before, G.parameters()))
    assert all(p.grad is None for p in G.parameters())  # no gradient of D's step reaches G
    hw2_gan_study.play(run, G, D, split, 1, gan.non_saturating)
    assert not any(map(torch.equal, before, G.parameters()))


def test_the_players_losses_and_slopes_where_d_is_sure():
    """Logits up to +-1e4: log(1 + e^a) by NumPy, its slope sigmoid(a); 100 roundings each."""
    U = 2.0**-53
    a = torch.tensor([-1e4, -300.0, -41.0, 0.5, 41.0, 300.0, 1e4], dtype=torch.float64)
    softplus, sigmoid = torch.from_numpy(np.logaddexp(0, a.numpy())), a.sigmoid()
    away = torch.from_numpy(np.logaddexp(0, -a.numpy()))
    for loss, value, slope in (
            (lambda a: gan.discriminator_loss(-a, a), 2 * softplus, 2 * sigmoid),
            (gan.saturating, -softplus, -sigmoid),
            (gan.non_saturating, away, -(-a).sigmoid())):
        leaf = a.clone().requires_grad_()
        found = loss(leaf)
        torch.testing.assert_close(found, value, rtol=100 * U, atol=100 * U**2)
        (found,) = torch.autograd.grad(found.sum(), leaf)
        torch.testing.assert_close(found, slope, rtol=100 * U, atol=100 * U**2)


def test_weights_begin_as_in_dcgan_and_biases_and_normalisation_as_torch_has_them(run):
    G, _ = hw2_gan.players(run, 64, 32)
    w = G[0].weight  # 200,704 draws: the deviation is within 5 of its standard errors
    assert abs(w.std().item() / 0.02 - 1) < 5 / (2 * w.numel()) ** 0.5
    assert (G[2].weight == 1).all() and (G[2].bias == 0).all()


# --- SimCLR ---------------------------------------------------------------------------------

def simclr(folder, out):
    return whole_runs.start("hw2_simclr", out, "--data", str(folder), "--epochs", "1",
                            "--batch-size", "32", "--filters", "2", data="fashion-mnist")


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
    simclr(module_folder, tmp_path)
    steps = [step for step in shown if len(step[0]) == 64]
    assert steps
    for both, (x, one), (again, other) in steps:
        assert torch.equal(x, again) and torch.equal(both, torch.cat([one, other]))


def test_trap_17_a_probe_whose_encoder_is_not_frozen_is_an_error(
        module_folder, tmp_path, monkeypatch):
    """Running statistics that move while features are read."""
    monkeypatch.setattr(hw2_simclr, "infer", lambda net, x: net.train()(x / 255).detach())
    with pytest.raises(RuntimeError, match=r"frozen, yet changed: 1\.running_mean"):
        simclr(module_folder, tmp_path)
