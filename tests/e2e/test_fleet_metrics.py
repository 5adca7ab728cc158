"""``run --processes``: the parent's sum of real workers, one of which is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tasuki import App
from tasuki.cli.worker.fleet import Fleet, child_arguments
from tasuki.observe.exposition.text import exposition
from tests.unit.observe.exposition.samples import Found, parsed, value

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(120)]

PROJECT = """
from tasuki import App, Context

app = App("sqlite:///queue.db")
mails = app.queue("mails")

@mails.consumer(concurrency=2)
async def send(body: int, context: Context) -> None:
    context.metrics.count("sent")
"""

MESSAGES = 40


async def test_no_count_is_lost_to_the_sum(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(PROJECT)
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    mails = app.queue("mails")
    fleet = Fleet(lambda lifeline: [*child_arguments([str(tmp_path / "jobs.py")], {"--lifeline": lifeline})], 2)
    running = asyncio.create_task(fleet.run())

    async def until(number: float) -> Found:
        while True:
            found = parsed(exposition(await fleet.metrics.snapshot()))
            if found.get(("sent_total", ()), 0) >= number:
                return found
            await asyncio.sleep(0.05)

    async with app, asyncio.timeout(100):
        # Each counts waits from its first answer on.
        while sum(answer.value is not None for answer in (await fleet.children.ask("metrics")).values()) < 2:
            await asyncio.sleep(0.05)
        await mails.publish_many(list(range(MESSAGES)))
        found = await until(MESSAGES)
        assert value(found, "tasuki_messages_settled_total", queue="app:mails", result="acked") <= MESSAGES
        victim = next(iter(fleet._running.values()))
        os.kill(victim.pid, signal.SIGKILL)
        await victim.ended()
        await mails.publish_many(list(range(MESSAGES)))
        found = await until(2 * MESSAGES)
        assert value(found, "tasuki_message_wait_seconds_count") > MESSAGES
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    total = parsed(exposition(await fleet.metrics.snapshot()))
    acked = {"queue": "app:mails", "result": "acked"}
    settled = "tasuki_messages_settled_total"
    assert value(total, settled, **acked) >= value(found, settled, **acked), "no counter falls"
    assert "tasuki_handlers_running" not in {name for name, _ in total}
