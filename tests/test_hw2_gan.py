"""assignments/hw2_gan.py, its study and minidl/gan.py: the players and their losses.

Losses are compared in float64, where a few roundings are some 1e-15 of them.
"""

import math

import hw2_gan
import hw2_gan_study
import pytest
import torch
import torch.nn.functional as F

from minidl.data import Split
from minidl.gan import discriminator_loss, non_saturating
from minidl.lab import infer
from minidl.lab.run import Run

pytestmark = pytest.mark.numeric
CLOSE = {"rtol": 1e-13, "atol": 1e-13}


# --- the losses -----------------------------------------------------------------------

def test_d_pays_twice_log_2_where_it_cannot_tell_and_nothing_where_it_is_right():
    none, log_2 = torch.zeros(3, dtype=torch.float64), math.log(2)
    found = [discriminator_loss(none + a, none - a) for a in (0, 90, -90)]
    assert found[0].tolist() == pytest.approx([2 * log_2] * 3, rel=1e-14)
    assert found[1].max() < 1e-30
    assert found[2].tolist() == pytest.approx([180] * 3, rel=1e-14)


def test_d_pays_the_cross_entropy_of_telling_real_from_made(generator):
    real, fake = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    told = F.binary_cross_entropy_with_logits
    torchs = (told(real, torch.ones_like(real), reduction="none")
              + told(fake, torch.zeros_like(fake), reduction="none"))
    torch.testing.assert_close(discriminator_loss(real, fake), torchs, **CLOSE)
    exchanged = discriminator_loss(fake, real)
    assert not torch.allclose(exchanged, torchs)


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


def test_images_of_g_lie_in_0_to_1_and_do_not_depend_on_their_neighbours():
    """float64: sums of 4 to 400 products, whose order may change with the batch."""
    G = hw2_gan.Generator(4, 2).double()
    z = hw2_gan.codes(6, 4, 0, "cpu").double()
    x = infer(G, z)
    assert x.shape == (6, 1, 28, 28) and x.min() >= 0 and x.max() <= 1
    torch.testing.assert_close(infer(G, z[:1]), x[:1], rtol=0, atol=1e-10)
    assert torch.equal(hw2_gan.codes(6, 4, 0, "cpu").double(), z)
    assert not torch.equal(hw2_gan.codes(6, 4, 1, "cpu").double(), z)


def test_weights_begin_as_in_dcgan_and_biases_and_normalisation_as_torch_has_them(run):
    G, _ = hw2_gan.players(run, 64, 32)
    w = G[0].weight  # 200,704 draws: the deviation is within 5 of its standard errors
    assert abs(w.std().item() / 0.02 - 1) < 5 / (2 * w.numel()) ** 0.5
    assert (G[2].weight == 1).all() and (G[2].bias == 0).all()
