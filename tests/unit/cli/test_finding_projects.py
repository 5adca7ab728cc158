"""Every command finds its project; where the queues of an App are; reading makes no file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.projects import write
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine

JOBS = """
import os
from tasuki import App

app = App()
numbers = app.queue("numbers", int, dead_letter="numbers.dead")

@numbers.consumer
def note(number: int) -> None:
    with open(os.path.join(os.path.dirname(__file__), "notes"), "a") as file:
        file.write(f"{number} ")
"""
READING = (["queues"], ["info", "numbers"], ["peek", "numbers"], ["redrive", "numbers.dead"], ["doctor"], ["check"])


@pytest.fixture
def shop(tmp_path: Path, tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an App in its own module name; the command line is in it."""
    monkeypatch.delenv("TASUKI_PROJECT", raising=False)
    name = f"jobs_{tmp_path.name.replace('-', '_')}"
    tasuki.folder = write(tmp_path / "shop", {f"{name}.py": JOBS})
    return tasuki.folder / f"{name}.py"


def test_the_only_app_of_the_folder(tasuki: CommandLine, shop: Path) -> None:
    assert tasuki.json("publish", "numbers", "1")["queue"] == "app:numbers"
    assert tasuki.json("queues")[0]["ready"] == 1
    for target in ([], [shop.name], ["."], [f"{shop.stem}:app"]):
        assert tasuki("run", *target, "--until-empty").returncode == 0, target
        tasuki.json("publish", "numbers", "1")
    assert (shop.parent / "notes").read_text() == "1 1 1 1 "


def test_the_environment_and_pyproject_name_a_project(
    tasuki: CommandLine, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasuki.folder = write(shop.parent / "deeper" / "still", {"x.txt": ""})
    missing = tasuki("queues")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "there is no project here; looked for\n  -p TARGET" in missing.stderr
    monkeypatch.setenv("TASUKI_PROJECT", str(shop))
    assert [row["queue"] for row in tasuki.json("queues")] == ["app:numbers", "app:numbers.dead"]
    monkeypatch.setenv("TASUKI_PROJECT", "")
    (shop.parent / "pyproject.toml").write_text(f'[tool.tasuki]\napp = "{shop.stem}:app"\n')
    assert [row["queue"] for row in tasuki.json("queues")] == ["app:numbers", "app:numbers.dead"]
    (shop.parent / "pyproject.toml").write_text('[tool.tasuki]\napp = "nowhere_at_all:app"\n')
    done = tasuki("queues")
    assert done.returncode == 3
    assert f"(of {shop.parent}/pyproject.toml)" in done.stderr


def test_the_queues_are_beside_the_app_wherever_a_command_starts(tasuki: CommandLine, shop: Path) -> None:
    tasuki.folder = shop.parent.parent
    for target in (f"shop/{shop.name}", "shop"):
        tasuki.json("publish", "numbers", "1", "-p", target)
    assert (shop.parent / ".tasuki" / "queue.db").exists()
    assert not (tasuki.folder / ".tasuki").exists()
    tasuki.folder = shop.parent
    assert tasuki.json("info", "numbers")["ready"] == 2
    ran = tasuki("run", "--until-empty")
    assert f"(queue.driver.sqlite) in {shop.parent}/.tasuki/queue.db" in ran.stderr


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_makes_no_file(tasuki: CommandLine, shop: Path, arguments: list[str]) -> None:
    done = tasuki(*arguments)
    assert not (shop.parent / ".tasuki").exists()
    assert "Traceback" not in done.stderr
    if arguments[-1].startswith("numbers"):
        assert "does not exist at its broker: a worker makes it" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_reading_a_yaml_project_makes_no_file(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(body): ...\n")
    for command in (["queues"], ["info", "tasks"], ["peek", "tasks"], ["purge", "tasks", "-y"]):
        tasuki(*command)
    assert not (project / ".tasuki").exists()


def test_an_empty_folder_is_an_error_for_check_too(tasuki: CommandLine, project: Path) -> None:
    (project / "empty").mkdir()
    done = tasuki("check", "empty", "--json")
    (problem,) = json.loads(done.stdout)
    assert done.returncode == 3
    assert problem["message"].startswith("there is no project here; looked for\n")
    assert tasuki("info", "tasks", "-p", "empty").returncode == 3


def test_a_file_with_the_name_of_another_module(tasuki: CommandLine, shop: Path) -> None:
    shop.rename(shop.parent / "email.py")
    for target in ("email.py", "email.py:app", "."):
        done = tasuki("run", target, "--until-empty")
        assert done.returncode == 3
        assert "email.py: another module has the name 'email' (" in done.stderr
        assert "; rename the file" in done.stderr


def test_several_apps_are_an_error(tasuki: CommandLine, shop: Path) -> None:
    (shop.parent / "more.py").write_text("from tasuki import App\napp = App()\n")
    done = tasuki("run")
    assert done.returncode == 3
    assert f"holds several projects: {shop.stem}:app, more:app" in done.stderr
