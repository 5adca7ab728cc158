import importlib

import pytest

from tasuki.contracts.driver import Driver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.fields.types import DriverKind
from tasuki.kinds.kind import built_in_drivers
from tests.unit.kinds.conftest import Make, Problems


def test_the_embedded_driver(project: Make) -> None:
    text = """\
  - {name: a, kind: queue.driver.sqlite}
  - {name: b, kind: queue.driver.sqlite, path: x.db, synchronous: normal, busy_timeout: 1s}
"""
    first, second = project(text).of(SQLiteSettings).values()
    assert (first.path, first.synchronous, first.busy_timeout) == (".tasuki/queue.db", "full", 5.0)
    assert (second.path, second.synchronous, second.busy_timeout) == ("x.db", "normal", 1.0)


@pytest.mark.parametrize("driver", ["sqlite, path", "nats, credentials_file"])
def test_a_file_is_text(problems: Problems, driver: str) -> None:
    (problem,) = problems(f"  - {{name: a, kind: queue.driver.{driver}: {{x: 1}}}}\n")
    assert "must be text, not a mapping" in problem


def test_a_path_is_no_url(problems: Problems) -> None:
    assert problems("  - {name: a, kind: queue.driver.sqlite, path: 'sqlite:///queue.db'}\n") == [
        "3:42: app:a: path: this is a URL; write the path alone, like queue.db or /var/lib/shop/queue.db"
    ]


def test_the_memory_driver_has_no_fields_of_its_own(problems: Problems) -> None:
    assert problems("  - {name: a, kind: queue.driver.memory, path: x}\n") == [
        "3:42: app:a: unknown field 'path'; known are: durability, state, lifecycle, name, kind, meta"
    ]


@pytest.mark.parametrize("kind", built_in_drivers(), ids=lambda kind: kind.short_name)
def test_the_class_of_a_driver_can_be_imported(kind: DriverKind) -> None:
    module, _, name = kind.driver.partition(":")
    assert issubclass(getattr(importlib.import_module(module), name), Driver)
