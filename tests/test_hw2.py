"""Homework 2's scripts as whole runs on small images, and what noise and neighbours are."""

from types import SimpleNamespace

import hw1_classification
import hw2_conv_ae
import hw2_conv_ae_study
import hw2_denoising
import hw2_fine_tuning
import hw2_latent_space
import hw2_tuning
import pytest
import torch
import torch.nn.functional as F
import whole_runs
from torch import nn

from minidl import cli, noise
from minidl.data import Split
from minidl.losses import contraction
from minidl.progress import Line
from minidl.representation import nearest
from minidl.run import Run

SMALL = {
    hw2_conv_ae: ["--epochs", "2", "--fc-epochs", "1"],
    hw2_conv_ae_study: ["--filters", "2", "--hidden", "8"],
    hw2_tuning: ["--subset", "60", "--epochs", "1", "--trials", "5"],
    hw2_denoising: ["--filters", "2", "--hidden", "16"],
    hw2_fine_tuning: ["--rounds", "1", "--all-rounds", "1"],
    hw2_latent_space: ["--points", "30", "--perplexity", "3", "--samples", "14"]}


def start(script, folder, out, *argv):
    return whole_runs.start(script, folder, out, *SMALL[script], *argv, data="fashion-mnist")


@pytest.fixture(scope="module")
def results(module_folder, tmp_path_factory):
    outputs, threads = tmp_path_factory.mktemp("outputs"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hw2_fine_tuning, "EVERY", 3)
        patch.setattr(hw2_denoising, "COMPONENTS", (2, 8))
        found = {script: whole_runs.watched(
            script, module_folder, outputs / script.__name__, *argv, data="fashion-mnist")
            for script, argv in SMALL.items()}
    torch.set_num_threads(threads)  # hw2_tuning sets them
    return found


@pytest.mark.parametrize(("script", "headlines", "files"), [
    (hw2_conv_ae, ["test_mse", "pca_test_mse", "test_mse_fully_connected"],
     ["loss.png", "reconstructions.png", "best_median_worst.png", "classes.tex"]),
    (hw2_conv_ae_study, ["test_mse_base", "paired_contractive_1e_4", "near_zero_base"],
     ["optimizer.png", "regularisation.png", "test_mse.png", "variants.tex"]),
    (hw2_tuning, ["test_mse", "cross_validated_mse_random_search",
                  "paired_difference_halving"], ["trials.png", "importance.png"]),
    (hw2_denoising, ["psnr_gain_db", "psnr_PCA_Gaussian_0_5"],
     ["psnr_Gaussian.png", "images_masking.png", "psnr.tex"]),
    (hw2_fine_tuning, ["paired_gain_few_over_random_weights",
                       "test_accuracy_all_homework_1_s_result"],
     ["speed_few.png", "speed_all.png", "speed.tex"]),
    (hw2_latent_space, ["explained_variance_2", "trustworthiness_t_SNE_2_D",
                        "found_again_one_Gaussian"],
     ["codes_PCA_3_D.png", "codes_t_SNE_2_D.png", "interpolation.png", "traversals.png",
      "new_images.png", "explained_variance.png"])])
def test_the_headlines_and_the_figures_are_there(results, script, headlines, files):
    assert whole_runs.shows(results[script], headlines, files)


@pytest.mark.parametrize("script", [hw2_conv_ae, hw2_conv_ae_study, hw2_denoising])
def test_stopped_in_the_middle_and_resumed_it_is_as_if_left_alone(
        results, script, module_folder, tmp_path, interrupted, monkeypatch):
    monkeypatch.setattr(hw2_denoising, "COMPONENTS", (2, 8))
    monkeypatch.setattr("minidl.results.Results.figure", lambda *_: None)
    with interrupted(3):
        start(script, module_folder, tmp_path)
    assert whole_runs.same(start(script, module_folder, tmp_path, "--resume"),
                           results[script].content)


