"""The options, base classes and retries of shared tasks, and the app of Celery."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import override_settings

from tasuki import App
from tasuki.contrib.django import celery, project
from tasuki.contrib.django.celery import (
    Celery,
    MaxRetriesExceededError,
    Retry,
    Task,
    before_task_publish,
    chain,
    chord,
    crontab,
    group,
    names,
    ping,
    shared_task,
    states,
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
    worker_process_init,
)
from tasuki.contrib.django.celery.options import queue_in, retries_of, rules_of
from tasuki.contrib.django.celery.schedules import _declare, declare_schedules
from tasuki.contrib.django.celery.task import tasks
from tasuki.contrib.django.config import DjangoConfig
from tasuki.contrib.django.project import make_app, project_app
from tasuki.contrib.django.tasks.queues import whole_app
from tasuki.contrib.django.transactions import DjangoSync
from tasuki.errors import BodyTypeError, PublishError
from tasuki.ids import name_for
from tasuki.testing import TestApp
from tests.support.django_site import bridged, shared
from tests.support.django_site.models import Tag
from tests.support.django_site.shared import seen


@pytest.fixture
def twin() -> Iterator[TestApp]:
    with TestApp(project_app()) as twin:
        yield twin


def test_the_methods_of_a_base_class_are_called(twin: TestApp, caplog: pytest.LogCaptureFixture) -> None:
    id = bridged.told.delay("yes").id
    with caplog.at_level(logging.ERROR, "tasuki.django"):
        assert twin.sync.drain().done == 1
    text = {"text": "yes"}
    assert seen == [
        ("before_start", text),
        ("call", id),
        ("run", id, "yes"),
        ("on_success", "yes", text),
        ("after_return", "SUCCESS"),
    ]
    assert "on_success of task tests.support.django_site.bridged.told failed" in caplog.text


def test_a_failure_and_a_retry_are_told_to_the_base_class(twin: TestApp) -> None:
    bridged.told.delay("no")
    assert twin.sync.drain().dead == 1
    text = {"text": "no"}
    assert seen[-2:] == [("on_failure", "ValueError", text, True), ("after_return", "FAILURE")]
    seen.clear()
    bridged.told.delay("again")
    assert twin.sync.advance("1m").dead == 1
    told = [each for each in seen if each[0] in ("on_retry", "on_failure", "after_return")]
    assert told == [
        ("on_retry", "OSError: away", {"text": "again"}),
        ("after_return", "RETRY"),
        ("on_failure", "OSError", {"text": "again"}, True),
        ("after_return", "FAILURE"),
    ]


def test_an_eager_run_calls_them_too_and_retries_at_once() -> None:
    with override_settings(CELERY_TASK_ALWAYS_EAGER=True):
        result: Any = bridged.told.delay("again")
    assert (result.state, type(result.result)) == ("FAILURE", OSError)
    assert [each[0] for each in seen].count("run") == 2
    assert bridged.told.apply(("yes",)).result == "yes"


def test_a_direct_call_has_no_id_and_no_hooks() -> None:
    assert bridged.told("yes") == "yes"
    assert seen == [("call", None), ("run", None, "yes")]


def test_a_task_has_its_queue_and_options_of_its_messages(twin: TestApp) -> None:
    bridged.mail.delay("ada")
    bridged.mail.apply_async(("bob",), queue="post", compression="bzip2", retry=True)
    assert [message.headers["expires_after"] for message in twin.messages("post")] == [60.0, 60.0]
    assert twin.sync.drain().dead == 2
    assert seen == [
        "ada",
        ("mail", "ConnectionError", {"to": "ada"}),
        "bob",
        ("mail", "ConnectionError", {"to": "bob"}),
    ]
    assert {letter.queue.rpartition(":")[2] for letter in twin.dead} == {"post"}


def test_a_large_body_is_compressed(twin: TestApp) -> None:
    bridged.mail.delay("a" * 100_000)
    (message,) = twin.messages("post")
    assert message.headers["content_type"] == "application/msgpack+gzip"
    assert len(message.body) < 1_000


def test_a_message_that_has_expired_is_not_run(twin: TestApp) -> None:
    bridged.mail.apply_async(("late",), countdown=7200, expires=datetime.now(UTC) + timedelta(hours=1))
    assert twin.sync.advance("3h").done == 1
    assert seen == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"link": None}, "has no option 'link'; write chain"),
        ({"queue": "other"}, r"has the queue 'post'; give the task its queue: shared_task\(queue='other'\)"),
        ({"time_limit": 3}, r"give it to the task: shared_task\(time_limit=…\)"),
        ({"nonsense": 3}, "has no option 'nonsense'; remove it"),
    ],
)
def test_an_option_of_a_call_without_a_counterpart_is_answered(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        bridged.mail.apply_async(("ada",), **options)


def test_retry_kwargs_and_errors_that_are_not_retried(twin: TestApp) -> None:
    bridged.fetch.delay("down")
    twin.sync.advance(3)
    assert seen == ["down", "down"]
    bridged.fetch.delay("gone")
    twin.sync.advance("1h")
    assert seen == ["down", "down", "gone"]
    with pytest.raises(TypeError, match="retry_kwargs has no 'args' here; there are: max_retries, countdown"):
        shared_task(autoretry_for=(OSError,), retry_kwargs={"args": ()})(lambda: None)


@pytest.mark.parametrize("catches", [True, False])
def test_a_soft_time_limit_raises_within_the_task(twin: TestApp, catches: bool) -> None:
    failures: list[Any] = []

    def receiver(**values: Any) -> None:
        failures.append(type(values["exception"]).__name__)

    task_failure.connect(receiver)
    try:
        bridged.slow.delay(catches=catches)
        run = twin.sync.drain()
    finally:
        task_failure.disconnect(receiver)
    if catches:
        assert (run.done, seen, failures) == (1, ["cleaned up"], [])
    else:
        assert run.dead == 1
        assert seen == ["cleaned up", ("slow", "SoftTimeLimitExceeded", {"catches": False})]
        assert failures == ["SoftTimeLimitExceeded"]


def test_a_task_that_retries_itself_ends_after_its_retries(twin: TestApp) -> None:
    bridged.ask.delay(most=2)
    twin.sync.advance("1m")
    assert seen == [0, 1, 2]
    assert MaxRetriesExceededError.__name__ in twin.dead[0].error


def test_retry_outside_of_a_worker_raises_the_error_and_other_arguments_are_refused() -> None:
    with pytest.raises(OSError, match="away"):
        bridged.ask.retry(exc=OSError("away"))
    with pytest.raises(Retry):
        bridged.ask(most=2)
    with pytest.raises(TypeError, match=r"publish the next call and return: self\.apply_async\(args, kwargs"):
        bridged.ask.retry(args=(1,))


def test_options_may_be_attributes_of_the_base_class_and_settings() -> None:
    class Patient(Task):
        autoretry_for = (OSError,)
        max_retries = None
        time_limit = 30

    rules = rules_of("shop.tasks.fetch", {"soft_time_limit": 20}, Patient)
    assert (rules.limit, rules.has_soft_limit, rules.autoretry_for) == (20, True, (OSError,))
    assert rules.retries.fields()["max_attempts"] > 100_000
    assert rules_of("x", {}, Patient).limit == 30
    with override_settings(CELERY_TASK_ROUTES={"shop.*": {"queue": "shop"}, "other": "others"}):
        assert rules_of("shop.tasks.fetch", {}, Task).queue == "shop"
        assert rules_of("other", {}, Task).queue == "others"
        assert rules_of("else", {}, Task).queue == "celery"
    for routes, told in (([], "must be a dict"), ({"x": {}}, "names no queue")):
        with (
            override_settings(CELERY_TASK_ROUTES=routes or [("x", "y")]),
            pytest.raises(ImproperlyConfigured, match=told),
        ):
            rules_of("x", {}, Task)


def entry_of(schedule: str) -> Any:
    return project_app()._runtime.load_entries().registry.entries[f"app:{name_for(schedule)}.schedule"]


def test_a_periodic_task_of_the_app_is_a_schedule() -> None:
    leap: Any = entry_of("leap day").data
    assert (leap["cron"], leap["body"], leap["headers"]) == ("0 0 29 2 *", {"to": "ada"}, {"expires_after": 60.0})
    assert leap["queue"] == "app:post"


def test_periodic_tasks_without_names_get_the_same_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_app", made := make_app(DjangoConfig("memory://")))
    app = Celery("another")

    @app.on_after_configure.connect
    def periodic(sender: Celery, **kwargs: Any) -> None:
        assert sender.add_periodic_task(90.0, bridged.fetch.s("a")) == bridged.fetch.name
        assert sender.add_periodic_task(timedelta(minutes=1), bridged.fetch, kwargs={"kind": "b"})[-2:] == "-2"
        sender.add_periodic_task(90.0, bridged.told.s(), args=("c",))

    entries = [entry for entry in made._runtime.load_entries().registry if entry.kind == "queue.schedule"]
    assert [entry.data["body"] for entry in entries] == [{"kind": "a"}, {"kind": "b"}, {"text": "c"}]
    with pytest.raises(ImproperlyConfigured, match=r"has the time None; write crontab\(…\)"):
        app.add_periodic_task(None, bridged.mail.s("ada"))


def test_schedules_of_any_name_are_apart_and_have_the_options_of_their_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_app", made := make_app(DjangoConfig("memory://")))
    app = Celery("another")
    for name in ("毎晩の掃除", "毎朝の掃除", "a b", "a-b"):
        app.add_periodic_task(timedelta(hours=1), bridged.mail.s("ada"), name=name)
    app.add_periodic_task(60, bridged.mail.s("ada"), name="soon", expires=timedelta(seconds=5), queue="post")
    loaded = made._runtime.load_entries()
    assert not loaded.errors
    found = {entry.id: entry.data for entry in loaded.registry if entry.kind == "queue.schedule"}
    assert [data["headers"] for data in found.values()] == [{"expires_after": 60.0}] * 4 + [{"expires_after": 5.0}]
    assert "app:毎晩の掃除.schedule" in found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"queue": "other"}, "a schedule has queue='other', and task .*mail has the queue 'post'; give the task its"),
        ({"priority": 3}, "a schedule of task .*mail has no option 'priority'; remove it"),
        ({"expire": 3}, "has no option 'expire'; did you mean 'expires'"),
        ({"expires": datetime(2030, 1, 1)}, "is a time, and a task or a schedule has a length"),
    ],
)
def test_an_option_that_a_schedule_cannot_have_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        Celery("another").add_periodic_task(60.0, bridged.mail.s("ada"), name="refused", **options)
    with pytest.raises(TypeError, match="publishes one task, not a chain"):
        Celery("another").add_periodic_task(60.0, cast("Any", chain(bridged.mail.s("ada"))))


def test_the_packages_themselves_may_be_discovered() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        Celery("another").autodiscover_tasks(["nowhere"], related_name=None)
    Celery("another").autodiscover_tasks(["tests.support.django_site"], related_name=None)


def test_what_a_hint_says_to_write_exists() -> None:
    hints = " ".join(hint for name, hints in vars(names).items() if name.startswith("OF_") for hint in hints.values())
    used = re.findall(r"app\.sync\.(\w+)", hints)
    assert used
    assert not [verb for verb in used if not hasattr(DjangoSync, verb)]


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda: Celery("x", broker="redis://h"), r"write TASUKI = \{'URL': …\} in Django's settings"),
        (lambda: Celery("x", timezone="UTC"), "write CELERY_TIMEZONE in Django's settings"),
        (lambda: Celery("x", include=["shop.reports"]), r"write app.autodiscover_tasks\(\['shop.reports'\]"),
        (lambda: Celery("x", strict_typing=True), "remove it: it has no effect here"),
        (lambda: Celery("x").config_from_object("shop.celeryconfig"), "with the prefix CELERY_"),
        (
            lambda: Celery("x").conf,
            r"write its values in Django's settings with the prefix CELERY_: CELERY_BEAT_SCHEDULE",
        ),
        (lambda: Celery("x").send_task, r"import the task and write task\.apply_async"),
        (lambda: Celery("x").nonsense, "coming-from-paperless.md lists all names"),
        (lambda: shared_task(rate_limit="10/m"), "give the task its own queue"),
        (lambda: cast("Any", bridged.mail).update_state(state="PROGRESS"), r"take a parameter context: Context"),
        (lambda: cast("Any", bridged.mail.request).hostname, r"write socket.gethostname\(\)"),
        (lambda: cast("Any", bridged.mail.s("ada")).link(None), r"write chain\(task.s\(…\), other.s\(\)\)"),
        (lambda: cast("Any", bridged.mail.apply(("ada",))).ready(), "it has run: read state"),
        (lambda: shared_task(autoretry_for=OSError)(print), r"write autoretry_for=\(OSError,\)"),
        (lambda: bridged.mail.apply_async(("a",), cuntdown=3), "did you mean 'countdown'"),
        (lambda: bridged.mail.apply_async(("a",), expires=datetime(2030, 1, 1)), "must be a datetime with a time zone"),
        (lambda: shared_task(max_retrys=3), "did you mean 'max_retries'"),
        (lambda: shared_task(base=int)(print), "is no subclass of tasuki.contrib.django.celery.Task"),
    ],
)
def test_names_of_celery_are_answered_with_the_line_to_write(use: Any, told: str) -> None:
    with pytest.raises((TypeError, AttributeError), match=told):
        use()


def test_an_import_that_has_no_counterpart_says_what_to_write() -> None:
    with pytest.raises(ImportError, match=r"has no 'get_task_logger'; write logging\.getLogger\(__name__\)"):
        getattr(celery, "get_task_logger")  # noqa: B009 - the name is not there for a type checker
    with pytest.raises(ImportError, match="has no 'AsyncResult'; results are in a queue of Tasuki"):
        from tasuki.contrib.django.celery import AsyncResult  # noqa: F401
    assert not hasattr(celery, "nonsense")


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


BEAT_SCHEDULE = {
    "New year": {
        "task": "tests.support.django_site.shared.note",
        "schedule": crontab(0, 0, day_of_month=1, month_of_year=1),
        "args": ("year",),
        "options": {"expires": 540.0, "headers": {"by": "beat"}},
    }
}


@pytest.fixture(params=["published", "eager"])
def run(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Publishes a signature, a chain, a group or a chord and runs it, in both ways."""
    with TestApp(project_app()) as twin, override_settings(CELERY_TASK_ALWAYS_EAGER=request.param == "eager"):

        def run(what: Any) -> Any:
            result = what.delay()
            twin.sync.drain()
            return result

        yield run


