"""TasukiBackend on a twin of the App: states, results, retries, priorities, signals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from tasuki.contrib.django.project import project_app
from tasuki.contrib.django.tasks.results import (
    PACKAGE,
    Results,
    Status,
    TaskResultDoesNotExist,
    task_enqueued,
    task_finished,
    task_started,
)
from tasuki.contrib.django.tasks.worker import give_up
from tasuki.errors import HandlerTimeoutError
from tasuki.message import Message
from tasuki.testing import RecordingContext, TestApp
from tests.support.django_site import tasks


@pytest.fixture
def twin() -> Iterator[TestApp]:
    with TestApp(project_app(), now=timezone.now()) as twin:
        yield twin


def test_a_task_runs_and_its_result_can_be_read(twin: TestApp) -> None:
    for task in (tasks.add, tasks.add_async):
        result = task.enqueue(1, b=2)
        assert (result.status, result.is_finished) == (Status.READY, False)
        assert [message.id for message in twin.messages("default")][-1] == result.id
        twin.sync.drain()
        result.refresh()
        assert (result.status, result.return_value, result.attempts) == (Status.SUCCESSFUL, 3, 1)
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert task.get_result(result.id) == result
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("unknown")


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("value", "ValueError", "no"),
        ("exit", "SystemExit", "out"),
        ("reject", "Reject", "never"),
        ("frozen", "FrozenError", "cold"),
    ],
)
def test_a_task_that_fails_has_failed_and_is_a_dead_letter(twin: TestApp, kind: str, error: str, text: str) -> None:
    result = tasks.fail.enqueue(kind)
    twin.sync.drain()
    result.refresh()
    assert result.status == Status.FAILED
    (told,) = result.errors
    assert told.exception_class_path.endswith(f".{error}")
    assert told.traceback.endswith(f"{error}: {text}\n")
    assert [dead.id for dead in twin.dead] == [result.id]


def test_a_value_that_is_not_json_fails(twin: TestApp) -> None:
    result = tasks.not_json.enqueue()
    twin.sync.drain()
    result.refresh()
    assert result.status == Status.FAILED
    assert "Unsupported type" in result.errors[0].traceback
    assert len(twin.errors) == 1


def test_a_task_that_is_postponed_is_ready_again(twin: TestApp) -> None:
    result = tasks.fail.enqueue("snooze")
    twin.sync.drain()
    result.refresh()
    assert (result.status, result.errors, twin.dead) == (Status.READY, [], [])
    assert twin.settled("default") == ["snooze"]


def test_attempts_follow_the_option(twin: TestApp, seen: list[Any]) -> None:
    finished: list[Any] = []

    def note(task_result: Any, **named: Any) -> None:
        finished.append((task_result.status, len(task_result.errors)))

    task_finished.connect(note)
    try:
        tasks.fail_twice.enqueue()
        twin.sync.advance("1h")
    finally:
        task_finished.disconnect(note)
    assert seen == ["try"] * 3
    assert finished == [(Status.SUCCESSFUL, 0)]  # this backend keeps no results, so no errors of earlier attempts
    assert len(twin.errors) == 2


def test_without_results_a_failed_task_is_told_once(twin: TestApp, seen: list[Any], caplog: Any) -> None:
    caplog.set_level(logging.ERROR, PACKAGE)
    tasks.fail.using(backend="tried", queue_name="tried").enqueue("value")
    twin.sync.advance("1h")
    assert [record.levelname for record in caplog.records if "state=FAILED" in record.message] == ["ERROR"]
    (dead,) = twin.dead
    assert (dead.reason, dead.attempts, dead.error) == ("max_attempts", 3, "ValueError: no")


def test_a_task_with_a_context_sees_its_attempt(twin: TestApp) -> None:
    result = tasks.attempts.enqueue()
    twin.sync.drain()
    result.refresh()
    assert result.return_value == 1


def test_run_after_is_waited_for(twin: TestApp) -> None:
    result = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1, 2)
    twin.sync.drain()
    assert tasks.add.get_result(result.id).status == Status.READY
    twin.sync.advance("61m")
    assert tasks.add.get_result(result.id).return_value == 3


def test_a_higher_priority_runs_first(twin: TestApp, seen: list[Any]) -> None:
    for priority in (10, -100, 100, 6):
        tasks.note.using(priority=priority).enqueue(str(priority))
    twin.sync.drain()
    assert seen == ["100", "10", "6", "-100"]  # 10 and 6 are one step: the order of their publish


def test_signals_and_logs(twin: TestApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, PACKAGE)
    told: list[tuple[str, str]] = []
    receivers = []
    for name, sent in (("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished)):

        def note(task_result: Any, name: str = name, **named: Any) -> None:
            told.append((name, task_result.status.value))

        receivers.append((sent, note))
        sent.connect(note, weak=False)
    try:
        tasks.add.enqueue(1, 2)
        twin.sync.drain()
    finally:
        for sent, note in receivers:
            sent.disconnect(note)
    assert told == [("enqueued", "READY"), ("started", "RUNNING"), ("finished", "SUCCESSFUL")]
    assert len([record for record in caplog.records if record.name == PACKAGE]) == 3


def test_as_django_says_a_transaction_is_not_waited_for_unless_the_option_says_so(twin: TestApp) -> None:
    with transaction.atomic():
        tasks.add.enqueue(1, 2)
        tasks.fail_twice.enqueue()
        assert (len(twin.messages("default")), twin.messages("tried")) == (1, [])
    assert len(twin.messages("tried")) == 1


def test_a_task_that_is_given_up_without_its_code_has_failed(twin: TestApp) -> None:
    result = tasks.add.enqueue(1, 2)
    using = {"backend": "default", "queue_name": "default", "priority": 0}
    context = RecordingContext(Message(result.id, b"", {}))
    give_up(result.task.module_path, [1, 2], {}, using, HandlerTimeoutError("it took too long"), context)
    result.refresh()
    assert (result.status, result.is_finished) == (Status.FAILED, True)
    assert result.errors[0].exception_class is HandlerTimeoutError
    give_up("os.system", [], {}, using, HandlerTimeoutError("it took too long"), context)  # nothing to record


def test_a_cache_that_fails_after_the_run_does_not_make_the_task_run_again(
    twin: TestApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save = Results.save

    def save_until_the_end(results: Results, result: Any) -> None:
        if result.is_finished or result.errors:
            raise ConnectionError("the cache is unavailable")
        save(results, result)

    monkeypatch.setattr(Results, "save", save_until_the_end)
    done, failed = tasks.add.enqueue(1, 2), tasks.fail.enqueue("reject")
    twin.sync.drain()
    assert [dead.id for dead in twin.dead] == [failed.id]
    assert [dead.reason for dead in twin.dead] == ["rejected"]
    assert f"cannot keep the result of task {done.id} (SUCCESSFUL)" in caplog.text
    done.refresh()
    assert done.status == Status.RUNNING


@pytest.mark.parametrize("verb", ["load", "save"])
def test_a_cache_that_fails_before_the_run_postpones_the_task(
    twin: TestApp, monkeypatch: pytest.MonkeyPatch, verb: str, seen: list[Any]
) -> None:
    """With one attempt, the default, it would have failed without ever having run."""
    result = tasks.add.enqueue(1, 2)
    with monkeypatch.context() as broken:
        broken.setattr(Results, verb, _refuse)
        twin.sync.drain()
        assert [message.id for message in twin.waiting("default")] == [result.id]
        assert (twin.dead, twin.errors) == ([], [])
    result.refresh()
    assert (result.status, result.errors) == (Status.READY, [])
    twin.sync.advance("10s")
    result.refresh()
    assert (result.status, result.return_value, result.attempts) == (Status.SUCCESSFUL, 3, 1)


def test_a_result_that_cannot_be_read_begins_again_instead_of_waiting_for_ever(
    twin: TestApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    result = tasks.add.enqueue(1, 2)

    def unreadable(results: Results, id: str) -> Any:
        raise ValueError("not a result")

    with monkeypatch.context() as broken:
        broken.setattr(Results, "load", unreadable)
        twin.sync.drain()
    result.refresh()
    assert (result.status, result.return_value) == (Status.SUCCESSFUL, 3)
    assert f"the result of task {result.id} cannot be read, and begins again" in caplog.text


def test_a_task_is_given_up_also_while_its_cache_fails(twin: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tasks.add.enqueue(1, 2)
    using = {"backend": "default", "queue_name": "default", "priority": 0}
    context = RecordingContext(Message(result.id, b"", {}))
    with monkeypatch.context() as broken:
        broken.setattr(Results, "load", _refuse)
        give_up("tests.support.django_site.tasks.add", [1, 2], {}, using, HandlerTimeoutError("too long"), context)
    result.refresh()
    assert result.status == Status.FAILED


def _refuse(*_: object) -> Any:
    raise ConnectionError("the cache does not answer")


def test_a_timeout_is_one_error_that_shows_where_the_task_was(twin: TestApp) -> None:
    result = tasks.interrupted.enqueue()
    twin.sync.drain()
    using = {"backend": "default", "queue_name": "default", "priority": 0}
    context = RecordingContext(Message(result.id, b"", {}))
    give_up(result.task.module_path, [], {}, using, HandlerTimeoutError("it took too long"), context)
    result.refresh()
    (error,) = result.errors
    assert error.exception_class is HandlerTimeoutError
    assert "in interrupted" in error.traceback
    assert error.traceback.endswith("it took too long\n")


def test_a_dead_letter_that_is_sent_back_is_not_finished_while_it_runs(twin: TestApp) -> None:
    result = tasks.fail_once_more.enqueue()
    twin.sync.drain()
    assert project_app().sync.run(project_app().dead.redrive("default.dead")) == 1
    twin.sync.drain()
    result.refresh()
    assert (result.status, result.return_value) == (Status.SUCCESSFUL, "finished_at was None")


@pytest.mark.parametrize(
    ("path", "alias", "told"),
    [
        ("tests.support.django_site.tasks.no_task", "default", "is no task of the backend 'default' here"),
        ("os.system", "default", "is no task of the backend"),
        ("nowhere.at_all", "default", "is no task of the backend"),
        ("tests.support.django_site.tasks.add", "nowhere", "is no task of the backend 'nowhere'"),
    ],
)
def test_a_message_cannot_name_anything_but_a_task(twin: TestApp, path: str, alias: str, told: str) -> None:
    body = {"task": path, "args": [], "kwargs": {}, "using": {"backend": alias}}
    project_app().sync.publish("default", body, {"message_type": "django.task"})
    twin.sync.drain()
    (dead,) = twin.dead
    assert told in str(dead.error)
    assert tasks.seen == []
