"""minidl/augment.py and noise.py: what is changed, by how much, and what is not."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minidl import noise
from minidl.augment import random_affine, random_brightness, random_mirror, random_shift

pytestmark = pytest.mark.numeric

# float32, u = 2^-24: a place, at most 14 pixels from the middle, is rounded some 12 times an
# axis: 168 u. A pixel in [0, 1] is off by 2 * 168 u and what its interpolation rounds
ROUNDING = 400 * 2**-24


@pytest.fixture
def x():
    return torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def places(right, down, **strength):
    """Where 500 changed images have the pixel from that is so far from their middle.

    The values of the images are their pixels' places: bilinear interpolation of what is linear
    is exact. -> (500,) to the right, (500,) down.
    """
    at = (torch.arange(29.0) - 14).expand(500, 29, 29)
    found = random_affine(torch.stack([at, at.mT], dim=1), random(), **strength)
    return found[:, :, 14 + down, 14 + right].T


def assert_uniform_in(values, bound):
    """500 draws or more: none in the outer 2% at an end has a chance of 1 in 24,000."""
    assert values.abs().max() <= bound + ROUNDING
    assert values.min() < -0.96 * bound and values.max() > 0.96 * bound


def test_the_same_generator_gives_the_same_changes_and_torchs_own_is_left_alone(x):
    before = torch.get_rng_state()
    a, b = (random_affine(x, random(), degrees=20) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a, random_affine(x, random(1), degrees=20))
    assert torch.equal(before, torch.get_rng_state())


def test_about_the_share_asked_for_is_changed_and_without_strength_nothing(x):
    torch.testing.assert_close(random_affine(x, random()), x, atol=ROUNDING, rtol=0)
    x = x.repeat(16, 1, 1, 1)
    change = (random_affine(x, random(), degrees=20, share=0.25) - x).abs().flatten(1)
    assert 0.2 < (change > 1e-3).any(dim=1).float().mean() < 0.3  # 1,024 draws: 3.7 deviations


def test_an_image_is_turned_then_slanted_then_sized_each_within_its_strength():
    """A = S^-1 K R: below (sin, cos) / (1 + s_y); above (e + k f) / (1 + s_x), where
    e = (cos, -sin) and f = (sin, cos)."""
    strength = {"degrees": 30, "scale": 0.2, "shear": 0.25}
    (a, c), (b, d) = (places(*at, **strength) / 8 for at in ((8, 0), (0, 8)))
    phi = torch.atan2(c, d)
    along_e, along_f = a * phi.cos() - b * phi.sin(), a * phi.sin() + b * phi.cos()
    k, s_x, s_y = along_f / along_e, 1 / along_e - 1, 1 / torch.hypot(c, d) - 1
    for value, bound in ((phi, math.radians(30)), (k, 0.25), (s_x, 0.2), (s_y, 0.2)):
        assert_uniform_in(value, bound)
    # 6 correlations of what is drawn apart, each 0 +- 0.045
    assert (torch.corrcoef(torch.stack([phi, k, s_x, s_y])) - torch.eye(4)).abs().max() < 0.2


def test_shift_moves_by_at_most_its_share_of_the_width_and_height():
    moved = places(0, 0, shift=0.2)
    for offset in moved:
        assert_uniform_in(offset / 29, 0.2)
    assert torch.corrcoef(moved)[0, 1].abs() < 0.2  # apart: 0 +- 0.045


def test_brightness_is_a_factor_and_an_exponent_of_at_most_its_strength():
    x = torch.tensor([0.25, 0.5]).double().view(1, 1, 1, 2).expand(2000, 1, 1, 2)
    low, high = random_brightness(x, random(), 0.4).log()[:, 0, 0].T
    g = (high - low) / math.log(2)            # x' = a x^g: log x' = log a + g log x
    log_a = high - g * math.log(0.5)
    for value in (g.log(), log_a):
        assert_uniform_in(value, 0.4)
    assert torch.corrcoef(torch.stack([g.log(), log_a]))[0, 1].abs() < 0.1  # 0 +- 0.022
    ends = random_brightness(torch.tensor([0.0, 1.0]).expand(200, 1, 1, 2), random(), 0.4)
    assert ends.max() == 1 and not ends[..., 0].any()  # black stays black


class Elsewhere:
    """A generator of another device, where there is none: that device is asked to draw."""
    device = torch.device("meta")


@pytest.mark.parametrize("change", [
    lambda x, g: random_affine(x, g, degrees=10), random_mirror,
    lambda x, g: random_shift(x, g, 2), lambda x, g: random_brightness(x, g, 0.3),
    *(lambda x, g, add=add: add(x, 0.5, g) for add in noise.KINDS.values())])
def test_what_is_random_is_drawn_where_the_generator_is(change, x, monkeypatch):
    drawn_on = []
    for draw in (torch.rand, torch.randn, torch.randint):
        monkeypatch.setattr(torch, draw.__name__, lambda *args, generator, device, draw=draw: (
            drawn_on.append(device), draw(*args))[1])
    assert change(x, Elsewhere()).shape == x.shape
    assert set(drawn_on) == {Elsewhere.device}


# --- noise and its filters ------------------------------------------------------------------

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


def test_the_linear_map_is_numpys_ridge_regression(generator):
    """Least squares, with the root of the penalty in further rows. Values below 2, of 44 rows,
    and a condition number below 10: 1e-12 is some hundred roundings."""
    v = torch.randint(0, 5, (40, 1, 2, 2), generator=generator).double() / 4
    x = 0.5 * v + 0.25 * v.flip(3)
    f = noise.linear_map(zip(v.split(7), x.split(7), strict=True), penalty=0.25)
    V, X = (part.flatten(1).numpy() for part in (v, x))
    of_v, of_x = V.mean(axis=0), X.mean(axis=0)
    W = np.linalg.lstsq(np.vstack([(V - of_v) / 40**0.5, 0.25**0.5 * np.eye(4)]),
                        np.vstack([(X - of_x) / 40**0.5, np.zeros((4, 4))]), rcond=None)[0]
    expected = ((V - of_v) @ W + of_x).clip(0, 1)
    np.testing.assert_allclose(f(v).flatten(1), expected, rtol=0, atol=1e-12)


def test_psnr_of_known_errors():
    assert noise.psnr(1) == 0 and noise.psnr(0.01) == pytest.approx(20)
    assert noise.psnr(0.5e-3) - noise.psnr(1e-3) == pytest.approx(3.0103, abs=1e-4)
