"""minidl/data/glyphs.py: the same images every time, honest splits."""
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from minidl.data import glyphs

EVERY = [(kind, split) for kind in glyphs.CHARACTERS for split in ("train", "test")]
every = pytest.mark.parametrize("key", EVERY, ids=" ".join)
pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def images():
    return {key: glyphs.generate(*key, 2000) for key in EVERY}


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


# The same call, the same bytes

@pytest.mark.parametrize("n", [1, 999, 1001])
def test_fewer_images_are_the_first_of_more(images, n):
    x, y = images["digits", "train"]
    assert same(glyphs.generate("digits", "train", n), (x[:n], y[:n]))


def test_generators_threads_and_the_default_dtype_change_no_byte_and_are_left_alone(images):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2); torch.set_default_dtype(torch.float64); torch.manual_seed(7)
        before = torch.get_rng_state()
        made = glyphs.generate("letters", "train", 1000)
        assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads); torch.set_default_dtype(torch.float32)
    assert same(made, [a[:1000] for a in images["letters", "train"]])


def test_chunks_kinds_and_splits_draw_different_labels_and_warps(images):
    rows = [images[key] for key in EVERY]
    chunks = [y[i:i + 1000].tobytes() for _, y in rows for i in (0, 1000)]
    assert len(set(chunks)) == 8 and len({x[0].tobytes() for x, _ in rows}) == 4


THUMBNAILS = {    # label, and means of the 7x7 blocks, of the first image
    ("digits", "train"): (6, [0, 1, 3, 0, 0, 104, 84, 11, 0, 76, 120, 0, 0, 0, 0, 0]),
    ("digits", "test"): (3, [0, 1, 39, 0, 0, 52, 79, 0, 0, 41, 44, 0, 0, 45, 0, 0]),
    ("letters", "train"): (4, [0, 13, 28, 0, 0, 107, 168, 41, 18, 176, 83, 0, 0, 0, 0, 0]),
    ("letters", "test"): (9, [0, 7, 20, 0, 0, 10, 37, 0, 0, 11, 63, 0, 0, 16, 3, 0]),
}


@every
def test_the_images_are_those_of_earlier_runs(images, key):
    label, expected = THUMBNAILS[key]
    x, y = images[key]
    found = x[0].reshape(4, 7, 4, 7).mean((1, 3)).ravel()
    # Another CPU's rounding moves a pixel by a level at most, the table's entries are rounded
    # by half a level: 1.5. Half a level is left for another matplotlib's curves.
    assert y[0] == label and np.abs(found - expected).max() < 2, found


# What the images are: MNIST's numbers in comments

@every
def test_images_are_white_on_black_and_use_the_whole_range(images, key):
    x, y = images[key]
    assert x.shape == (2000, 28, 28) and y.shape == (2000,) and x.dtype == y.dtype == np.uint8
    assert x.min() == 0 and x.max() == 255
    assert (x == 0).mean() > 0.7    # 0.81
    assert x.max(axis=(1, 2)).min() > 100, "an image without ink"
    x = x / 255
    assert 0.1 < x.mean() < 0.16, x.mean()    # 0.131
    assert 0.25 < x.std() < 0.34, x.std()    # 0.308
    total = x.reshape(2000, -1).var(axis=0).sum()
    assert 35 < total < 60, total    # 52.7


@every
def test_every_class_comes_equally_often_in_random_order(images, key):
    y = images[key][1]
    assert (np.bincount(y) == 200).all(), np.bincount(y)
    repeats = (y[1:] == y[:-1]).mean()
    assert 0.06 < repeats < 0.14, repeats    # 0.1 expected, standard deviation 0.007


@every
def test_the_ink_stays_in_the_middle_and_the_border_cuts_nothing_off(images, key):
    x, y = images[key]
    border = np.ones((28, 28), bool); border[1:-1, 1:-1] = False
    touched = (x[:, border] > 128).any(axis=1)
    assert touched.mean() < 0.02, touched.mean()    # 0.009
    by_class = [touched[y == c].mean() for c in range(10)]
    assert max(by_class) < 0.05, by_class
    axis, x = np.arange(28) - 13.5, x / 255
    mass = x.sum(axis=(1, 2))
    off = np.stack([(x.sum(axis=1) * axis).sum(1), (x.sum(axis=2) * axis).sum(1)]) / mass
    assert np.abs(off.mean(axis=1)).max() < 0.3, off.mean(axis=1)
    assert np.abs(off).max() < 5, np.abs(off).max()


def test_warps_of_one_glyph_differ_in_shape_and_in_stroke_width():
    d = glyphs.table("digits", "train")[0, 3].expand(200, -1, -1)
    x = glyphs.draw(d, torch.Generator().manual_seed(0))
    assert len({image.numpy().tobytes() for image in x}) == 200
    # width of a stroke = 2 area / perimeter; the perimeter of an image = sum of |gradient|
    steps = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
    perimeter = torch.hypot(*steps).sum((1, 2)) / x.amax((1, 2))
    width = 2 * x.sum((1, 2)) / x.amax((1, 2)) / perimeter
    thin, thick = width.quantile(0.05), width.quantile(0.95)
    assert thick / thin > 1.4, f"{thin:.2f} to {thick:.2f} pixels"


# Fonts and outlines

def test_no_font_of_the_test_split_nor_a_weight_or_slant_of_it_is_trained_on():
    train, test = glyphs.FONTS["train"], glyphs.FONTS["test"]
    assert len(set(train)) == len(train) == 15 and len(set(test)) == len(test) == 6
    family = {"Deja": "DejaVu", "STIX": "STIX", "cmr1": "cm serif", "cmb1": "cm serif",
              "cmti": "cm serif", "cmss": "cm sans", "cmtt": "cm typewriter"}
    assert not {family[f[:4]] for f in train} & {family[f[:4]] for f in test}


