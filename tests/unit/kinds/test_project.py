from collections.abc import Mapping
from pathlib import Path

import pytest

from tasuki.drivers.memory.settings import MemorySettings
from tasuki.errors import InvalidEntryError, Position, ProjectError, ReferenceCycleError
from tasuki.kinds.check.project import check
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import LuaFunctionConfig
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.entry import Entry, Registry
from tasuki.registry.loader import Loaded, load
from tests.support.narrow import instance, present
from tests.unit.kinds.conftest import Make, Problems

GOLDEN = Path(__file__).parent / "golden"

# The examples of the mission's page, unchanged, under the head that every file has.
SEED = """\
version: "1.0"
namespace: app.queue
entries:
- name: memory_driver
  kind: queue.driver.memory
  lifecycle:
    auto_start: true

- name: tasks
  kind: queue.queue
  driver: app.queue:memory_driver

- name: task_consumer
  kind: queue.consumer
  queue: app.queue:tasks
  func: app.queue:task_handler
  concurrency: 4
  prefetch: 20
  lifecycle:
    auto_start: true
    depends_on:
      - app.queue:tasks

- name: task_handler
  kind: function.lua
  source: file://task_handler.lua
  modules:
    - json
    - logger
"""


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    (tmp_path / "_index.yaml").write_text(SEED)
    (tmp_path / "task_handler.lua").write_text("return function(body) return body end\n")
    return tmp_path


def test_the_seed_loads_unchanged(seed: Path) -> None:
    project = check(load(seed))
    assert list(project.configs) == [
        f"app.queue:{n}" for n in ("memory_driver", "tasks", "task_consumer", "task_handler")
    ]
    assert instance(project.configs["app.queue:memory_driver"], DriverConfig).lifecycle.auto_start
    assert project.of(QueueConfig)["app.queue:tasks"].driver == "app.queue:memory_driver"
    consumer = project.of(ConsumerConfig)["app.queue:task_consumer"]
    assert (consumer.queue, consumer.func) == ("app.queue:tasks", "app.queue:task_handler")
    assert (consumer.concurrency, consumer.prefetch) == (4, 20)
    assert consumer.lifecycle.auto_start
    assert consumer.lifecycle.depends_on == ["app.queue:tasks"]
    handler = project.of(LuaFunctionConfig)["app.queue:task_handler"]
    source = present(handler.source)
    assert source.text.startswith("return function")
    assert present(source.file).name == "task_handler.lua"
    assert handler.modules == ["json", "logger"]


def test_what_a_project_knows(seed: Path) -> None:
    project = check(load(seed))
    assert project.edges["app.queue:task_consumer"] == ("app.queue:tasks", "app.queue:task_handler")
    assert project.kinds["app.queue:tasks"].name == "queue.queue"
    assert project.driver_of("app.queue:tasks").short_name == "memory"
    assert list(project.of(ConsumerConfig)) == ["app.queue:task_consumer"]
    for id in ("app.queue:task_handler", "nobody"):
        with pytest.raises(KeyError):
            project.driver_of(id)


def test_the_broken_project_is_reported_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "broken")
    with pytest.raises(ProjectError) as caught:
        check(load(Path(), environ={}))
    assert str(caught.value) + "\n" == (GOLDEN / "expected.txt").read_text()
    assert all(error.position for error in caught.value.errors)


def test_three_hundred_queues(tmp_path: Path) -> None:
    entries = "".join(
        f"  - name: q{number}\n    kind: queue.queue\n    driver: app:memory\n    max_length: 100\n"
        "    dead_letter: {queue: dead, max_attempts: 3}\n    retry:\n      initial_delay: 1s\n"
        for number in range(300)
    )
    head = "namespace: app\nentries:\n  - {name: memory, kind: queue.driver.memory}\n"
    dead = "  - {name: dead, kind: queue.queue, driver: memory}\n"
    (tmp_path / "p.yaml").write_text(head + dead + entries)
    assert len(check(load(tmp_path)).configs) == 302


def test_a_name_like_no_is_a_name(project: Make) -> None:
    text = "  - {name: no, kind: queue.driver.memory}\n  - {name: yes, kind: queue.queue, driver: no}\n"
    assert project(text).of(QueueConfig)["app:yes"].driver == "app:no"


