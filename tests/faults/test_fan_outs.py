"""Named groups of handlers under kill -9 of their workers: no member is lost, and what follows comes once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import test_cancel as cancel
from tests.faults.test_steps import KILLS
from tests.faults.test_waits import driver, give_state

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(3600)]
__all__ = ["driver"]

MEMBERS = 5
GROUPS = 6
"""For each kill."""

HANDLER = """
import asyncio, json, os, time
from tasuki import Context

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def handle(body, context: Context):
    # One write a line: what stands here has happened, whatever kills the process.
    line = lambda name: os.write(history, json.dumps([name, time.monotonic()]).encode() + b"\\n")
    if isinstance(body, int):
        line(f"split {body}")
        members = [context.queues.message_to("tasks", {"of": body, "number": number}) for number in range(5)]
        started = await context.group(members, then="tasks", name="pages")
        assert started.members == [f"app:tasks/{context.message.id}/pages:{number}" for number in range(5)], started
        await asyncio.sleep(0.002)
        line(f"done {body}")
    elif isinstance(body, dict):
        await asyncio.sleep(0.002)
        line(f"member {body['of']}/{body['number']}")
        return [body["of"], body["number"]]
    else:
        of = body[0][0]
        assert body == [[of, number] for number in range(5)], body
        line(f"then {of} {context.message.headers['timestamp']}")
"""


async def test_groups_of_handlers_while_workers_are_killed(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "HANDLER", HANDLER)
    give_state(driver, monkeypatch)
    if driver == "nats":  # it drops a second message of an id in such a queue only
        project = cancel.PROJECT.replace("lease: 3s,", "lease: 3s, dedup_window: 1h,")
        monkeypatch.setattr(cancel, "PROJECT", project)
    dice = random.Random(12)
    async with cancel.place_on(driver, tmp_path) as (app, workers):
        tasks, published = app.queue("app:tasks"), 0
        for _ in range(2):
            workers.start()
        for _ in range(KILLS):
            for result in await app._runtime.queue("app:tasks").publish_many(
                list(range(published, published + GROUPS))
            ):
                assert result.id
            published += GROUPS
            await workers.wait_for_more(dice.randint(1, GROUPS * (MEMBERS + 2)))
            workers.kill(dice.choice(workers.running))
            workers.start()
        async with asyncio.timeout(900):
            while followed(workers) < published or (await tasks.info())["message_count"]:
                await asyncio.sleep(0.1)
        assert not (await app.queue("app:dead").depth()).ready
    check(workers.starts(), published, is_once=driver not in ("amqp", "sqs"))


def followed(workers: cancel.Workers) -> int:
    """How many groups what follows has come for; a broker's count misses a message that goes from queue to queue."""
    return len({start.id.split()[1] for start in workers.starts() if start.id.startswith("then ")})


def check(starts: list[cancel.Start], groups: int, is_once: bool) -> None:
    seen, first = Counter(start.id for start in starts), dict[str, float]()
    for start in starts:
        first.setdefault(start.id.rpartition(" ")[0] if start.id.startswith("then") else start.id, start.at)
    for group in range(groups):
        members = {f"member {group}/{number}" for number in range(MEMBERS)}
        assert {f"done {group}", f"then {group}", *members} <= set(first), group
        assert first[f"then {group}"] >= max(first[member] for member in members), "it came before a member was done"
    thens = [name for name in seen if name.startswith("then ")]
    # Two handlers of a worker die with it. Each may be what follows, or the last member, which publishes it again where
    # the driver cannot tell.
    assert sum(seen[name] for name in thens) - groups <= 2 * KILLS
    if is_once:
        assert len(thens) == groups, "it was published twice: a message that comes again has the time of its publish"
