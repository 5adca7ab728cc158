"""The output for projects that are good, broken or missing; and the project that ``init`` makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.cli.conftest import CommandLine

BROKEN = """
version: "1.0"
namespace: app
entries:
  - name: other
    kind: queue.consumer
    queue: taks
    func: handle
    concurrency: 2000
"""

ISOLATED = """
version: "1.0"
namespace: app
entries:
  - name: strange
    kind: function.lua
    source: return print
    isolation: process
    limits: {memory: 32MiB, time: 300ms}
  - name: wide
    kind: function.lua
    source: return print
    pool: {workers: 2}
  - name: faulty
    kind: function.python
    target: os.path:basename
    isolation: process
    limits: {memory: 1MiB, time: 5s}
    pool: {workers: 2}
"""

LONG = """
  - name: slow
    kind: function.lua
    source: return print
    limits: {time: 11s}
"""


def test_a_good_project(tasuki: CommandLine) -> None:
    summary = "ok: 5 entries, 2 queues, 1 consumer\n"
    assert tasuki("check").stdout == summary + "  app:handle: isolation shared\n"
    assert tasuki.json("check") == []
    assert tasuki("check", "_index.yaml").returncode == 0


def test_the_project_is_named_with_p_on_every_command(tasuki: CommandLine) -> None:
    assert tasuki("check", "-p", "_index.yaml").stdout == tasuki("check").stdout
    twice = tasuki("check", ".", "-p", "_index.yaml")
    assert (twice.returncode, "given twice" in twice.stderr) == (2, True)


def test_a_project_without_entries(tasuki: CommandLine, project: Path) -> None:
    (project / "empty").mkdir()
    (project / "empty" / "_index.yaml").write_text("version: '1.0'\nnamespace: app\nentries: []\n")
    checked = tasuki("check", "empty")
    assert (checked.returncode, checked.stdout) == (0, "ok: 0 entries, 0 queues, 0 consumers\n")
    assert "warning: nothing will be handled: there are no entries" in checked.stderr
    assert "the project has no queues: name another one with -p" in tasuki("info", "tasks", "-p", "empty").stderr


def test_how_functions_are_isolated(tasuki: CommandLine, project: Path) -> None:
    (project / "isolated.yaml").write_text(ISOLATED)
    assert tasuki("check").stdout.splitlines()[1:] == [
        "  app:faulty: isolation process, 2 processes, 1MiB, 5s",
        "  app:handle: isolation shared",
        "  app:strange: isolation process, up to 8 processes, 32MiB, 300ms",
        "  app:wide: isolation shared, 2 threads, 64MiB, 1s",
    ]
    found = {each["id"]: each for each in tasuki.json("check", "--functions")}
    assert found["app:strange"] == {
        "id": "app:strange",
        "kind": "function.lua",
        "isolation": "process",
        "workers": None,
        "memory": 32 * 2**20,
        "time": 0.3,
    }
    assert found["app:handle"]["isolation"] == "shared"


def test_a_script_that_may_hold_the_loop_for_long_is_warned_of(tasuki: CommandLine, project: Path) -> None:
    (project / "isolated.yaml").write_text(ISOLATED + LONG)
    assert tasuki("check").stderr.splitlines() == [
        "warning: isolated.yaml:24:14: app:slow: limits.time (11s) is more than a third of the lease of app:dead (30s):"
        " a script that computes for so long delays the renewal;"
        " lower it, or give the function a pool or isolation: process"
    ]
    (warning,) = tasuki.json("check")
    assert (warning.pop("message"), warning.pop("hint")) == (
        "limits.time (11s) is more than a third of the lease of app:dead (30s): a script that computes for so long"
        " delays the renewal",
        "lower it, or give the function a pool or isolation: process",
    )
    assert warning == {"file": "isolated.yaml", "line": 24, "column": 14, "entry": "app:slow", "severity": "warning"}
    assert "limits.time (11s) is more than a third" in tasuki("run", "--until-empty").stderr


def test_all_problems_at_once(tasuki: CommandLine, project: Path) -> None:
    (project / "broken.yaml").write_text(BROKEN)
    done = tasuki("check")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "broken.yaml:7:" in done.stderr
    assert "did you mean 'app:tasks'?" in done.stderr
    assert "2 problems" in done.stderr
    checked = tasuki("check", "--json")
    assert (checked.returncode, checked.stderr) == (3, "")
    problems = json.loads(checked.stdout)
    assert {tuple(problem) for problem in problems} == {("file", "line", "column", "entry", "message", "hint")}
    assert [(problem["file"], problem["line"], problem["entry"]) for problem in problems] == [
        ("broken.yaml", 7, "app:other"),
        ("broken.yaml", 9, "app:other"),
    ]
    for command in (["run"], ["publish", "tasks", "1"], ["test"], ["queues"], ["graph"]):
        assert tasuki(*command).returncode == 3
    assert not (project / ".tasuki").exists()


def test_targets_that_are_not_there(tasuki: CommandLine) -> None:
    assert tasuki("check", "nowhere").returncode == 3
    gone = tasuki("check", "nowhere_at_all:app")
    assert gone.returncode == 3
    assert "nowhere_at_all" in gone.stderr
    [problem] = json.loads(tasuki("check", "nowhere_at_all:app", "--json").stdout)
    assert problem["file"] is None
    assert "nowhere_at_all" in problem["message"]


def test_modules_that_do_not_import(tasuki: CommandLine, project: Path) -> None:
    (project / "exploding_module.py").write_text("\nraise RuntimeError('not today')\n")
    done = tasuki("check", "exploding_module:app")
    assert done.returncode == 3
    assert "RuntimeError: not today" in done.stderr
    assert "exploding_module.py:2" in done.stderr
    assert "Traceback" not in done.stderr
    assert "not today" in tasuki("check", "--import=exploding_module").stderr
    assert tasuki("check", "--import=json").returncode == 0
    (project / "leaving_module.py").write_text("raise SystemExit(0)\n")
    assert tasuki("check", "leaving_module:app").returncode == 3


def test_a_code_app_with_a_bad_url(tasuki: CommandLine, project: Path) -> None:
    (project / "bad_url_module.py").write_text("from tasuki import App\napp = App('nonsense')\napp.queue('q')\n")
    done = tasuki("check", "bad_url_module:app")
    assert done.returncode == 3
    assert "is not a URL" in done.stderr


def test_a_new_project(tasuki: CommandLine, project: Path) -> None:
    assert tasuki("init", "shop", "--lua").returncode == 0
    tasuki.folder = project / "shop"
    assert tasuki("check").returncode == 0
    assert len((project / "shop" / "README.md").read_text().splitlines()) <= 10
    assert {result["status"] for result in tasuki.json("test")} == {"passed"}
    assert tasuki("publish", "tasks", '{"name": "Ada"}').returncode == 0
    ran = tasuki("run", "--until-empty")
    assert ran.returncode == 0
    assert "Hello, Ada!" in ran.stderr


def test_init_touches_nothing_that_is_there(tasuki: CommandLine, project: Path) -> None:
    done = tasuki("init", ".")
    assert done.returncode == 1
    assert "not empty" in done.stderr
    (project / "empty").mkdir()
    assert tasuki("init", "empty").returncode == 0
    assert tasuki("init", "handlers.py").returncode == 2
    failed = tasuki("init", "handlers.py/inside")
    assert failed.returncode == 1
    assert "cannot write" in failed.stderr


@pytest.mark.parametrize("name", ["shared", "app:shared"])
def test_names_that_two_namespaces_share(tasuki: CommandLine, project: Path, name: str) -> None:
    for namespace in ("app", "other"):
        (project / f"{namespace}.yaml").write_text(
            f"version: '1.0'\nnamespace: {namespace}\nentries: [{{name: shared, kind: queue.queue, driver: app:driver, "
            f"queue_name: shared_{namespace}}}]\n"
        )
    done = tasuki("publish", name, "1")
    if name == "shared":
        assert done.returncode == 1
        assert "app:shared, other:shared" in done.stderr
    else:
        assert done.returncode == 0


def test_check_reports_all_wrong_functions_of_an_app_at_their_lines(tasuki: CommandLine) -> None:
    target = "tests.unit.kinds.wrong:app"
    done = tasuki("check", target)
    assert done.returncode == 3
    *lines, last = done.stderr.splitlines()
    assert last == f"error: {len(lines)} problems"
    assert len(lines) > 35
    assert all(re.match(r".*/tests/unit/kinds/wrong\.py:\d+: app:\S+: .+; .+", line) for line in lines), lines
    found = json.loads(tasuki("check", target, "--json").stdout)
    assert len(found) == len(lines)
    assert all(each["line"] and each["hint"] for each in found)
