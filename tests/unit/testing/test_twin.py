"""TestApp: what a test reads and does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.errors import HandlerError, HandlerNotFoundError, LifecycleError, QueueNotFoundError, RequestTimeoutError
from tasuki.testing import NotSettled, TestApp
from tests.unit.testing import shop
from tests.unit.testing.shop import Mail, archive, jobs, mails

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["real loop", "virtual loop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    from tasuki.testing.clock import VirtualTimeLoop

    return "asyncio", {"loop_factory": VirtualTimeLoop} if request.param == "virtual loop" else {}


@pytest.fixture
async def t() -> AsyncIterator[TestApp]:
    shop.smtp.sent.clear()
    shop.calls.clear()
    async with TestApp(shop.app) as twin:
        yield twin


async def test_published_messages_with_all_that_belongs_to_them(t: TestApp) -> None:
    await shop.sign_up("ada")
    await jobs.publish("free", {"tenant": "a"}, id="one", priority=3)

    assert t.published(mails) == [Mail("ada")] == t.published("mails") == t.published("app:mails")
    [mail], [job] = t.messages(mails), t.messages(jobs)
    assert (mail.delay, mail.key, mail.priority) == (86400.0, "k", 0)
    assert (job.id, job.headers["tenant"], job.priority, job.body) == ("one", "a", 3, "free")
    assert t.published(archive) == []


async def test_nothing_is_handled_before_a_drain_and_all_that_follows_in_it(t: TestApp) -> None:
    await t.publish(mails, Mail("ada"))
    await asyncio.sleep(0)
    assert shop.smtp.sent == []

    run = await t.drain()

    assert (run.done, run.failed, run.dead) == (1, 0, 0)
    assert shop.smtp.sent == t.published(archive) == ["ada"]
    assert (await t.drain()).done == 0


async def test_retries_come_in_virtual_time(t: TestApp) -> None:
    await mails.publish(Mail("ada"))
    with t.patch(shop.smtp, "send", ConnectionError("down"), times=2) as patch:
        run = await t.drain()
        assert (run.done, run.failed) == (0, 1)
        [waiting] = t.waiting(mails)
        assert waiting.due_in == pytest.approx(1, rel=0.2)
        assert (waiting.attempt, waiting.error, waiting.body) == (2, "ConnectionError: down", Mail("ada"))
        await t.advance("1h")

    assert patch.calls == 3
    assert t.settled(mails) == ["nack", "nack", "ack"]
    assert (t.dead, t.errors, t.waiting(mails)) == ([], [], [])
    assert t.clock.monotonic() == pytest.approx(3600)


async def test_dead_letters_say_why(t: TestApp) -> None:
    await mails.publish(Mail("eve"))
    await jobs.publish("reject")
    with t.patch(shop.smtp, "send", ConnectionError("down")):
        run = await t.advance("1h")

    assert (run.done, run.failed, run.dead) == (0, 4, 2)
    told = {letter.queue: letter for letter in t.dead}
    mail, job = told["app:mails"], told["app:jobs"]
    assert (mail.reason, mail.attempts, mail.error) == ("max_attempts", 3, "ConnectionError: down")
    assert (type(mail.cause), mail.body) == (ConnectionError, Mail("eve"))
    assert (job.reason, job.error, job.body) == ("rejected", "not today", "reject")
    assert t.settled(jobs) == ["dead_letter"]
    t.idle()


async def test_a_dead_letter_goes_back_and_is_done(t: TestApp) -> None:
    await mails.publish(Mail("ada"))
    with t.patch(shop.smtp, "send", ConnectionError):
        await t.advance("1h")
    assert await shop.app.dead.redrive("mails.dead") == 1
    assert (t.dead, (await t.drain()).done) == ([], 1)
    assert t.settled(mails) == ["nack", "nack", "dead_letter", "ack"]


async def test_snoozes_and_delays_of_their_own(t: TestApp) -> None:
    await jobs.publish("snooze")
    await jobs.publish("retry")
    await t.drain()
    assert t.settled(jobs) == ["snooze", "nack"]
    assert sorted(round(each.due_in) for each in t.waiting(jobs)) == [600, 7200]

    assert (await t.advance("10m")).done == 1
    assert (await t.advance("2h")).done == 1


async def test_requests_are_answered_and_time_passes_for_retries(t: TestApp) -> None:
    assert await t.request(mails, Mail("ada")) == "sent to ada at attempt 1"
    with t.patch(shop.smtp, "send", ConnectionError, times=2):
        assert await mails.request(Mail("bob"), reply_timeout="1m") == "sent to bob at attempt 3"
    assert 2 < t.clock.monotonic() < 10
    with pytest.raises(RequestTimeoutError, match=r"within 5s of virtual time;\s+app:archive .*no consumer"):
        await archive.request("x", reply_timeout=5)


async def test_run_calls_one_handler_with_injection(t: TestApp) -> None:
    assert await t.run(shop.send, Mail("ada"), attempt=4) == "sent to ada at attempt 4"
    assert await t.run("work", "x") == "X"
    assert t.published(archive) == ["ada"]
    with pytest.raises(ValueError, match="broken"):
        await t.run(shop.work, "break")
    with pytest.raises(HandlerNotFoundError, match="print is no handler of this app; its functions are: app:send"):
        await t.run(print, 1)
    with pytest.raises(HandlerNotFoundError, match="did you mean"):
        await t.run("wrok", 1)


async def test_a_loop_of_messages_is_ended_and_explained(t: TestApp) -> None:
    await jobs.publish("loop")
    with pytest.raises(NotSettled, match=r"after 50 deliveries:\n  app:jobs "):
        await t.drain(steps=50)


async def test_idle_says_why_each_message_waits(t: TestApp) -> None:
    await archive.publish("a")
    await mails.publish(Mail("ada"), delay="1m")
    await jobs.publish("free")
    with pytest.raises(AssertionError) as told:
        t.idle()
    lines = str(told.value).splitlines()
    assert [line.partition(": ")[2] for line in lines[1:]] == [
        "it is due in 1m: advance the time",
        "it is ready: drain",
        "no consumer of this queue starts automatically",
    ]
    assert "app:mails: published [Mail(to='ada')]; settled nothing" in t.summary()


async def test_the_clock_may_begin_where_the_test_says() -> None:
    now = datetime(2026, 1, 31, 9, tzinfo=UTC)
    async with TestApp(shop.app, now=now) as t:
        await archive.publish("a")
        assert t.messages(archive)[0].headers["timestamp"] == now.timestamp()
    with pytest.raises(ValueError, match="time zone"):
        TestApp(shop.app, now=datetime(2026, 1, 31))


async def test_everything_is_put_back() -> None:
    app = App("memory://")
    before = dict(vars(app._runtime))
    async with TestApp(app):
        assert app.is_open
        async with app:  # such as the lifespan of a web application
            pass
        assert app.is_open
    now = vars(app._runtime)
    assert now | before == now | {"assembly": None, "owner": None}
    assert not app.is_open
    async with app:
        pass


async def test_one_twin_at_a_time(t: TestApp) -> None:
    with pytest.raises(LifecycleError, match="a TestApp holds the app already"):
        async with TestApp(shop.app):
            pass
    with pytest.raises(LifecycleError, match=r"app\.run\(\) would use its real drivers"):
        await shop.app.run()
    with pytest.raises(LifecycleError, match=r"app\.reload\(\) would"):
        await shop.app.reload()
    with pytest.raises(LifecycleError, match="async with TestApp"), TestApp(App("memory://")):
        pass
    with pytest.raises(LifecycleError, match=r"await t\.drain"):
        t.sync.drain()
    with pytest.raises(QueueNotFoundError, match="did you mean"):
        t.published("mals")


async def test_a_twin_is_for_one_block() -> None:
    t = TestApp(shop.app)
    with pytest.raises(LifecycleError, match="has not begun: use it within 'async with"):
        t.published(mails)
    async with t:
        await mails.publish(Mail("ada"))
    assert t.published(mails) == [Mail("ada")]
    with pytest.raises(LifecycleError, match="has ended"):
        await t.drain()
    with pytest.raises(LifecycleError, match="for one block"):
        async with t:
            pass
    assert shop.app._runtime.owner is None


async def test_an_open_app_is_refused() -> None:
    async with App("memory://") as app:
        with pytest.raises(LifecycleError, match="the app is open: close it"):
            async with TestApp(app):
                pass


async def test_two_drains_at_once_are_refused(t: TestApp) -> None:
    await mails.publish(Mail("ada"))
    told = await asyncio.gather(t.drain(), t.drain(), return_exceptions=True)
    assert [type(each).__name__ for each in told] == ["Drained", "LifecycleError"]
    assert (await t.drain()).done == 0


async def test_strict_raises_what_the_test_has_not_read() -> None:
    with pytest.raises(ValueError, match="broken") as told:
        await _breaks(1)
    assert "has not read" in told.value.__notes__[0]
    with pytest.raises(ExceptionGroup) as group:
        await _breaks(2)
    assert len(group.value.exceptions) == 2
    await _breaks(1, reads=True)


async def test_a_requester_has_read_the_error_it_got() -> None:
    async with TestApp(shop.app, strict=True):
        with pytest.raises(HandlerError, match="broken"):
            await jobs.request("break", reply_timeout="1h")


async def test_an_error_that_compares_with_nothing() -> None:
    app = App("memory://")
    mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})

    class IncomparableError(Exception):
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("cannot compare")

        __hash__ = None  # type: ignore[assignment]

    @mails.consumer
    async def send(body: object) -> None:
        raise IncomparableError

    async with TestApp(app, strict=True) as t:
        await mails.publish(1)
        await mails.publish(2)
        await t.drain()
        assert [type(letter.cause) for letter in t.dead] == [IncomparableError] * 2


async def _breaks(times: int, *, reads: bool = False) -> None:
    async with TestApp(shop.app, strict=True) as t:
        for _ in range(times):
            await jobs.publish("break")
        await t.drain()
        if reads:
            assert [str(failure.error) for failure in t.errors] == ["broken"]


async def test_what_waits_behind_its_key(t: TestApp) -> None:
    await shop.ordered.publish("a", key="k", delay="1h")
    await shop.ordered.publish("b", key="k")
    with pytest.raises(AssertionError, match="it waits for earlier messages of key 'k'"):
        t.idle()
    assert (await t.drain()).done == 0
    await t.advance("1h")
    assert shop.calls == ["a", "b"]


async def test_a_publish_in_a_transaction_is_stored_at_once(t: TestApp) -> None:
    await archive.publish("a", connection=object())
    assert len(t.waiting(archive)) == 1
    assert (await archive.publish_many(["b"], connection=object()))[0].id


async def test_bodies_that_do_not_fit_are_shown_as_they_are(t: TestApp) -> None:
    foreign = [Outgoing("a", b'{"to": 1}', {}), Outgoing("b", b"{", {})]
    await shop.app._runtime.queue(mails).forward(foreign)
    assert [each.body for each in t.waiting("mails")] == [{"to": 1}, b"{"]
    await t.drain()
    assert {letter.reason: letter.body for letter in t.dead} == {"invalid": {"to": 1}, "undecodable": b"{"}


async def test_a_handler_asks_another_one() -> None:
    app = App("memory://")
    halves, doubles = app.queue("halves", int), app.queue("doubles", int)

    @doubles.consumer
    async def double(n: int) -> int:
        return 2 * n

    @halves.consumer
    async def quarter(n: int) -> int:
        result: int = await doubles.request(n)
        return result // 4

    async with TestApp(app) as t:
        assert t.summary() == "nothing was published"
        assert await halves.request(8) == 4
