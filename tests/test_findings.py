"""minidl/lab/findings.py: scores under their names, claims with three answers."""

import ast
import json
from pathlib import Path

import pytest
import torch

from minidl.lab import averaged, paired
from minidl.lab.findings import in_words
from minidl.lab.run import Run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(tmp_path):
    return Run("walk", "quick", {}, out=tmp_path)


def test_a_paired_difference_is_undecided_within_two_standard_errors():
    # differences 1, 3: mean 2, deviation sqrt 2, standard error 1, so exactly two of them
    found = paired([2.0, 4.0], [1.0, 1.0])
    assert found == (2.0, pytest.approx(1.0, abs=4 * 2**-53), 2)
    assert paired([2.0, 4.0, 3.0], [1.0, 1.0, 1.0]).positive is True
    assert paired([1.0, 1.0, 1.0], [2.0, 4.0, 3.0]).positive is False
    assert paired([0.0, 4.0, 0.0], [1.0, 1.0, 1.0]).positive is None
    assert paired([2.0], [1.0]).positive is None  # one seed decides nothing
    assert paired([float("nan")] * 3, [1.0] * 3).positive is None


def test_a_claim_about_what_is_not_defined_is_undecided_and_the_rest_is_kept(run):
    run.claim("It matters.", True, share=float("nan"), n=3)
    run.finish()  # no traceback: JSON has no nan
    assert run.results.claims == [{"claim": "It matters.", "holds": None,
                                   "numbers": {"n": 3.0}}]


def test_scores_are_recorded_by_metric_and_method_with_a_deviation_over_seeds_alone(run):
    run.scores("fraction", accuracy={"a b": [0.5, 1.0], "c": torch.tensor([0, 1.0, 1, 1])},
               other=3)
    assert run.results.numbers == {
        "accuracy_a_b": {"value": 0.75, "unit": "fraction", "std": 0.125**0.5, "n": 2},
        "accuracy_c": {"value": 0.75, "unit": "fraction", "n": 4},
        "other": {"value": 3, "unit": "fraction"}}
    run.scores("fraction", own="max", best={"max": 0.5, "mean": 1.0})
    assert [run.results.numbers[name]["value"] for name in ("best", "best_mean")] == [0.5, 1]
    run.scores("fraction", one_seed=[0.5])
    assert run.results.numbers["one_seed"] == {"value": 0.5, "unit": "fraction", "n": 1}


@pytest.mark.parametrize("holds, kept, words", [
    (True, True, "It falls."), (torch.tensor(False), False, "NOT in this run: It falls."),
    (None, None, "Undecided in this run: It falls."),
    (paired([2.0, 3.0, 4.0], [1.0, 1.0, 1.0]), True, "It falls.")])
def test_a_claim_is_kept_with_its_answer_and_its_numbers(run, holds, kept, words):
    run.claim("It falls.", holds, last_loss=0.25)
    run.finish()
    (claim,) = json.loads((run.out / "results.json").read_text())["claims"]
    assert claim["holds"] is kept and claim["numbers"]["last loss"] == 0.25
    assert in_words(claim).startswith(words) and "last loss 0.25" in in_words(claim)


def test_histories_are_averaged_epoch_by_epoch():
    assert averaged([{"loss": [1.0, 3.0]}, {"loss": [2.0, 5.0]}]) == {"loss": [1.5, 4.0]}


def test_no_claim_of_a_script_is_a_constant_and_no_script_makes_more_than_five():
    for path in ROOT.glob("assignments/*.py"):
        claims = [node for node in ast.walk(ast.parse(path.read_text("utf-8")))
                  if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.claim"]
        assert len(claims) <= 5, path
        for claim in claims:
            assert not isinstance(claim.args[1], ast.Constant), ast.unparse(claim)
