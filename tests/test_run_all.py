"""assignments/run_all.py: every script, in order, whatever fails; killed, it goes on."""

import re

import pytest
import run_all

from minidl.files import alone

SCRIPT = """import sys, time
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
with (out.parent / "order.txt").open("a") as order:
    order.write(f"{out.name} {' '.join(sys.argv[1:-2])}\\n")
"""


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Three scripts that write down that they were started; `second` takes from `third`."""
    names = {"first": (), "second": ("third",), "third": ()}
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.setattr(run_all, "NEEDS", names)
    for name in names:
        (tmp_path / f"{name}.py").write_text(SCRIPT)
    return tmp_path


def order(out):
    return [line.split()[0] for line in (out / "order.txt").read_text().splitlines()]


def run(folder, *argv):
    """Its exit status."""
    try:
        return run_all.main(["--jobs", "1", "--out", str(folder / "out"), *argv])
    except SystemExit as stopped:
        return stopped.code


def test_every_script_is_run_and_takes_networks_only_from_what_ran_before():
    files = {path.stem for path in run_all.HERE.glob("*.py")} - {"_path", "run_all"}
    assert set(run_all.NEEDS) == files
    for name, needs in run_all.NEEDS.items():
        source = (run_all.HERE / f"{name}.py").read_text()
        calls = re.findall(r"^from (\w+) import .*\btrained\w*", source, re.M)
        calls += re.findall(r"= (?!run\b)(\w+)\.trained\w*\(", source)
        calls += re.findall(r'run\.(?:borrow|trained)\(\s*"(\w+)"', source)
        calls = {"hw1_classification" if call == "hw1" else call for call in calls} - {name}
        assert calls <= set(needs), f"{name} takes networks from {calls}, listed are {needs}"
        assert all(run_all.NEEDS.get(need) is not None for need in needs)


def test_where_every_script_fails_the_reasons_are_printed(scripts, capsys):
    (scripts / "first.py").write_text('raise SystemExit("first.py: no such file")')
    assert run(scripts, "--only", "first") == 1
    assert "FAILED first: first.py: no such file (" in capsys.readouterr().out


def test_scripts_run_in_the_order_of_what_they_need(scripts, capsys):
    assert run(scripts, "--quick", "--seed", "3") == 0
    assert order(scripts / "out") == ["first", "third", "second"]
    assert "first --device auto --seed 3 --quick" in (
        scripts / "out" / "order.txt").read_text()
    assert "3/3 done second" in capsys.readouterr().out


def test_a_failure_is_told_at_the_end_and_the_others_go_on(scripts, capsys):
    (scripts / "third.py").write_text("import sys; print('why'); sys.exit('third: no room')")
    assert run(scripts) == 1
    assert order(scripts / "out") == ["first", "second"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("FAILED third: third: no room (") and "log.txt" in last
    (scripts / "third.py").write_text(SCRIPT)
    assert run(scripts, "--resume") == 0
    assert order(scripts / "out") == ["first", "second", "third"]


def test_without_resume_all_begin_anew_and_another_size_is_refused(scripts, capsys):
    assert run(scripts) == run(scripts) == 0
    assert len(order(scripts / "out")) == 6
    assert run(scripts, "--quick", "--resume") == 2
    assert "run_all.json: found [" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["mine", "[]", '{"flags": []}', '{"seconds": {}}'])
def test_a_run_all_json_of_the_users_is_refused_and_stays(scripts, capsys, content):
    (scripts / "out").mkdir()
    (scripts / "out" / "run_all.json").write_text(content)
    assert run(scripts) == run(scripts, "--resume") == 2
    assert capsys.readouterr().err.count("run_all.json: found a file that no run wrote") == 2
    assert (scripts / "out" / "run_all.json").read_text() == content


def test_a_script_that_refuses_leaves_the_log_of_its_finished_run(scripts, capsys):
    (scripts / "first.py").write_text("print('Found in this full run')")
    assert run(scripts, "--full", "--only", "first") == 0
    (scripts / "first.py").write_text("import os; os._exit(1)")  # without a word
    assert run(scripts, "--quick", "--only", "first") == 1
    assert "FAILED first: no word (" in capsys.readouterr().out
    log = (scripts / "out" / "first" / "log.txt").read_text()
    assert log.index("Found in this full run") < log.index("--quick")


def test_a_script_that_a_killed_run_left_alone_is_known_until_it_ends(tmp_path):
    (tmp_path / "log.txt").touch()
    with alone(tmp_path / "log.txt"):
        assert run_all.goes_on(tmp_path)
    assert not run_all.goes_on(tmp_path)
