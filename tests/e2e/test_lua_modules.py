"""Every function of every Lua module, by tests written in Lua: the project in lua_modules, run by the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import TIMEOUT, environ, run, run_json

pytestmark = pytest.mark.e2e

PROJECT = Path(__file__).parent / "lua_modules"
VERDICTS = ("ack", "nack", "reject", "snooze")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(PROJECT, tmp_path_factory.mktemp("lua") / "modules"))


@pytest.fixture(scope="module")
def notes(project: Path) -> Path:
    return project.with_name("notes.json")


def noting(notes: Path, *arguments: str, project: Path) -> str:
    """Run a command that notes which Lua functions are called; its stdout."""
    command = [sys.executable, "-m", "tests.e2e.lua_recorder", str(notes), *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, timeout=TIMEOUT * 4, check=False, env=environ())
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def results(project: Path, notes: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(noting(notes, "test", "--json", "-p", str(project), project=project))
    return found


@pytest.fixture(scope="module")
def verdicts(project: Path, notes: Path) -> None:
    """The consumer of the project has handled messages of each verdict."""
    for verdict in VERDICTS:
        headers = ["trace=t-1", "n=2", "yes=true", "actor=root", "x-actor=root", "security.scope=all"]
        options = [part for header in headers for part in ("--header", header)]
        body = json.dumps({"verdict": verdict})
        noting(notes, "publish", "-p", str(project), "app:deliveries", body, *options, project=project)
    noting(notes, "run", str(project), "--until-empty", project=project)


def test_every_test_passes(results: list[dict[str, Any]]) -> None:
    assert {result["id"]: result["error"] for result in results if result["status"] != "passed"} == {}
    files = {path.name for path in PROJECT.glob("*_test.lua")} - {"message_test.lua"}
    assert len(results) == len(files)


@pytest.mark.usefixtures("verdicts")
def test_a_message_is_asked_and_settled(project: Path) -> None:
    bodies = [message["body"] for message in run_json("peek", "app:done", folder=project)]
    assert sorted(body["verdict"] for body in bodies) == ["ack", "again", "later", "nack", "reject", "snooze"]
    assert {body["tests"] for body in bodies} == {4}
    dead = run_json("peek", "app:failed", folder=project)
    assert [message["headers"]["x_last_error"] for message in dead if "x_last_error" in message["headers"]] == [
        "not wanted"
    ]


@pytest.mark.usefixtures("results", "verdicts")
def test_every_function_is_called_by_a_test(notes: Path) -> None:
    found = json.loads(notes.read_text())
    assert set(found["known"]) - set(found["called"]) == set()
    for name in ("json.encode", "funcs.Future:cancel", "queue.Message:reject", "time.Time:round", "tostring"):
        assert name in found["known"]
    assert len(found["known"]) > 250


@pytest.mark.parametrize("how", ["isolation: process", "pool: {workers: 2}"])
def test_every_test_passes_wherever_the_script_runs(how: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PROJECT, tmp_path / "modules"))
    entries = (folder / "_index.yaml").read_text()
    (folder / "_index.yaml").write_text(entries.replace("kind: function.lua,", f"kind: function.lua, {how},"))
    done = run("test", "--json", folder=folder, timeout=TIMEOUT * 6)
    results = json.loads(done.stdout)
    assert {result["id"]: result["error"] for result in results if result["status"] != "passed"} == {}
    assert len(results) > 20


def test_every_module_is_there() -> None:
    """What the recorder saw is what scripts can list, so nothing can be missing from its list."""
    from tasuki.handlers.lua.modules import MODULES

    listed = (PROJECT / "_index.yaml").read_text()
    assert [name for name in MODULES if f"modules: [{name}" not in listed and f", {name}" not in listed] == []
