"""Dead-letter queues that verify signatures and have a consumer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.kinds.conftest import Make

KEYS = "keys: [{id: one, secret: a-secret-of-sixteen}]"
ENTRIES = """\
  - {{name: driver, kind: queue.driver.memory}}
  - {{name: tasks, kind: queue.queue, driver: driver, dead_letter: dead{tasks}}}
  - {{name: dead, kind: queue.queue, driver: driver{dead}}}
  - {{name: f, kind: function.lua, source: "return print"}}
{consumer}
"""
CONSUMER = "  - {name: c, kind: queue.consumer, queue: dead, func: f}"


@pytest.mark.parametrize(
    ("tasks", "dead"),
    [
        ("", f", signing: {{{KEYS}}}"),
        (f", signing: {{{KEYS}}}", f", signing: {{{KEYS}}}"),
        (f", signing: {{{KEYS}}}", f", signing: {{{KEYS}, required: false}}"),
    ],
)
def test_a_consumer_that_would_refuse_every_dead_letter(
    problems: Callable[..., list[str]], tasks: str, dead: str
) -> None:
    (problem,) = problems(ENTRIES.format(tasks=tasks, dead=dead, consumer=CONSUMER))
    assert "app:dead: " in problem
    assert "'app:c' would refuse every dead letter of 'app:tasks'" in problem
    assert problem.startswith("5:")


@pytest.mark.parametrize(
    ("tasks", "dead", "consumer"),
    [
        (f", signing: {{{KEYS}}}", f", signing: {{{KEYS}}}", ""),
        (f", signing: {{{KEYS}}}", "", CONSUMER),
        ("", f", signing: {{{KEYS}, required: false}}", CONSUMER),
    ],
)
def test_what_works(project: Make, tasks: str, dead: str, consumer: str) -> None:
    assert project(ENTRIES.format(tasks=tasks, dead=dead, consumer=consumer))
