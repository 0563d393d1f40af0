"""assignments/asst8_project_ideas.md: what its experiments need is there."""

import importlib
import json
import re
from pathlib import Path

import pytest

from minidl.lab import flags

ROOT = Path(__file__).resolve().parents[1]
IDEAS = (ROOT / "assignments/asst8_project_ideas.md").read_text("utf-8").split("\n## ")[1:]


@pytest.mark.parametrize("idea", IDEAS, ids=[idea.splitlines()[0] for idea in IDEAS])
def test_an_experiments_command_runs_and_the_numbers_to_compare_with_are_kept(idea):
    script, flag = re.search(r"python assignments/(\w+)\.py --(\w+) \d+", idea).groups()
    assert flag in flags.settings(importlib.import_module(script).main, {}, "default")
    (file,) = re.findall(r"`(results/\w+\.json)`", idea)
    numbers = json.loads((ROOT / file).read_text("utf-8"))["numbers"]
    names = re.findall(r"`((?:test|val|paired|gradient_per)_\w+)`", idea)
    assert names and all(name in numbers for name in names), names
