"""minidl/data/glyphs.py: the same images every time, honest splits."""
import math

import numpy as np
import pytest
import torch

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


# Fonts and outlines

def test_no_font_of_the_test_split_nor_a_weight_or_slant_of_it_is_trained_on():
    train, test = glyphs.FONTS["train"], glyphs.FONTS["test"]
    assert len(set(train)) == len(train) == 15 and len(set(test)) == len(test) == 6
    family = {"Deja": "DejaVu", "STIX": "STIX", "cmr1": "cm serif", "cmb1": "cm serif",
              "cmti": "cm serif", "cmss": "cm sans", "cmtt": "cm typewriter"}
    assert not {family[f[:4]] for f in train} & {family[f[:4]] for f in test}


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


# Labels and difficulty

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