@pytest.mark.parametrize("script", SMALL)
def test_the_test_images_are_read_once_after_the_last_training(results, script):
    events = results[script].events
    assert events.count("test") == 1 and "step" in events
    after = events[events.index("test"):].count("step")
    # a linear probe of codes is fitted afterwards; it takes no setting from the test images
    assert after == 0 or script in (hw2_conv_ae_study, hw2_latent_space)


# --- denoising ----------------------------------------------------

@pytest.mark.parametrize("kind", noise.KINDS)
def test_noise_stays_in_the_unit_interval_and_the_generator_decides_it(kind, generator):
    x = torch.rand(4, 1, 28, 28)
    noisy = noise.KINDS[kind](x, 0.5, generator)
    assert noisy.shape == x.shape and noisy.min() >= 0 and noisy.max() <= 1
    assert not torch.equal(noise.KINDS[kind](x, 0.5, generator), noisy)
    again = noise.KINDS[kind](x, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(again, noisy)


def test_noise_of_a_level_is_as_strong_as_it_says(generator):
    """Shares of 78,400 pixels: 5 deviations are below 0.01."""
    x = torch.full((100, 1, 28, 28), 0.5)
    e = noise.gaussian(x, 0.1, generator) - x
    assert e.std().item() == pytest.approx(0.1, rel=0.02) and abs(e.mean()) < 0.002
    spoilt = noise.salt_and_pepper(x, 0.3, generator)
    assert (spoilt == 1).float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert (spoilt == 0).float().mean().item() == pytest.approx(0.15, abs=0.01)
    masked = noise.masking(x, 0.3, generator)
    assert (masked == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert set(masked.unique().tolist()) == {0.0, 0.5}


def test_each_level_of_a_batch_is_its_images_own(generator):
    levels = torch.tensor([0.0, 0.9]).view(2, 1, 1, 1)
    for add in noise.KINDS.values():
        x = torch.full((2, 1, 28, 28), 0.5)
        noisy = add(x, levels, generator)
        assert torch.equal(noisy[0], x[0]) and (noisy[1] != x[1]).float().mean() > 0.5


def test_a_median_filter_takes_a_speck_away_and_leaves_an_edge():
    x = torch.zeros(1, 1, 7, 7)
    x[..., 4:] = 1
    speck = x.clone()
    speck[0, 0, 3, 1] = 1
    assert torch.equal(noise.median_filter(speck, 3), x)
    assert not torch.equal(noise.median_filter(speck, 1), x)
    x = torch.rand(51, 1, 6, 6)
    x[:20] = x[:20].round()  # many equal values
    for size in (1, 3, 5, 7):
        windows = F.pad(x, [size // 2] * 4, mode="replicate").unfold(2, size, 1).unfold(
            3, size, 1).flatten(4)
        assert torch.equal(noise.median_filter(x, size), windows.median(dim=-1).values), size


def test_psnr_of_known_errors():
    assert noise.psnr(1) == 0 and noise.psnr(0.01) == pytest.approx(20)
    assert noise.psnr(0.5e-3) - noise.psnr(1e-3) == pytest.approx(3.0103, abs=1e-4)


# --- fine-tuning ----------------------------------------------------

def test_few_labels_are_as_many_of_each_class():
    split = Split(torch.arange(1000).view(-1, 1), torch.arange(1000) % 4)
    chosen = hw2_fine_tuning.few(split, 0.02, seed=1)
    assert torch.bincount(chosen.y).tolist() == [5] * 4
    assert torch.equal(chosen.x[:, 0] % 4, chosen.y)
    assert not torch.equal(chosen.x, hw2_fine_tuning.few(split, 0.02, seed=2).x)


def test_the_first_look_with_the_accuracy_counts():
    history = {"val_accuracy": [0.5, 0.81, 0.79, 0.9], "seconds": [1.0, 2.0, 3.0, 4.0],
               "steps": [20, 40, 60, 80]}
    assert hw2_fine_tuning.reached(history, 0.8) == (40, 2.0)
    assert hw2_fine_tuning.reached(history, 0.9) == (80, 4.0)
    assert hw2_fine_tuning.reached(history, 0.95) is None


def test_the_pretrained_encoder_is_copied_and_the_mlps_begin_alike(tmp_path):
    run = Run("s", "quick", {}, out=tmp_path)
    size = cli.settings(hw2_conv_ae.main, hw2_conv_ae.SIZES, "quick")
    autoencoder = hw2_conv_ae.build(hw2_conv_ae.CONV, size["latent"], size["filters"],
                                    size["hidden"])
    built = {}
    for name in (hw2_fine_tuning.SCRATCH, hw2_fine_tuning.PRETRAINED):
        run.seed_everything(3)
        built[name] = hw2_fine_tuning.build(run, name, autoencoder, 10)
    scratch, pretrained = built.values()
    for name, tensor in autoencoder[0].state_dict().items():
        copy = pretrained[0].state_dict()[name]
        assert torch.equal(copy, tensor) and copy.data_ptr() != tensor.data_ptr()
    assert not torch.equal(scratch[0][0].weight, pretrained[0][0].weight)
    for a, b in zip(scratch[1].parameters(), pretrained[1].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("level", "other"), [(0.5, 0.2), (0.2, 0.5), (0.8, 0.2)])
def test_a_level_not_trained_on_is_another_one(level, other, tmp_path):
    """The error of each method is its level's own."""
    run = Run("s", "quick", {}, out=tmp_path)
    names = ["noisy image", "median filter", "PCA", *hw2_denoising.training_noise(level)]
    scores = {(kind, at): dict.fromkeys(names, (at / 100, at)) for kind in noise.KINDS
              for at in hw2_denoising.LEVELS}
    hw2_denoising.report(run, scores, level, "title")
    told = [f for f in run.results.findings if "a level not trained on" in f]
    assert len(told) == len(noise.KINDS)
    for finding in told:
        assert f"level {other}, " in finding and f"trained at {level} " in finding
        assert f"has {noise.psnr(other / 100):.2f} dB" in finding


def test_each_network_gets_the_rate_that_is_best_on_validation_and_an_edge_is_told(
        tmp_path, monkeypatch):
    """A network here is what it scores, for two of the three the best at the middle rate."""
    run, seeds, val = Run("s", "quick", {}, out=tmp_path), [], object()
    middle = {name: grid[0] for name, grid in hw2_fine_tuning.RATES.items()}
    low = hw2_fine_tuning.SCRATCH

    def learn(labels, name, seed, rate):
        seeds.append(seed)
        return -rate if name == low else -abs(rate - middle[name])

    def score(network, split):
        assert split is val  # all of it; there is no test set here
        return 0.0, network

    monkeypatch.setattr(hw2_fine_tuning, "score", score)
    best = hw2_fine_tuning.choose_rates(run, SimpleNamespace(val=val), learn, "few", 550, 3)
    assert best == {("few", name): rate for name, rate in middle.items()} | {
        ("few", low): min(hw2_fine_tuning.RATES[low])}
    assert set(seeds) == {run.seed + 1000}
    (finding,) = run.results.findings
    assert finding.count("at the edge") == 1
    assert f"{low} 0.01 of 0.01, 0.03, 0.1, at the edge" in finding


def test_homework_1s_result_is_the_network_that_its_own_script_trains(module_folder, tmp_path):
    settings = cli.settings(hw1_classification.main, hw1_classification.SIZES, "quick")
    run = Run("s", "quick", {}, out=tmp_path / "out", sheet_data="fashion-mnist",
              data=str(module_folder))
    data = run.load()
    its = hw1_classification.trained_cnn(run, data, settings["images"]).state_dict()
    classifier, history, rate = hw2_fine_tuning.homework_1(run, data)
    ours = classifier.network.state_dict()
    assert its.keys() == ours.keys() and all(torch.equal(its[key], ours[key]) for key in its)
    n = settings["epochs"] * (len(data.train.y) // settings["batch_size"])
    assert history["steps"][-1] == n and rate == settings["learning_rate"]


@pytest.mark.parametrize("script", [hw2_fine_tuning, hw2_conv_ae_study])
def test_a_batch_of_one_is_refused_in_one_sentence(script, module_folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        start(script, module_folder, tmp_path, "--batch-size", "1")
    assert capsys.readouterr().err == (
        f"{script.__name__}.py: --batch-size 1: expected 2 or more, for batch normalisation\n")


# --- the latent space, the study, the search -------------------------------------------

def test_the_base_is_ranked_with_its_group_and_paired_by_seed(tmp_path):
    run, variants = Run("s", "quick", {}, out=tmp_path), hw2_conv_ae_study.VARIANTS
    for own, place in ((0.0, 1), (4.0, 3), (99.0, 5)):
        of = {name: [1.0 + i, 2.0 + i] for i, name in enumerate(variants)}
        values = dict.fromkeys(hw2_conv_ae_study.MEASURES, of | {"base": [own, own]})
        hw2_conv_ae_study.report(run, "t", values)
        finding = run.results.findings[0]
        assert f"The base, {own:.4g} +- 0, is number {place} of 5." in finding
        assert finding.startswith("t, optimizer, MSE, least first: base") == (place == 1)
        run.results.findings.clear()
    assert hw2_conv_ae_study.minus_base({"base": [1, 2], "a": [4, 3]}, "a") == [3, 1]


def test_the_optimizers_rates_are_chosen_on_validation_and_an_edge_is_told(
        tmp_path, monkeypatch):
    run, first = Run("s", "quick", {}, out=tmp_path), next(iter(hw2_conv_ae_study.OPTIMIZERS))

    def train(run, name, data, seed, *size_and_rate, optimizer, **_):
        rate, middle = size_and_rate[-1], hw2_conv_ae_study.OPTIMIZERS[optimizer][2][0]
        run.history = {"val_mse": [0.0, rate if optimizer == first else abs(rate - middle)]}

    monkeypatch.setattr(hw2_conv_ae_study, "train", train)
    best = hw2_conv_ae_study.choose_rates(run, None, (1, 2, 3, 4), 3)
    assert best == {name: min(grid) if name == first else grid[0]
                    for name, (_, _, grid) in hw2_conv_ae_study.OPTIMIZERS.items()}
    (finding,) = run.results.findings
    assert finding.count("at the edge") == 1 and "SGD 3 of 3, 10, 30, at the edge" in finding


def test_adam_without_decay_is_adamw():
    """The base of the study is AdamW's class, called Adam; with decay the two differ."""
    after = {}
    for decay in (0.0, 0.1):
        for kind in (torch.optim.Adam, torch.optim.AdamW):
            w = torch.tensor([1.0, -2.0], requires_grad=True)
            optimizer = kind([w], lr=0.1, betas=(0.9, 0.97), weight_decay=decay)
            for _ in range(3):
                optimizer.zero_grad(); (w ** 3).sum().backward(); optimizer.step()
            after[kind, decay] = w.detach()
    assert torch.equal(after[torch.optim.Adam, 0.0], after[torch.optim.AdamW, 0.0])
    assert not torch.allclose(after[torch.optim.Adam, 0.1], after[torch.optim.AdamW, 0.1])


def test_nearest_is_what_a_double_loop_finds():
    x, others = torch.rand(7, 1, 2, 2), torch.rand(23, 1, 2, 2)
    distance, index = nearest(x, others, block=3)
    for n, one in enumerate(x):
        all_of_them = torch.stack([(one - other).square().sum().sqrt() for other in others])
        assert index[n] == all_of_them.argmin()
        assert distance[n].item() == pytest.approx(all_of_them.min().item(), abs=1e-5)


@pytest.mark.parametrize(("flags", "told"), [
    (["--perplexity", "10"], "--perplexity 10 with 30 test images"),
    (["--points", "10"], "--perplexity 3 with 10 test images"),
    (["--images", "24"], "--perplexity 3 with 6 test images")])  # a fifth, as of the training
def test_too_few_points_for_a_perplexity_are_one_sentence(
        flags, told, module_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(hw2_conv_ae, "trained", lambda *_: None)
    monkeypatch.setattr(hw2_latent_space, "trained_cnn", lambda *_: nn.Flatten())
    with pytest.raises(SystemExit):
        start(hw2_latent_space, module_folder, tmp_path, *flags)
    assert told in capsys.readouterr().err


def test_codes_by_each_rule_are_like_the_codes_that_it_was_fitted_to(generator):
    y = torch.arange(4000) % 2
    z = torch.randn(4000, 3, generator=generator) @ torch.diag(torch.tensor([1.0, 2, 3]))
    z[y == 1] += 10
    torch.manual_seed(0)
    rules = hw2_latent_space.rules_for(z, y)
    box, one, per_class = (rule.sample((4000,)) for rule in rules.values())
    assert (box >= z.amin(dim=0)).all() and (box <= z.amax(dim=0) + 1e-5).all()
    for drawn in (one, per_class):  # 5 deviations of a mean of 4,000
        assert (drawn.mean(dim=0) - z.mean(dim=0)).abs().max() < 0.5
        assert (torch.cov(drawn.T) - torch.cov(z.T)).abs().max() < 3
    between = [((d.mean(dim=1) - 5).abs() < 1).float().mean().item() for d in (one, per_class)]
    assert between[0] > 0.1 and between[1] < 0.02  # one Gaussian fills the gap of two
    surprise = [-rule.log_prob(z).mean().item() for rule in rules.values()]
    assert surprise[2] < surprise[1] < surprise[0]  # the more a rule knows, the less


def test_a_contraction_is_on_average_the_squared_norm_of_the_jacobian():
    """Over 20,000 directions; of a network whose slopes differ from image to image."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(2, 5, dtype=torch.float64)
    many = x.repeat(20_000, 1).requires_grad_()
    found = contraction(network(many), many, torch.randn(40_000, 3).double())
    for i in range(2):
        J = torch.autograd.functional.jacobian(network, x[i])  # (3, 5)
        assert found[i::2].mean().item() == pytest.approx(J.square().sum().item(), rel=0.05)
    assert found.requires_grad  # a penalty has a gradient of its own


def test_halving_spends_at_most_what_random_search_does():
    for epochs, budgets in ((36, (1, 3, 9)), (150, (1, 5, 15)), (12, (1, 2, 6))):
        n = hw2_tuning.halving_draws(epochs, budgets)
        spent = sum(max(1, round(n ** (1 - i / 2))) * b for i, b in enumerate(budgets))
        assert spent <= epochs and n >= epochs // budgets[-1]


def test_a_search_of_the_autoencoder_tries_other_nonlinearities(folder):
    for name in ("ReLU", "Tanh"):
        model = hw2_tuning.build(2, 8, name)
        kinds = {type(layer).__name__ for half in model for layer in half}
        assert name in kinds and "GELU" not in kinds
    settings = {"filters": 2, "hidden": 8, "activation": "Tanh", "learning_rate": 1e30,
                "batch_size": 32, "weight_decay": 0.0}
    split = Split(torch.randint(0, 255, (64, 1, 28, 28)).byte(), torch.arange(64) % 10)
    with pytest.raises(FloatingPointError, match="the loss is nan after epoch"):
        hw2_tuning.fit(settings, split, 3, 0, Line())
