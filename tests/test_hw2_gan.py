"""assignments/hw2_gan.py, its study and minidl/gan.py: the players' losses, their judge."""

import math

import hw2_gan
import hw2_gan_study
import pytest
import torch
import torch.nn.functional as F
import whole_runs

from minidl.data import Split, load, to_unit
from minidl.gan import discriminator_loss, non_saturating, saturating
from minidl.run import Run

SMALL = {hw2_gan: ["--filters", "2", "--samples", "20", "--batch-size", "20"],
         hw2_gan_study: ["--filters", "2", "--steps", "3", "--seeds", "2", "--samples", "20"]}


# --- the losses -----------------------------------------------------------------------

def test_d_pays_twice_log_2_where_it_cannot_tell_and_nothing_where_it_is_right():
    none = torch.zeros(3)
    assert discriminator_loss(none, none).tolist() == pytest.approx([2 * math.log(2)] * 3)
    assert discriminator_loss(none + 90, none - 90).max() < 1e-30
    assert discriminator_loss(none - 90, none + 90).tolist() == pytest.approx([180] * 3)


def test_d_pays_the_cross_entropy_of_telling_real_from_made(generator):
    real, fake = torch.randn(2, 7, generator=generator)
    torchs = (F.binary_cross_entropy_with_logits(real, torch.ones(7), reduction="none")
              + F.binary_cross_entropy_with_logits(fake, torch.zeros(7), reduction="none"))
    torch.testing.assert_close(discriminator_loss(real, fake), torchs)
    exchanged = discriminator_loss(fake, real)
    assert not torch.allclose(exchanged, torchs)


def test_what_g_lowers_by_the_saturating_loss_is_what_d_raises(generator):
    """-V has -log(1 - D(G(z))), G's term of V is log(1 - D(G(z))): their sum is D's part."""
    real, fake = torch.randn(2, 7, generator=generator)
    torch.testing.assert_close(discriminator_loss(real, fake) + saturating(fake),
                               -F.logsigmoid(real))


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
    assert run.history["D_real"] == [pytest.approx(real)]
    assert run.history["D_made"] == [pytest.approx(made)]
    assert abs(after - made) > 0.1


def test_d_alone_takes_as_many_steps_as_told_also_where_the_images_are_few(run):
    split = Split(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), torch.arange(5))
    G, D = hw2_gan.build(run, 4, 2)
    taken = []
    D.register_forward_hook(lambda *_: taken.append(1))
    hw2_gan_study.learn_alone(run, G, D, split, 7, 2, 1e-3, "float32")
    assert len(taken) == 2 * 7  # real and made


def test_images_of_g_lie_in_0_to_1_and_do_not_depend_on_their_neighbours(run):
    G, _ = hw2_gan.build(run, 4, 2)
    z = hw2_gan.normal(0, 6, 4, "cpu")
    x = hw2_gan.make(G, z)
    assert x.shape == (6, 1, 28, 28) and x.min() >= 0 and x.max() <= 1
    torch.testing.assert_close(hw2_gan.make(G, z[:1]), x[:1])
    assert torch.equal(hw2_gan.normal(0, 6, 4, "cpu"), z)
    assert not torch.equal(hw2_gan.normal(1, 6, 4, "cpu"), z)


# --- the judge ------------------------------------------------------------------------

def by_row():
    """A network that tells the classes of the stripes by their rows' means."""
    read = torch.nn.Linear(28, 10, bias=False)
    read.weight.data = torch.zeros(10, 28)
    read.weight.data[torch.arange(10), 2 * torch.arange(10) + 3] = 1
    return torch.nn.Sequential(torch.nn.AvgPool2d((1, 28)), torch.nn.Flatten(), read)


@pytest.fixture
def judged(run, folder):
    data = load("fashion-mnist", str(folder), say=lambda _: None)
    run.history = {"distance": [2.0, 1.0], "D_real": [0.5, 0.6], "D_made": [0.5, 0.4]}
    return run, data, hw2_gan.Judge(by_row(), data, 1000)


def test_the_judge_knows_its_floor_and_sees_real_images_as_real(judged):
    _, data, judge = judged
    n = len(data.train.x)
    assert len(judge.real) == n // 2
    distance, shares = judge(to_unit(data.train.x[n // 2:2 * (n // 2)]))
    assert distance == pytest.approx(judge.floor) and distance > 0
    assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.05)
    assert judge(to_unit(data.train.x[:n // 2]))[0] == pytest.approx(0, abs=1e-6)


def test_a_collapsed_generator_is_named_and_a_good_one_is_not(judged):
    run, data, judge = judged
    test, numbers = data.test(), run.results.numbers
    hw2_gan.report(run, data, judge, to_unit(data.train.x), test)
    assert numbers["classes_covered"]["value"] == 10
    assert not any("collapse" in f or "failed" in f for f in run.results.findings)
    good = numbers["frechet_distance"]["value"]
    run.history["distance"] = [1.0, 2.0]
    hw2_gan.report(run, data, judge, to_unit(data.train.x[:1]).expand(50, -1, -1, -1), test)
    assert numbers["classes_covered"]["value"] == numbers["largest_class_share"]["value"] == 1
    assert numbers["frechet_distance"]["value"] > good
    assert any("collapse" in f for f in run.results.findings)
    assert any("failed" in f for f in run.results.findings)


# --- whole runs -----------------------------------------------------------------------

def start(script, folder, out, *argv):
    return whole_runs.start(script, folder, out, *SMALL[script], *argv, data="fashion-mnist")


@pytest.fixture(scope="module")
def results(module_folder, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hw2_gan_study, "AHEAD", (0, 2))
        return {script: whole_runs.watched(
            script, module_folder, outputs / script.__name__, *argv, data="fashion-mnist")
            for script, argv in SMALL.items()}


@pytest.mark.parametrize(("script", "headlines", "files"), [
    (hw2_gan, ["frechet_distance", "frechet_floor", "classes_covered", "largest_class_share"],
     ["players.png", "distance.png", "samples_over_time.png", "interpolation.png",
      "nearest.png", "classes.png", "layers_generator.tex"]),
    (hw2_gan_study, ["gradient_saturating_2", "paired_difference_0_ahead"],
     ["gradient.png", "distance.png", "losses.tex"])])
def test_the_headlines_and_the_figures_are_there(results, script, headlines, files):
    assert whole_runs.shows(results[script], headlines, files)


def test_the_test_images_are_read_once_after_the_last_training(results):
    events = results[hw2_gan].events
    assert events.count("test") == 1 and events[-1] == "test" and "step" in events
    assert "test" not in results[hw2_gan_study].events


@pytest.mark.parametrize("script", SMALL)
def test_stopped_in_the_middle_and_resumed_it_is_as_if_left_alone(
        results, script, module_folder, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr(hw2_gan_study, "AHEAD", (0, 2))
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    with interrupted(5):
        start(script, module_folder, tmp_path)
    assert whole_runs.same(start(script, module_folder, tmp_path, "--resume"),
                           results[script].content)


@pytest.mark.parametrize(("script", "flag"), [
    (hw2_gan, ("--samples", "1")), (hw2_gan_study, ("--samples", "1")),
    (hw2_gan_study, ("--batch-size", "1"))])
def test_what_cannot_be_judged_is_one_sentence(script, flag, folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        start(script, folder, tmp_path, *flag)
    assert " ".join(flag) in capsys.readouterr().err
