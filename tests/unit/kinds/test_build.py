"""From checked configurations to objects: drivers, handlers, resources, and what goes wrong on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tasuki.clock import SystemClock
from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.settings import MemorySettings
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.errors import UnsupportedError
from tasuki.fields.types import Config, DriverKind, Kind
from tasuki.handlers.isolated import IsolatedPythonHandler
from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler
from tasuki.handlers.lua.remote.shared import ThreadedLuaHandler
from tasuki.handlers.python import PythonHandler
from tasuki.handlers.store import HandlerStore
from tasuki.kinds.build import build_driver, build_handler, build_resource, is_function, queue_policy, queue_spec
from tasuki.kinds.check.project import Project, check
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.store import DriverStoreConfig
from tasuki.kinds.kind import driver_names, find_driver
from tasuki.kinds.stores import Opened
from tasuki.registry.entry import Registry
from tasuki.registry.loader import load

PROJECT = """
namespace: app
entries:
  - {name: memory, kind: queue.driver.memory}
  - {name: sqlite, kind: queue.driver.sqlite, path: data/q.db}
  - {name: store, kind: store.memory, max_size: 3}
  - {name: lib, kind: library.lua, source: "return {}"}
  - {name: lua, kind: function.lua, source: file://handlers/h.lua, imports: {lib: lib}}
  - {name: python, kind: function.python, target: "os.path:basename"}
  - {name: own, kind: function.lua, source: "return print", isolation: process}
  - {name: threads, kind: function.lua, source: "return print", pool: {workers: 2}}
  - {name: faulty, kind: function.python, target: "os.path:basename", isolation: process, pool: {workers: 2}}
  - {name: dead, kind: queue.queue, driver: memory}
  - name: tasks
    kind: queue.queue
    driver: memory
    dead_letter: {queue: dead, max_attempts: 3}
    message_ttl: 1h
    max_length: 7
    overflow: reject
    lease: 5s
    ordering: key
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "h.lua").write_text("return function(body) return body end")
    return check(load(tmp_path))


def test_drivers(project: Project, tmp_path: Path) -> None:
    assert isinstance(build_driver(project, "app:memory", SystemClock()), MemoryDriver)
    assert isinstance(build_driver(project, "app:sqlite", SystemClock()), SQLiteDriver)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("tasuki.drivers.nowhere:Driver", "pip install 'tasuki[broken]'"),
        ("tasuki.drivers.memory:Nothing", "pip install 'tasuki[broken]'"),
        ("nowhere:Driver", "check 'nowhere:Driver'"),
    ],
)
def test_a_driver_that_cannot_be_imported(path: str, told: str) -> None:
    kind = DriverKind("queue.driver.broken", MemorySettings, driver=path)
    broken = Project(Registry(), {"app:d": MemorySettings()}, MappingProxyType({"app:d": kind}), {})
    with pytest.raises(UnsupportedError, match="driver 'app:d' cannot be loaded") as caught:
        build_driver(broken, "app:d", SystemClock())
    assert told in str(caught.value)


def test_queues(project: Project) -> None:
    config = project.of(QueueConfig)["app:tasks"]
    spec, policy = queue_spec(config), queue_policy(config)
    assert (spec.name, spec.lease, spec.max_length, spec.ordering) == ("tasks", 5.0, 7, "key")
    assert (policy.dead_letter, policy.max_attempts, policy.message_ttl) == ("app:dead", 3, 3600.0)
    assert (policy.overflow, policy.drop_expired) == ("reject", False)
    assert queue_policy(project.of(QueueConfig)["app:dead"]).dead_letter is None


def test_functions(project: Project) -> None:
    assert isinstance(build_handler(project, "app:lua", 1), LuaHandler)
    assert isinstance(build_handler(project, "app:python", 1), PythonHandler)
    assert isinstance(build_handler(project, "app:own", 1), IsolatedLuaHandler)
    assert isinstance(build_handler(project, "app:threads", 1), ThreadedLuaHandler)
    assert isinstance(build_handler(project, "app:faulty", 1), IsolatedPythonHandler)
    assert is_function(project.configs["app:lua"])
    assert not is_function(project.configs["app:lib"])


def test_resources(project: Project) -> None:
    assert isinstance(resource(project, "app:store"), HandlerStore)
    assert resource(project, "app:memory") is None


@pytest.mark.anyio
async def test_a_store_of_a_driver() -> None:
    driver = MemoryDriver("app:d")
    await driver.open()
    found: list[tuple[str, str]] = []

    def find(id: str, name: str) -> Opened:
        found.append((id, name))
        store = driver.store(name)

        async def opened() -> Store:
            await store.open()
            return store

        return opened

    for kind, name in (("queue.driver.postgres", None), ("queue.driver.redis", "other")):
        config = DriverStoreConfig(driver="app:d", store_name=name)
        store = build_resource(config, {"app:d": Kind(kind, MemorySettings)}, "app:carts", SystemClock(), find)
        await store.set("k", kind)
        assert (await store.info())["backend"] == ("sql" if name is None else "redis")
    assert found == [("app:d", "app:carts"), ("app:d", "other")]


def test_a_resource_of_another_package() -> None:
    class Cache(Config):
        def build(self, id: str, clock: Any) -> str:
            return f"the object of {id}"

    assert build_resource(Cache(), {}, "app:cache", SystemClock(), no_store) == "the object of app:cache"


def resource(project: Project, id: str) -> Any:
    return build_resource(project.configs[id], project.kinds, id, SystemClock(), no_store)


def no_store(driver: str, name: str) -> Opened:
    raise AssertionError(driver)


@pytest.mark.parametrize("driver", [name for name in driver_names() if (kind := find_driver(name)) and kind.client])
def test_a_driver_without_its_client_is_known_and_says_what_to_install(driver: str, tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(
        f"version: '1.0'\nnamespace: app\nentries: [{{name: broker, kind: queue.driver.{driver}}}]\n"
    )
    kind = find_driver(driver)
    assert kind is not None
    code = f"""
import sys
sys.modules[{kind.client!r}] = None
import subprocess
import sys
from pathlib import Path
from tasuki.clock import SystemClock
from tasuki.errors import UnsupportedError
from tasuki.kinds.build import build_driver
from tasuki.kinds.check.project import check
from tasuki.kinds.kind import capabilities_of, find_driver
from tasuki.registry.loader import load
assert capabilities_of(find_driver({driver!r})).multi_process
try:
    build_driver(check(load(Path({str(tmp_path)!r}))), "app:broker", SystemClock())
except UnsupportedError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'tasuki[{driver}]'" in ran.stdout, ran.stderr
