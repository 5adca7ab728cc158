"""``TestApp(app, real=True)``: the same tests against the app's own driver, which waits for events, not for a clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context, Reject, Retry, Snooze
from tasuki.drivers import Memory, SQLite
from tasuki.errors import BrokerUnavailableError, HandlerError, LifecycleError
from tasuki.testing import TestApp
from tasuki.testing.real import work
from tasuki.testing.twin.work import NotSettled

pytestmark = pytest.mark.anyio

FAST: Any = {"initial_delay": "10ms", "max_delay": "20ms", "jitter": 0}


@dataclass
class Mail:
    to: str


class Shop:
    """An app whose handler does what a mail's address says."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.sent: list[str] = []
        self.mails = app.queue("mails", Mail, dead_letter={"queue": "mails.dead", "max_attempts": 3}, retry=FAST)
        self.archive = app.queue("archive", str)
        self.mails.consumer(self.send)

    async def send(self, mail: Mail, context: Context) -> str:
        if mail.to == "fails" and context.attempt < 3:
            raise Retry(after="20ms")
        if mail.to == "breaks":
            raise ValueError("broken")
        if mail.to == "rejected":
            raise Reject("never")
        if mail.to == "snoozes" and not self.sent:
            self.sent.append("snoozed")
            raise Snooze("20ms")
        if mail.to == "later":
            raise Snooze("2h")
        await self.archive.publish(mail.to)
        self.sent.append(mail.to)
        return f"sent to {mail.to} at attempt {context.attempt}"


