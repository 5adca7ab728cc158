"""Members of groups that are settled before their handlers end, under kill -9 at each await: what follows them comes.

A life is a forked process that works on one file of SQLite, and kills itself at one of the calls of its driver and its
store, from the start of the first handler on. The next life finds what that one has left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

STEP = 1 if os.environ.get("CAMPAIGN") else 5
"""Every call, or every fifth one."""
MEMBERS = 2
MOST = 200
"""More calls than a life makes."""
DRIVER = ("hold_within", "claim_within", "remember_within", "settle_within", "settle", "publish", "start")
STORE = ("get", "put", "delete")


class Life:
    """One process; ``kill_at``: the call that it does not survive."""

    def __init__(self, folder: Path, how: str, kill_at: int) -> None:
        self.how = how
        self.left = kill_at
        self.has_begun = False
        self.history = os.open(folder / "history", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.app = App(f"sqlite:///{folder}/queue.db")
        self.jobs = self.app.queue("jobs", lease="1s", dead_letter={"queue": "dead", "max_attempts": 3})
        self.after, self.dead = self.app.queue("after"), self.app.queue("dead")
        self.jobs.consumer(self.handle)

    def point(self) -> None:
        if self.has_begun:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched(self, verb: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **named: Any) -> Any:
            self.point()
            result = await verb(*args, **named)
            self.point()
            return result

        return call

    async def handle(self, body: str, context: Context) -> str:
        self.has_begun = True
        os.write(self.history, f"{body}\n".encode())  # one write a line: it has happened, whatever kills the process
        if self.how == "ack":
            context.ack()
        else:
            async with context.transaction() as tx:
                tx.connection.execute("INSERT INTO effects VALUES (?)", (body,))
                tx.remember(body.upper())
                self.point()
            self.point()
        await asyncio.sleep(0)
        self.point()
        return body.upper()

    async def run(self) -> None:
        async with self.app.worker():
            state = self.app._runtime.live().state_of("app:jobs")
            assert state is not None
            for target, verbs in ((self.app._runtime.queue("jobs").driver, DRIVER), (await state.store(), STORE)):
                for verb in verbs:
                    setattr(target, verb, self.watched(getattr(target, verb)))
            async with asyncio.timeout(60):
                while (await self.jobs.info())["message_count"] or not (await self.after.depth()).ready:
                    await asyncio.sleep(0.01)

    def is_survived(self) -> bool:
        """Whether a forked child that lives this life comes to its end."""
        if not (child := os.fork()):
            try:
                asyncio.run(self.run())
            except BaseException:
                os._exit(2)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        return status == 0


def begin(folder: Path) -> None:
    """The group, and a table of effects in which each member has one place."""

    async def run() -> None:
        life = Life(folder, "", 0)
        async with life.app:
            members = [life.jobs.message(f"m{number}") for number in range(MEMBERS)]
            await life.app.group(members, then=life.after, on_error=life.after, id="g")
            async with life.app._runtime.queue("jobs").driver.transaction() as connection:
                connection.execute("CREATE TABLE effects (what text PRIMARY KEY)")

    asyncio.run(run())


async def followed(folder: Path) -> tuple[list[tuple[str, Any]], int]:
    """What has followed the group, and how many dead letters there are."""
    life = Life(folder, "", 0)
    async with life.app:
        live = life.app._runtime.queue("after")
        got = await live.driver.receive("after", 100, 0.0)
        return [(each.id, live.decode(each)) for each in got], (await life.dead.depth()).ready


@pytest.mark.parametrize("how", ["transaction", "ack"])
def test_a_kill_at_each_await_loses_nothing_that_follows(tmp_path: Path, how: str) -> None:
    results: Counter[str] = Counter()
    for kill_at in range(0, MOST, STEP):
        folder = tmp_path / f"{kill_at}"
        folder.mkdir()
        begin(folder)
        is_survived = Life(folder, how, kill_at).is_survived()
        if not is_survived:
            assert Life(folder, how, MOST * 10).is_survived()
        names = [f"m{number}" for number in range(MEMBERS)]
        found, dead = asyncio.run(followed(folder))
        # SQLite drops what follows if it is published again.
        assert found == [("group:g", [name.upper() for name in names])], kill_at
        assert not dead, kill_at
        runs = Counter((folder / "history").read_text().split())
        assert set(runs) == set(names)
        assert is_survived <= (max(runs.values()) == 1), kill_at
        results["repeated"] += max(runs.values()) > 1
        if how == "transaction":
            with closing(sqlite3.connect(folder / "queue.db")) as connection:
                assert sorted(what for (what,) in connection.execute("SELECT what FROM effects")) == names, kill_at
        if is_survived:
            break
    else:
        raise AssertionError("a life makes more calls than that")
    assert results["repeated"] > 20 / STEP, results
    print(f"{how}: killed at {kill_at} calls, in {results['repeated']} of them a handler ran again")
