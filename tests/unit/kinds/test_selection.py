"""Selection: what one process consumes of a project."""

from __future__ import annotations

import pytest

from tasuki.errors import SelectionError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
from tasuki.kinds.selection import ALL, Selection
from tests.unit.kinds.conftest import Make

TEXT = """\
  - {name: d, kind: queue.driver.memory}
  - {name: f, kind: function.lua, source: return 1}
  - {name: a, kind: queue.queue, driver: d}
  - {name: b, kind: queue.queue, driver: d}
  - {name: c, kind: queue.queue, driver: d}
  - {name: unused, kind: queue.queue, driver: d}
  - {name: on-a, kind: queue.consumer, queue: a, func: f, lifecycle: {auto_start: true, depends_on: [on-b]}}
  - {name: on-b, kind: queue.consumer, queue: b, func: f, lifecycle: {auto_start: true}}
  - {name: on-c, kind: queue.consumer, queue: c, func: f}
  - {name: w, kind: queue.worker, queues: [c, a, b], concurrency: 4, order: strict}
"""


@pytest.fixture
def whole(project: Make) -> Project:
    return project(TEXT)


def started(project: Project) -> list[str]:
    return [id for id, config in project.of(ConsumerConfig).items() if config.lifecycle.auto_start]


def queues_of(project: Project) -> dict[str, list[str]]:
    return {id: config.queues for id, config in project.of(WorkerConfig).items()}


def test_named_queues(whole: Project) -> None:
    part = Selection(queues=("app:a", "app:c")).of(whole)
    assert list(part.of(ConsumerConfig)) == ["app:on-a", "app:on-c"]
    assert started(part) == ["app:on-a", "app:on-c"]  # a queue that is named is wanted
    assert queues_of(part) == {"app:w": ["app:c", "app:a"]}
    assert part.edges["app:on-a"] == ("app:a", "app:f")  # on-b runs in another process
    assert "app:on-b" not in {*part.kinds, *part.edges}
    assert {"app:b", "app:d", "app:f"} < part.configs.keys()  # it can still publish to all queues


def test_names_are_as_good_as_ids(whole: Project) -> None:
    part = Selection(queues=("a", "app:a", "c"), excluded=("c",)).of(whole)
    assert list(part.of(ConsumerConfig)) == ["app:on-a"]


def test_all_but_some(whole: Project) -> None:
    part = Selection(excluded=("app:a",)).of(whole)
    assert list(part.of(ConsumerConfig)) == ["app:on-b", "app:on-c"]
    assert started(part) == ["app:on-b"]
    assert queues_of(part) == {"app:w": ["app:c", "app:b"]}


def test_shared_workers_of_which_nothing_is_left(whole: Project) -> None:
    part = Selection(queues=("app:a",), concurrency=2).of(whole)
    assert queues_of(part) == {ALL: ["app:a"]}
    assert part.of(WorkerConfig)[ALL].concurrency == 2


def test_one_pool_for_everything(whole: Project) -> None:
    part = Selection(concurrency=7).of(whole)
    assert queues_of(part) == {ALL: ["app:a", "app:b", "app:c"]}
    assert part.kinds[ALL].name == "queue.worker"


def test_a_selection_twice_is_the_selection(whole: Project) -> None:
    selection = Selection(queues=("app:a",), excluded=("app:b",))
    once = selection.of(whole)
    assert selection.of(once).configs == once.configs


@pytest.mark.parametrize(
    ("selection", "problem"),
    [
        (Selection(queues=("app:unused",)), "queue 'app:unused' has no consumer to run; the project consumes: app:a, "),
        (Selection(queues=("an",)), "queue 'an' is not defined; did you mean 'a'?"),
        (Selection(excluded=("zzz",)), "queue 'zzz' is not defined; there are: app:a, app:b, app:c, app:unused"),
        (Selection(queues=("app:a",), excluded=("app:a",)), "no queue is left to consume; the project consumes: app:a"),
    ],
)
def test_nothing_to_consume_is_an_error(whole: Project, selection: Selection, problem: str) -> None:
    with pytest.raises(SelectionError) as caught:
        selection.of(whole)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("concurrency", [0, -1, 1001])
def test_a_number_of_workers_that_cannot_be(concurrency: int) -> None:
    with pytest.raises(SelectionError, match=f"concurrency must be 1 to 1000, not {concurrency}"):
        Selection(concurrency=concurrency)


def test_a_project_without_consumers(project: Make) -> None:
    alone = project("  - {name: d, kind: queue.driver.memory}\n  - {name: a, kind: queue.queue, driver: d}\n")
    with pytest.raises(SelectionError, match="'app:a' has no consumer to run; the project has no consumer"):
        Selection(queues=("app:a",)).of(alone)
    assert Selection(concurrency=3).of(alone).of(WorkerConfig) == {}
