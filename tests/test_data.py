"""minidl/data/images.py and sources.py: which data set, checked how, split and batched how."""

import gzip
import math
import os
import shutil
import stat

import numpy as np
import pytest
import torch
from whole_runs import start, write_images

import data_download
from minidl import idx
from minidl.data import (
    DataError,
    Split,
    batches,
    first_of_each_class,
    glyphs,
    load,
    steps,
    steps_per_epoch,
)
from minidl.data.sources import FILES, name_of, own_cache

(IMAGES, LABELS), (TEST_IMAGES, TEST_LABELS) = FILES.values()


@pytest.fixture
def no_mirrors(monkeypatch):
    """Every mirror is a closed port of this machine, as if there were no network."""
    for name, entry in data_download.SETS.items():
        closed = data_download.DataSet(("http://127.0.0.1:9",), entry.md5, entry.largest)
        monkeypatch.setitem(data_download.SETS, name, closed)


@pytest.fixture
def small(folder):
    return load("mnist", str(folder))


def test_training_and_validation_are_the_training_file_without_overlap(folder, small):
    x = torch.from_numpy(idx.read(folder / "train-images-idx3-ubyte"))
    assert (len(small.train.x), len(small.val.x)) == (110, 10)  # one in twelve
    together = torch.cat([small.train.x, small.val.x]).flatten(1)
    assert torch.equal(together.unique(dim=0), x.flatten(1).unique(dim=0))
    assert len(x.flatten(1).unique(dim=0)) == 120  # no two alike: the line above proves it


def test_every_image_keeps_its_label(small):
    for split in (small.train, small.val, small.test()):
        brightest = split.x.sum(dim=(1, 3)).argmax(dim=1)
        assert torch.equal(brightest, 2 * split.y + 3)


def test_the_validation_part_is_drawn_by_the_seed_but_never_from_the_head(folder, small):
    """The head are the first images in their order, as `torch.arange(n)` takes them."""
    assert torch.equal(load("mnist", str(folder)).val.x, small.val.x)
    assert not torch.equal(load("mnist", str(folder), seed=1).val.x, small.val.x)
    x = torch.from_numpy(idx.read(folder / "train-images-idx3-ubyte")).unsqueeze(1)
    y = torch.from_numpy(idx.read(folder / "train-labels-idx1-ubyte")).long()
    for seed in range(5):
        head = load("mnist", str(folder), seed=seed).head()
        assert torch.equal(head.x, x[:60]) and torch.equal(head.y, y[:60])
    part = load("mnist", str(folder), images=30).head()  # of fewer images, their half
    assert torch.equal(part.x, x[:15])


def test_fewer_images_mean_a_sample_of_the_test_images_drawn_by_the_seed(folder):
    """A test file sorted by class would else show its first classes alone."""
    images, labels = (folder / name for name in FILES["test"])
    order = np.argsort(idx.read(labels), kind="stable")
    for file in (images, labels):
        idx.write(file, idx.read(file)[order])
    part, other = (load("mnist", str(folder), images=60, seed=seed) for seed in (0, 1))
    assert (len(part.train.x), len(part.val.x), len(part.test().x)) == (55, 5, 15)
    assert len(part.test().y.unique()) > 5 and not torch.equal(part.test().x, other.test().x)
    with pytest.raises(DataError, match="classes without one"):
        load("mnist", str(folder), images=9)
    whole = load("mnist", str(folder)).test()
    assert torch.equal(whole.x[:, 0], torch.from_numpy(idx.read(images)))


def test_labels_that_no_image_has_are_no_classes(folder):
    """EMNIST's letters are 1 to 26: of 27 classes one would have no example."""
    for name in (LABELS, TEST_LABELS):
        idx.write(folder / name, (2 * idx.read(folder / name) + 1).astype(np.uint8))
    data = load("mnist", str(folder))
    assert data.classes == ("1", "3", "5", "7", "9", "11", "13", "15", "17", "19")
    for split in (data.train, data.test()):
        assert torch.equal(split.x.sum(dim=(1, 3)).argmax(dim=1), 2 * split.y + 3)


def test_two_sets_of_one_name_differ_in_their_digest(folder, small):
    for name in sum(FILES.values(), ()):
        whole = idx.read(folder / name)
        idx.write(folder / name, np.roll(whole, 1, axis=0))
        other = load("mnist", str(folder))
        assert other.name == small.name and other.digest != small.digest, name
        idx.write(folder / name, whole)
    assert load("mnist", str(folder)).digest == small.digest


def test_the_last_smaller_batch_is_left_out_and_a_small_split_is_one(small, generator):
    assert [len(x) for x, _ in batches(small.train, 40, generator)] == [40, 40]
    assert [len(x) for x, _ in batches(small.train, 500, generator)] == [110]
    assert steps_per_epoch(small.train, 40) == 2 and steps_per_epoch(small.train, 500) == 1


def test_steps_show_every_image_once_a_pass_in_a_new_order_each(generator):
    few = Split(torch.zeros(12, 1, dtype=torch.uint8), torch.arange(12))
    found = [y for _, y in steps(few, 4, generator, 7)]
    passes = [torch.cat(found[:3]), torch.cat(found[3:6])]
    assert len(found) == 7
    assert all(torch.equal(one.sort().values, few.y) for one in passes)
    assert not torch.equal(*passes)


def test_the_first_of_each_class_is_found_and_a_class_without_examples_left_out():
    y = torch.tensor([3, 0, 3, 1, 0, 3])
    assert first_of_each_class(y, 2).tolist() == [1, 4, 3, 0, 2]


