"""minidl/data/reviews.py, review_sources.py, grammar.py: from texts to numbers."""

import gzip
from collections import Counter

import mutating
import pytest
import torch

import data_download
from minidl import bag_of_words
from minidl.data import grammar, review_sources
from minidl.data.review_sources import FOLDERS, words_of
from minidl.data.reviews import Reviews, batches, load
from minidl.data.sources import DataError

TEXTS = {  # two of a kind, so that one of the training reviews can be held out
    "train/neg/0_1": b"Bad film.<br /><br />Really BAD!", "train/neg/1_2": b"it isn't good",
    "train/pos/0_9": b"a good film", "train/pos/1_8": b"good, good, good fun",
    "test/neg/0_1": b"an unheard-of bore", "test/neg/1_1": b"a bad film",
    "test/pos/0_9": b"good fun", "test/pos/1_9": b""}


def write_folder(path, texts=TEXTS):
    for name, text in texts.items():
        file = path / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    return str(path)


def write_archive(path, texts=TEXTS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(mutating.packed(
        {f"aclImdb/{name}.txt": text for name, text in reversed(texts.items())})))
    return path


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The archive of TEXTS as the published one, and a temporary folder of its own."""
    digest = data_download.hash_reviews(
        {f"aclImdb/{name}.txt": TEXTS[name] for name in sorted(TEXTS)})
    monkeypatch.setitem(data_download.SETS, "imdb", data_download.DataSet(
        ("http://127.0.0.1:9",), {"aclImdb_v1.tar.gz": ""}, 2**20, digest))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return write_archive(tmp_path / "data" / "imdb" / "aclImdb_v1.tar.gz")


def of_lists(lists, y=None):
    """Reviews whose words are these numbers."""
    w = torch.tensor([i for numbers in lists for i in numbers], dtype=torch.int32)
    starts = torch.tensor([0, *(len(numbers) for numbers in lists)]).cumsum(0)
    return Reviews(w, starts, torch.tensor(y or [0] * len(lists)))


def words_in(corpus, split):
    """The words of each review."""
    return [[corpus.words[i] for i in w.tolist()]
            for w in split.w.split(split.lengths.tolist())]


def texts_of(corpus, split):
    return {" ".join(words): y for words, y in zip(
        words_in(corpus, split), split.y.tolist(), strict=True)}


def turned(corpus, split):
    """(N,), whether a review of the embedded corpus has opinions of both kinds."""
    return torch.tensor([not {*words}.isdisjoint(grammar.GOOD)
                         and not {*words}.isdisjoint(grammar.BAD)
                         for words in words_in(corpus, split)])


# Words -------------------------------------------------------------------------------------
@pytest.mark.parametrize("text, words", [
    ("It isn't GOOD.<br />At all!", ["it", "isn't", "good", "at", "all", "!"]),
    ("rock\u2019n\u2019roll 8/10 (why?)", ["rock'n'roll", "8", "10", "why", "?"]),
    ("'quoted' a_b -- \ufffd", ["quoted", "a", "b"]),
    ("caf\u00e9 < 3 and 5 > 4", ["caf\u00e9", "3", "and", "5", "4"]),
    ("", [])])
def test_words_by_hand(text, words):
    assert words_of(text) == words


# A folder ----------------------------------------------------------------------------------
def test_a_folder_of_reviews_keeps_texts_labels_and_splits(tmp_path):
    corpus = load(write_folder(tmp_path / "films"))
    seen = texts_of(corpus, corpus.train) | texts_of(corpus, corpus.val)
    unknown = {text for text in seen if "(unknown)" in text}
    assert len(seen) == 4 and unknown <= set(texts_of(corpus, corpus.val))
    assert all(y == (text.startswith("good") or text.startswith("a good"))
               for text, y in seen.items() if text not in unknown)
    assert corpus.name == corpus.title == "folder films"
    assert sorted(corpus.test().y.tolist()) == [0, 0, 1, 1]


def test_the_vocabulary_comes_from_the_training_part_alone(tmp_path):
    corpus = load(write_folder(tmp_path / "films"))
    of_train = {word for text in texts_of(corpus, corpus.train) for word in text.split()}
    assert set(corpus.words) == of_train | {"(padding)", "(unknown)"}
    assert "bore" not in corpus.words  # only a test review has it
    counts = Counter(corpus.train.w.tolist())
    assert [counts[i] for i in range(2, len(corpus.words))] == sorted(
        (counts[i] for i in range(2, len(corpus.words))), reverse=True)
    fewer = load(str(tmp_path / "films"), vocabulary=3)
    assert fewer.words == corpus.words[:5]


def test_two_folders_of_one_name_differ_in_their_digest(tmp_path):
    one, same, *others = (load(write_folder(tmp_path / str(i) / "films", texts)).digest
                          for i, texts in enumerate([TEXTS, dict(TEXTS), TEXTS | {
                              "test/pos/1_9": b"fun"}, TEXTS | {"train/pos/2_9": b""}]))
    assert one == same and len({one, *others}) == 3


def test_an_empty_review_is_one_unknown_word(tmp_path):
    corpus = load(write_folder(tmp_path / "films"))
    assert "(unknown)" in texts_of(corpus, corpus.test())
    assert corpus.words.count("(unknown)") == 1
    more = dict.fromkeys((f"train/neg/{i}_1" for i in range(9)), b" ")
    emptied = load(write_folder(tmp_path / "void", TEXTS | more))
    assert emptied.words.count("(unknown)") == 1  # however frequent


def test_bytes_that_are_not_utf8_belong_to_no_word(tmp_path):
    odd = dict.fromkeys(TEXTS, b"\xff\xfe good\x80film \xc3")
    corpus = load(write_folder(tmp_path / "films", odd))
    assert set(texts_of(corpus, corpus.train)) == {"good film"}


@pytest.mark.parametrize("lacking", FOLDERS)
def test_a_missing_class_folder_is_named(tmp_path, lacking):
    some = {name: text for name, text in TEXTS.items() if not name.startswith(lacking)}
    with pytest.raises(DataError, match=f"films.*{lacking}"):
        load(write_folder(tmp_path / "films", some))


# The archive -------------------------------------------------------------------------------
def test_the_archive_gives_the_same_corpus_as_its_files_in_a_folder(archive, tmp_path):
    packed = load("imdb", tmp_path / "data")
    plain = load(write_folder(tmp_path / "films"))
    assert (packed.name, packed.title) == ("imdb", "IMDb") and packed.words == plain.words
    for mine, its in zip((packed.train, packed.val, packed.test()),
                         (plain.train, plain.val, plain.test()), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, its, strict=True))


def test_the_words_are_found_once_and_a_damaged_cache_is_made_anew(
        archive, tmp_path, monkeypatch):
    first = load("imdb", tmp_path / "data")
    (kept,) = archive.parent.glob("*.npz")
    found, reads = kept.read_bytes(), []
    read = review_sources._in_archive
    monkeypatch.setattr(review_sources, "_in_archive", lambda p: reads.append(p) or read(p))
    assert load("imdb", tmp_path / "data").words == first.words and not reads
    for damaged in (b"", found[:-40], found.replace(b"good", b"evil")):
        kept.write_bytes(damaged)
        again = load("imdb", tmp_path / "data")
        assert again.words == first.words and torch.equal(again.train.w, first.train.w)
        assert kept.read_bytes() == found
    assert len(reads) == 3


@pytest.mark.parametrize("change", [
    lambda path: write_archive(path, TEXTS | {"train/neg/0_1": b"so good"}),
    lambda path: write_archive(path, TEXTS | {"train/pos/9_\udcff": b"a film"}),
    lambda path: path.write_bytes(b"no archive")],
    ids=["another text", "a name not in UTF-8", "no archive"])
def test_an_archive_that_is_not_the_published_one_is_one_sentence(archive, tmp_path, change):
    change(archive)
    with pytest.raises(DataError, match=r"aclImdb_v1.*found.*expected"):
        load("imdb", tmp_path / "data")
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_without_the_archive_auto_takes_the_embedded_corpus_and_says_so(archive, tmp_path):
    archive.unlink()
    said = []
    assert load("auto", tmp_path / "data", say=said.append).name == "embedded"
    assert "IMDb IS NOT AVAILABLE" in said[0]
    with pytest.raises(data_download.DownloadError, match="aclImdb_v1"):
        load("imdb", tmp_path / "data")


# Batches -----------------------------------------------------------------------------------
def test_padding_follows_the_words_and_a_long_review_keeps_its_end():
    split = of_lists([[5], [6, 7, 8, 9], [2, 3]])
    w, n = split.padded(torch.tensor([2, 0, 1]), longest=3)
    assert w.tolist() == [[2, 3, 0], [5, 0, 0], [7, 8, 9]] and n.tolist() == [2, 1, 3]


def test_every_review_comes_once_an_epoch_with_its_label(generator):
    split = of_lists([[2 + i] * (1 + i % 7) for i in range(40)], [i % 2 for i in range(40)])
    seen = []
    for w, n, y in batches(split, 8, generator, longest=5):
        assert w.shape == (8, n.max()) and ((w > 0).sum(dim=1) == n).all()
        assert torch.equal(y, w[:, 0] % 2)
        seen += w[:, 0].tolist()
    assert sorted(seen) == list(range(2, 42))


# The embedded corpus -----------------------------------------------------------------------
@pytest.mark.numeric
def test_order_tells_the_label_of_turned_reviews_and_a_bag_of_words_is_right_on_half():
    embedded = load("embedded", say=lambda text: None)
    test = embedded.test()
    last = [[word in grammar.GOOD for word in words
             if word in grammar.GOOD + grammar.BAD][-1] for words in words_in(embedded, test)]
    assert torch.equal(torch.tensor(last).long(), test.y)
    bag = bag_of_words.fit(embedded.train, embedded.val, len(embedded.words),
                           lambdas=(1e-3,))
    right = (bag.outputs(test) > 0) == (test.y == 1)
    of_turned = turned(embedded, test)  # twins have one sum, added in one order
    assert 2 * of_turned.sum() == len(test.y) and right[~of_turned].all()
    assert 2 * right[of_turned].sum() == of_turned.sum()


@pytest.mark.real_data
def test_imdb_is_read_whole(real_data):
    corpus = load("imdb", real_data, say=lambda text: None)
    assert (len(corpus.train.y), len(corpus.val.y), len(corpus.test().y)) == (
        22_500, 2_500, 25_000)
    y = torch.cat([corpus.train.y, corpus.val.y])
    assert y.double().mean() == corpus.test().y.double().mean() == 0.5
    assert corpus.words[2] == "the" and len(corpus.words) == 20_002
