"""What a queue requires of its driver, in so many words or by what it uses."""

from dataclasses import replace
from typing import get_args

import pytest

from tasuki.contracts.driver import ACTS, SPANS, Ability, Capabilities, Durability
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.fields.types import DriverKind
from tasuki.kinds.build import queue_spec
from tasuki.kinds.check.requirements import REQUIREMENTS
from tasuki.kinds.entries.queue import QueueConfig, RequirementName
from tasuki.kinds.kind import all_capabilities, capabilities_of
from tests.unit.kinds.conftest import Make, Problems

DRIVER = "  - {name: d, kind: queue.driver.memory}\n"


def queue_with(fields: str) -> str:
    """The driver, and a queue on it with these fields."""
    return f"{DRIVER}  - {{name: q, kind: queue.queue, driver: d, {fields}}}\n"


WHERE = 1 + len("  - {name: q, kind: queue.queue, driver: d, ")
"""Column of the first field."""
ABILITIES = frozenset(get_args(Ability)) - {"declares_priorities", "sees_deaths", "sees_silence"}


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory driver that can do nothing."""
    monkeypatch.setattr(
        MemoryDriver,
        "capabilities",
        Capabilities(max_message_bytes=5, unique=frozenset({"keep"})),
    )


def test_every_name_has_its_meaning() -> None:
    assert list(REQUIREMENTS) == list(get_args(RequirementName))


def test_each_capability_can_be_required() -> None:
    everything = Capabilities("node", ABILITIES, unique=frozenset({*SPANS, *ACTS}))
    duties = {name for name, requirement in REQUIREMENTS.items() if requirement.is_met(Capabilities())}
    assert duties == {"delay", "attempts", "delete"}
    assert all(requirement.is_met(everything) for requirement in REQUIREMENTS.values())
    for name in ABILITIES:
        without = everything.without(name)
        unmet = [requirement for requirement in REQUIREMENTS.values() if not requirement.is_met(without)]
        assert len(unmet) == (2 if name == "limits" else 1), "by key, and in turn; a store keeps the others"
    for part in {*SPANS, *ACTS} - {"keep"}:
        without = replace(everything, unique=everything.unique - {part})
        unmet_names = [name for name, each in REQUIREMENTS.items() if not each.is_met(without)]
        assert unmet_names == ([] if part == "window" else [f"unique.{part}"]), "a store keeps windows"
    neither = replace(everything, unique=everything.unique - {"window"}).without("store")
    assert not REQUIREMENTS["unique.window"].is_met(neither)


LEVELS: tuple[Durability, ...] = ("process", "broker", "power", "node")


@pytest.mark.parametrize("level", LEVELS)
def test_a_durability_is_enough_if_it_is_more(level: Durability) -> None:
    met = [given for given in LEVELS if REQUIREMENTS[level].is_met(Capabilities(durability=given))]
    assert met == list(LEVELS[LEVELS.index(level) :])


def test_what_the_driver_can_do_is_accepted(project: Make) -> None:
    text = queue_with(
        "requires: [delay, priority, ordering.key, dedup], ordering: key, dedup_window: 1h, max_length: 5"
    )
    config = project(text).of(QueueConfig)["app:q"]
    spec = queue_spec(config)
    assert (spec.priorities, spec.dedup_window, spec.max_length) == (True, 3600.0, 5)
    assert not queue_spec(
        project(DRIVER.replace("name: d", "name: e") + queue_with("")).of(QueueConfig)["app:q"]
    ).priorities


def test_what_it_cannot_do_is_refused_where_it_stands(problems: Problems) -> None:
    texts = problems(queue_with("requires: [delay, power]"))
    assert len(texts) == 1
    assert texts[0].startswith(
        f"4:{WHERE + 18}: app:q: requires: power needs a driver that can keep messages when the power fails; "
        "'app:d' (memory) cannot; these can: "
    )
    assert "sqlite" in texts[0].rpartition(": ")[2]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("ordering: key", "keep the order of messages with the same key"),
        ("max_length: 5", "bound the number of messages"),
        ("options: {max_length: 5}", "bound the number of messages"),
        ("driver_options: {max_length: 5}", "bound the number of messages"),
        ("driver_options: {memory: {max_length: 5}}", "bound the number of messages"),
        ("dedup_window: 1m", "tell duplicates by their id within 1m"),
        ("max_message_size: 6B", "carry messages of 6B"),
        ("durability: process", "keep messages when a process ends"),
        ("unique: header.x", "keep one waiting message per key (unique_for='pending')"),
        ("unique: {key: body.id, for: 10m}", "keep one message per key for a time (unique_for='10m')"),
    ],
)
def test_what_its_options_use_is_inferred(problems: Problems, field: str, words: str) -> None:
    (text,) = problems(queue_with(field))
    label = "max_length" if "max_length" in field else field.partition(":")[0]
    inner = "max_length" if label == "max_length" else "for" if "for:" in field else field[:1]
    column = WHERE + field.index(inner)
    assert text.startswith(f"4:{column}: app:q: {label}")
    assert f"needs a driver that can {words}; 'app:d' (memory) cannot; these can: " in text
    assert "memory" not in text.rpartition("these can: ")[2]


@pytest.mark.usefixtures("plain")
def test_a_size_that_was_not_asked_for_is_that_of_the_driver(project: Make) -> None:
    assert project(queue_with("lease: 1s")).of(QueueConfig)["app:q"].max_message_size == 5


def test_a_requirement_that_does_not_exist(problems: Problems) -> None:
    (text,) = problems(queue_with("requires: [delays]"))
    assert "did you mean 'delay'?" in text


def test_a_driver_entry_asks_too(problems: Problems, project: Make) -> None:
    (text,) = problems("  - {name: d, kind: queue.driver.memory, durability: power}\n")
    assert text.startswith(
        "3:42: app:d: durability: power needs a driver that can keep messages when the power fails; "
    )
    project("  - {name: d, kind: queue.driver.sqlite, durability: power}\n")
    project("  - {name: d, kind: queue.driver.memory, durability: memory}\n")


def test_a_swap_is_checked_against_the_new_driver(project: Make, problems: Problems) -> None:
    text = (
        "  - {name: d, kind: queue.driver.sqlite}\n  - {name: q, kind: queue.queue, driver: d, requires: [durable]}\n"
    )
    project(text)
    (problem,) = problems(text, overrides=("app:d:kind=queue.driver.memory",))
    assert problem.startswith("4:56: app:q: requires: durable needs a driver that can")


def test_a_driver_whose_class_cannot_be_imported_is_not_judged() -> None:
    assert capabilities_of(DriverKind("queue.driver.x", QueueConfig, driver="no.such.module:X")) is None
    assert capabilities_of(DriverKind("queue.driver.x", QueueConfig, driver="tasuki:Nothing")) is None
    assert all_capabilities()["sqlite"] is SQLiteDriver.capabilities
