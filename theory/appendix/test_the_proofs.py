r"""The proofs about the proofs: why a green run of this folder says something.

Result. A claim fails as a test if it compares nothing, or if no broken version fails it. It
also fails if its comparison could not fail, or if the README does not list it.

A test that cannot fail proves nothing, and it is easily written. Examples are a loop that runs
zero times, zeros on both sides, a tolerance larger than the data, and a difference without its
absolute value. A symmetric kernel cannot show that it was not flipped.
(1) Each claim compares at least once, and refutes at least one control, a broken
    implementation that its own check must reject. Otherwise it fails (112).
(2) A comparison that cannot fail raises VacuousError: constant data, nothing to compare, a
    bound as large as the data. It is not an AssertionError, so it refutes no control (113).
(3) An error of 0.1% in a single entry is noticed, of either sign, and each claim of kind float
    has a control that is off by no more than that (114).
(4) The claims that a reader sees are the claims that are run, and every item of theory that a
    sheet asks for has its row in the README (115).
A check may still be about something else than its name says. The controls limit that; only
reading rules it out. tests/mutate.py plants errors in the scripts and asks the same.

Check. These are statements about finitely many files and functions, run in full.
"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import kit
import pytest
import readme
import torch
from kit import D, VacuousError, claim, holds, ints, refuted, same

from minidl.publish import sheets

HERE = Path(__file__).resolve().parents[1]

SAMPLES = '''
from kit import claim, holds, refuted, same, vector


def check(double):
    same(double(vector(1, 2)), vector(2, 4))


@claim(1, "exact")
def test_sound():
    check(lambda x: 2 * x)
    refuted(check, lambda x: x)


@claim(2, "exact")
def test_without_control():
    check(lambda x: 2 * x)


@claim(3, "exact")
def test_without_comparison():
    refuted(check, lambda x: 3 * x)
'''


def refuses_nothing(test):
    """Whether a test function has no call refuted(check, control, ...)."""
    return not any(isinstance(node, ast.Call) and ast.unparse(node.func) == "refuted"
                   and len(node.args) > 1 for node in ast.walk(test))


@claim(112, "exact")
def test_every_claim_has_a_negative_control_and_every_control_is_killed(tmp_path):
    """In the sources: every test here is a claim and calls refuted with a control. In a run of
    three small claims under our conftest.py: only the sound one passes. Refuted: sources with
    a claim that refutes nothing; the same run without conftest.py, where two more pass."""
    def check(tests):
        for test in tests:
            holds(not refuses_nothing(test), f"{test.name} refutes nothing")
            holds(any(ast.unparse(mark).startswith("claim(") for mark in test.decorator_list),
                  f"{test.name} is no claim")

    tests = [test for _, _, test in readme.functions()]
    check(tests)
    refuted(check, tests + ast.parse("@claim(1, 'exact')\ndef test(): refuted(check)").body,
            tests + ast.parse("def test(): refuted(check, control)").body)

    shutil.copy(HERE / "kit.py", tmp_path)
    for folder in ("with_conftest", "without"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{folder}.py").write_text(SAMPLES)
    shutil.copy(HERE / "conftest.py", tmp_path / "with_conftest")
    printed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True).stdout

    def check_run(folder):
        passed = [line.split("::")[1] for line in printed.splitlines()
                  if line.startswith("PASSED") and f"test_{folder}.py" in line]
        holds(passed == ["test_sound"], f"passed: {passed}\n{printed}")

    check_run("with_conftest")
    refuted(check_run, "without")


def raises(error, f, *arguments, **keywords):
    """Whether f(...) raises exactly this error; any other is passed on."""
    try:
        f(*arguments, **keywords)
    except error:
        return True
    return False


@claim(113, "exact")
def test_helpers_refuse_vacuous_comparisons():
    """Every kind of vacuous input to same, close, refuted and claim, beside others that are
    merely unequal, or announced. Refuted: helpers that compare as one usually does."""
    one, x = torch.ones(3, dtype=D), ints(3)

    def check(same=kit.same, close=kit.close, refuted=kit.refuted):
        holds(not raises(VacuousError, same, one, one, constant=True), "constant, announced")
        for vacuous in ((one, one), (x[:0], x[:0]), (x, x.float())):
            holds(raises(VacuousError, same, *vacuous))
        for compare in (same, lambda a, b: close(a, b, 1e-9)):
            for unequal in ((one, 2 * one), (x, x[:, None]), (x, x * torch.nan)):
                holds(raises(AssertionError, compare, *unequal))
        for bound in (x.abs().max(), -1e-9, torch.inf, torch.nan):
            holds(raises(VacuousError, close, x, x, bound), f"bound {bound}")
        holds(raises(VacuousError, refuted, lambda f: f()), "no control")
        holds(raises(pytest.fail.Exception, refuted, lambda f: None, 1), "a surviving control")
        holds(raises(VacuousError, refuted, lambda f: same(f, f), one), "a vacuous control")

    def careless_refuted(check, *broken):
        for implementation in broken:
            with pytest.raises(Exception):  # noqa: B017
                check(implementation)

    check()
    refuted(lambda helper: check(**helper),
            {"same": lambda a, b, constant=False: torch.testing.assert_close(a, b)},
            {"close": lambda a, b, t: torch.testing.assert_close(a, b, atol=float(t), rtol=0)},
            {"refuted": careless_refuted})
    holds(raises(ValueError, claim, 1, "obvious"))


def is_calibrated(tree, test):
    """Whether a test, or what it uses of its file, has a number like 1.001, 0.999 or 0.001."""
    used = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    parts = [node for node in tree.body
             if getattr(node, "name", None) in used or isinstance(node, ast.Assign)]
    return any(isinstance(node, ast.Constant) and isinstance(node.value, float)
               and 0.0004 < min(abs(node.value), abs(node.value - 1)) < 0.00101
               for part in [test, *parts] for node in ast.walk(part))


@claim(114, "exact")
def test_checkers_notice_an_error_of_one_in_a_thousand():
    """One entry of seven, each in turn, 0.1% more and less; in the sources, that float claims
    have such a control. Refuted: a tolerance of 1%, sums, a mean."""
    x = ints(7, low=1, seed=3)

    def check(compare):
        holds(not raises(AssertionError, compare, x, x.clone()))
        for i in range(7):
            for factor in (1.001, 0.999):
                wrong = x.clone()
                wrong[i] *= factor
                holds(raises(AssertionError, compare, wrong, x), f"entry {i}, {factor}")

    def fails_unless(condition):
        def compare(a, b):
            assert condition(a, b)
        return compare

    check(same)
    check(lambda a, b: kit.close(a, b, 1e-12))
    refuted(check,
            fails_unless(lambda a, b: torch.allclose(a, b, rtol=0.01)),
            fails_unless(lambda a, b: (a - b).sum().abs() < 0.002),
            fails_unless(lambda a, b: (a - b).abs().mean() < 0.001))

    def check_sources(tests):
        for tree, test in tests:
            holds(is_calibrated(tree, test), f"{test.name}: no control that is off by 0.1%")

    floats = {claim.name for claim in readme.claims() if claim.kind == "float"}
    tests = [(tree, test) for _, tree, test in readme.functions() if test.name in floats]
    check_sources(tests)
    coarse = ast.parse("def test(): refuted(check, lambda x: 1.01 * x, lambda x: 1.0 * x)")
    refuted(check_sources, [*tests, (coarse, coarse.body[0])])


@claim(115, "exact")
def test_readme_lists_exactly_these_claims_and_answers_every_item():
    """README.md is what readme.py writes, no number occurs twice, and each item of theory in
    the sheets is a tag of a file that the README's first table links. Refuted: a row missing
    or renamed, a number twice, an item that no file is tagged with."""
    text, found = (HERE / "README.md").read_text(encoding="utf-8"), readme.claims()

    def check(claims):
        holds(len({claim.number for claim in claims}) == len(claims), "a number twice")
        holds(readme.between_markers(text)[1] == readme.tables(claims),
              "run: python theory/readme.py")

    def check_items(items):
        files = {item: path.name for path in HERE.glob("test_*.py")
                 for _, item in sheets.tags(path)}
        for item in items:
            holds(f"]({files.get(item)})" in readme.between_markers(text)[0], item)

    check(found)
    refuted(check, found[:-1], [*found[:-1], found[-1]._replace(name="test_renamed")],
            [found[0]._replace(number=2), *found[1:]])
    asked = [item for item, words in sheets.ITEMS.items() if words.startswith("theory")]
    holds(len(asked) == 8)
    check_items([*asked, "S4.3a", "S4.3b", "S4.4", "S4.5a", "S4.5b"])
    refuted(check_items, ["S3.9"])
