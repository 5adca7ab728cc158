"""Tracebacks show the user's frames, and say how many of ours they leave out."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tasuki import App, Reject
from tasuki.errors import BrokerUnavailableError, PublishError
from tasuki.message import LAST_TRACEBACK
from tasuki.observe import tracebacks
from tasuki.observe.log import TextFormatter
from tasuki.observe.tracebacks import for_user, format_error, from_user, is_ours, user_traceback
from tasuki.queues.messages.message_builder import seconds
from tasuki.testing import TestApp


def deep() -> None:
    raise ValueError("deep")


async def failing() -> None:
    """A traceback with frames of ours around it: TestApp's, the pool's, the handler's."""
    try:
        deep()
    except ValueError as error:
        raise KeyError("outer") from error


def caught(app: App, body: object = 1) -> BaseException:
    with TestApp(app) as t, pytest.raises(Exception) as raised:  # noqa: PT011
        t.sync.run("work", body)
    return raised.value


def app_of(handler: object) -> App:
    app = App("memory://")
    app.function("work")(handler)  # type: ignore[type-var]
    return app


def test_shows_the_frames_of_the_user_and_of_the_causes_and_counts_the_others() -> None:
    async def work(body: int) -> None:
        await failing()

    text = format_error(caught(app_of(work)))
    assert tracebacks._OURS not in text
    assert [line.split('"')[1].rsplit("/", 1)[1] for line in text.splitlines() if 'File "' in line].count(
        "test_frames.py"
    ) >= 4
    assert "in deep" in text
    assert "direct cause" in text
    assert "KeyError: 'outer'\n(" in text
    assert text.rstrip().endswith("frames of Tasuki's own code left out)")


def test_an_error_in_our_code_that_the_user_calls_ends_at_the_users_line() -> None:
    async def work(body: int) -> None:
        raise BrokerUnavailableError("away") from None

    text = format_error(caught(app_of(work)))
    assert text.splitlines()[-2] == "tasuki.errors.BrokerUnavailableError: away"
    assert "in work" in text


def test_an_error_without_the_users_code_keeps_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "_OURS", "/")
    with pytest.raises(ValueError, match="deep") as raised:
        deep()
    assert "in deep" in format_error(raised.value)
    assert "left out" not in format_error(raised.value)
    assert user_traceback(raised.value, 1000) == ""
    assert user_traceback(ValueError("never raised"), 1000) == ""


def test_the_files_that_init_copies_are_the_users() -> None:
    assert is_ours(tracebacks.__file__)
    assert not is_ours(tracebacks._NOT_OURS + "python/jobs.py")
    assert not is_ours(__file__)


def test_a_long_traceback_keeps_its_end() -> None:
    with pytest.raises(ValueError, match="deep") as raised:
        deep()
    text = user_traceback(raised.value, 30)
    assert len(text) == 30
    assert text.startswith("…")
    assert text.endswith("ValueError: deep")


@pytest.mark.anyio
async def test_the_log_and_the_dead_letter_of_a_failed_handler_have_only_the_users_frames(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App("memory://")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    def work(body: str) -> None:
        if body == "rejected":
            raise Reject("no")
        deep()

    async with TestApp(app) as t:
        await jobs.publish("broken")
        await jobs.publish("rejected")
        await t.drain()
        broken, rejected = t.dead
    records = [record for record in caplog.records if record.levelno == logging.WARNING and record.exc_info]
    [logged] = [TextFormatter().format(record) for record in records]
    for text in (logged, str(broken.headers[LAST_TRACEBACK])):
        assert tracebacks._OURS not in text
        assert "in work" in text
        assert "in deep" in text
    assert "ValueError: deep" in str(broken.headers[LAST_TRACEBACK])
    assert 'raise Reject("no")' in str(rejected.headers[LAST_TRACEBACK])
    assert "left out)" in logged


@pytest.mark.anyio
async def test_a_log_record_of_a_failure_begins_at_the_users_code(caplog: pytest.LogCaptureFixture) -> None:
    app = App("memory://")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    async def work(body: str) -> None:
        await failing()

    async with TestApp(app) as t:
        await jobs.publish("broken")
        await t.drain()
    (record,) = [record for record in caplog.records if record.exc_info]
    text = logging.Formatter().format(record)  # as pytest and every other library write it
    assert tracebacks._OURS not in text
    assert "in work" in text
    assert "in deep" in text
    assert from_user(None) is None


@pytest.mark.anyio
async def test_a_dead_letter_without_an_error_of_the_user_has_no_traceback() -> None:
    app = App("memory://")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer(handler_timeout="50ms")
    async def work(body: str) -> None:
        await asyncio.Event().wait()

    async with TestApp(app) as t:
        await jobs.publish("slow")
        await t.drain()
        assert [LAST_TRACEBACK in letter.headers for letter in t.dead] == [False]


def failed() -> PublishError:
    """An error that has passed frames of ours only."""
    with pytest.raises(PublishError) as caught:
        seconds("delay", "soon")
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without the frame of this function
    return error


def test_an_error_for_the_user_keeps_no_frame_of_this_package(caplog: pytest.LogCaptureFixture) -> None:
    error = for_user(failed())
    assert error.__traceback__ is None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None
    caplog.set_level(logging.DEBUG, "tasuki")
    assert for_user(failed()).__traceback__ is not None


def test_an_error_of_the_users_own_code_keeps_its_frames() -> None:
    with pytest.raises(ValueError, match="deep") as caught:
        deep()
    assert for_user(caught.value).__traceback__ is not None


def test_frames_of_an_error_that_is_not_shown_are_not_counted() -> None:
    def hides() -> None:
        try:
            seconds("delay", "soon")
        except PublishError:
            raise KeyError("mine") from None

    with pytest.raises(KeyError) as caught:
        hides()
    assert "left out" not in format_error(caught.value)
    assert user_traceback(caught.value, 1000).endswith("KeyError: 'mine'")


@pytest.mark.timeout(10)
def test_an_error_that_is_its_own_cause_ends() -> None:
    error = failed()
    error.__cause__ = error
    assert for_user(error).__traceback__ is None