def test_each_task_of_a_chain_gets_the_result_before_it(run: Any) -> None:
    run(chain(shared.double.s(1), shared.double.s(factor=10), shared.double.s(), shared.note.si("end")))
    assert shared.seen == ["end"]
    run(chain([shared.note.s("a"), shared.note.s()]))
    assert shared.seen == ["end", "a", "A"]


def test_a_chain_stops_at_a_failure(run: Any) -> None:
    run(chain(shared.fail.s("no"), shared.note.si("never")))
    assert shared.seen == ["tried"]


def test_false_goes_on_in_a_chain_and_in_a_chord(run: Any) -> None:
    run(chain(shared.is_empty.s(), shared.keep.s()))
    assert shared.seen == [False]
    run(chord([shared.is_empty.s(), shared.double.s(1)], shared.keep.s()))
    assert shared.seen[1:] == [[False, 2]]


def test_calls_are_joined_by_bars_and_published_by_a_call(run: Any) -> None:
    run(shared.double.s(1) | shared.double.s(factor=10) | shared.keep.s())
    assert shared.seen == [20]
    run(group(shared.double.s(1), shared.double.s(2)) | shared.add.s() | shared.keep.s())
    assert shared.seen[1:] == [6, 6]
    run(chain(shared.double.s(1) | shared.double.s(), shared.keep.s()))
    assert shared.seen[3:] == [4]
    run(chord([shared.double.s(1)], shared.add.s(1) | shared.keep.s()))
    assert shared.seen[4:] == [3, 3]


