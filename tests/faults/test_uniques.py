"""Sixteen publishers race for a hundred keys, and they and the workers are killed: a key has one message at a time."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import DRIVERS, overrides

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]

PUBLISHES = 10_000 if IS_CAMPAIGN else 800
KILLS = 40 if IS_CAMPAIGN else 6
KEYS = 100 if IS_CAMPAIGN else 20
WITHOUT = ("amqp", "sqs")
"""Their windows are kept by another driver's store."""
NATIVE = ("sqlite", "postgres", "redis")
RACES = [
    *((driver, "pending") for driver in NATIVE),
    *((driver, "running") for driver in (*NATIVE, "nats")),
    *((driver, "10m") for driver in (*NATIVE, "nats", *WITHOUT)),
]

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: other, kind: queue.driver.sqlite, path: other.db}
  - {name: state, kind: store.sqlite, driver: other}
  - {name: work, kind: queue.queue, driver: driver, lease: 2s}
  - {name: handle, kind: function.python, source: file://work.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: work, func: handle, concurrency: 4, lifecycle: {auto_start: true}}
"""
NOTE = """\
import asyncio
import json
import os
import random
import sys
import time


def note(**fields):
    line = json.dumps({"pid": os.getpid(), "at": time.monotonic(), **fields}) + "\\n"
    with open("history.jsonl", "a") as file:
        file.write(line)
"""
WORK = f"""\
{NOTE}
from tasuki import Message
from tasuki.contracts.driver import Driver


def drivers(kind):
    for one in kind.__subclasses__():
        yield one
        yield from drivers(one)


def watched(receive):
    async def run(self, *arguments):
        begun = time.monotonic()
        received = await receive(self, *arguments)
        for each in received:
            note(event="claim", id=each.id, begun=begun)
        return received

    return run


for kind in drivers(Driver):
    if "receive" in vars(kind):
        kind.receive = watched(vars(kind)["receive"])


async def handle(body, message: Message):
    await asyncio.sleep(random.random() / 100)
    if random.random() < 0.02:
        raise RuntimeError("tried again")
    note(event="exit", id=message.id)
"""
PUBLISH = f"""\
{NOTE}
from tasuki import App
from tasuki.errors import DriverError


async def publish(queue, numbers, keys, span):
    for number in numbers:
        id, key = f"m{{number}}", f"key-{{number * 7919 % keys}}"
        await asyncio.sleep(random.random() / 50)  # work is done meanwhile
        while True:
            begun = time.monotonic()
            try:
                told = await queue.publish(number, id=id, unique=key, unique_for=span)
            except DriverError as error:
                if error.outcome == "rejected" and not error.retryable:
                    raise
                continue
            note(event="published", number=number, key=key, id=id, begun=begun, outcome=told.outcome, other=told.id)
            break


async def main():
    numbers, keys, span, *options = json.loads(sys.argv[1])
    async with App.load(".", overrides=options) as app:
        queue = app.queue("work")
        await asyncio.gather(*(publish(queue, numbers[turn::4], keys, span) for turn in range(4)))


asyncio.run(main())
"""


class Race:
    """Four processes of four publishers each, and two workers; one that is killed is replaced."""

    def __init__(self, folder: Path, options: list[str], span: str) -> None:
        self._folder, self._options, self._span = folder, options, span
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kills: list[float] = []
        """When workers were killed, by the clock of the history."""
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._read = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            self._processes = [self._start(number) for number in range(6)]
            yield
        finally:
            for process in self._processes:
                process.kill()
                process.wait()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        if number < 4:
            done = {each["number"] for each in self.history("published")}
            numbers = [each for each in range(number, PUBLISHES, 4) if each not in done]
            command = ["publish.py", json.dumps([numbers, KEYS, self._span, *self._options])]
        else:
            command = ["-m", "tasuki", "run", *(part for option in self._options for part in ("-o", option))]
        with (self._folder / "processes.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, number: int) -> None:
        process = self._processes[number]
        process.kill()
        process.wait()
        if number >= 4:
            self.kills.append(time.monotonic())
        self._processes[number] = self._start(number)

    def history(self, event: str) -> list[dict[str, Any]]:
        file = self._folder / "history.jsonl"
        if file.exists():
            with file.open("rb") as lines:
                lines.seek(self._read)
                content = lines.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                found = json.loads(line)
                self._events[found["event"]].append(found)
        return self._events[event]

    async def until(self, event: str, number: int) -> None:
        """Wait for this many lines of the history."""
        while len({each["id"] for each in self.history(event)}) < number:
            failed = [process.returncode for process in self._processes if process.poll()]
            assert not failed, self.log()
            await asyncio.sleep(0.05)

    def log(self) -> str:
        return (self._folder / "processes.log").read_text(errors="replace")[-5000:]

    def stored(self) -> dict[str, dict[str, Any]]:
        """The messages of which a publisher knows that they are stored, by their id."""
        return {each["id"]: each for each in self.history("published") if each["outcome"] == "stored"}


@pytest.mark.parametrize(("driver", "span"), [race for race in RACES if race[0] in DRIVERS])
async def test_a_key_has_one_message_while_its_publishers_are_killed(driver: str, span: str, tmp_path: Path) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:work")]
    if driver in WITHOUT:
        options.append("app:driver:state=state")
    race = Race(write(tmp_path, {"_index.yaml": PROJECT, "work.py": WORK, "publish.py": PUBLISH}), options, span)
    async with App.load(tmp_path, overrides=options) as app:
        with race.running():
            for number in range(KILLS):
                await race.until("published", (number + 1) * PUBLISHES // (KILLS + 1))
                race.kill(random.randrange(4) if number % 3 else random.randrange(4, 6))
            await race.until("published", PUBLISHES)
            stored = race.stored()
            while stored.keys() - {each["id"] for each in race.history("exit")}:
                await asyncio.sleep(0.1)  # what a killed worker held comes back; the time limit of the test ends this
            told = Counter(each["outcome"] for each in race.history("published"))
            print(f"{driver}, {span}: {told}, {KILLS} kills, {checked(race, span)} pairs checked")
            for number in range(KEYS if span != "10m" else 0):
                while (await app.publish("work", number, unique=f"key-{number}", unique_for=span)).outcome == "kept":
                    await asyncio.sleep(0.1)  # no kill has left a key behind


def checked(race: Race, span: str) -> int:
    """Hold the history to "one message per key"; returns how many pairs of messages of a key were compared.

    A message surely has its key from its confirmation until the first receive that may have taken it began
    (``pending``), or until its first handler ended (``running``). No other one may be published wholly within that.
    """
    stored = race.stored()
    keys = {each["id"]: each["key"] for each in race.history("published")}
    if span == "10m":
        by_key = defaultdict(set)
        for each in race.history("exit"):
            by_key[keys[each["id"]]].add(each["id"])
        assert all(len(ids) == 1 for ids in by_key.values()), by_key
        assert len(by_key) == KEYS
        return len(keys)
    ends: dict[str, float] = {}
    for each in race.history("claim" if span == "pending" else "exit"):
        at = each["begun"] if span == "pending" else each["at"]
        ends[each["id"]] = min(at, ends.get(each["id"], at))
    of_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in stored.values():
        of_key[each["key"]].append(each)
    pairs = 0
    for messages in of_key.values():
        messages.sort(key=lambda each: float(each["at"]))
        for first, second in pairwise(messages):
            pairs += 1
            is_within = first["at"] < second["begun"] and second["at"] < ends[first["id"]]
            # A worker that was killed may have taken the message, and had no time to say so.
            until = ends[first["id"]]
            is_unknown = span == "pending" and any(first["at"] < kill < until for kill in race.kills)
            assert not is_within or is_unknown, (first, second, ends[first["id"]])
    return pairs
