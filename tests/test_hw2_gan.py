"""assignments/hw2_gan.py, its study and minidl/gan.py: the players' losses, their judge.

Losses are compared in float64, where a few roundings are some 1e-15 of them.
"""

import math

import hw2_gan
import hw2_gan_study
import pytest
import torch
import torch.nn.functional as F

from minidl.data import Split, load, to_unit
from minidl.gan import discriminator_loss, non_saturating, saturating
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


def test_what_g_lowers_by_the_saturating_loss_is_what_d_raises(generator):
    """-V has -log(1 - D(G(z))), G's term of V is log(1 - D(G(z))): their sum is D's part."""
    real, fake = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(discriminator_loss(real, fake) + saturating(fake),
                               -F.logsigmoid(real), **CLOSE)


# --- the training ---------------------------------------------------------------------

@pytest.fixture
def run(tmp_path):
    return Run("s", "quick", {}, out=tmp_path, sheet_data="fashion-mnist")


class Blind:
    """A judge that costs nothing."""
    real = torch.zeros(2, 1)

    def __call__(self, x):
        return 0.0, torch.ones(10) / 10


def test_each_player_takes_every_step_and_g_goes_another_way_with_the_other_loss(run):
    split = Split(torch.randint(0, 255, (20, 1, 28, 28), dtype=torch.uint8),
                  torch.arange(20) % 10)
    ends = []
    for name, loss in (("a", non_saturating), ("b", saturating)):
        run.seed_everything(0)
        G, D = hw2_gan.build(run, 4, 2)
        before = [p.detach().clone() for player in (G, D) for p in player.parameters()]
        hw2_gan.train(run, name, G, D, split, Blind(), 2, loss, 20, 1e-3, "float32")
        ends.append([p.detach() for player in (G, D) for p in player.parameters()])
        assert not any(map(torch.equal, ends[-1], before))
        assert run.history["D_real"][0] == pytest.approx(0.5, abs=0.1)  # weights are small
    assert not all(map(torch.equal, *ends))


def test_the_beliefs_that_are_told_are_of_one_d_before_its_step(run):
    """D(x), D(G(z)), then D(G(z)) once more for G's step, when D is another one."""
    split = Split(torch.randint(0, 255, (20, 1, 28, 28), dtype=torch.uint8),
                  torch.arange(20) % 10)
    run.seed_everything(0)
    G, D = hw2_gan.build(run, 4, 2)
    beliefs = []
    D.register_forward_hook(lambda _D, _x, logits: beliefs.append(
        logits.sigmoid().mean().item()))
    hw2_gan.train(run, "a", G, D, split, Blind(), 1, non_saturating, 20, 0.1, "float32")
    real, made, after = beliefs
    for told, belief in (("D_real", real), ("D_made", made)):  # means of 20 in float32
        assert run.history[told] == [pytest.approx(belief, rel=2 * 20 * 2**-24)]
    assert abs(after - made) > 0.1


def test_d_alone_takes_as_many_steps_as_told_also_where_the_images_are_few(run):
    split = Split(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), torch.arange(5))
    G, D = hw2_gan.build(run, 4, 2)
    taken = []
    D.register_forward_hook(lambda *_: taken.append(1))
    hw2_gan_study.learn_alone(run, G, D, split, 7, 2, 1e-3, "float32")
    assert len(taken) == 2 * 7  # real and made


def test_images_of_g_lie_in_0_to_1_and_do_not_depend_on_their_neighbours(run):
    """float64: sums of 4 to 400 products, whose order may change with the batch."""
    G, z = hw2_gan.build(run, 4, 2)[0].double(), hw2_gan.normal(0, 6, 4, "cpu").double()
    x = hw2_gan.make(G, z)
    assert x.shape == (6, 1, 28, 28) and x.min() >= 0 and x.max() <= 1
    torch.testing.assert_close(hw2_gan.make(G, z[:1]), x[:1], rtol=0, atol=1e-10)
    again, other = (hw2_gan.normal(seed, 6, 4, "cpu").double() for seed in (0, 1))
    assert torch.equal(again, z) and not torch.equal(other, z)


# --- the judge ------------------------------------------------------------------------

def by_row():
    """A network that tells the classes of the stripes by their rows' means."""
    read = torch.nn.Linear(28, 10, bias=False)
    read.weight.data = torch.zeros(10, 28)
    read.weight.data[torch.arange(10), 2 * torch.arange(10) + 3] = 1
    return torch.nn.Sequential(torch.nn.AvgPool2d((1, 28)), torch.nn.Flatten(), read)


@pytest.fixture
def judged(folder):
    data = load("fashion-mnist", str(folder), say=lambda _: None)
    return data.train.x, hw2_gan.Judge(by_row(), data, 1000)


def test_the_judge_knows_its_floor_and_sees_real_images_as_real(judged):
    """10 features in [0, 1], and means of 28 pixels, the same in the same batch. Roots of
    eigenvalues that are 0 but for 10 * 2^-53 add 10 * sqrt(1e-15) = 3e-7."""
    x, judge = judged
    n = len(x)
    assert len(judge.real) == n // 2
    distance, shares = judge(to_unit(x[n // 2:2 * (n // 2)]))
    assert distance == pytest.approx(judge.floor, abs=1e-6) and distance > 1e-4
    assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.05)
    assert judge(to_unit(x[:n // 2]))[0] == pytest.approx(0, abs=1e-6)


def test_a_collapsed_generator_is_of_one_class_and_far_away(judged):
    x, judge = judged
    distance, shares = judge(to_unit(x))
    assert (shares > 0).all()
    far, one = judge(to_unit(x[:1]).expand(50, -1, -1, -1))
    assert one.max() == 1 and far > 10 * distance