def test_chains_groups_and_chords_may_be_called(twin: TestApp) -> None:
    chain(shared.double.s(), shared.keep.s())(4)
    group(shared.keep.s(), group(shared.keep.s()))("each")
    chord([shared.double.s(1)], shared.keep.s())()
    twin.sync.drain()
    assert sorted(map(str, shared.seen)) == ["8", "[2]", "each", "each"]
    assert shared.double.s(factor=3)(2) == 6


def test_a_call_may_have_options_of_its_own(twin: TestApp) -> None:
    shared.keep.s("set").set(countdown=60).delay()
    shared.keep.s().apply_async(("given",), countdown=60, headers={"by": "ada"})
    chain(shared.double.s(1), shared.keep.s().set(countdown=30)).apply_async(countdown=60)
    group(shared.keep.si("all")).apply_async(countdown=60)
    assert [round(message.delay) for message in twin.messages("celery")] == [60, 60, 60, 60]
    twin.sync.advance("61s")
    assert sorted(shared.seen) == ["all", "given", "set"]
    twin.sync.advance("30s")
    assert shared.seen[3:] == [2]
    with pytest.raises(TypeError, match="has no option 'cuntdown'; did you mean 'countdown'"):
        shared.keep.s().set(cuntdown=3)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: chain(cast("Any", group(shared.keep.s(1))), shared.keep.s()),
            r"a group cannot be a step of a chain.*after a group, chord",
        ),
        (lambda: shared.keep.s(1) | group(shared.keep.s()), "a group cannot be a step of a chain"),
        (lambda: chain(cast("Any", shared.keep)), r"a Task cannot be a step of a chain.*write task\.s\(…\)"),
        (lambda: group(cast("Any", shared.keep)), "a Task cannot be in a group"),
        (lambda: chord([cast("Any", chain(shared.keep.s(1)))], shared.keep.s()), "a chain cannot be a task of a chord"),
    ],
)
def test_calls_that_cannot_be_joined_are_refused_with_the_line_to_write(make: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        make()


def test_a_group_runs_all(run: Any) -> None:
    run(group(shared.note.s(text) for text in "abc"))
    assert sorted(shared.seen) == ["a", "b", "c"]


def test_a_chord_gives_the_results_and_the_other_arguments(run: Any) -> None:
    run(chord(header=[shared.double.s(1), shared.double.s(2)], body=shared.add.s(more=100)))
    assert shared.seen == [106]
    run(chord(group(shared.double.s(1)), shared.note.si("all")))
    assert shared.seen == [106, "all"]


def test_the_error_callback_of_a_chord(run: Any) -> None:
    failing = [shared.double.s(1), shared.fail.s("no")]
    run(chord(header=failing, body=shared.add.s()).on_error(shared.regret.s(name="ada")))
    assert shared.seen[0] == "tried"
    message, exc, tb, name = shared.seen[1]
    assert (exc, tb, name) == (None, None, "ada")
    assert message.endswith("no")


def test_a_chord_waits_for_the_commit(twin: TestApp) -> None:
    with transaction.atomic():
        started: Any = chord([shared.double.s(3)])(shared.add.s())
        assert not twin.messages("celery")
    assert [message.id for message in twin.messages("celery")] == started.members
    with transaction.atomic():
        chord([shared.double.s(4)], shared.add.s()).delay()
        transaction.set_rollback(True)
    twin.sync.drain()
    assert shared.seen == [6]


def test_a_chord_that_cannot_be_is_refused_before_the_commit(twin: TestApp) -> None:
    with pytest.raises(PublishError, match="task 'named'"), transaction.atomic():
        chord([shared.double.s(1)], shared.refresh.s()).delay()
    assert not twin.messages("celery")
    with pytest.raises(TypeError, match="needs a task"):
        chain().delay()


def test_an_eager_failure_is_a_state_or_is_raised() -> None:
    with override_settings(CELERY_TASK_ALWAYS_EAGER=True):
        result: Any = shared.fail.delay("no")
        assert (result.state, str(result.result), result.failed()) == (states.FAILURE, "no", True)
        with pytest.raises(ValueError, match="no"):
            result.get()
        with pytest.raises(ValueError, match="no"):
            shared.fail.apply(("no",), throw=True)
        done: Any = shared.double.delay(2)
        assert (done.get(timeout=1), done.successful()) == (4, True)
        with override_settings(CELERY_TASK_EAGER_PROPAGATES=True), pytest.raises(ValueError, match="no"):
            shared.fail.delay("no")


def test_crontab_is_a_cron_expression() -> None:
    assert crontab() == "* * * * *"
    assert crontab("5", "*/1", "sun", "*", "2") == "5 */1 * 2 sun"
    assert crontab(minute=0, hour=[7, 8]) == "0 7,8 * * *"
    assert crontab("random", 7, "Monday-friday", month_of_year="december") == "random 7 * dec Mon-fri"


def test_a_crontab_of_days_that_cron_reads_in_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="Celery on days that are both; give one of them"):
        crontab(0, 0, day_of_week="mon", day_of_month="1-7")


