"""minidl/lab/stamp.py: one hash of a script and of what it imports; the commit."""

import subprocess

import pytest

from minidl.lab import stamp

FILES = {"assignments/walk.py": "import helper\nfrom minidl.lab import run\n"
                                "net = run.trained('lender', 'CNN')\n",
         "assignments/lender.py": "N = 1\n",
         "assignments/helper.py": "from minidl import losses\n",
         "minidl/losses.py": "import math\n", "minidl/lab/__init__.py": "",
         "minidl/lab/run.py": "", "minidl/lab/plot.py": "", "README.md": ""}


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("file", FILES)
def test_the_hash_changes_with_a_file_that_is_imported_and_with_no_other(project, file):
    before = stamp.code_of(project / "assignments/walk.py", project)
    (project / file).write_text(FILES[file] + "more = 1\n")
    changed = stamp.code_of(project / "assignments/walk.py", project) != before
    assert changed == (file not in ("minidl/lab/plot.py", "README.md"))


def test_the_hash_does_not_change_with_words_and_does_with_strings(project):
    script = project / "assignments/walk.py"
    begin = 'def f(x):\n    return "a # b"\n'
    script.write_text(begin)
    before = stamp.code_of(script, project)
    script.write_text('"""Words."""  # more\n\ndef f(x):  # x\n    r"""Of\n    f."""\n\n'
                      '    return "a # b"  # no comment inside it\n')
    assert stamp.code_of(script, project) == before
    script.write_text(begin.replace("# b", "# c"))
    assert stamp.code_of(script, project) != before


def test_the_commit_is_told_with_a_mark_where_code_was_edited_since(project):
    assert stamp.commit(project) is None
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b",
                                                 "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(project), *words], check=True)
    found = stamp.commit(project)
    assert len(found) == 12 and stamp.git(project, "rev-parse", "HEAD").startswith(found)
    (project / "README.md").write_text("words")
    assert stamp.commit(project) == found
    (project / "minidl/losses.py").write_text("x = 1\n")
    assert stamp.commit(project) == f"{found}-changed"
