from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tasuki.contracts.driver import CONTRACT
from tasuki.errors import UnknownKindError
from tasuki.fields.types import Config, DriverKind, Kind
from tasuki.kinds import kind as module
from tasuki.kinds.check.project import check
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.kind import driver_names, find_driver, find_kind
from tasuki.registry.loader import load
from tests.support.narrow import instance


class RoomConfig(Config):
    """A kind from another package."""

    seats: int


class KafkaOptions(Config):
    """Options of a driver from another package."""

    partitions: int = 1


ROOM = Kind("meeting.room", RoomConfig)
KAFKA = DriverKind("queue.driver.kafka", RoomConfig, contract=CONTRACT, driver="x:Kafka", queue_options=KafkaOptions)
OLD = DriverKind("queue.driver.old", RoomConfig, driver="x:Old")
NEW = DriverKind("queue.driver.new", RoomConfig, contract=CONTRACT + 1, driver="x:New")
NOT_A_KIND = "something"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other packages, as far as entry points can tell."""
    here = __name__
    points = {
        "tasuki.kinds": {
            "meeting.room": f"{here}:ROOM",
            "broken.kind": "no.such.module:X",
            "wrong.kind": f"{here}:NOT_A_KIND",
        },
        "tasuki.drivers": {"kafka": f"{here}:KAFKA", "ghost": "no.such.module:X", "odd": f"{here}:ROOM"},
    }
    monkeypatch.setattr(
        module, "entry_points", lambda group: [EntryPoint(name, value, group) for name, value in points[group].items()]
    )
    forget = (module._from_packages.cache_clear, find_kind.cache_clear)
    for clear in forget:
        clear()
    yield
    for clear in forget:
        clear()


def test_the_kinds_of_this_version() -> None:
    """Each module defines the kinds that lead to it, and no others."""
    for home, names in module._HOMES.items():
        assert [kind.name for kind in import_module(home).KINDS] == list(names)
    for name in module._BUILT_IN:
        assert find_kind(name).name == name
    assert {"memory", "sqlite", "amqp", "redis", "sqs", "postgres", "nats"} <= set(driver_names())
    assert find_kind("queue.queue").references["driver"] == ("queue.driver",)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("queue.quue", "did you mean 'queue.queue'?"),
        ("queue.driver.rediss", "did you mean 'queue.driver.redis'?"),
        ("queue.driver.pulsar", "available drivers: amqp, memory, nats, postgres, redis, sqlite, sqs"),
        ("config.awss", "did you mean 'config.aws'?"),
        ("security.polcy", "did you mean 'security.policy'?"),
        ("security.token_store", "there are no tokens in this version"),
        ("security.scope", "name the policies at the consumer, or give them a group"),
        ("sqlite", "did you mean 'queue.driver.sqlite'?"),
        ("http.endpoint", "tasuki schema lists every kind"),
    ],
)
def test_an_unknown_kind_has_an_honest_hint(name: str, hint: str) -> None:
    with pytest.raises(UnknownKindError) as caught:
        find_kind(name)
    assert caught.value.problem == f"kind {name!r} is not known"
    assert caught.value.hint == hint


@pytest.mark.usefixtures("packages")
def test_kinds_and_drivers_of_other_packages(tmp_path: Path) -> None:
    assert find_kind("meeting.room") is ROOM
    assert instance(find_kind("queue.driver.kafka"), DriverKind).driver == "x:Kafka"
    assert find_driver("kafka") is find_kind("queue.driver.kafka")
    assert driver_names() == ["amqp", "ghost", "kafka", "memory", "nats", "odd", "postgres", "redis", "sqlite", "sqs"]
    text = "namespace: app\nentries:\n  - {name: k, kind: queue.driver.kafka, seats: 4}\n"
    text += "  - {name: q, kind: queue.queue, driver: k, driver_options: {kafka: {partitions: 3}}}\n"
    (tmp_path / "p.yaml").write_text(text)
    project = check(load(tmp_path))
    assert project.of(QueueConfig)["app:q"].options == {"partitions": 3}
    assert project.driver_of("app:q") is find_driver("kafka")


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("broken.kind", "kind 'broken.kind' is provided by 'no.such.module:X', which fails: No module named 'no'"),
        ("wrong.kind", f"kind 'wrong.kind' is provided by '{__name__}:NOT_A_KIND', which is not a Kind"),
    ],
)
def test_a_package_that_fails_is_named(name: str, problem: str) -> None:
    with pytest.raises(UnknownKindError) as caught:
        find_kind(name)
    assert caught.value.problem == problem


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        (
            "old",
            f"kind 'queue.driver.old' is provided by '{__name__}:OLD', which names no contract; "
            f"this Tasuki has contract {CONTRACT}",
            f"install a version of that package whose kind says contract={CONTRACT}; "
            "docs/writing-a-driver.md says what a driver must keep",
        ),
        (
            "new",
            f"kind 'queue.driver.new' is provided by '{__name__}:NEW', which is for contract {CONTRACT + 1}; "
            f"this Tasuki has contract {CONTRACT}",
            "install a newer tasuki, or an older version of that package",
        ),
    ],
)
def test_a_driver_of_another_contract_is_refused(
    packages: None, monkeypatch: pytest.MonkeyPatch, name: str, problem: str, hint: str
) -> None:
    points = {
        f"queue.driver.{one}": EntryPoint(one, f"{__name__}:{one.upper()}", "tasuki.drivers") for one in ("old", "new")
    }
    monkeypatch.setattr(module, "_from_packages", lambda: points)
    with pytest.raises(UnknownKindError) as caught:
        find_kind(f"queue.driver.{name}")
    assert (caught.value.problem, caught.value.hint) == (problem, hint)
    assert find_driver(name) is None


@pytest.mark.usefixtures("packages")
def test_what_is_no_driver() -> None:
    assert find_driver("ghost") is None
    assert find_driver("odd") is None
    assert find_driver("nothing") is None
    assert find_driver("memory") is find_kind("queue.driver.memory")
