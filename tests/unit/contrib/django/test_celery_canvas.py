"""Chains, groups and chords of shared tasks; eager runs, schedules and ping."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings

from tasuki.contrib.django import project
from tasuki.contrib.django.celery import chain, chord, crontab, group, ping, states
from tasuki.contrib.django.celery.schedules import _declare, declare_schedules
from tasuki.contrib.django.config import Config
from tasuki.contrib.django.project import make_app, project_app
from tasuki.errors import PublishError
from tasuki.testing import TestApp
from tests.support.django_site import shared

BEAT_SCHEDULE = {
    "New year": {
        "task": "tests.support.django_site.shared.note",
        "schedule": crontab(0, 0, day_of_month=1, month_of_year=1),
        "args": ("year",),
        "options": {"expires": 540.0, "headers": {"by": "beat"}},
    }
}


@pytest.fixture
def twin() -> Iterator[TestApp]:
    with TestApp(project_app()) as twin:
        yield twin


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
        assert (result.state, str(result.result)) == (states.FAILURE, "no")
        with override_settings(CELERY_TASK_EAGER_PROPAGATES=True), pytest.raises(ValueError, match="no"):
            shared.fail.delay("no")


def test_crontab_is_a_cron_expression() -> None:
    assert crontab() == "* * * * *"
    assert crontab("5", "*/1", "sun", "*", "2") == "5 */1 * 2 sun"
    assert crontab(minute=0, hour=[7, 8]) == "0 7,8 * * *"


def test_a_crontab_of_days_that_cron_reads_in_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="Celery on days that are both; give one of them"):
        crontab(0, 0, day_of_week="mon", day_of_month="1-7")


def test_the_beat_schedule_is_declared() -> None:
    with override_settings(CELERY_BEAT_SCHEDULE=BEAT_SCHEDULE):
        declare_schedules()
        declare_schedules()
    entries = project_app().load_entries().registry.entries
    data: Any = entries["app:New-year.schedule"].data
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


def test_ping_finds_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(Config(url=f"sqlite:///{tmp_path}/queue.db"))
    app.queue("jobs").task(name="nothing")(lambda: None)
    monkeypatch.setattr(project, "_app", app)

    async def run() -> None:
        async with app.worker(), asyncio.timeout(60):
            while not await app.workers():
                await asyncio.sleep(0.05)
            (answer,) = (await asyncio.to_thread(ping)).items()
            assert answer[0].endswith(f":{os.getpid()}")
            assert answer[1] == {"ok": "pong"}

    asyncio.run(run())


def test_ping_without_a_worker_says_what_to_start(twin: TestApp) -> None:
    with pytest.raises(RuntimeError, match=r"manage\.py tasuki"):
        ping()
