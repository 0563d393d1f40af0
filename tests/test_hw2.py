"""Homework 2: what noise, its filters and neighbours are; the study, the search."""

import hw2_tuning
import pytest
import torch
import torch.nn.functional as F

from minidl import noise
from minidl.data import Split
from minidl.lab.run import Run
from minidl.representation import nearest

pytestmark = pytest.mark.numeric


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
    """Of 78,400 pixels, five deviations: of a share 5 * 0.5 / 280 = 0.009, of Gaussian noise's
    own deviation 5 / sqrt(2 * 78400) = 1.3%, of its mean 5 * 0.1 / 280 = 0.0018."""
    x = torch.full((100, 1, 28, 28), 0.5)
    e = noise.gaussian(x, 0.1, generator) - x
    assert e.std().item() == pytest.approx(0.1, rel=0.013) and abs(e.mean()) < 0.002
    spoilt = noise.salt_and_pepper(x, 0.3, generator)
    assert (spoilt == 1).float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert (spoilt == 0).float().mean().item() == pytest.approx(0.15, abs=0.01)
    masked = noise.masking(x, 0.3, generator)
    assert (masked == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert set(masked.unique().tolist()) == {0.0, 0.5}


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_a_median_filter_takes_the_median_of_each_window(size):
    x = torch.rand(51, 1, 6, 6)
    x[:20] = x[:20].round()  # many equal values
    windows = F.pad(x, [size // 2] * 4, mode="replicate").unfold(2, size, 1).unfold(3, size, 1)
    expected = windows.flatten(4).median(dim=-1).values
    assert torch.equal(noise.median_filter(x, size), expected)


def test_a_median_filter_needs_a_middle():
    with pytest.raises(ValueError, match="found a window of 2 pixels, expected an odd"):
        noise.median_filter(torch.zeros(1, 1, 4, 4), 2)


def test_no_step_away_from_the_linear_map_lowers_its_objective(generator):
    """At the minimum of a quadratic every step h raises it: of W by penalty h^2 = 2e-7 or
    more, of b by h^2, and rounding is of 1e-15."""
    v = torch.randint(0, 5, (40, 1, 2, 2), generator=generator).double() / 4
    x = 0.5 * v + 0.25 * v.flip(3)
    penalty, h, P = 0.25, 2.0**-10, 4
    f = noise.linear_map(zip(v.split(7), x.split(7), strict=True), penalty)
    points = torch.cat([torch.zeros(1, P), torch.eye(P)]).double().view(-1, 1, 2, 2)
    b, *columns = f(points).flatten(1)
    A = torch.stack([column - b for column in columns], dim=1)       # x_hat = A v + b

    def objective(A, b):
        error = v.flatten(1) @ A.T + b - x.flatten(1)
        return error.square().sum(dim=1).mean() + penalty * A.square().sum()

    least = objective(A, b)
    for step in (h, -h):
        for i in range(P):
            for j in range(P):
                moved = A.clone()
                moved[i, j] += step
                assert objective(moved, b) > least
            assert objective(A, b + step * torch.eye(P, dtype=torch.double)[i]) > least


def test_psnr_of_known_errors():
    assert noise.psnr(1) == 0 and noise.psnr(0.01) == pytest.approx(20)
    assert noise.psnr(0.5e-3) - noise.psnr(1e-3) == pytest.approx(3.0103, abs=1e-4)


# --- the study, the search --------------------------------------------------------------

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


def test_nearest_is_what_a_double_loop_finds(generator):
    """Whole numbers: squares and sums are exact, and a root is rounded in one way."""
    x, others = (torch.randint(0, 100, (n, 1, 2, 2), generator=generator).double()
                 for n in (7, 23))
    distance, index = nearest(x, others, block=3)
    for n, one in enumerate(x):
        all_of_them = torch.stack([(one - other).square().sum().sqrt() for other in others])
        assert distance[n] == all_of_them.min() == all_of_them[index[n]]


def test_a_search_of_the_autoencoder_tries_other_nonlinearities_and_sees_one_diverge(tmp_path):
    run = Run("s", "quick", {"filters": 2, "hidden": 8}, out=tmp_path)
    settings = hw2_tuning.UNTUNED | {"batch_size": 32}
    split = Split(torch.randint(0, 255, (64, 1, 28, 28)).byte(), torch.arange(64) % 10)
    for name in ("ReLU", "Tanh"):
        model = hw2_tuning.train(run, settings | {"activation": name}, split, 1, 0)
        kinds = {type(layer).__name__ for half in model for layer in half}
        assert name in kinds and "GELU" not in kinds
    with pytest.raises(FloatingPointError, match="nan"):
        hw2_tuning.train(run, settings | {"activation": "Tanh", "learning_rate": 1e30}, split,
                         3, 0)
