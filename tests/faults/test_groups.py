"""Groups under kill -9 of their workers: each one is followed, once where the driver can tell."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tests.faults import test_cancel as cancel
from tests.faults.test_steps import KILLS
from tests.support.brokers.everywhere import DRIVERS

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800)]

MEMBERS = 10

HANDLER = """
import asyncio, json, os, time
from tasuki import Context

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def handle(body, context: Context):
    await asyncio.sleep(0.005)
    # One write a line: what stands here has happened, whatever kills the process.
    name = f"end {context.message.id}" if isinstance(body, list) else f"member {body}"
    os.write(history, json.dumps([name, time.monotonic()]).encode() + b"\\n")
    if isinstance(body, list):
        assert body == list(range(body[0], body[0] + 10)), body
    return body
"""


IN_TRANSACTION = """
import asyncio, json, os, time
from tasuki import Context

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def handle(body, context: Context):
    if isinstance(body, list):
        os.write(history, json.dumps([f"end {context.message.id}", time.monotonic()]).encode() + b"\\n")
        assert body == list(range(body[0], body[0] + 10)), body
        return
    async with context.transaction() as tx:
        await tx.connection.execute("INSERT INTO group_effects VALUES ($1)", body)
        tx.remember(body)
    os.write(history, json.dumps([f"member {body}", time.monotonic()]).encode() + b"\\n")
    await asyncio.sleep(0.02)
    return body
"""


@pytest.fixture(params=[each for each in DRIVERS if each in cancel.STORES])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_groups_while_workers_are_killed(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "HANDLER", HANDLER)
    async with cancel.place_on(driver, tmp_path) as (app, workers):
        groups = await _killed(app, workers)
    seen = Counter(start.id for start in workers.starts())
    assert {f"member {number}" for number in range(len(groups) * MEMBERS)} <= set(seen)
    _check_ends(seen, groups)


async def test_groups_whose_members_commit_while_workers_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "HANDLER", IN_TRANSACTION)
    async with cancel.place_on("postgres", tmp_path) as (app, workers):
        driver: Any = app._runtime.queue("app:tasks").driver
        async with driver.transaction() as connection:
            await connection.execute("DROP TABLE IF EXISTS group_effects; CREATE TABLE group_effects (what integer)")
        groups = await _killed(app, workers)
        async with driver.transaction() as connection:
            effects = [row[0] for row in await connection.fetch("SELECT what FROM group_effects ORDER BY 1")]
    assert effects == list(range(len(groups) * MEMBERS))
    _check_ends(Counter(start.id for start in workers.starts()), groups)


def _check_ends(seen: Counter[str], groups: list[str]) -> None:
    ends = {name: count for name, count in seen.items() if name.startswith("end ")}
    assert set(ends) == {f"end group:{id}" for id in groups}
    # Its own message is handled again where a kill falls between its handler and its ack.
    assert sum(ends.values()) <= len(groups) + 2 * KILLS


async def _killed(app: App, workers: cancel.Workers) -> list[str]:
    """Groups that workers handle while they are killed; their ids."""
    tasks = app.queue("app:tasks")
    groups: list[str] = []
    for _ in range(2):
        workers.start()
    for _ in range(KILLS):
        for _ in range(4):
            first = len(groups) * MEMBERS
            members = [tasks.message(number) for number in range(first, first + MEMBERS)]
            groups.append((await app.group(members, then=tasks)).id)
        await workers.wait_for_more(15)
        workers.kill(random.choice(workers.running))
        workers.start()
    async with asyncio.timeout(120):
        while (await tasks.info())["message_count"]:
            await asyncio.sleep(0.05)
    assert not (await app.queue("app:dead").depth()).ready
    return groups
