"""Processes killed in the middle of transfers: each message is in one of the two queues, once."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides
from tests.support.process import Process

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
"""The long form: ``make kills``."""

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(900 if IS_CAMPAIGN else 240)]

MESSAGES = 20_000 if IS_CAMPAIGN else 2000
KILLS = 30 if IS_CAMPAIGN else 3
BATCH = 20
"""Messages of one transfer."""

PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: there, kind: queue.queue, driver: driver}
  - {name: here, kind: queue.queue, driver: driver}
""",
    "transfer.py": """\
import asyncio
import sys

from tasuki import App
from tasuki.contracts.driver import Outgoing, Transfer
from tasuki.errors import MessageNotFoundError


async def main(options):
    app = App.load(".", overrides=options)
    async with app:
        source, target = app._runtime.queue("app:here"), app._runtime.queue("app:there")
        while letters := await source.peek(20):
            transfers = [Transfer(each.id, target.spec.name, Outgoing(each.id, each.body, {})) for each in letters]
            try:
                await source.driver.transfer(source.spec.name, transfers)
            except MessageNotFoundError:
                pass
            print("batch", file=sys.stderr, flush=True)


asyncio.run(main(sys.argv[1:]))
""",
}


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "redis"])
async def test_a_kill_in_the_middle_loses_and_doubles_nothing(driver: str, tmp_path: Path) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:here", "app:there")]
    chance = random.Random(driver)
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    async with app:
        here = app._runtime.queue("app:here")
        ids = [f"{number:05d}" for number in range(MESSAGES)]
        for start in range(0, MESSAGES, 1000):
            assert not any(await here.forward([Outgoing(id, b"1", {}) for id in ids[start : start + 1000]]))
        for _ in range(KILLS):
            with started(tmp_path, options) as process:
                for _ in range(chance.randint(1, MESSAGES // BATCH // KILLS // 2)):
                    process.wait_for("batch")
            left, moved = await _ids(app, "here"), await _ids(app, "there")
            assert sorted(left + moved) == ids
            assert left, "too little was left to kill"
        with started(tmp_path, options) as one, started(tmp_path, options) as other:  # two at once
            assert [one.wait(120), other.wait(120)] == [0, 0], one.output + other.output
        assert sorted(await _ids(app, "there")) == ids
        assert (await here.depth()).ready == 0


@contextmanager
def started(folder: Path, options: list[str]) -> Iterator[Process]:
    """A process that transfers all that is there; it is killed at the end of the block."""
    process = Process((), folder, command=[sys.executable, "transfer.py", *options])
    try:
        yield process
    finally:
        process.kill()


async def _ids(app: App, queue: str) -> list[str]:
    """Of all that waits in a queue; nothing else changes it meanwhile."""
    source, found = app._runtime.queue(f"app:{queue}"), list[str]()
    while page := await source.peek(1000, len(found)):
        found += [message.id for message in page]
    return found
