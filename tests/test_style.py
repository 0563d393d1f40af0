"""minidl/style.py on bars whose slope and width are known, and against NumPy's regression."""

import math

import numpy as np
import pytest
import torch

from minidl.style import ink, slant, thickness


def blank(H=32, W=32):
    return torch.zeros(1, 1, H, W, dtype=torch.float64)


def bar(slope, width=1, at=16):
    """Rows 8 to 23, each moved by `slope` from the row below, to a fraction of a pixel."""
    x = blank()
    for r in range(8, 24):
        left = at + slope * (15.5 - r)
        whole, part = math.floor(left), left - math.floor(left)
        x[..., r, whole:whole + width] += 1 - part
        x[..., r, whole + 1:whole + width + 1] += part
    return x


def block(H, W, size=32):
    x = blank(size, size)
    x[..., 4:4 + H, 6:6 + W] = 1
    return x


NOISE = torch.rand(6, 1, 13, 17, generator=torch.Generator().manual_seed(0),
                   dtype=torch.float64) ** 4


@pytest.mark.parametrize("slope", [-1, -0.5, -0.13, 0, 0.13, 0.5, 1])
@pytest.mark.parametrize("width", [1, 4])
def test_a_bar_has_the_slant_it_was_drawn_with(slope, width):
    assert slant(bar(slope, width)).item() == pytest.approx(slope, abs=1e-12)
    assert slant(bar(slope, width).flip(3)).item() == pytest.approx(-slope, abs=1e-12)


def test_a_slash_has_a_positive_slant_and_a_backslash_a_negative_one():
    slash = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0]]).double()[None, None]
    assert slant(slash).item() == pytest.approx(1, abs=1e-12)
    assert slant(slash.flip(3)).item() == pytest.approx(-1, abs=1e-12)


def test_slant_is_the_slope_of_numpys_weighted_regression():
    up, right = np.mgrid[0:-13:-1, 0:17]
    for x, got in zip(NOISE, slant(NOISE), strict=True):
        weight = np.sqrt(x[0].numpy()).ravel()  # polyfit squares its weights
        slope, _ = np.polyfit(up.ravel(), right.ravel(), 1, w=weight)
        assert got.item() == pytest.approx(slope, abs=1e-12) and abs(slope) > 1e-3


def test_what_has_no_slant_gives_0():
    for x in (blank(), block(1, 9), block(9, 1), block(1, 1), block(6, 3)):
        assert slant(x).abs().item() < 1e-12


@pytest.mark.parametrize("measure", [slant, thickness])
def test_neither_place_nor_brightness_matters(measure):
    x = bar(0.3, 3)
    for other in (x.roll((5, -7), (2, 3)), x.roll((-8, 4), (2, 3)), 0.25 * x):  # to the edge
        assert measure(other).item() == pytest.approx(measure(x).item(), abs=1e-12)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_a_long_bar_is_as_thick_as_it_is_wide(width):
    x = blank(402, 12)
    x[..., 1:401, 2:2 + width] = 1
    # its two ends are outline as well: w l / (w + l), short of w by a share of w / l
    assert width * (1 - width / 400) < thickness(x).item() < width
    torch.testing.assert_close(thickness(x.transpose(2, 3)), thickness(x))


@pytest.mark.parametrize("H, W", [(1, 1), (9, 2), (7, 7)])
def test_thickness_is_twice_the_area_over_the_outline(H, W):
    # one pixel has an edge on its right and below: its gradient is sqrt 2 long, not 1 + 1
    outline = 2 * (H + W) - 2 + math.sqrt(2)
    assert thickness(block(H, W)).item() == pytest.approx(2 * H * W / outline, abs=1e-12)


def test_grey_edges_count_by_their_share_and_two_strokes_are_no_thicker_than_one():
    x = blank(402, 24)
    x[..., 1:401, 3:6] = torch.tensor([0.5, 1, 0.5]).double()  # 2 pixels wide
    assert thickness(x).item() == pytest.approx(2, rel=0.01)   # w / l = 0.005
    torch.testing.assert_close(thickness(x + x.roll(12, 3)), thickness(x))


def test_a_stroke_that_touches_the_images_edge_is_closed_there():
    inside, touching = blank(402, 12), blank(400, 3)
    inside[..., 1:401, 4:7], touching[:] = 1, 1
    torch.testing.assert_close(thickness(touching), thickness(inside))


def test_ink_is_the_mean_pixel():
    x = torch.cat([blank(), block(4, 8), 0.5 * block(4, 8)])
    assert ink(x).tolist() == [0, 32 / 1024, 16 / 1024]


@pytest.mark.parametrize("measure", [ink, slant, thickness])
def test_a_batch_is_measured_image_by_image(measure):
    x = torch.cat([NOISE, 0 * NOISE[:1], NOISE[:1].flip(3)])  # one without ink: 0, not nan
    one_by_one = torch.cat([measure(image) for image in x.split(1)])
    torch.testing.assert_close(measure(x), one_by_one, atol=1e-12, rtol=0)
    assert one_by_one.shape == (8,) and one_by_one[6] == 0 and len(one_by_one.unique()) > 6


def test_a_stroke_and_its_mirror_image_are_equally_thick():
    x = torch.zeros(1, 1, 28, 28)
    for row in range(6, 22):
        x[0, 0, row, 24 - row:27 - row] = 1  # like a /, in steps: corners of one kind only
    assert torch.equal(thickness(x), thickness(x.flip(3)))
    assert torch.equal(thickness(x), thickness(x.flip(2)))
