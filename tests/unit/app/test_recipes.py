"""The recipes of docs/how-to/around-the-handler.md, with the real packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import structlog
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tasuki import App, Reject
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "around-the-handler.md"


def recipe(heading: str, count_lines: int) -> App:
    """The app of the code under a heading, which has at most this many lines beside imports and the app itself."""
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    [code] = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    own = [line for line in code.splitlines() if line and not re.match(r"import |from |app = ", line)]
    assert len(own) <= count_lines
    names: dict[str, Any] = {}
    exec(compile(code.replace("App()", "App('memory://')"), f"{heading} of {PAGE.name}", "exec"), names)
    app = names["app"]
    assert isinstance(app, App)
    return app


class Collecting(Transport):
    """In place of the network."""

    events: list[dict[str, Any]]

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [dict(event) for item in envelope.items if (event := item.get_event()) is not None]


@pytest.fixture
def sentry() -> Iterator[Collecting]:
    transport = Collecting()
    transport.events = []
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


async def test_sentry_gets_each_failure_with_its_queue_task_and_message(sentry: Collecting) -> None:
    app = recipe("Sentry", 10)
    sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=sentry, default_integrations=False)
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 2})

    @jobs.task
    async def fetch(url: str) -> None:
        if url == "broken":
            raise ZeroDivisionError("in the handler")
        raise Reject("no such page") from KeyError(url)

    async with TestApp(app) as t:
        id = (await fetch.publish("broken")).id
        await t.advance("1h")
        t.errors.clear()
    # Of two hooks, each runs when it comes to it.
    failed, given_up = sorted(sentry.events, key=lambda event: event["contexts"]["message"]["attempt"])
    for event, attempt, reason in ((failed, 1, ""), (given_up, 2, "max_attempts")):
        assert event["tags"] == {"queue": "app:jobs", "task": "fetch"}
        assert event["contexts"]["message"] == {"id": id, "attempt": attempt, "reason": reason}
        [error] = event["exception"]["values"]
        assert (error["type"], error["value"]) == ("ZeroDivisionError", "in the handler")
        assert error["stacktrace"]["frames"][-1]["function"] == "fetch"


@pytest.mark.parametrize("is_plain", [False, True])
async def test_structlog_binds_queue_message_and_attempt(is_plain: bool) -> None:
    app = recipe("structlog", 10)
    mails = app.queue("mails")

    def work(body: str) -> None:
        structlog.get_logger().info("sent", to=body)

    async def work_async(body: str) -> None:
        work(body)

    mails.consumer(middleware=["bound"])(work if is_plain else work_async)
    processors = structlog.get_config()["processors"]
    assert structlog.contextvars.merge_contextvars in processors  # as the page says
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with TestApp(app) as t:
            id = (await mails.publish("ada")).id
            await t.drain()
            assert t.errors == []
    expected = {"event": "sent", "to": "ada", "queue": "app:mails", "message_id": id, "attempt": 1, "log_level": "info"}
    assert lines == [expected]
    assert structlog.contextvars.get_contextvars() == {}
