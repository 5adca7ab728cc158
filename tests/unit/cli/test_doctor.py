"""``tasuki doctor``: what it finds, and its exit codes."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest

from tasuki.cli.commands.project import doctor
from tasuki.cli.commands.project.doctor import Finding, clock, extras, file, installation, skew
from tasuki.contracts.driver import Driver
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError
from tests.unit.cli.conftest import CommandLine


def test_a_good_project(tasuki: CommandLine, project: Path) -> None:
    path = project / ".tasuki" / "queue.db"
    fresh = {each["what"]: each["status"] for each in tasuki.json("doctor")}
    assert fresh["project"] == fresh["app:driver"] == "ok"
    assert f"app:driver: file {path}: the first worker or publish makes it" in tasuki("doctor").stdout
    assert not path.exists()
    tasuki("publish", "tasks", "1")
    lines = tasuki("doctor").stdout.splitlines()
    assert f"ok       project: . in {project}" in lines
    assert "ok       app:driver: queue.driver.sqlite answers" in lines
    assert "ok       app:driver: durability power" in lines
    (owner,) = [line for line in lines if f"file {path}: " in line]
    assert "-rw-------, owner " in owner
    assert {frozenset(each) for each in tasuki.json("doctor")} == {frozenset({"what", "detail", "status", "hint"})}


def test_settings_that_could_be_better_are_warned_of(tasuki: CommandLine, project: Path) -> None:
    weak = ("-o", "app:driver:synchronous=normal")
    found = [each for each in tasuki.json("doctor", *weak) if each["detail"].startswith("durability")]
    assert [(each["status"], each["detail"]) for each in found] == [
        ("warning", "durability broker; it could give power")
    ]
    assert found[0]["hint"].startswith("change the settings, or write 'durability: broker' at the driver")
    accepted = tasuki.json("doctor", *weak, "-o", "app:driver:durability=broker")
    assert [each["status"] for each in accepted if each["detail"].startswith("durability")] == ["ok"]


@pytest.mark.parametrize(
    ("overrides", "code", "said"),
    [
        (["app:tasks:driver=nothing"], 3, "failed   project: "),
        (["app:driver:path=handlers.py/queue.db"], 1, "failed   app:driver: "),
        (
            ["app:driver:kind=queue.driver.redis", "app:driver:url=redis://127.0.0.1:1"],
            4,
            "start the broker, or change",
        ),
    ],
)
def test_failures(tasuki: CommandLine, overrides: list[str], code: int, said: str) -> None:
    done = tasuki("doctor", *(f"--override={override}" for override in overrides))
    assert done.returncode == code, done.stdout
    assert said in done.stdout
    assert "tasuki: " in done.stdout


def test_no_project(tasuki: CommandLine, project: Path) -> None:
    (project / "empty").mkdir()
    tasuki.folder = project / "empty"
    done = tasuki("doctor", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)[-1]["what"] == "project"


def test_versions_and_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = [
        "click>=8.2",
        "hiredis>=3.0; extra == 'redis'",
        'no-such-package>=1; extra == "sqs"',
        "textual>=8; extra == 'top'",
        "tasuki-desk==0.1.0; extra == 'top'",
        "tasuki[redis,sqs]; extra == 'all'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    assert extras() == {"redis": "hiredis", "sqs": "no-such-package", "top": "textual"}
    found = {each.what: each.detail for each in installation()}
    assert set(found) == {"tasuki", "python", "sqlite", "extras"}
    assert found["extras"].startswith("installed: redis (hiredis ")
    assert "sqs" not in found["extras"]
    (hint,) = [each.hint for each in installation() if each.what == "extras"]
    assert hint == "the others, if the project needs them: pip install 'tasuki[sqs]'"

    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert extras() == {}


@pytest.mark.parametrize(
    ("ahead", "status", "detail"),
    [
        (0.9, "ok", "clock: within 1s of this machine"),
        (-61.0, "warning", "clock: 1m1s behind this machine"),
        (2.5, "warning", "clock: 2.5s ahead of this machine"),
    ],
)
def test_the_clock_of_a_broker(ahead: float, status: str, detail: str) -> None:
    found = clock("app:driver", ahead)
    assert (found.status, found.detail) == (status, detail)


@pytest.mark.anyio
async def test_a_broker_shows_its_clock_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = MemoryDriver("app:driver")
    assert (await skew("app:driver", driver)).detail == "clock: the broker shows none"

    async def fail(self: Driver) -> float:
        raise BrokerUnavailableError("gone")

    monkeypatch.setattr(MemoryDriver, "time", fail)
    assert (await skew("app:driver", driver)) == Finding("app:driver", "gone", "failed", "", 4)
    monkeypatch.setattr(MemoryDriver, "time", lambda self: _now())
    assert (await skew("app:driver", driver)).status == "warning"


async def _now() -> float:
    return 1.0


@pytest.mark.parametrize("closed", ["queue.db", "queue.db-wal", "queue.db.holders", "."])
def test_a_file_that_this_user_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    for name in ("queue.db", "queue.db-wal"):
        (tmp_path / name).touch()
    (tmp_path / "queue.db.holders").mkdir()
    place = tmp_path / closed
    assert file("app:driver", tmp_path / "queue.db").status == "ok"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place)
    monkeypatch.setattr(doctor, "_user", lambda number: "ada")
    for name in ("queue.db", "new/queue.db") if closed == "." else ("queue.db",):
        found = file("app:driver", tmp_path / name)
        assert (found.status, found.code) == ("failed", 1)
        assert found.detail.endswith(f"user ada may not write {place}")
        assert found.hint == "run it as its owner, or let ada write there"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("folder", "it is a folder; write the path of a file"),
        ("text", "it is no SQLite database; give the driver another path"),
        ("short", "it is no SQLite database"),
        ("text/queue.db", "text is a file, not a folder"),
        ("pipe", "it is no regular file"),
        ("other", "belongs to another program"),
    ],
)
def test_a_place_that_can_be_no_file_of_queues(tasuki: CommandLine, project: Path, path: str, said: str) -> None:
    (project / "folder").mkdir()
    (project / "text").write_text("SQLite is a library" * 10)
    (project / "short").write_text("SQL")
    os.mkfifo(project / "pipe")
    with closing(sqlite3.connect(project / "other")) as other:
        other.execute("CREATE TABLE things (id)")
    before = set(project.iterdir())
    done = tasuki("doctor", "-o", f"app:driver:path={path}")
    assert done.returncode == 1
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert failed.startswith("failed   app:driver: ")
    assert said in " ".join(done.stdout.split())
    assert "answers" not in done.stdout
    if path != "other":  # which only the driver can tell from its own
        assert set(project.iterdir()) == before


def test_an_empty_file_stays_empty(tasuki: CommandLine, project: Path) -> None:
    (project / "empty.db").touch()
    done = tasuki("doctor", "-o", "app:driver:path=empty.db")
    assert (done.returncode, (project / "empty.db").stat().st_size) == (0, 0)


def test_a_broken_driver_hides_no_other_one(tasuki: CommandLine, project: Path) -> None:
    (project / "folder").mkdir()
    index = project / "_index.yaml"
    index.write_text(
        index.read_text()
        + "  - {name: second, kind: queue.driver.memory}\n  - {name: more, kind: queue.queue, driver: second}\n"
    )
    done = tasuki("doctor", "-o", "app:driver:path=folder")
    assert "app:second: queue.driver.memory answers" in done.stdout
