"""Counts what each claim compared and refuted, and prints the table of claims at the end."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # minidl, in a bare checkout
sys.path.insert(0, str(Path(__file__).resolve().parent))

import kit


def pytest_configure(config):
    config.addinivalue_line("markers", "claim(number, kind, item): its check; see kit.py")


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
        number, kind, sheet_item = mark.args
        if not kit.tally["comparisons"] or not kit.tally["refuted"]:
            pytest.fail(f"claim {number} made {kit.tally['comparisons']} comparisons and "
                        f"refuted {kit.tally['refuted']} controls; expected one at least")
        # on the report, which reaches the summary also from another process
        words = item.name.removeprefix("test_").replace("_", " ")
        item.user_properties.append((
            "claim", (number, sheet_item, kind, *kit.tally.values(), words)))
    return result


def pytest_terminal_summary(terminalreporter):
    rows = sorted(tuple(value) for report in terminalreporter.getreports("passed")
                  for key, value in report.user_properties
                  if key == "claim" and report.when == "call")
    if not rows:
        return
    write = terminalreporter.write_line
    write(f"\n{'claim':>5}  {'answers':<11} {'kind':<11} {'compared':>8} {'refuted':>7}")
    for number, item, kind, comparisons, refuted, words in rows:
        write(f"{number:>5}  {item:<11} {kind:<11} {comparisons:>8} {refuted:>7}  {words}")
    proven = sum(row[2] in kit.PROVEN for row in rows)
    comparisons, refuted = (sum(row[i] for row in rows) for i in (3, 4))
    write(f"{len(rows)} claims hold: {proven} are proven for the sizes listed, for "
          f"{len(rows) - proven} this run is evidence; {comparisons:,} comparisons, "
          f"{refuted:,} controls refuted")