def test_an_override_swaps_the_driver_and_leaves_the_old_ones_fields_behind(project: Make) -> None:
    text = "  - {name: d, kind: queue.driver.sqlite, path: x.db, lifecycle: {auto_start: true}}\n"
    swapped = project(text, overrides=("app:d:kind=queue.driver.memory",)).configs["app:d"]
    assert isinstance(swapped, MemorySettings)
    assert instance(swapped, DriverConfig).lifecycle.auto_start


def test_a_field_that_comes_with_the_swap_is_for_the_new_driver(problems: Problems) -> None:
    text = "  - {name: d, kind: queue.driver.sqlite, path: a.db}\n"
    (problem,) = problems(text, overrides=("app:d:kind=queue.driver.memory", "app:d:url=redis://localhost"))
    assert "unknown field 'url'" in problem


def test_a_swap_does_not_hide_a_misspelt_field(problems: Problems) -> None:
    text = "  - {name: d, kind: queue.driver.sqlite, path: x.db, pth: y}\n"
    assert problems(text, overrides=("app:d:kind=queue.driver.memory",)) == [
        "3:54: app:d: unknown field 'pth'; known are: durability, state, lifecycle, name, kind, meta"
    ]


def test_an_unknown_kind_is_one_problem(problems: Problems) -> None:
    text = "  - {name: d, kind: sqlite}\n  - {name: q, kind: queue.queue, driver: d}\n"
    assert problems(text) == ["3:15: app:d: kind 'sqlite' is not known; did you mean 'queue.driver.sqlite'?"]


def test_two_entries_cannot_be_the_same_queue_of_one_driver(problems: Problems) -> None:
    text = """\
  - {name: d, kind: queue.driver.memory}
  - {name: e, kind: queue.driver.memory}
  - {name: a, kind: queue.queue, driver: d, queue_name: same}
  - {name: b, kind: queue.queue, driver: e, queue_name: same}
  - {name: c, kind: queue.queue, driver: d, queue_name: same}
"""
    assert problems(text) == [
        "7:45: app:c: queue_name 'same' is already taken by 'app:a'; give one of them another queue_name"
    ]


def test_variables_have_unique_public_names(problems: Problems) -> None:
    text = "".join(
        f"  - {{name: v{n}, kind: env.variable, variable: X}}\n  - {{name: w{n}, kind: env.variable}}\n" for n in "ab"
    )
    assert problems(text) == [
        "5:36: app:vb: variable 'X' is already taken by 'app:va'; give one of them another variable"
    ]


def test_an_entry_that_refers_to_itself_or_in_a_circle(problems: Problems) -> None:
    text = """\
  - {name: a, kind: queue.driver.memory, lifecycle: {depends_on: [a]}}
  - {name: b, kind: store.memory, lifecycle: {requires: [c]}}
  - {name: c, kind: store.memory, lifecycle: {depends_on: [b]}}
"""
    assert problems(text) == [
        "3:5: app:a: 'app:a' refers to itself; remove a reference",
        "4:5: app:b: entries refer to each other in a circle: 'app:b' → 'app:c' → 'app:b'; remove a reference",
    ]


def test_errors_without_a_place_come_last_and_errors_of_loading_are_kept() -> None:
    first = InvalidEntryError("first", position=Position("a.yaml", 1))
    entries = {"app:q": Entry("app:q", "queue.queue", {"driver": "q", "dead_letter": "q"})}
    with pytest.raises(ProjectError) as caught:
        check(Loaded(Registry(entries), [first]))
    assert caught.value.errors[0] is first
    assert any(isinstance(error, ReferenceCycleError) for error in caught.value.errors[1:])


def test_code_and_files_are_checked_alike(tmp_path: Path) -> None:
    place: Mapping[tuple[str | int, ...], Position] = {(): Position("app.py", 7)}
    entries = [
        Entry("app:d", "queue.driver.memory", {}, positions=place),
        Entry("app:q", "queue.queue", {"driver": "d", "concurency": 1}, positions=place),
        Entry("app:f", "function.python", {}, positions=place, target=len),
    ]
    with pytest.raises(ProjectError) as caught:
        check(Loaded(Registry({entry.id: entry for entry in entries}, tmp_path)))
    assert str(caught.value).startswith("app.py:7: app:q: unknown field 'concurency'")