def test_the_beat_schedule_is_declared() -> None:
    with override_settings(CELERY_BEAT_SCHEDULE=BEAT_SCHEDULE):
        declare_schedules()
        declare_schedules()
    entries = project_app()._runtime.load_entries().registry.entries
    data: Any = entries[f"app:{name_for('New year')}.schedule"].data
    assert data["task"] == "tests.support.django_site.shared.note"
    assert (data["cron"], data["timezone"], data["body"]) == ("0 0 1 1 *", "America/Chicago", {"text": "year"})
    assert data["headers"] == {"by": "beat", "expires_after": 540.0}


def test_a_scheduled_task_that_waits_too_long_is_not_run(twin: TestApp) -> None:
    with override_settings(CELERY_TASK_ALWAYS_EAGER=False):
        shared.note.apply_async(("old",), headers={"expires_after": -1.0})
        assert twin.sync.drain().done == 1
    assert shared.seen == []


def test_a_schedule_without_a_task_is_a_mistake() -> None:
    with pytest.raises(ImproperlyConfigured, match="names the task 'nmed'; did you mean 'named'"):
        _declare(project_app(), "x", {"task": "nmed", "schedule": "* * * * *"})
    with pytest.raises(ImproperlyConfigured, match="has no field 'arg'; did you mean 'args'"):
        _declare(project_app(), "x", {"task": "named", "schedule": "* * * * *", "arg": (1,)})


def test_ping_finds_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(DjangoConfig(url=f"sqlite:///{tmp_path}/queue.db"))
    app.queue("jobs").task(name="nothing")(lambda: None)
    monkeypatch.setattr(project, "_app", app)

    async def run() -> None:
        async with app.worker(), asyncio.timeout(60):
            while not await app.workers.list():
                await asyncio.sleep(0.05)
            (answer,) = (await asyncio.to_thread(ping)).items()
            assert answer[0].endswith(f":{os.getpid()}")
            assert answer[1] == {"ok": "pong"}

    asyncio.run(run())


def test_ping_without_a_worker_says_what_to_start(twin: TestApp) -> None:
    with pytest.raises(RuntimeError, match=r"manage\.py tasuki"):
        ping()
