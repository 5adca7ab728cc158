"""Apps in Python modules as targets; memory queues; brokers that are unavailable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import CommandLine

APP = """
from tasuki import App

app = App({url!r})
tasks = app.queue("tasks", dead_letter="tasks.dead")

@tasks.consumer()
async def handle(body: dict) -> None:
    import logging
    logging.getLogger("code").info("handled %s", body)
"""


def test_an_app_in_code(tasuki: CommandLine, project: Path) -> None:
    (project / "code_app_module.py").write_text(APP.format(url="sqlite:///code.db"))
    sent = tasuki.json("publish", "tasks", '{"n": 1}', "-p", "code_app_module:app")
    assert sent["queue"] == "app:tasks"
    done = tasuki("run", "code_app_module:app", "--until-empty")
    assert done.returncode == 0
    assert "handled {'n': 1}" in done.stderr
    assert sys.path[-2:] != [str(project), str(project)]


def test_memory_queues_cannot_be_reached(tasuki: CommandLine) -> None:
    memory = ("-o", "app:driver:kind=queue.driver.memory")
    for command in (
        ["publish", "tasks", "1"],
        ["publish", "tasks", "--file", "-"],
        ["info", "tasks"],
        ["peek", "tasks"],
        ["purge", "tasks", "--yes"],
        ["redrive", "dead"],
        ["run", "--processes", "2"],
    ):
        done = tasuki(*command, *memory)
        assert done.returncode == 1, command
        assert "queue.driver.sqlite" in done.stderr
    assert tasuki.json("queues", *memory)[0]["ready"] is None
    assert tasuki.json("call", "handle", "1", *memory) is None
    assert tasuki("run", "--until-empty", *memory).returncode == 0


def test_a_broker_that_cannot_be_reached(tasuki: CommandLine) -> None:
    away = ("-o", "app:driver:kind=queue.driver.redis", "-o", "app:driver:url=redis://127.0.0.1:1")
    done = tasuki("publish", "tasks", "1", *away)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_a_path_where_no_file_can_be_is_no_broker_to_wait_for(tasuki: CommandLine, project: Path) -> None:
    (project / "file").write_text("")
    done = tasuki("publish", "tasks", "1", "-o", "app:driver:path=file/queue.db")
    assert done.returncode == 1
    assert "no file can be there; write the path of a file" in done.stderr


def test_a_driver_whose_client_is_missing(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tasuki.drivers.sqlite.driver", None)
    assert tasuki("info", "tasks").returncode == 1
    drivers = {driver["name"]: driver for driver in tasuki.json("drivers")}
    assert drivers["sqlite"]["capabilities"] is None
    shown = tasuki("drivers")
    assert "memory" in shown.stdout
    assert "sqlite: driver 'sqlite' cannot be loaded" in shown.stderr
    memory = ("-o", "app:driver:kind=queue.driver.memory")
    assert "use a durable driver" in tasuki("info", "tasks", *memory).stderr


def test_a_target_that_is_nearly_right(tasuki: CommandLine, project: Path) -> None:
    (project / "near_module.py").write_text(APP.format(url="memory://"))
    (project / "bare_module.py").write_text("")
    (project / "needy_module.py").write_text("import no_such_package_at_all\n")
    (project / "in_need_module.py").write_text("import near_module.sub\n")
    (project / "wrong_module.py").write_text("\nint('four')\n")
    for target, said in (
        ("wrong_module:app", "ValueError: invalid literal for int() with base 10: 'four' (wrong_module.py:2)"),
        ("near_module:ap", "module 'near_module' has no attribute 'ap'; did you mean near_module:app?"),
        ("bare_module:app", "module 'bare_module' has no attribute 'app'; write app = App() there"),
        ("no_module:app", "No module named 'no_module'; a target is a folder, or package.module:app"),
        ("needy_module:app", "ModuleNotFoundError: No module named 'no_such_package_at_all' (needy_module.py:1)"),
        ("in_need_module:app", "ModuleNotFoundError: No module named 'near_module.sub'"),
    ):
        done = tasuki("check", target)
        assert done.returncode == 3
        assert said in done.stderr.replace(f"{project}/", ""), done.stderr
