"""assignments/hw2_gan.py, its study and minidl/gan.py: the players and their losses.

Losses are compared in float64, where a few roundings are some 1e-15 of them.
"""


import hw2_gan
import hw2_gan_study
import pytest
import torch

from minidl.data import Split
from minidl.gan import non_saturating
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric
# --- the losses -----------------------------------------------------------------------

# --- the players ------------------------------------------------------------------------

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
    hw2_gan_study.play(run, G, D, split, 1, non_saturating)
    assert not any(map(torch.equal, before, G.parameters()))


def test_weights_begin_as_in_dcgan_and_biases_and_normalisation_as_torch_has_them(run):
    G, _ = hw2_gan.players(run, 64, 32)
    w = G[0].weight  # 200,704 draws: the deviation is within 5 of its standard errors
    assert abs(w.std().item() / 0.02 - 1) < 5 / (2 * w.numel()) ** 0.5
    assert (G[2].weight == 1).all() and (G[2].bias == 0).all()
