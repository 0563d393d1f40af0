"""Faults: nothing half-written, nothing lost, nothing executed."""

import ast
import contextlib
import gzip
import io
import os
import random
import re
import signal
from pathlib import Path

import killing
import mutating
import numpy
import pytest
import run_all
import torch
import torture
from killing import content

import data_download
from minidl import files
from minidl.data import review_sources
from minidl.files import alone, whole_file
from minidl.lab import checkpoint, cli, results
from minidl.lab.trials import Trials
from minidl.publish import handout, report
from minidl.publish.companion import __main__ as companion

ROOT = Path(__file__).resolve().parents[1]
LEFT = ".results.json.0123456789abcdef.tmp"  # as a killed process leaves it


def start(out, *argv):
    cli.start(torture.script, argv=["--out", str(out), *argv])


def sentence(capsys, out, *argv):
    """Status 2 and one sentence on stderr, which it returns; the folder stays as it is."""
    before = content(out)
    with pytest.raises(SystemExit) as stop:
        start(out, *argv)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and content(out) == before, said
    assert said.count("\n") == 1 and said.startswith("torture.py: "), said
    return said


# --- files that are whole or not there ------------------------------------------------------

@pytest.mark.parametrize("locks", [True, False])
def test_a_file_is_replaced_whole_whatever_a_killed_process_left(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    path, other = tmp_path / "results.json", tmp_path / LEFT.replace("results", "other")
    mine = tmp_path / ".results.json.mine.tmp"
    for left in (path, tmp_path / LEFT, other, mine):
        left.write_text("old")
    with whole_file(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and other.exists() and mine.exists()
    assert (tmp_path / LEFT).exists() != locks  # a killed process's: cleared away


def test_of_two_writers_of_one_file_each_writes_its_own_and_the_last_one_stays(tmp_path):
    path = tmp_path / "results.json"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second" and first.exists()
    assert content(tmp_path) == {"results.json": b"first"}


def test_an_error_in_the_block_leaves_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(OSError, match=r"/results\.json'"), whole_file(path) as beside:
        beside.write_text("half")
        raise OSError(28, "No space left on device")
    assert content(tmp_path) == {"results.json": b"old"}


# --- one run a folder -----------------------------------------------------------------------

def test_a_folder_is_one_runs_until_it_is_killed_and_a_second_one_is_refused(
        tmp_path, capsys):
    start(tmp_path)
    told, tell = os.pipe()
    if not (child := os.fork()):
        with alone(tmp_path) as granted:
            os.write(tell, b"1" if granted else b"0")
            signal.pause()
    assert os.read(told, 1) == b"1"
    assert f"--out {tmp_path}: found another run" in sentence(capsys, tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    start(tmp_path)


def without_rights(folder):
    """A user who is not root, and may not write to the folder."""
    os.chdir(folder)  # where it is, others' folders may be in the way
    folder.chmod(0o555)
    if not os.getuid():
        os.setuid(65534)
    print(*torture.ends(Path()), *torture.ends(Path("new")))


def test_a_folder_that_is_read_only_is_one_sentence_and_stays_as_it_is(tmp_path):
    start(tmp_path)
    before = content(tmp_path)
    _, said, _ = killing.finished(without_rights, tmp_path)
    tmp_path.chmod(0o755)
    assert "2 torture.py: --out .: found a folder that cannot be written to" in said
    assert "2 torture.py: new: found 'Permission denied'" in said and said.count("\n") == 3
    assert content(tmp_path) == before


# --- what lies in the folder: damaged, malicious, cut off -----------------------------------

@pytest.fixture
def trap(tmp_path):
    """An object whose unpickling makes the folder `sprung`; -> it, that folder."""
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)
    return Trap(), tmp_path / "sprung"


@pytest.mark.parametrize("damage", [
    lambda b: b[:len(b) // 2], lambda b: b"",
    lambda b: b[:800] + bytes([b[800] ^ 16]) + b[801:],
    # torch skips a folder, and leaves the tensor as its memory was
    lambda b: b[:(i := b.rindex(b"PK\1\2") + 38)] + b"\x10" + b[i + 1:]],
    ids=["cut", "empty", "one bit", "a tensor called a folder"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, capsys, damage):
    start(tmp_path)
    path = tmp_path / "checkpoints/first.pt"
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path}: found " in sentence(capsys, tmp_path, "--resume")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint_is_one_sentence_and_runs_nothing(
        tmp_path, capsys, trap, zipped):
    start(tmp_path / "out")
    path, (thing, sprung) = tmp_path / "out/checkpoints/first.pt", trap
    torch.save({"made_by": thing}, packed := io.BytesIO(),
               _use_new_zipfile_serialization=zipped)
    path.write_bytes(checkpoint.sealed(packed.getvalue()) if zipped else packed.getvalue())
    sentence(capsys, tmp_path / "out", "--resume")
    assert not sprung.exists()
    torch.load(path, weights_only=False)  # an unsafe loader springs it
    assert sprung.exists()


def test_a_log_that_was_cut_off_twice_loses_those_two_trials_and_no_other(tmp_path):
    def kept():
        return len(Trials(None, tmp_path).known)

    log = tmp_path / "rank_0.jsonl"
    for n in range(4):  # each process is killed within the line of its second trial
        Trials(lambda settings, _: settings["x"], tmp_path)([{"x": 2 * n}])
        whole = log.read_bytes()
        Trials(lambda settings, _: settings["x"], tmp_path)([{"x": 2 * n + 1}])
        log.write_bytes(log.read_bytes()[:len(whole) + 9])
    assert kept() == 4
    log.write_bytes(log.read_bytes() + b'\n\xff\xfe\n{"settings": 1, "budget": 2}\n[]\n3\n'
                    + b"[" * 100_000 + b'\n{"settings": {}, "budget": null, "seconds": 1, '
                    b'"score": NaN, "made_by": ""}\n')
    assert kept() == 4


def test_a_disk_that_fails_in_a_trial_ends_the_search_and_is_no_failure_of_its_settings(
        tmp_path):
    def objective(settings, budget):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Trials(objective, tmp_path)([{"x": 1}])
    assert content(tmp_path) == {}


# --- kills ----------------------------------------------------------------------------------

def in_place(path):
    """What whole_file must not be."""
    return contextlib.nullcontext(path)


def dying(name, writer, folder, resume):
    """The script, killed while it writes a file: half of the bytes are there."""
    for kind in ("write_bytes", "write_text"):
        write = getattr(type(folder), kind)

        def half(path, data, *args, write=write, **options):
            dies = name in path.name
            write(path, data[:len(data) // 2] if dies else data, *args, **options)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(type(folder), kind, half)
    if writer:
        results.whole_file = checkpoint.whole_file = writer
    torture.ends(folder, *["--resume"] * resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    status, said, seconds = killing.finished(torture.run, folder, False)
    assert not status, said
    return content(folder), seconds


@pytest.mark.parametrize("name", ["run.json", "second.pt", "results.json"])
def test_killed_in_the_midst_of_writing_a_file_it_leaves_none_half_and_goes_on(
        name, whole, tmp_path):
    assert killing.killed(300, dying, name, None, tmp_path, False)
    left = content(tmp_path)
    assert sum(name.endswith(".tmp") for name in left) == 1
    assert not killing.half_written(left, whole[0])
    killing.finished(torture.run, tmp_path, True)
    assert not killing.differences(content(tmp_path), whole[0])


def test_the_check_finds_a_file_that_was_written_in_its_place(whole, tmp_path):
    assert killing.killed(300, dying, "results.json", in_place, tmp_path, False)
    assert killing.half_written(content(tmp_path), whole[0]) == ["results.json"]


def test_kills_at_random_moments_the_second_of_a_resumed_run_are_survived(whole, tmp_path):
    moments = [random.uniform(0, whole[1]) for _ in range(2)]
    for resumed, moment in enumerate(moments):  # where it has ended before, nothing is killed
        killing.killed(moment, torture.run, tmp_path, resumed)
        assert not killing.half_written(content(tmp_path), whole[0]), moments
    status, said, _ = killing.finished(torture.run, tmp_path, True)
    assert not status, said
    assert not killing.differences(content(tmp_path), whole[0]), moments


# --- disks and files ------------------------------------------------------------------------

def test_a_full_disk_is_one_sentence_and_with_room_the_run_goes_on(tmp_path):
    status, said, _ = killing.finished(torture.full_disk, tmp_path, 4)
    assert not status, said


@pytest.mark.parametrize("name", mutating.KINDS)
def test_a_mutated_file_is_read_right_or_refused_in_a_sentence(
        name, tmp_path, monkeypatch):
    found = mutating.mutate(name, 60, 0, tmp_path)
    assert found["refused"] and found.keys() <= {"read", "refused"}, found
    monkeypatch.setattr(mutating, "mutated", lambda data, source: data)
    assert mutating.mutate(name, 20, 0, tmp_path)["read"]


def test_a_malicious_cache_is_made_anew_and_runs_nothing(tmp_path, trap, monkeypatch):
    monkeypatch.setitem(data_download.SETS, "imdb", mutating.TINY)
    archive, (thing, sprung), said = tmp_path / "aclImdb_v1.tar.gz", trap, []
    archive.write_bytes(gzip.compress(mutating.packed(mutating.TEXTS), mtime=0))
    texts = review_sources._cached(archive, said.append)
    (cache,) = tmp_path.glob("words-*.npz")
    numpy.savez(cache, **dict.fromkeys(texts._fields, numpy.array([thing], object)))
    packed, first = cache.read_bytes(), len(said)
    again = review_sources._cached(archive, said.append)
    assert all(map(numpy.array_equal, again, texts))
    assert len(said) == 2 * first and not sprung.exists()
    numpy.load(io.BytesIO(packed), allow_pickle=True)["words"]  # an unsafe loader springs it
    assert sprung.exists()


def sentences(capsys, *mains):
    """What each of the programs says, which must be one sentence, with status 2."""
    for main in mains:
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr().err
        assert stop.value.code == 2 and said.count("\n") == 1, said
        yield said


@pytest.mark.parametrize("content", ["mine", "[1]", "{}"])
def test_a_results_json_that_is_no_runs_is_one_sentence_for_all_that_read_it(
        tmp_path, monkeypatch, capsys, content):
    monkeypatch.chdir(tmp_path)
    file = Path("outputs/ex2_conv_ae/results.json")
    file.parent.mkdir(parents=True)
    file.write_text(content)
    for said in sentences(capsys, lambda: report.main(["S3"]),
                          lambda: run_all.main(["--ledger"])):
        assert f"{file}: found damaged content" in said
    assert file.read_text() == content


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = Path("outputs")
    place.write_text("mine")
    for said in sentences(
            capsys, lambda: report.main(["S3"]), lambda: companion.main([]),
            lambda: handout.main(["minidl/pca.py", "--out", "outputs/copy"])):
        assert "found 'Not a directory', expected room" in said
    assert place.read_text() == "mine"


# --- text -----------------------------------------------------------------------------------

def test_text_is_read_and_written_in_utf8_whatever_the_locale():
    """LC_ALL=C python -X utf8=0 would else read in ASCII what it wrote in UTF-8."""
    files = [ROOT / "data_download.py", *(
        path for room in ("minidl", "assignments", "theory")
        for path in (ROOT / room).rglob("*.py") if path.name[:5] != "test_")]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = isinstance(node, ast.Call) and getattr(node.func, "attr", None)
            if name in ("read_text", "write_text", "open"):
                words = ast.unparse(node).lower()
                other = re.search(r"'[arw]\+?b\+?'|os\.open|gzip|tarfile|urlopen", words)
                assert "utf-8" in words or other, f"{path}:{node.lineno}: {words}"


def test_what_a_console_cannot_show_is_replaced(tmp_path, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stderr", console)
    assert data_download.main(["mnist", "--from", str(tmp_path), "--data-dir",
                               str(tmp_path / "d\u00e4ta")]) == 2
    console.flush()
    assert b"d?ta" in console.buffer.getvalue()
