"""Shared tasks: calls in Celery's words, run by workers with Celery's signals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings

from tasuki import App
from tasuki.contrib.django.celery import (
    before_task_publish,
    shared_task,
    states,
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
    worker_process_init,
)
from tasuki.contrib.django.celery.options import retries_of
from tasuki.contrib.django.celery.queue import queue_in
from tasuki.contrib.django.celery.task import tasks
from tasuki.contrib.django.project import project_app
from tasuki.contrib.django.tasks.queues import whole_app
from tasuki.errors import BodyTypeError
from tasuki.testing import TestApp
from tests.support.django_site import shared
from tests.support.django_site.models import Tag


@pytest.fixture
def twin() -> Iterator[TestApp]:
    with TestApp(project_app()) as twin:
        yield twin


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """The signals that are sent: their name and a value of each."""
    found: list[Any] = []
    receivers: list[tuple[Any, Callable[..., None]]] = []

    def hear(signal: Any, name: str, pick: Callable[[dict[str, Any]], Any]) -> None:
        def receiver(sender: Any, **values: Any) -> None:
            found.append((name, pick(values)))

        assert signal.connect(receiver, weak=False) is receiver
        receivers.append((signal, receiver))

    hear(before_task_publish, "publish", lambda values: (values["headers"]["task"], values["body"]))
    hear(task_prerun, "prerun", lambda values: values["task"].name)
    hear(task_postrun, "postrun", lambda values: (values["state"], str(values["retval"])))
    hear(task_retry, "retry", lambda values: str(values["reason"]))
    hear(task_failure, "failure", lambda values: (str(values["exception"]), values["traceback"] is not None))
    hear(worker_process_init, "init", lambda values: None)
    yield found
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def test_a_call_is_published_and_run_with_the_signals_of_its_way(twin: TestApp, told: list[Any]) -> None:
    ran = shared.note.delay("a")
    assert told == [("publish", ("tests.support.django_site.shared.note", (("a",), {}, {})))]
    assert [message.id for message in twin.messages("celery")] == [ran.id]
    told.clear()
    twin.sync.drain()
    assert shared.seen == ["a"]
    name = "tests.support.django_site.shared.note"
    assert told == [("prerun", name), ("postrun", (states.SUCCESS, "A"))]


def test_a_worker_tells_when_it_starts(told: list[Any]) -> None:
    app = App("memory://")
    queue_in(app, "celery").task(name="nothing")(lambda: None)

    async def run() -> None:
        async with app.worker():
            assert told == [("init", None)]

    asyncio.run(run())


def test_a_bound_task_knows_its_id_and_gets_its_types_back(twin: TestApp) -> None:
    ran = shared.read.delay(shared.Paper(Path("a.txt"), 3), raw=b"\x00\xff")
    twin.sync.drain()
    assert shared.seen == [(ran.id, shared.Paper(Path("a.txt"), 3), b"\x00\xff")]


def test_a_direct_call_sends_nothing_and_has_no_id(twin: TestApp) -> None:
    assert shared.read(shared.Paper(Path("a"))) == 1
    assert shared.seen == [(None, shared.Paper(Path("a")), None)]
    assert not twin.messages("celery")


def test_a_wrong_argument_is_refused_before_anything_is_sent(twin: TestApp) -> None:
    with pytest.raises(BodyTypeError, match="cannot take this int as parameter 'text'"):
        shared.note.delay(7)
    with pytest.raises(BodyTypeError, match="lacks parameter 'text'"):
        shared.note.apply_async(kwargs={})
    assert not twin.messages("celery")


def test_a_call_belongs_to_the_transaction(twin: TestApp) -> None:
    with transaction.atomic():
        shared.note.delay("kept")
        assert not twin.messages("celery")
    with transaction.atomic():
        shared.note.delay("dropped")
        transaction.set_rollback(True)
    twin.sync.drain()
    assert shared.seen == ["kept"]


def test_apply_async_takes_the_options_of_a_message(twin: TestApp) -> None:
    ran = shared.note.apply_async(("late",), countdown=60, task_id="mine", headers={"by": "test"})
    assert ran.id == "mine"
    (message,) = twin.messages("celery")
    assert message.headers["by"] == "test"
    twin.sync.drain()
    assert shared.seen == []
    twin.sync.advance(61)
    assert shared.seen == ["late"]


def test_an_error_ends_a_task_at_once(twin: TestApp, told: list[Any]) -> None:
    shared.fail.delay("no")
    run = twin.sync.drain()
    assert (run.dead, shared.seen) == (1, ["tried"])
    assert told[-2:] == [("failure", ("no", True)), ("postrun", (states.FAILURE, "no"))]
    assert twin.dead[0].queue.endswith("celery")


def test_an_error_that_is_retried_for_is_tried_again(twin: TestApp, told: list[Any]) -> None:
    shared.fail_twice.delay()
    twin.sync.advance(20)
    assert shared.seen == [0, 1, 2]
    assert [name for name, _ in told if name in ("retry", "failure")] == ["retry", "retry"]
    assert told[-1] == ("postrun", (states.SUCCESS, "at last"))


def test_a_task_asks_for_another_attempt(twin: TestApp, told: list[Any]) -> None:
    shared.ask_again.delay()
    twin.sync.advance(10)
    assert shared.seen == [0, 1]
    assert [name for name, _ in told if name in ("retry", "failure")] == ["retry"]


def test_a_task_that_sleeps_has_not_failed(twin: TestApp, told: list[Any]) -> None:
    shared.rest.delay(3)
    twin.sync.advance("4d")
    assert shared.seen == [3]
    assert [name for name, _ in told if name in ("retry", "failure")] == []
    assert told[-1] == ("postrun", (states.SUCCESS, "3"))


def test_a_model_travels_as_its_primary_key_and_is_read_by_the_worker(twin: TestApp, told: list[Any]) -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Tag)
    try:
        tag = Tag.objects.create(name="old")
        shared.label.delay(tag, suffix="!")
        assert twin.published("celery") == [{"tag": tag.pk, "suffix": "!"}]
        Tag.objects.update(name="new")
        twin.sync.drain()
        assert shared.seen == ["new!"]
        shared.label.delay(tag, suffix="?")
        tag.delete()
        assert twin.sync.drain().dead == 1
        assert told[-2] == ("failure", ("Tag matching query does not exist.", True))
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Tag)


def test_false_is_a_result(twin: TestApp, told: list[Any]) -> None:
    shared.is_empty.delay()
    assert twin.sync.drain().done == 1
    assert told[-1] == ("postrun", (states.SUCCESS, "False"))


def test_an_error_of_a_receiver_reaches_no_message(twin: TestApp) -> None:
    @task_prerun.connect
    def break_it(**values: Any) -> None:
        raise RuntimeError("broken receiver")

    try:
        shared.note.delay("b")
        assert twin.sync.drain().done == 1
    finally:
        task_prerun.disconnect(break_it)


def test_a_worker_knows_the_tasks_of_views_too() -> None:
    name = "tests.support.django_site.urls.of_a_view"
    assert name not in tasks
    with override_settings(ROOT_URLCONF="tests.support.django_site.urls"):
        whole_app()
    assert name in tasks


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"never": ["builtins.Exception"], "initial_delay": 1.0}),
        ({"autoretry_for": (OSError,)}, {"max_attempts": 4, "on": ["builtins.OSError"], "initial_delay": 180.0}),
        (
            {"autoretry_for": (OSError,), "max_retries": 5, "retry_backoff": 60},
            {"max_attempts": 6, "initial_delay": 60.0, "max_delay": 600.0},
        ),
        ({"autoretry_for": (OSError,), "retry_backoff": True}, {"initial_delay": 1.0, "max_delay": 600.0}),
    ],
)
def test_the_retry_rules_of_the_options(options: dict[str, Any], expected: dict[str, Any]) -> None:
    fields = retries_of(options).fields()
    assert {name: fields[name] for name in expected} == expected


def test_what_cannot_be_a_task_is_refused_where_it_is_declared() -> None:
    with pytest.raises(TypeError, match="has no option 'rate_limit'"):
        shared_task(rate_limit="1/s")
    with pytest.raises(TypeError, match="'args' takes any number"):

        @shared_task
        def starred(*args: int) -> None: ...

    with pytest.raises(TypeError, match="is async"):

        @shared_task
        async def waiting() -> None: ...
