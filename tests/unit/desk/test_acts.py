"""The acts change what they say, once, for who may, and leave a line in the log."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from tasuki import App
from tasuki.queues.dead_letter import dead_letter
from tasuki.queues.queue import Queue
from tests.unit.desk.browser import words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_pages import fail

pytestmark = pytest.mark.anyio

PAUSE = "/confirm?act=pause&kind=queue&id=app:mails"
PURGE = "/confirm?act=purge&kind=queue&id=app:mails"


async def ready(app: App, queue: str) -> int:
    return (await app._runtime.queue(queue).depth()).ready


async def test_a_queue_is_paused_and_resumed(app: App, browse: MakeBrowser) -> None:
    browser = browse(actor="kana")

    paused = await browser.act(PAUSE, **{"for": "30m", "reason": "the provider answers 429"})
    resumed = await browser.act("/confirm?act=resume&kind=queue&id=app:mails&back=/queues/app:mails")

    assert "app:mails is paused." in words(paused.text)
    assert re.search(r"paused until [^,]+, by kana: the provider answers 429", words(paused.text))
    assert "app:mails is resumed." in words(resumed.text)
    assert "paused until" not in words(resumed.text)


async def test_a_pause_of_nonsense_is_asked_again(browse: MakeBrowser) -> None:
    answer = await browse().act(PAUSE, **{"for": "soon"})

    assert answer.status_code == 400
    assert "'soon' is not a duration" in words(answer.text)


async def test_consumers_and_schedules_are_paused_too(app: App, browse: MakeBrowser) -> None:
    browser = browse()

    await browser.act("/confirm?act=pause&kind=consumer&id=app:sender")
    await browser.act("/confirm?act=pause&kind=schedule&id=app:hourly")

    assert "app:sender ‖ paused until it is resumed" in await browser.text("/queues/app:mails")
    assert "‖ paused until it is resumed" in await browser.text("/schedules")


async def test_a_schedule_runs_now(app: App, browse: MakeBrowser) -> None:
    done = await browse().act("/confirm?act=run&kind=schedule&id=app:hourly")

    assert re.search(r"Published message \S+ of app:hourly", words(done.text))
    assert await ready(app, "images") == 1


async def test_a_waiting_message_is_cancelled(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("mails", {"to": "a"})

    done = await browse().act(f"/confirm?act=cancel&kind=queue&id=app:mails&message={job.id}")

    assert f"Message {job.id} will not start any more." in words(done.text)
    assert await ready(app, "mails") == 0


async def test_one_dead_letter_is_retried(app: App, browse: MakeBrowser) -> None:
    first, second = await fail(app, bad="1"), await fail(app, bad="2")

    done = await browse().act(f"/confirm?act=redrive&kind=queue&id=app:dead&message={second}&at=1")

    assert f"Message {second} is back in app:mails." in words(done.text)
    [letter] = await app._runtime.queue("dead").peek()
    [message] = await app._runtime.queue("mails").peek()
    assert letter.id == first
    assert message.id == second
    assert {name for name in message.headers if name.startswith("x_")} == {"x_batch", "x_due", "x_redriven"}


async def test_a_letter_that_fails_again_at_once_is_not_lost(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await fail(app, bad="1")
    forward = Queue.forward

    async def forward_and_fail(self: Queue, *args: Any, **named: Any) -> Any:
        errors = await forward(self, *args, **named)
        if self.id == "app:mails":  # a worker is faster than the desk
            [message] = await self.peek()
            again = dead_letter(
                message, queue=self.id, reason="rejected", error="", attempts=1, now=2e9, content_type="json"
            )
            await forward(app._runtime.queue("dead"), [again])
        return errors

    monkeypatch.setattr(Queue, "forward", forward_and_fail)
    await browse().act(f"/confirm?act=redrive&kind=queue&id=app:dead&message={id}&at=0")

    [letter] = await app._runtime.queue("dead").peek()
    assert (letter.id, letter.headers["x_dead_letter_time"]) == (id, 2e9)


async def test_a_letter_that_is_gone_is_not_retried(app: App, browse: MakeBrowser) -> None:
    done = await browse().act("/confirm?act=redrive&kind=queue&id=app:dead&message=gone")

    assert done.status_code == 409
    assert "waits in app:dead: it was sent back, deleted, or a process holds it" in words(done.text)


async def test_a_queue_is_purged_by_its_name_alone(app: App, browse: MakeBrowser) -> None:
    for number in range(3):
        await app.publish("mails", {"number": number})
    browser = browse()
    assert "Remove 3 waiting messages from app:mails?" in await browser.text(PURGE)

    wrong = await browser.act(PURGE, name="mails")
    assert wrong.status_code == 400
    assert await ready(app, "mails") == 3

    done = await browser.act(PURGE, name="app:mails")
    assert "Removed 3 messages from app:mails." in words(done.text)
    assert await ready(app, "mails") == 0


async def test_a_queue_that_has_grown_is_asked_about_again(app: App, browse: MakeBrowser) -> None:
    await app.publish("mails", {"number": 0})
    browser = browse()
    action, fields = await browser.form(PURGE)
    for number in range(5):
        await app.publish("mails", {"number": number})

    answer = await browser.post(action, fields | {"name": "app:mails"})

    assert answer.status_code == 409
    assert "Remove 6 waiting messages" in words(answer.text)
    assert await ready(app, "mails") == 6


async def test_an_act_is_logged_with_its_actor(browse: MakeBrowser, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tasuki.desk"):
        await browse(actor="kana").act(PAUSE)

    lines = [record for record in caplog.records if record.name == "tasuki.desk"]
    assert [record.getMessage() for record in lines] == [
        "desk: pause queue app:mails, by kana",
        "desk: pause app:mails done",
    ]
    assert all(record.__dict__["actor"] == "kana" for record in lines)


async def test_what_was_said_is_said_once(browse: MakeBrowser) -> None:
    browser = browse()
    done = await browser.act(PAUSE)

    assert "app:mails is paused." in words(done.text)
    assert "app:mails is paused." not in await browser.text("/")


@pytest.mark.parametrize(
    "query",
    [
        "act=pause&kind=queue&id=app:nope", "act=pause&kind=driver&id=app:driver", "act=nope&kind=queue&id=app:mails",
        "act=cancel&kind=queue&id=app:mails", "act=purge&kind=queue&id=app:mails&message=1",
        "act=run&kind=queue&id=app:mails",
        "", "act=redrive&kind=queue&id=app:dead&message=" + "x" * 600,
    ],
)  # fmt: skip
async def test_a_question_about_nothing_is_404(browse: MakeBrowser, query: str) -> None:
    assert (await browse().get(f"/confirm?{query}")).status_code == 404
