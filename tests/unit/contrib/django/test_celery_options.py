"""The options, base classes and retries of shared tasks, and the app of Celery."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tasuki.contrib.django import celery, project
from tasuki.contrib.django.celery import (
    Celery,
    MaxRetriesExceededError,
    Retry,
    Task,
    chain,
    names,
    shared_task,
    task_failure,
)
from tasuki.contrib.django.celery.options import rules_of
from tasuki.contrib.django.config import Config
from tasuki.contrib.django.project import make_app, project_app
from tasuki.contrib.django.transactions import DjangoSync
from tasuki.ids import name_for
from tasuki.testing import TestApp
from tests.support.django_site import bridged
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
    monkeypatch.setattr(project, "_app", made := make_app(Config("memory://")))
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
    monkeypatch.setattr(project, "_app", made := make_app(Config("memory://")))
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
