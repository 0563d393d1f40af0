"""Counts what each claim compared and refuted, and prints the table of claims at the end."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # minidl, in a bare checkout
sys.path.insert(0, str(Path(__file__).resolve().parent))

import kit


def pytest_configure(config):
    config.addinivalue_line("markers", "claim(number, kind): the proof of a claim; see kit.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    mark = item.get_closest_marker("claim")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same order of summation on every machine
    kit.tally.update(comparisons=0, refuted=0)
    try:
        result = yield
    finally:
        torch.set_num_threads(threads)
    if mark:
        number, kind = mark.args
        if not kit.tally["comparisons"] or not kit.tally["refuted"]:
            pytest.fail(f"claim {number} made {kit.tally['comparisons']} comparisons and "
                        f"refuted {kit.tally['refuted']} controls; expected one at least")
        # on the report, which reaches the summary also from another process
        item.user_properties.append(("claim", (number, item.name, kind, *kit.tally.values())))
    return result


def pytest_terminal_summary(terminalreporter):
    rows = sorted(tuple(value) for report in terminalreporter.getreports("passed")
                  for key, value in report.user_properties
                  if key == "claim" and report.when == "call")
    if not rows:
        return
    write = terminalreporter.write_line
    write(f"\n{'claim':>5}  {'kind':<12} {'compared':>8} {'refuted':>7}  statement")
    for number, name, kind, comparisons, refuted in rows:
        words = name.removeprefix("test_").replace("_", " ")
        write(f"{number:>5}  {kind:<12} {comparisons:>8} {refuted:>7}  {words}")
    totals = [sum(row[i] for row in rows) for i in (3, 4)]
    write(f"{len(rows)} claims proven, {totals[0]:,} comparisons, "
          f"{totals[1]:,} controls refuted")
