"""Drivers that Python code states with their options, as ``App(Redis("redis://…", durability="broker"))``."""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tasuki.drivers
from tasuki import App
from tasuki.drivers import NATS, SQS, DriverEntry, Memory, PostgreSQL, RabbitMQ, Redis, SQLite
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import ProjectError
from tasuki.kinds.kind import built_in_drivers

CLASSES: list[type[Any]] = [Memory, SQLite, RabbitMQ, Redis, SQS, PostgreSQL, NATS]


def entry_of(driver: DriverEntry) -> tuple[str, Any]:
    """Kind and fields of the entry that an app's driver becomes."""
    registry = App(driver)._runtime.load_entries().registry
    return registry.entries["app:driver"].kind, registry.entries["app:driver"].data


@pytest.mark.parametrize(
    ("driver", "kind", "fields"),
    [
        (Memory(), "memory", {}),
        (SQLite(), "sqlite", {}),
        (SQLite(Path("a.db"), synchronous="normal"), "sqlite", {"path": "a.db", "synchronous": "normal"}),
        (RabbitMQ("amqp://h", heartbeat="5s"), "amqp", {"url": "amqp://h", "heartbeat": "5s"}),
        (Redis("redis://h", durability="broker"), "redis", {"url": "redis://h", "durability": "broker"}),
        (Redis(addrs=["h:1", "h:2"]), "redis", {"addrs": ["h:1", "h:2"]}),
        (SQS(endpoint="http://h"), "sqs", {"endpoint": "http://h"}),
        (PostgreSQL("postgresql://h/d", pool_size=3), "postgres", {"url": "postgresql://h/d", "pool_size": 3}),
        (NATS(["nats://h"], replicas=3), "nats", {"servers": ["nats://h"], "replicas": 3}),
        (NATS(servers="nats://h"), "nats", {"servers": "nats://h"}),
    ],
)
def test_it_is_an_entry_of_its_kind(driver: DriverEntry, kind: str, fields: dict[str, Any]) -> None:
    assert entry_of(driver) == (f"queue.driver.{kind}", fields)


def test_each_kind_has_a_class_and_each_option_is_checked_by_the_typed_dict_of_its_settings() -> None:
    made = {cls().kind: inspect.signature(cls).parameters["options"].annotation for cls in CLASSES}
    assert made.keys() == {kind.name for kind in built_in_drivers()}
    for kind in built_in_drivers():
        settings = kind.model.__name__.removesuffix("Settings")
        fields = "DriverFields" if kind.short_name == "memory" else f"{settings}DriverFields"
        assert made[kind.name] == f"Unpack[typed.{fields}]"
    assert {cls.__name__ for cls in (*CLASSES, DriverEntry)} == set(tasuki.drivers.__all__)


def test_its_settings_are_those_of_yaml(tmp_path: Path) -> None:
    app = App(SQLite("a.db", busy_timeout=timedelta(seconds=7)), root=tmp_path)
    config: Any = app.check().configs["app:driver"]
    assert isinstance(config, SQLiteSettings)
    assert (Path(config.path).name, config.busy_timeout) == ("a.db", 7)


def test_a_mistake_is_reported_as_in_yaml_at_the_line_of_the_call() -> None:
    options: Any = {"db": -1, "durabilty": "broker"}
    driver, line = Redis("http://h", **options), _line()
    app = App(driver)
    with pytest.raises(ProjectError) as caught:
        app.check()
    said = [str(error) for error in caught.value.errors]
    assert all(each.startswith(f"{__file__}:{line}: app:driver: ") for each in said)
    for part in (
        "unknown field 'durabilty'; did you mean 'durability'?",
        "db must be at least 0",
        "url: write redis://host:6379/0",
    ):
        assert any(part in each for each in said), said


def _line() -> int:
    frame = sys._getframe(1)
    return frame.f_lineno


def test_a_second_driver_is_an_entry_with_a_name(tmp_path: Path) -> None:
    app = App(Memory(), root=tmp_path)
    assert app.entry("files", SQLite("a.db")) == "app:files"
    app.queue("here")
    app.queue("there", driver="files")
    project = app.check()
    assert {id: project.driver_of(id).short_name for id in ("app:here", "app:there")} == {
        "app:here": "memory",
        "app:there": "sqlite",
    }


def test_what_is_no_driver_is_refused() -> None:
    for wrong in (Redis, 5, None):
        with pytest.raises(TypeError, match=r"give it a URL, or a driver such as tasuki\.drivers\.Redis\("):
            App(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Redis\(…\) has 'url' by position and by name: give it once"):
        Redis("redis://h", url="redis://h")


def test_a_driver_of_another_package_shows_the_line_of_its_user() -> None:
    class Maria(DriverEntry):
        def __init__(self, url: str) -> None:
            super().__init__("queue.driver.mariadb", {}, url=url)

    names: dict[str, Any] = {"Maria": Maria}
    exec(compile("\n\ndriver = Maria('mariadb://user:secret@h')", "jobs.py", "exec"), names)
    assert str(names["driver"].place) == "jobs.py:3"
    assert repr(names["driver"]) == "<queue.driver.mariadb of jobs.py:3>"


def test_importing_them_imports_no_client_and_no_settings() -> None:
    source = (
        "import sys; before = {*sys.modules}; import tasuki.drivers; from tasuki.drivers import *; "
        "App = __import__('tasuki').App; App(Redis('redis://h')); App(NATS()); print({*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout))
    assert "tasuki.drivers.entries" in loaded
    assert not {"hiredis", "pamqp", "asyncpg", "aiobotocore", "nats", "sqlite3", "pydantic"} & loaded
    assert not [name for name in loaded if name.endswith(".settings") and name.startswith("tasuki.drivers")]
