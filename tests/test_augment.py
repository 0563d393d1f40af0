"""minidl/augment.py: what is changed, by how much, and what is not."""

import math

import pytest
import torch

from minidl.augment import random_affine, random_brightness


@pytest.fixture
def x():
    return torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def spot(row, column):
    """Images of one bright 3x3 spot."""
    x = torch.zeros(500, 1, 29, 29)
    x[:, :, row - 1:row + 2, column - 1:column + 2] = 1
    return x


def centre(x):
    """The centre of mass (B, 2), row and column from the middle of the image."""
    at = torch.arange(29.0) - 14
    mass = x.sum((1, 2, 3))
    return torch.stack([(x.sum((1, 3)) @ at) / mass, (x.sum((1, 2)) @ at) / mass], dim=1)


def test_without_strength_or_share_nothing_changes(x):
    torch.testing.assert_close(random_affine(x, random()), x, atol=1e-5, rtol=0)
    same = random_affine(x, random(), degrees=20, scale=0.2, shear=0.3, share=0.0)
    torch.testing.assert_close(same, x, atol=1e-5, rtol=0)


def test_the_same_generator_gives_the_same_changes_and_torchs_own_is_left_alone(x):
    before = torch.get_rng_state()
    a, b = (random_affine(x, random(), degrees=20) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a, random_affine(x, random(1), degrees=20))
    assert torch.equal(before, torch.get_rng_state())


def test_about_the_share_asked_for_is_changed(x):
    x = x.repeat(16, 1, 1, 1)
    change = (random_affine(x, random(), degrees=20, share=0.25) - x).abs().flatten(1)
    assert 0.2 < (change > 1e-3).any(dim=1).float().mean() < 0.3  # 1,024 draws: 3.7 deviations


def test_rotation_keeps_the_distance_from_the_centre_and_stays_within_its_degrees():
    moved = centre(random_affine(spot(14, 22), random(), degrees=30))  # 8 pixels to the right
    angle = torch.atan2(moved[:, 0], moved[:, 1]).rad2deg()
    torch.testing.assert_close(moved.norm(dim=1), torch.full((500,), 8.0), atol=0.1, rtol=0)
    assert angle.abs().max() < 31 and angle.min() < -25 and angle.max() > 25


def test_scale_moves_along_each_axis_by_its_share():
    moved = centre(random_affine(spot(6, 14), random(), scale=0.2))  # 8 pixels up
    assert moved[:, 1].abs().max() < 0.1
    assert -9.8 < moved[:, 0].min() < -9.3 and -6.7 < moved[:, 0].max() < -6.2


def test_shear_moves_rows_sideways_in_proportion_to_their_height():
    moved = centre(random_affine(spot(6, 14), random(), shear=0.25))  # 8 pixels up
    assert 1.8 < moved[:, 1].max() < 2.1 and -2.1 < moved[:, 1].min() < -1.8
    torch.testing.assert_close(moved[:, 0], torch.full((500,), -8.0), atol=0.1, rtol=0)


def test_shift_moves_by_at_most_its_share_of_the_width_and_height():
    moved = centre(random_affine(spot(14, 14), random(), shift=0.2))  # of 29 pixels: 5.8
    for offset in moved.T:
        assert 5.5 < offset.max() <= 5.81 and -5.81 <= offset.min() < -5.5
    assert torch.corrcoef(moved.T)[0, 1].abs() < 0.2  # rows and columns are drawn apart


def test_brightness_keeps_black_order_and_range_and_is_one_curve_an_image(x):
    changed = random_brightness(x, random(), 0.5)
    assert changed.min() >= 0 and changed.max() <= 1 and not random_brightness(0 * x, random(),
                                                                               0.5).any()
    for before, after in zip(x.flatten(1), changed.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= 0).all()
    torch.testing.assert_close(random_brightness(x, random(), 0.0), x)


def test_brightness_is_a_factor_and_an_exponent_of_at_most_its_strength():
    x = torch.tensor([0.25, 0.5]).view(1, 1, 1, 2).expand(2000, 1, 1, 2)
    low, high = random_brightness(x, random(), 0.4).log()[:, 0, 0].T
    g = (high - low) / math.log(2)            # x' = a x^g: log x' = log a + g log x
    log_a = high - g * math.log(0.5)
    for value in (g.log(), log_a):
        assert value.abs().max() < 0.401 and value.min() < -0.38 and value.max() > 0.38
    assert torch.corrcoef(torch.stack([g.log(), log_a]))[0, 1].abs() < 0.1
