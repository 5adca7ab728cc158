"""Consumers with tasks: what an entry may say, and what the check reports."""

from __future__ import annotations

import pytest

from tasuki.errors import ProjectError
from tasuki.kinds.entries.consumer import ConsumerConfig
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make, Problems

OTHERS = """\
  - {name: d, kind: queue.driver.memory}
  - {name: dead, kind: queue.queue, driver: d}
  - {name: q, kind: queue.queue, driver: d, dead_letter: dead}
  - {name: kept, kind: queue.queue, driver: d}
  - {name: f, kind: function.lua, source: return 1}
  - {name: g, kind: function.python, target: "os:getcwd"}
  - {name: h, kind: function.python, target: "os:getpid", isolation: process}
"""


def consumer(fields: str, queue: str = "q", name: str = "c") -> str:
    return f"  - {{name: {name}, kind: queue.consumer, queue: {queue}, {fields}}}\n"


def test_a_task_is_a_function_by_name_or_has_rules_of_its_own(project: Make) -> None:
    made = project(
        OTHERS
        + consumer(
            "funcs: {a: f, b.c: {func: g, retry: {max_attempts: 3, on: [OSError]}, handler_timeout: 2m, on_give_up: f}}"
        )
    )
    config = made.of(ConsumerConfig)["app:c"]
    first, second = config.funcs.values()
    assert list(config.funcs) == ["a", "b.c"]
    assert (config.func, first.func, first.retry, first.handler_timeout, first.on_give_up) == (
        *(None, "app:f"),
        *(None, None, None),
    )
    assert (second.func, second.handler_timeout, second.on_give_up) == ("app:g", 120, "app:f")
    assert (present(second.retry).max_attempts, present(second.retry).on) == (3, ["OSError"])
    assert config.functions == ["app:f", "app:g"]
    assert set(made.edges["app:c"]) == {"app:q", "app:f", "app:g"}


def test_func_may_stand_beside_funcs(project: Make) -> None:
    config = project(OTHERS + consumer("func: f, funcs: {a: f}")).of(ConsumerConfig)["app:c"]
    assert (config.func, list(config.funcs)) == ("app:f", ["a"])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("concurrency: 1", "a consumer needs func: the function that handles the messages, or funcs: functions by the"),
        ("funcs: {}", "a consumer needs func: the function that handles the messages, or funcs: functions by the"),
        ("funcs: {a: nothing}", "consumer 'app:c' refers to function 'app:nothing', which is not defined"),
        ("funcs: {a: {func: nothing}}", "consumer 'app:c' refers to function 'app:nothing', which is not defined"),
        ("funcs: {a: q}", "consumer 'app:c' refers to function 'app:q', which is a queue.queue"),
        ("funcs: {a: {func: f, on_give_up: q}}", "consumer 'app:c' refers to function 'app:q', which is a queue.queue"),
        ("funcs: {a: {func: f, timeout: 1m}}", "unknown field 'funcs.a.timeout'; did you mean 'handler_timeout'?"),
        ("funcs: {a: {handler_timeout: 1m}}", "the field 'funcs.a.func' is missing"),
        ("funcs: {a: 3}", "funcs.a must be a mapping, not the number 3"),
        ("funcs: [f]", "funcs must be a mapping, not a list"),
        ("funcs: {a: f, a: g}", "this key is given twice"),
        ("funcs: {a: {func: f, retry: {max_attempts: 0}}}", "funcs.a.retry.max_attempts must be at least 1"),
        ("func: g, funcs: {a: g}", "function 'app:g' is a task here, and a func of 'app:c': they are called differ"),
        ("funcs: {a: {func: f, on_give_up: h}}", "on_give_up gets the error itself, so its function cannot have isol"),
    ],
)
def test_mistakes(problems: Problems, fields: str, problem: str) -> None:
    (text,) = problems(OTHERS + consumer(fields))
    assert problem in text


@pytest.mark.parametrize("field", ["retry: {max_attempts: 3}", "on_give_up: f"])
def test_what_is_never_given_up_needs_no_rule_about_it(problems: Problems, field: str) -> None:
    (text,) = problems(OTHERS + consumer(f"funcs: {{a: {{func: f, {field}}}}}", queue="kept"))
    name = "retry.max_attempts" if "retry" in field else "on_give_up"
    assert f"task 'a' has {name}, but queue 'app:kept' has no dead_letter: it is never given up" in text
    assert text.endswith("give the queue a dead_letter")


def test_a_consumer_beside_tasks_must_have_the_same_ones(project: Make) -> None:
    project(OTHERS + consumer("funcs: {a: f}") + consumer("funcs: {a: f}, concurrency: 2", name="e"))
    with pytest.raises(ProjectError, match=r"'app:q' too, whose tasks belong to 'app:c'; let one consumer"):
        project(OTHERS + consumer("funcs: {a: f}") + consumer("func: f", name="e"))


def test_a_lua_function_may_be_both(project: Make) -> None:
    project(OTHERS + consumer("func: f, funcs: {a: f}"))