@pytest.fixture(params=["memory", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    return Shop(App(Memory() if request.param == "memory" else SQLite("queue.db"), root=tmp_path))


async def test_what_a_twin_says_a_real_broker_says(shop: Shop) -> None:
    async with TestApp(shop.app, real=True) as t:
        await shop.mails.publish(Mail("ada"))
        assert [waiting.due_in for waiting in t.waiting(shop.mails)] == [0]
        assert shop.sent == []
        run = await t.drain()
        assert (run.done, run.failed, shop.sent) == (1, 0, ["ada"])
        assert t.published(shop.mails) == [Mail("ada")]
        assert t.published(shop.archive) == ["ada"]
        assert t.settled(shop.mails) == ["ack"]
        assert [waiting.body for waiting in t.waiting(shop.archive)] == ["ada"]
        with pytest.raises(
            AssertionError, match=r"messages are left:\n  app:archive .* no consumer of this queue starts"
        ):
            t.idle()
    assert not shop.app.is_open


async def test_retries_and_snoozes_come_in_their_real_time(shop: Shop) -> None:
    async with TestApp(shop.app, real=True) as t:
        for to in ("fails", "snoozes"):
            await shop.mails.publish(Mail(to), delay="10ms")
        run = await t.advance("1h")
        assert sorted(t.settled(shop.mails)) == ["ack", "ack", "nack", "nack", "snooze"]
        assert (run.done, run.failed) == (2, 2)
        assert sorted(shop.sent) == ["fails", "snoozed", "snoozes"]
        assert t.waiting(shop.mails) == []


async def test_dead_letters_with_their_causes(shop: Shop) -> None:
    async with TestApp(shop.app, strict=True, real=True) as t:
        await shop.mails.publish(Mail("breaks"), id="b")
        await shop.mails.publish(Mail("rejected"), id="r")
        run = await t.advance("1m")
        dead = {letter.id: letter for letter in t.dead}
        assert (dead["b"].body, dead["b"].reason, dead["b"].attempts) == (Mail("breaks"), "max_attempts", 3)
        assert isinstance(dead["b"].cause, ValueError)
        assert (dead["r"].queue, dead["r"].reason) == ("app:mails", "rejected")
        assert run.dead == 2
        assert sorted(t.settled(shop.mails)) == ["dead_letter", "dead_letter", "nack", "nack"]


async def test_what_comes_due_while_the_broker_is_asked_is_awaited(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    has_more = work.RealWork._has_more

    async def answered_late(real: work.RealWork) -> bool:
        answer = await has_more(real)
        while not answer and real.next_due() is not None:
            with real.journal.news() as news:
                await news
        return answer

    monkeypatch.setattr(work.RealWork, "_has_more", answered_late)
    async with TestApp(shop.app, strict=True, real=True) as t:
        await shop.mails.publish(Mail("breaks"), id="b")
        run = await t.advance("1m")
        assert (run.failed, run.dead) == (3, 1)
        assert [letter.id for letter in t.dead] == ["b"]


async def test_an_error_that_the_test_does_not_read_fails_it(shop: Shop) -> None:
    async def run() -> None:
        async with TestApp(shop.app, strict=True, real=True) as t:
            await shop.mails.publish(Mail("breaks"))
            await t.drain()

    with pytest.raises((ValueError, ExceptionGroup), match=r"broken|errors of handlers"):
        await run()


async def test_a_request_is_answered(shop: Shop) -> None:
    async with TestApp(shop.app, real=True) as t:
        assert await shop.mails.request(Mail("ada"), returns=str) == "sent to ada at attempt 1"
        assert await t.request(shop.mails, Mail("b")) == "sent to b at attempt 1"
        with pytest.raises(HandlerError, match="broken"):
            await t.request("mails", Mail("breaks"), reply_timeout="9s")
        assert t.errors == []
        assert await t.run(shop.send, Mail("c"), attempt=2) == "sent to c at attempt 2"


def test_a_test_without_a_loop_and_a_thread_of_its_own(shop: Shop) -> None:
    with TestApp(shop.app, real=True) as t:
        t.sync.publish(shop.mails, Mail("ada"))
        thread = threading.Thread(target=shop.app.sync.publish, args=(shop.mails, Mail("thread")))
        thread.start()
        thread.join()
        assert t.sync.drain().done == 2
        assert t.sync.request(shop.mails, Mail("b"), returns=str) == "sent to b at attempt 1"
        assert t.sync.run(shop.send, Mail("c")) == "sent to c at attempt 1"

        async def elsewhere() -> None:
            with pytest.raises(
                LifecycleError, match=r"real drivers belong to one.*async with TestApp\(app, real=True\)"
            ):
                await shop.mails.publish(Mail("no"))

        asyncio.run(elsewhere())


async def test_a_thread_beside_an_async_test(shop: Shop) -> None:
    async with TestApp(shop.app, real=True) as t:
        await asyncio.to_thread(shop.app.sync.publish, shop.mails, Mail("thread"))
        assert (await t.drain()).done == 1
        with pytest.raises(LifecycleError, match="would block the event loop"):
            shop.app.sync.publish(shop.mails, Mail("no"))


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.kill_worker(),
        lambda t: t.duplicate("id"),
        lambda t: t.reorder("mails"),
        lambda t: t.broker_away("5s"),
        lambda t: t.clock,
    ],
)
async def test_faults_and_the_virtual_clock_are_refused(shop: Shop, use: Callable[[TestApp], object]) -> None:
    async with TestApp(shop.app, real=True) as t:
        with pytest.raises(LifecycleError, match=r"t\.\w+ acts on the twin's own broker.*without real=True"):
            use(t)
        with pytest.raises(ValueError, match="real=True keeps real time"):
            TestApp(shop.app, real=True, now=datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_long_wait_is_refused(shop: Shop) -> None:
    async with TestApp(shop.app, real=True) as t:
        await shop.mails.publish(Mail("later"))
        await t.drain()
        (waiting,) = t.waiting(shop.mails)
        assert 7190 < waiting.due_in <= 7200
        with pytest.raises(LifecycleError, match=r"due in 1h59m.*, and real time does not jump.*without real=True"):
            await t.advance("1d")
        assert (await t.advance("1h")).done == 0


async def test_messages_of_another_process_are_handled(tmp_path: Path) -> None:
    shop, other = (Shop(App(SQLite("queue.db"), root=tmp_path)) for _ in range(2))
    async with other.app:
        await other.mails.publish(Mail("ada"))
    async with TestApp(shop.app, real=True) as t:
        assert (await t.drain()).done == 1
        assert shop.sent == ["ada"]
        assert t.published(shop.mails) == []
        await shop.mails.publish(Mail("gone"))
        async with other.app:
            await other.mails.purge()
        assert (await t.drain()).done == 0
        assert t.waiting(shop.mails) == []


async def test_a_message_that_the_broker_keeps_fails_the_test(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_CHECK_AFTER", 0.001)
    async with TestApp(shop.app, real=True) as t:
        await shop.mails.publish(Mail("ada"))
        for consumer in t._session.work.selected:
            monkeypatch.setattr(type(consumer.queue.driver), "receive", lambda *_: asyncio.Event().wait())
            consumer.queue.driver.__dict__.pop("receive")
        with pytest.raises(NotSettled, match=r"does not deliver these messages:\n  app:mails .*: it is ready: drain"):
            await t.drain()


async def test_a_broker_that_is_away_is_an_error_at_once() -> None:
    app = App("redis://127.0.0.1:1")
    app.queue("mails")
    with pytest.raises(BrokerUnavailableError):
        async with TestApp(app, real=True):
            pass
    assert app._runtime.owner is None
    assert not app.is_open


async def test_the_app_is_free_after_the_block(shop: Shop) -> None:
    async with TestApp(shop.app, real=True):
        with pytest.raises(LifecycleError, match="a TestApp holds the app already"):
            async with TestApp(shop.app):
                pass
    async with TestApp(shop.app) as t:
        await shop.mails.publish(Mail("ada"))
        await t.drain()
    async with shop.app:
        await shop.mails.publish(Mail("ada"))
