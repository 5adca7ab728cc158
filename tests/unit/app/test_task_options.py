"""Options of tasks that are wrong are refused where they are written, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki import App, Retries
from tasuki.app.tasks.options import OF_SENDER, RULES, TaskOptions, TaskRules


@pytest.mark.parametrize("field", ["on", "never"])
def test_errors_of_retries_are_a_tuple(field: str) -> None:
    for wrong, shown in ((OSError, "OSError"), ("OSError", "'OSError'")):
        given: dict[str, Any] = {field: wrong}
        with pytest.raises(TypeError) as caught:
            Retries(**given)
        assert str(caught.value) == f"Retries({field}={shown}) must be a tuple of errors: write {field}=({shown},)"
    with pytest.raises(TypeError, match="takes exception classes or their names, not 5"):
        Retries(**{field: (OSError, 5)})  # type: ignore[arg-type]


def test_an_unknown_option_of_a_task_is_refused() -> None:
    jobs = App("memory://").queue("jobs")
    for wrong, hint in (
        ({"max_retries": 3}, r"task\(…\) has no option 'max_retries'; write retry=Retries\(attempts\)"),
        ({"concurrency": 3}, r"task\(…\) has no option 'concurrency'; give it to queue.task_consumer\(…\)"),
        ({"acks_late": True}, "remove it: a message is acked after its handler"),
        ({"retrys": 3}, r"task\(…\) has no option 'retrys'; there are: name, retry, handler_timeout, on_give_up"),
    ):
        given: dict[str, Any] = wrong
        with pytest.raises(TypeError, match=hint):
            jobs.task(**given)


def test_an_unknown_option_of_a_message_is_refused() -> None:
    jobs = App("memory://").queue("jobs")

    @jobs.task
    def fetch(url: str) -> None: ...

    for name, own in (("countdown", "delay"), ("_defer_by", "delay"), ("_defer_until", "at"), ("_job_id", "id")):
        given: dict[str, Any] = {name: 5}
        with pytest.raises(TypeError, match=rf"with_options\(…\) has no option '{name}'; write {own}$"):
            fetch.with_options(**given)


def test_the_options_are_those_of_the_types() -> None:
    assert set(OF_SENDER) == TaskOptions.__optional_keys__
    assert set(RULES) == TaskRules.__optional_keys__


def test_a_parameter_may_be_called_self() -> None:
    jobs = App("memory://").queue("jobs")

    @jobs.task
    def compare(self: int, other: int) -> bool:
        return self == other

    assert compare.message(self=1, other=2).body == {"self": 1, "other": 2}
    assert compare(self=1, other=1)
