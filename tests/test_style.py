"""minidl/style.py on bars whose slope and width are known, and against exact regression."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from minidl.style import ink, slant, thickness

pytestmark = pytest.mark.numeric


def assert_close(got, expected, x):
    """Both measures are ratios of two sums over the n pixels, each off by n u, u = 2^-53, of
    its terms' absolute values: of the numerator's these sum up to about the denominator."""
    few = 4 * x[0].numel() * 2**-53
    expected = torch.as_tensor(expected, dtype=torch.float64).expand_as(got)
    torch.testing.assert_close(got, expected, atol=few, rtol=few)


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
    x = bar(slope, width)
    assert_close(slant(x), slope, x)
    assert_close(slant(x.flip(3)), -slope, x)


def test_a_slash_has_a_positive_slant_and_a_backslash_a_negative_one():
    slash = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0]]).double()[None, None]
    assert_close(slant(slash), 1, slash)
    assert_close(slant(slash.flip(3)), -1, slash)


def test_slant_is_the_slope_of_the_weighted_regression_in_exact_fractions():
    """(m S_pq - S_p S_q) / (m S_pp - S_p^2), S_p = sum w p, m = sum w; p up, q right."""
    for x in NOISE:
        pixels = [(Fraction(float(w)), -i, j) for (_, i, j), w in np.ndenumerate(x)]
        m, p, q, pq, pp = (sum(w * f(p, q) for w, p, q in pixels) for f in (
            lambda p, q: 1, lambda p, q: p, lambda p, q: q, lambda p, q: p * q,
            lambda p, q: p * p))
        slope = float((m * pq - p * q) / (m * pp - p * p))
        assert_close(slant(x[None]), slope, x[None])
        assert abs(slope) > 1e-3


def test_what_has_no_slant_gives_0():
    for x in (blank(), block(1, 9), block(9, 1), block(1, 1), block(6, 3)):
        assert_close(slant(x), 0, x)


@pytest.mark.parametrize("measure", [slant, thickness])
def test_neither_place_nor_brightness_matters(measure):
    x = bar(0.3, 3)
    for other in (x.roll((5, -7), (2, 3)), x.roll((-8, 4), (2, 3)), 0.25 * x):  # to the edge
        assert_close(measure(other), measure(x), x)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_a_long_bar_is_as_thick_as_it_is_wide(width):
    x = blank(402, 12)
    x[..., 1:401, 2:2 + width] = 1
    # its two ends are outline as well: w l / (w + l), short of w by a share of w / l
    assert width * (1 - width / 400) < thickness(x).item() < width
    assert_close(thickness(x.mT), thickness(x), x)


@pytest.mark.parametrize("H, W", [(1, 1), (9, 2), (7, 7)])
def test_thickness_is_twice_the_area_over_the_outline(H, W):
    # one pixel has an edge on its right and below: its gradient is sqrt 2 long, not 1 + 1
    outline = 2 * (H + W) - 2 + math.sqrt(2)
    assert_close(thickness(block(H, W)), 2 * H * W / outline, block(H, W))


def test_grey_edges_count_by_their_share_and_two_strokes_are_no_thicker_than_one():
    x = blank(402, 24)
    x[..., 1:401, 3:6] = torch.tensor([0.5, 1, 0.5]).double()  # 2 pixels wide
    assert thickness(x).item() == pytest.approx(2, rel=0.01)   # w / l = 0.005
    assert_close(thickness(x + x.roll(12, 3)), thickness(x), x)


def test_a_stroke_that_touches_the_images_edge_is_closed_there():
    inside, touching = blank(402, 12), blank(400, 3)
    inside[..., 1:401, 4:7], touching[:] = 1, 1
    assert_close(thickness(touching), thickness(inside), inside)


def test_ink_is_the_mean_pixel():
    x = torch.cat([blank(), block(4, 8), 0.5 * block(4, 8)])
    assert ink(x).tolist() == [0, 32 / 1024, 16 / 1024]


@pytest.mark.parametrize("measure", [ink, slant, thickness])
def test_a_batch_is_measured_image_by_image(measure):
    x = torch.cat([NOISE, 0 * NOISE[:1], NOISE[:1].flip(3)])  # one without ink: 0, not nan
    one_by_one = torch.cat([measure(image) for image in x.split(1)])
    assert_close(measure(x), one_by_one, x)
    assert one_by_one.shape == (8,) and one_by_one[6] == 0 and len(one_by_one.unique()) > 6


def test_a_stroke_and_its_mirror_image_are_equally_thick():
    x = blank(28, 28)
    for row in range(6, 22):
        x[0, 0, row, 24 - row:27 - row] = 1  # like a /, in steps: corners of one kind only
    assert_close(thickness(x.flip(3)), thickness(x), x)
    assert_close(thickness(x.flip(2)), thickness(x), x)
