"""minidl/noise.py: what noise is, and its simple filters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minidl import noise

pytestmark = pytest.mark.numeric


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
