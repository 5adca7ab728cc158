"""The moments that hooks hear of, in order and with what belongs to each; and that no hook is in a message's way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tasuki import App, Context, Moment, Reject, Retry, Snooze
from tasuki.app.hooks import hooks as hook_module
from tasuki.errors import BrokerUnavailableError, HandlerError
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


def hear(app: App) -> list[Moment]:
    """The moments of deliveries, of each kind in order."""
    heard: list[Moment] = []

    async def note(moment: Moment) -> None:
        heard.append(moment)

    for decorator in (app.on.begin, app.on.done, app.on.failed, app.on.give_up, app.on.discard):
        decorator(note)
    return heard


def _fate(*, is_dropped: bool) -> Any:
    """Of an expired message."""
    return {"on_expire": "drop"} if is_dropped else {"dead_letter": "dead"}


async def test_a_message_begins_fails_comes_again_and_is_done() -> None:
    app, tries = App("memory://"), []
    heard = hear(app)
    mails = app.queue("mails")

    @mails.consumer
    async def send(body: dict[str, str]) -> None:
        tries.append(body)
        if len(tries) == 1:
            raise ValueError("smtp")

    async with TestApp(app) as t:
        id = (await mails.publish({"to": "ada"}, {"tenant": "acme"})).id
        await t.advance("1h")
        t.errors.clear()

    assert sorted(moment.name for moment in heard) == ["begin", "begin", "done", "failed"]
    for moment in heard:
        assert (moment.queue, moment.consumer, moment.function) == ("app:mails", "app:send.consumer", "app:send")
        assert (moment.id, moment.body, moment.headers["tenant"], moment.task) == (id, {"to": "ada"}, "acme", "")
    of = {moment.name: moment for moment in heard}
    assert (str(of["failed"].error), of["failed"].attempt) == ("smtp", 1)
    assert of["failed"].delay == pytest.approx(1, abs=0.2)
    assert (of["done"].error, of["done"].attempt) == (None, 2)
    assert of["done"].seconds is not None
    assert of["done"].seconds >= 0


async def test_a_message_is_given_up_with_its_error_and_reason() -> None:
    app = App("memory://")
    heard = hear(app)
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    error, rejection = ValueError("broken"), Reject("never")

    @jobs.task
    async def fail(url: str) -> None:
        raise error

    @jobs.task
    async def reject() -> None:
        raise rejection

    async with TestApp(app) as t:
        await fail.publish("x")
        await reject.publish()
        await jobs.publish({}, {"message_type": "unknown"})
        await t.drain()
        assert len(t.dead) == 3
    given_up = {moment.task: moment for moment in heard if moment.name == "give_up"}
    assert given_up.keys() == {"fail", "reject", "unknown"}
    assert (given_up["fail"].error, given_up["fail"].reason) == (error, "max_attempts")
    assert given_up["fail"].body == {"url": "x"}
    assert (given_up["reject"].error, given_up["reject"].reason) == (rejection, "rejected")
    assert (given_up["unknown"].reason, given_up["unknown"].seconds) == ("unknown_task", None)
    assert isinstance(given_up["unknown"].error, HandlerError)
    assert [moment.task for moment in heard if moment.name == "begin"] == ["fail", "reject"]


@pytest.mark.parametrize("is_dropped", [False, True])
async def test_an_expired_message_is_discarded_and_its_handler_never_begins(is_dropped: bool) -> None:
    app = App("memory://")
    heard = hear(app)
    mails = app.queue("mails", message_ttl="10s", **_fate(is_dropped=is_dropped))

    @mails.consumer
    async def send(body: str) -> None: ...

    async with TestApp(app) as t:
        await mails.publish("old")
        t.clock.advance(60)
        await t.drain()
    [moment] = heard
    assert (moment.name, moment.reason, moment.body) == ("discard", "expired", "old")


async def test_a_snoozed_and_a_released_message_is_only_begun() -> None:
    app = App("memory://")
    heard = hear(app)
    mails = app.queue("mails")

    @mails.consumer
    async def send(body: str, context: Context) -> None:
        if len([moment for moment in heard if moment.name == "begin"]) == 0:
            raise Snooze("1h")
        context.ack()
        raise Retry

    async with TestApp(app) as t:
        await mails.publish("x")
        await t.advance("2h")
        t.errors.clear()
    assert sorted(moment.name for moment in heard) == ["begin", "begin", "done"]


async def test_with_auto_ack_the_end_of_the_handler_is_the_end() -> None:
    app = App("memory://")
    heard = hear(app)
    mails = app.queue("mails")

    @mails.consumer(auto_ack=True)
    async def send(body: str) -> None:
        if body == "bad":
            raise ValueError("lost")

    async with TestApp(app) as t:
        await mails.publish("good")
        await mails.publish("bad")
        await t.drain()
        t.errors.clear()
    assert sorted((moment.name, moment.body) for moment in heard) == [
        ("begin", "bad"),
        ("begin", "good"),
        ("done", "good"),
        ("failed", "bad"),
    ]


async def test_each_message_of_a_batch_has_its_moments() -> None:
    app = App("memory://")
    heard = hear(app)
    rows = app.queue("rows", dead_letter={"queue": "dead", "max_attempts": 1})

    @rows.consumer(batch={"size": 2})
    async def store(numbers: list[int]) -> list[Exception | None]:
        return [None, ValueError("two")]

    async with TestApp(app) as t:
        await rows.publish_many([1, 2])
        await t.drain()
        t.errors.clear()
    ends = {(moment.name, moment.body) for moment in heard if moment.name != "begin"}
    assert ends == {("done", 1), ("give_up", 2)}


async def test_a_publish_is_heard_with_the_error_of_a_broker_that_refused_it() -> None:
    app, heard = App("memory://"), []

    @app.on.publish
    def published(moment: Moment) -> None:
        heard.append((moment.queue, moment.body, moment.task, moment.headers.get("n"), type(moment.error)))

    jobs = app.queue("jobs", dead_letter="dead")

    @jobs.task
    async def fetch(url: str) -> None: ...

    async with TestApp(app) as t:
        await fetch.with_options(headers={"n": 1}).publish("x")
        t.broker_away("1h")
        with pytest.raises(BrokerUnavailableError):
            await jobs.publish(2, {"message_type": "fetch"}, publish_timeout=0.01)
    assert heard[0] == ("app:jobs", {"url": "x"}, "fetch", 1, type(None))


async def test_a_hook_of_one_queue_or_task_hears_of_no_other() -> None:
    app = App("memory://")
    heard: list[tuple[str, ...]] = []
    jobs, mails = app.queue("jobs"), app.queue("mails")

    @jobs.task
    async def fetch() -> None: ...

    @jobs.task(name="other-name")
    async def other() -> None: ...

    @mails.consumer
    async def send(body: str) -> None: ...

    app.on.done(queue=mails)(lambda moment: heard.append(("of mails", moment.queue, moment.task)))
    app.on.done(queue="jobs")(lambda moment: heard.append(("of jobs", moment.queue, moment.task)))
    app.on.done(task=other)(lambda moment: heard.append(("of other", moment.queue, moment.task)))
    app.on.done(task="fetch")(lambda: heard.append(("of fetch",)))

    async with TestApp(app) as t:
        await fetch.publish()
        await other.publish()
        await mails.publish("x")
        await t.drain()
    assert sorted(heard) == [
        ("of fetch",),
        ("of jobs", "app:jobs", "fetch"),
        ("of jobs", "app:jobs", "other-name"),
        ("of mails", "app:mails", ""),
        ("of other", "app:jobs", "other-name"),
    ]


async def test_a_worker_starts_before_its_messages_and_stops_after_them() -> None:
    app, events = App("memory://"), []
    jobs = app.queue("jobs")
    done = asyncio.Event()

    @app.on.start
    async def connect() -> None:
        events.append("start")

    @app.on.stop
    def disconnect(moment: Moment) -> None:
        events.append(moment.name)

    @jobs.consumer
    async def work(body: str) -> None:
        events.append(body)
        done.set()

    async with app:
        assert events == []  # it only publishes
    async with app.worker():
        await jobs.publish("message")
        await done.wait()
    assert events == ["start", "message", "stop"]


async def test_a_failing_hook_is_logged_with_its_name_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    app, handled = App("memory://"), []
    jobs = app.queue("jobs")

    @app.on.begin
    async def breaks(moment: Moment) -> None:
        raise ValueError("in the hook")

    @app.on.publish
    def exits(moment: Moment) -> None:
        raise SystemExit(3)

    @app.on.start
    def fails() -> None:
        raise OSError("no network")

    @jobs.consumer
    async def work(body: str) -> None:
        handled.append(body)

    async with TestApp(app) as t:
        await jobs.publish("x")
        await t.drain()
        assert t.errors == []
    assert handled == ["x"]
    for text in ("hook app:breaks.begin failed", "ValueError: in the hook", "hook app:exits.publish failed",
                 "hook app:fails.start failed", "no network"):  # fmt: skip
        assert text in caplog.text


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), Mute()])
@pytest.mark.parametrize("is_plain", [False, True])
async def test_a_hook_hears_of_later_moments_whatever_it_raises(
    error: BaseException, is_plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Moment] = []

    def raises(moment: Moment) -> None:
        heard.append(moment)
        raise error

    async def raises_on_the_loop(moment: Moment) -> None:
        raises(moment)

    hook = hook_module.Hook("app:bad", raises if is_plain else raises_on_the_loop, queue=None, task=None)
    for _ in range(3):
        hook.put(Moment("done"))
    await hook.finish(5)
    assert len(heard) == 3
    assert caplog.text.count(f"hook app:bad failed: {type(error).__name__}") == 3


@pytest.mark.parametrize("is_plain", [False, True])
async def test_a_hook_that_hangs_delays_no_message_and_is_cancelled(
    is_plain: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_module, "LIMIT", 0.05)
    app, handled, hung = App("memory://"), [], threading.Event()
    jobs = app.queue("jobs")

    async def hang(moment: Moment) -> None:
        hung.set()
        await asyncio.Event().wait()

    def hang_plainly(moment: Moment) -> None:
        hung.set()
        while True:
            threading.Event().wait(0.001)

    app.on.begin(hang_plainly if is_plain else hang)

    @jobs.consumer
    async def work(body: int) -> None:
        handled.append(body)

    async with TestApp(app) as t:
        await jobs.publish_many([1, 2, 3])
        await t.drain()
        assert handled == [1, 2, 3]
    assert hung.is_set()
    assert "was cancelled: it ran longer than 50ms" in caplog.text


async def test_a_stop_waits_only_once_for_a_call_that_cannot_be_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    may_end, heard = asyncio.Event(), list[str]()

    async def stubborn(moment: Moment) -> None:
        heard.append(moment.name)
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    hook = hook_module.Hook("app:stubborn", stubborn, queue=None, task=None)
    for name in ("begin", "done"):
        hook.put(Moment(name))
    await hook.finish(0.01)
    assert "hook app:stubborn was cancelled at the stop: it did not hear of 1 more moments" in caplog.text
    try:
        await asyncio.wait_for(hook.finish(3600), 20)
    finally:
        may_end.set()
    assert heard == ["begin"]


async def test_too_many_moments_for_a_slow_hook_are_lost_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_module, "MOST", 2)
    called: list[Moment] = []
    hook = hook_module.Hook("app:slow", called.append, queue=None, task=None)
    for _ in range(5):
        hook.put(Moment("done"))
    await hook.finish(5)
    assert len(called) == 2
    assert "hook app:slow is too slow: 2 moments wait for it" in caplog.text
    assert "did not hear of 3 moments" in caplog.text


async def test_without_hooks_nothing_stands_between_a_delivery_and_its_settling() -> None:
    app = App("memory://")
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(body: str) -> None: ...

    async with app.worker():
        assert app._runtime.assembly is not None
        run = app._runtime.assembly.consumers["app:work.consumer"].run
        assert run is not None
        assert (run.reporting, app._runtime.assembly.hooks) == (None, None)
        assert run.settle == run.settler.settle
