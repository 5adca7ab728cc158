"""Chains, groups and chords of shared tasks; eager runs, schedules and ping."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

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
from tasuki.ids import name_for
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
    app = make_app(Config(url=f"sqlite:///{tmp_path}/queue.db"))
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
