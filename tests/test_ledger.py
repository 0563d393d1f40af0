"""minidl/ledger.py: a result knows its code; words change nothing, code changes the hash."""

import pytest

from minidl import ledger

SCRIPT = '''"""A question."""
import helper
from minidl import plot
from minidl.losses import half
SIZE = 3


def main(run):
    """Not hashed."""
    data = run.load()  # why
    plot.draw(helper.twice(half(SIZE), data))
'''
HELPER = '''"""Helps."""
from minidl.losses import third
BASE, OTHER = 2, 5


def twice(x):
    return BASE * inner(x)


def inner(x):
    return third(x)


def unused(x):
    return OTHER
'''
LOSSES = "def half(x):\n    return x / 2\n\n\ndef third(x):\n    return x / 3\n\n\nN = 1\n"
FILES = {"assignments/script.py": SCRIPT, "assignments/helper.py": HELPER,
         "minidl/losses.py": LOSSES, "minidl/plot.py": "def draw(x): pass\n",
         "minidl/data.py": "def load():\n    return 1\n"}


@pytest.fixture
def hashes(tmp_path):
    """The hashes after a change (file, old text, new text)."""
    def found(name=None, old="", new=""):
        for file, text in FILES.items():
            path = tmp_path / file
            path.parent.mkdir(exist_ok=True)
            assert file != name or old in text
            path.write_text(text.replace(old, new) if file == name else text)
        return ledger.code_of("script", tmp_path)
    return found


def test_the_files_that_make_numbers_are_listed(hashes):
    assert list(hashes()) == ["assignments/helper.py", "assignments/script.py",
                              "minidl/data.py", "minidl/losses.py"]


@pytest.mark.parametrize("file, old, new", [
    ("assignments/script.py", "SIZE = 3", "SIZE = 4"),
    ("assignments/script.py", "import helper\n", "import helper\nprint(1)\n"),
    ("assignments/helper.py", "BASE, OTHER = 2, 5", "BASE, OTHER = 2, 6"),
    ("assignments/helper.py", "return third(x)", "return -third(x)"),
    ("minidl/losses.py", "x / 3", "x / 4"), ("minidl/losses.py", "x / 2", "x/2"),
    ("minidl/data.py", "return 1", "return 2")])
def test_a_line_of_code_that_is_used_changes_its_files_hash(hashes, file, old, new):
    before, after = hashes(), hashes(file, old, new)
    assert [name for name in before if before[name] != after[name]] == [file]


@pytest.mark.parametrize("file, old, new", [
    ("assignments/script.py", "# why", "# therefore"),
    ("assignments/script.py", '"""A question."""', '"""Another\nquestion."""\n\n'),
    ("assignments/script.py", "Not hashed", "Never hashed"),
    ("assignments/helper.py", "return OTHER", "return 0"),
    ("minidl/losses.py", "N = 1", "N = 2"), ("minidl/plot.py", "pass", "return x")])
def test_words_pictures_and_what_is_not_used_change_nothing(hashes, file, old, new):
    assert hashes() == hashes(file, old, new)


def test_a_script_of_the_project_has_its_own_code_and_what_it_reads_through_the_run():
    found = ledger.code_of("ex2_conv_ae")
    assert {"assignments/ex2_conv_ae.py", "minidl/losses.py", "minidl/data.py",
            "minidl/pca.py"} <= set(found) and "minidl/plot.py" not in found
    assert "minidl/reviews.py" in ledger.code_of("asst8_text_cnn")
    assert ledger.code_of("no_such_script") == {}
