"""minidl/publish/handout.py: answers are gone, tasks and everything else are there."""

import ast

import pytest

from minidl.publish import handout

TEXT = '''"""A file."""
N = 3


def double(x):
    """2 x."""
    y = 2 * x  # the answer
    return y


class Pair:
    """Two."""

    def first(self):
        return self.a


def triple(x): return 3 * x


def wrapped(f):
    @staticmethod
    def g(x):
        return f(x)
    return g
'''


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    for name in ("minidl", "minidl/data", "theory", "outputs", "data"):
        (root / name).mkdir(parents=True)
        (root / name / "file.py").write_text(TEXT)
    return root


def test_a_function_loses_its_body_and_keeps_its_task():
    text = handout.blanked(TEXT, "double")
    assert "the answer" not in text and '"""2 x."""\n    raise NotImplementedError\n' in text
    assert "return self.a" in text and "N = 3" in text
    scope = {}
    exec(text, scope)
    with pytest.raises(NotImplementedError):
        scope["double"](1)
    assert scope["triple"](2) == 6


def test_the_copy_has_all_but_the_answers(project, tmp_path):
    handout.write(project, ["minidl/file.py:double", "minidl/file.py:triple", "theory"],
                  tmp_path / "copy")
    text = (tmp_path / "copy" / "minidl" / "file.py").read_text()
    assert text.count("raise NotImplementedError") == 2
    assert not (tmp_path / "copy" / "theory").exists()
    assert not (tmp_path / "copy" / "outputs").exists()
    assert not (tmp_path / "copy" / "data").exists()  # a user's; the code of that name is not
    assert (tmp_path / "copy" / "minidl" / "data" / "file.py").read_text() == TEXT
    assert (project / "minidl" / "file.py").read_text() == TEXT


def test_of_a_written_proof_the_question_stays(project, tmp_path):
    proof = (project / "theory" / "test_lti.py")
    proof.write_text('r"""LTI: a question\nof two lines.\n\nProof.  (1) so\n"""\n'
                     "# sheet: S3.6\n\n\ndef test_it():\n    assert True\n")
    assert handout.write(project, ["theory/test_lti.py"], tmp_path / "copy") == [
        "theory/test_lti.py"]
    text = (tmp_path / "copy" / "theory" / "test_lti.py").read_text()
    assert ast.get_docstring(ast.parse(text)).startswith("LTI: a question\nof two lines.\n")
    assert "# sheet: S3.6" in text and "(1)" not in text and "def " not in text


def test_with_a_folder_go_its_tests_and_links_and_with_the_originals_all_is_back(
        project, tmp_path):
    copy = tmp_path / "copy"
    (project / "tests").mkdir()
    for name, text in {
            "theory/answers.py": "x = ...", "theory/deep/test_a.py": TEXT,
            "tests/test_b.py": "from theory import file", "tests/test_c.py": "import minidl",
            "README.md": "[one](theory/file.py#L1), [two](minidl/file.py), [all](theory/), "
                         "[web](https://example.org/theory), [none](outputs/x.md)"}.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    changed = handout.write(project, ["theory", "minidl/file.py:double"], copy)
    assert changed == ["README.md", "minidl/file.py", "tests/test_b.py",
                       "theory/deep/test_a.py", "theory/file.py"]
    assert [path.name for path in (copy / "theory").iterdir()] == ["answers.py"]
    assert (copy / "README.md").read_text() == (
        "one, [two](minidl/file.py), [all](theory/), [web](https://example.org/theory), "
        "[none](outputs/x.md)")
    for name in changed:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text((project / name).read_text())
    assert contents(copy) == {name: text for name, text in contents(project).items()
                              if name.split("/")[0] not in handout.OF_USERS}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text()
            for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place, message", [
    ("minidl/none.py", "found no such file or folder"),
    ("minidl/file.py:half", "found no half, expected one of double, Pair")])
def test_a_place_that_is_not_there_is_one_sentence(project, tmp_path, place, message):
    with pytest.raises(handout.HandoutError, match=message):
        handout.write(project, [place], tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", ["absolute", "above", "by a link", "all of it"])
def test_nothing_outside_the_project_is_touched(project, tmp_path, kind):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.py").write_text(TEXT)
    (project / "link").symlink_to(other)
    place = {"absolute": str(other), "above": "../other", "by a link": "link",
             "all of it": "."}[kind]
    with pytest.raises(handout.HandoutError, match="is not inside"):
        handout.write(project, [place], tmp_path / "copy")
    assert (other / "thesis.py").read_text() == TEXT and not (tmp_path / "copy").exists()


def test_an_absolute_place_inside_the_project_is_taken_out_of_the_copy_alone(
        project, tmp_path):
    handout.write(project, [str(project / "theory")], tmp_path / "copy")
    assert not (tmp_path / "copy" / "theory").exists()
    assert (project / "theory" / "file.py").read_text() == TEXT


def test_every_file_of_the_project_can_be_blanked():
    for path in handout.ROOT.glob("minidl/**/*.py"):
        text = path.read_text()
        if "\ndef " in text or "\nclass " in text:
            ast.parse(handout.blanked(text))