def test_every_font_comes_with_matplotlib_and_has_all_twenty_characters():
    for font in glyphs.FONTS["train"] + glyphs.FONTS["test"]:
        file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
        known = FT2Font(str(file)).get_charmap()
        assert all(ord(c) in known for c in "0123456789ABCDEFGHIJ"), font


def ring(*corners):
    corners = np.array(corners, np.float32)
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def test_signed_distance_of_a_square_with_a_square_hole():
    outer = ring((-6, -6), (6, -6), (6, 6), (-6, 6))
    hole = ring((-2, -2), (-2, 2), (2, 2), (2, -2))    # runs the other way
    d = glyphs.signed_distance(np.concatenate([outer, hole]))
    middle, step = len(d) // 2, round(1 / glyphs.STEP)
    for (x, y), expected in {(0, 0): -2, (4, 0): 2, (0, 5): 1, (-3, -3): math.sqrt(2),
                             (9, 0): -3, (-9, -10): -5, (6, 1): 0}.items():
        found = d[middle + step * y, middle + step * x]
        # some eight roundings of coordinates up to 10, in float32
        assert found == pytest.approx(expected, abs=8 * 10 * 2.0**-24), (x, y)


@every
def test_the_table_holds_centred_glyphs_of_at_most_20_pixels(key):
    table = glyphs.table(*key)
    assert table.shape[:2] == (len(glyphs.FONTS[key[1]]), 10)
    inside = (0.5 + table / glyphs.STEP).clamp(0, 1).double()    # share of the grid's cell
    axis = torch.arange(-glyphs.REACH, glyphs.REACH + glyphs.STEP, glyphs.STEP).double()
    for along in (2, 3):
        profile = inside.sum(dim=along)
        centre = (profile * axis).sum(2) / profile.sum(2)
        assert centre.abs().max() < 0.1, centre    # the grid's step is 0.5 pixels
        assert (table > 0).any(dim=along).sum(2).max() * glyphs.STEP <= 20.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    assert (torch.hypot(x, y) * (table > 0)).max() <= 11.5


def printed(font, character, size):
    """By matplotlib's own renderer, (31, 31), the centre of mass in the middle."""
    figure = Figure(figsize=(0.31, 0.31), dpi=100)
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    figure.text(0.5, 0.5, character, ha="center", va="center", font=file, size=size)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = 255.0 - np.asarray(canvas.buffer_rgba())[:, :, 0]
    rows, columns = image.sum(axis=1), image.sum(axis=0)
    off = [15 - round((v * np.arange(31)).sum() / v.sum()) for v in (rows, columns)]
    return np.roll(image, off, axis=(0, 1))


@every
def test_glyph_c_of_a_font_is_what_matplotlib_prints_for_character_c(key):
    characters = {"digits": "0123456789", "letters": "ABCDEFGHIJ"}[key[0]]
    table = glyphs.table(*key)[:, :, ::2, ::2]    # a grid of 1 pixel
    for f in (0, 2, -1):
        font, ours = glyphs.FONTS[key[1]][f], (0.5 + table[f]).clamp(0, 1).reshape(10, -1)
        match = np.zeros((10, 10))
        for size in range(15, 25):    # ours has several: wide letters are smaller
            theirs = np.stack([printed(font, c, size).ravel() for c in characters])
            match = np.maximum(match, np.corrcoef(ours, theirs)[:10, 10:])
        assert (match.argmax(axis=1) == np.arange(10)).all(), (font, match.round(2))
        assert match.diagonal().min() > 0.8, (font, match.diagonal())


# Labels and difficulty

def test_every_image_is_drawn_from_a_glyph_of_its_label_and_fonts_come_alike(monkeypatch):
    drawn = []
    monkeypatch.setattr(glyphs, "draw", lambda d, _: drawn.append(d) or torch.zeros(1, 28, 28))
    y = glyphs.chunk("letters", "test", 0)[1]
    of_label = glyphs.table("letters", "test")[:, torch.from_numpy(y).long()]
    equal = (of_label == drawn[0]).all(3).all(2)    # (fonts, 1000)
    assert (equal.sum(0) == 1).all()
    assert equal.sum(1).min() > 120, equal.sum(1)    # 167 expected, standard deviation 12


def ridge(x, y):
    """Weights (785, 10) of the linear least squares classifier."""
    x = with_one(x)
    return np.linalg.solve(x.T @ x + 10 * np.eye(785), x.T @ np.eye(10)[y])


def with_one(x):
    return np.c_[x.reshape(len(x), -1) / 255, np.ones(len(x))]


def accuracy(weights, x, y):
    return ((with_one(x) @ weights).argmax(axis=1) == y).mean()


@pytest.mark.parametrize("kind", glyphs.CHARACTERS)
def test_a_linear_classifier_does_well_on_new_fonts_and_by_chance_with_shuffled_labels(
        images, kind):
    x, y = images[kind, "train"]
    shuffled = np.random.default_rng(0).permutation(y)
    found, chance = (accuracy(ridge(x, labels), *images[kind, "test"])
                     for labels in (y, shuffled))
    assert 0.5 < found < 0.9 and 0.05 < chance < 0.15, (found, chance)


def test_an_interrupted_call_gives_the_threads_back(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(glyphs, "chunk", stop)
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        glyphs.generate("digits", "test", 1001)
    assert torch.get_num_threads() == before
