"""One Retries class for queue, consumer, task and message; a message may have a time and retries of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from tasuki import App, Context, Envelope, Retries
from tasuki.app.typed.entries import DeadLetterFields
from tasuki.errors import ProjectError, PublishError
from tasuki.queues.result import Rejected

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
MakeApp = Callable[..., App]


class Site:
    """A task and a plain handler that fail, and note when they ran."""

    def __init__(self, app: App, **consumer: Any) -> None:
        self.app = app
        letters: DeadLetterFields = {"queue": "dead", "max_attempts": 2}
        self.jobs = self.app.queue("jobs", dead_letter=letters)
        self.plain = self.app.queue("plain", dead_letter=letters)
        self.dead = self.app.queue("dead")
        self.ran: list[tuple[str, int]] = []

        @self.jobs.task(handler_timeout="1h", retry=Retries(3, backoff="1s"))
        async def work(name: str, seconds: float = 0.0) -> None:
            await self.run(name, seconds)

        @self.plain.consumer(**consumer)
        async def handle(body: Any, context: Context) -> None:
            await self.run(body["name"], body.get("seconds", 0.0))

        self.work = work

    async def run(self, name: str, seconds: float) -> None:
        self.ran.append((name, round(asyncio.get_running_loop().time())))
        await asyncio.sleep(seconds)
        raise OSError(name)

    def runs(self, name: str) -> int:
        return sum(each == name for each, _ in self.ran)

    async def letters(self) -> dict[str, str]:
        return {str(each.headers["x_last_error"]): str(each.headers["x_dead_letter_reason"])
                for each in await self.dead.peek(20)}  # fmt: skip


async def test_a_message_has_a_number_of_attempts_of_its_own(make_app: MakeApp) -> None:
    site = Site(make_app())
    async with site.app.worker():
        await site.work.publish("task")
        await site.work.with_options(retries=1).publish("once")
        await site.work.with_options(retries=5).publish("five")
        await site.plain.publish({"name": "plain"})
        await site.plain.publish({"name": "plain once"}, retries=1)
        await site.plain.publish_many([Envelope(body={"name": "many"}, retries=Retries(4, backoff="1s"))])
        await site.jobs.publish_many([site.work.with_options(retries=2).message("planned")])
        await asyncio.sleep(600)
    names = ("task", "once", "five", "plain", "plain once", "many", "planned")
    assert [site.runs(name) for name in names] == [3, 1, 5, 2, 1, 4, 2]


async def test_the_body_of_an_envelope_needs_no_name(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.queue("plain")
    async with app:
        await queue.publish_many([Envelope({"n": 1}, id="a", delay="1h"), Envelope(body={"n": 2}, id="b")])
        assert {each.id: each.body for each in await queue.peek()} == {"a": b'{"n":1}', "b": b'{"n":2}'}
    with pytest.raises(TypeError, match="body"):
        Envelope()  # type: ignore[call-arg]


async def test_a_number_of_messages_to_peek_is_not_negative(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.queue("plain")
    async with app:
        assert await queue.peek(limit=0) == []
        with pytest.raises(ValueError, match=r"peek\(limit=-1\): limit counts messages, so give 0 or more"):
            await queue.peek(limit=-1)
        with pytest.raises(ValueError, match=r"peek\(limit='3'\): limit counts messages"):
            await queue.peek(cast("int", "3"))
        with pytest.raises(ValueError, match=r"peek\(after=-2\)"):
            await queue.peek(after=-2)


async def test_a_message_has_a_time_of_its_own(make_app: MakeApp) -> None:
    site = Site(make_app())
    async with site.app.worker():
        await site.work.with_options(handler_timeout="5s", retries=1).publish("task", seconds=100)
        await site.plain.publish({"name": "plain", "seconds": 100}, handler_timeout="5s", retries=1)
        await site.plain.publish({"name": "free", "seconds": 100}, retries=1)
        await asyncio.sleep(300)
        letters = await site.letters()
    assert sorted(letters) == [
        "OSError: free",
        "the handler ran longer than handler_timeout (5s)",
    ]
    assert len(site.ran) == 3


async def test_only_named_errors_of_a_message_get_another_attempt(make_app: MakeApp) -> None:
    site = Site(make_app())
    async with site.app.worker():
        await site.plain.publish({"name": "never"}, retries=Retries(5, never=(OSError,)))
        await site.plain.publish({"name": "other"}, retries=Retries(5, on=(ValueError,)))
        await asyncio.sleep(300)
        assert set((await site.letters()).values()) == {"not_retryable"}
    assert len(site.ran) == 2


async def test_the_rules_stay_with_a_message_through_its_dead_letter(make_app: MakeApp) -> None:
    site = Site(make_app())
    async with site.app.worker():
        await site.plain.publish({"name": "again"}, retries=1)
        await asyncio.sleep(60)
        assert await site.app.dead.redrive(site.dead) == 1
        await asyncio.sleep(60)
    assert site.runs("again") == 2


async def test_a_consumer_and_a_queue_take_the_same_class(make_app: MakeApp) -> None:
    site = Site(make_app(), retry=Retries(4, backoff="1s"))
    kept = site.app.queue("kept", dead_letter="dead", retry=Retries(3, backoff="2s", max_delay="2s"))

    @kept.consumer
    async def keep(body: Any) -> None:
        await site.run("kept", 0.0)

    async with site.app.worker():
        await site.plain.publish({"name": "consumer"})
        await kept.publish({})
        await asyncio.sleep(600)
    assert (site.runs("consumer"), site.runs("kept")) == (4, 3)


def test_attempts_without_a_place_for_what_is_given_up_are_a_mistake() -> None:
    app = App("memory://")
    queue, other = app.queue("jobs", retry=Retries(3)), app.queue("other")

    @queue.consumer
    def work(body: Any) -> None: ...

    @other.consumer(retry=Retries(3))
    def more(body: Any) -> None: ...

    with pytest.raises(ProjectError) as caught:
        app.check()
    assert "retry.max_attempts needs a dead_letter" in str(caught.value)
    assert "queue 'app:other' has no dead_letter, so its messages are never given up" in str(caught.value)


def test_the_bound_of_attempts_is_given_once() -> None:
    app = App("memory://")
    app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 2}, retry=Retries(3))
    with pytest.raises(ProjectError, match=r"retry.max_attempts is the same as dead_letter.max_attempts: give one"):
        app.check()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda site: site.work.with_options(timeout=5), "write handler_timeout .the longest run. or publish_timeout"),
        (lambda site: site.jobs.task(timeout=5), "has no option 'timeout'; write handler_timeout"),
        (lambda site: site.work.with_options(retry=Retries(5)), r"write retries=5, or retries=Retries\(5, …\)"),
        (lambda site: site.jobs.task(max_retries=5), r"write retry=Retries\(attempts\)"),
        (lambda site: Retries(on=ValueError), r"must be a tuple of errors: write on=\(ValueError,\)"),  # type: ignore[arg-type]
    ],
)
async def test_a_word_of_before_is_answered_with_the_one_to_write(call: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call(Site(App("memory://")))


async def test_a_timeout_of_a_publish_and_of_a_request_have_names_of_their_own(make_app: MakeApp) -> None:
    site = Site(make_app())
    async with site.app:
        with pytest.raises(TypeError, match=r"publish\(…\) has no option 'timeout'; write handler_timeout .*publish_t"):
            await site.plain.publish({}, timeout=5)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"request\(…\) has no option 'timeout'; .* or reply_timeout"):
            await site.plain.request({}, timeout=5)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match=r"Retries\(0\): attempts must be a whole number from 1 on"):
            Retries(0)


async def test_a_number_of_attempts_is_refused_where_no_message_is_ever_given_up(make_app: MakeApp) -> None:
    """Without a dead-letter queue a message is tried forever, so the number would be confirmed and mean nothing."""
    app = make_app()
    queue = app.queue("endless")

    @queue.consumer
    async def handle(body: str) -> None:
        """It succeeds."""

    async with app.worker():
        for retries in (1, Retries(3)):
            with pytest.raises(PublishError, match=r"'app:endless' has no dead_letter.*give the queue a dead_letter"):
                await queue.publish("one", retries=retries)
            (found,) = await queue.publish_many([Envelope(body="one", retries=retries)])
            assert isinstance(found, Rejected)
            assert isinstance(found.error, PublishError)
        await queue.publish("one", handler_timeout="1m", retries=Retries(backoff="1s"))