# --- what is wrong with a folder ---------------------------------------------------------

@pytest.mark.parametrize("changes", [
    {IMAGES: lambda x: x[:-1]}, {LABELS: lambda y: y[:0]}, {IMAGES: lambda x: x[:, 1:]},
    {IMAGES: lambda x: x.astype(np.float32)}, {LABELS: lambda y: y[:, None]},
    {TEST_LABELS: lambda y: np.where(y == 4, 10, y).astype("u1")},  # no class of training
    {IMAGES: lambda x: x[:1], LABELS: lambda y: y[:1]},  # too few for training and validation
    {LABELS: lambda y: np.where(y == 3, 4, y)},          # a class that the test images have
    {TEST_IMAGES: lambda x: x[:3], TEST_LABELS: lambda y: y[:3]},
    {TEST_LABELS: lambda y: 0 * y}, {TEST_IMAGES: lambda x: x[:, 1:]},
], ids=range(11))
def test_files_that_do_not_fit_are_one_sentence_with_the_folder(folder, changes):
    for name, change in changes.items():
        idx.write(folder / name, change(idx.read(folder / name)))
    with pytest.raises(DataError, match=r"stripes.*found.*expected"):
        load("mnist", str(folder))  # the test files, too: not after an hour of training


@pytest.mark.parametrize(("images", "odd"), [
    *((n, {}) for n in (1, 3, 4, 5)), (None, {"n": 0}), (None, {"n": 1, "tests": 4}),
    (None, {"classes": [3]}), (None, {"tests": 1}), (None, {"tests": 0})])
def test_too_few_images_for_a_mean_or_a_class_are_one_sentence_before_any_training(
        tmp_path, images, odd):
    folder = write_images(tmp_path / "odd", **odd)
    with pytest.raises(DataError, match=r"odd.*: found .*expected .*"):
        load("fashion-mnist", str(folder), images=images)


@pytest.mark.parametrize("odd", [
    {"n": 6, "tests": 4, "classes": [0, 1]}, {"change": lambda x: 0 * x}])
def test_the_fewest_images_that_do_and_black_ones_have_an_answer(tmp_path, odd):
    """Of all-black images PCA has no direction, and each error and deviation is 0."""
    folder = write_images(tmp_path / "odd", **odd)
    content = start("asst8_fc_ae", tmp_path / "out", "--data", str(folder), data="mnist",
                    figures=True)
    assert all(math.isfinite(entry["value"]) for entry in content["numbers"].values())


@pytest.mark.parametrize(("name", "shown"), [
    ("d\udcc3\udca4ta", "d\u00e4ta"), ("d\udce4ta", "d\ufffdta"), ("d\u00e4ta", "d\u00e4ta")])
def test_a_name_that_the_locale_cannot_decode_can_be_shown_in_a_title(name, shown):
    """With LC_ALL=C a name's bytes beyond ASCII are surrogates, which no figure draws."""
    assert name_of(f"/data/{name}") == shown


def test_gzipped_files_do_as_well(folder, small):
    for file in folder.iterdir():
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert torch.equal(load("mnist", str(folder)).train.x, small.train.x)


def test_a_folder_is_not_taken_for_the_published_set_of_its_name(folder):
    named = folder.rename(folder.with_name("mnist"))
    assert load("mnist", str(named)).name == "folder mnist"


# --- auto, and what stands in ------------------------------------------------------------

@pytest.fixture
def quick(monkeypatch):
    """Glyphs are drawn a few at a time, and few are drawn."""
    monkeypatch.setattr(glyphs, "CHUNK", 20)


def test_without_data_and_network_auto_takes_glyphs_and_says_so(
        tmp_path, no_mirrors, capsys, quick):
    found = load("mnist", "auto", tmp_path, images=120)
    assert found.name == "glyphs-digits" and "not MNIST" in found.title
    assert "MNIST IS NOT AVAILABLE" in capsys.readouterr().out.splitlines()[0]
    assert len(found.train.x) == 110 and len(found.test().x) == 20


def test_naming_a_set_that_cannot_be_had_is_an_error_that_tells_how(tmp_path, no_mirrors):
    with pytest.raises(data_download.DownloadError, match=r"by hand .*http.* into"):
        load("mnist", "mnist", tmp_path)


def test_each_user_of_a_machine_has_a_cache_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = own_cache()
    assert own_cache() == mine and stat.S_IMODE(mine.stat().st_mode) == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 4711)  # the folder of that name is mine, not its
    theirs = own_cache(), own_cache()
    assert len({mine, tmp_path / "minidl-data-4711", *theirs}) == 4


def test_bytes_that_are_not_the_published_ones_are_refused(folder, tmp_path):
    """MNIST served as Fashion-MNIST has the same names and shapes: only content tells."""
    shutil.copytree(folder, tmp_path / "fashion-mnist")
    with pytest.raises(DataError, match=IMAGES):
        load("fashion-mnist", "auto", tmp_path)


@pytest.mark.real_data
def test_the_real_mnist_is_right_and_fashion_is_not_taken_for_it(real_data, tmp_path):
    mnist = load("mnist", "mnist", real_data)
    assert (len(mnist.train.x), len(mnist.val.x)) == (55_000, 5_000)
    assert len(mnist.test().x) == 10_000
    assert mnist.test().y[:5].tolist() == [7, 2, 1, 0, 4]
    (tmp_path / "mnist").symlink_to(f"{real_data}/fashion-mnist")
    with pytest.raises(DataError, match=IMAGES):
        load("mnist", "mnist", tmp_path)
