"""A process that consumes many queues at RabbitMQ: what the start of each takes, and whether all of them work."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Literal
from unittest import SkipTest

from tasuki import App
from tests.support.brokers.rabbitmq import RabbitMQ

QueueType = Literal["classic", "quorum"]
_GOAL_MS = 10
_PATIENCE = 300.0


def report(queues: int = 2_000) -> None:
    """Print one line for new queues and one for queues that are at the broker already."""
    try:
        broker = RabbitMQ.shared()
    except SkipTest as reason:
        print(f"  {reason}")
        return
    kinds: tuple[QueueType, ...] = ("classic", "quorum")
    cases = [(kind, name) for kind in kinds for name in ("new", "existing")]
    for kind, name in cases:
        try:
            took, worked, channels, cpu = asyncio.run(_measure(broker, queues, kind))
        except TimeoutError:
            print(f"  {queues} {name} {kind} queues: not all were consumed after {_PATIENCE:.0f} s", flush=True)
            continue
        verdict = "met" if took <= _GOAL_MS else "MISSED"
        print(
            f"  {queues} {name:8} {kind} queues: {took:5.1f} ms a queue (goal {_GOAL_MS} ms: {verdict}), "
            f"CPU of the broker {cpu[0]:.1f} ms, of the worker {cpu[1]:.1f} ms; {worked} worked; {channels} channels",
            flush=True,
        )


async def _measure(broker: RabbitMQ, queues: int, kind: QueueType) -> tuple[float, int, int, tuple[float, float]]:
    """Milliseconds a queue, how many handled a message, channels, and CPU milliseconds of the broker and of us."""
    app, handled = App(f"amqp://127.0.0.1:{broker.port}/"), asyncio.Event()
    seen: set[int] = set()

    async def handle(body: int) -> None:
        seen.add(body)
        if len(seen) == queues:
            handled.set()

    for number in range(queues):
        app.queue(f"{kind}-{number}", options={"queue_type": kind}).consumer(name=f"c{number}")(handle)
    assert broker.process is not None
    before, own = _cpu_seconds(broker.process.pid), time.process_time()
    began = time.perf_counter()
    async with app:
        await app.start()
        session = next(iter(app._runtime.assembly.queues.values())).driver._inner._guard.get()  # type: ignore[union-attr]
        async with asyncio.timeout(_PATIENCE):
            while not _are_consumed(session, queues):
                await asyncio.sleep(0.05)
        took = time.perf_counter() - began
        cpu = (_cpu_seconds(broker.process.pid) - before, time.process_time() - own)
        channels = sum(len(place.link.connection._channels) for place in session.links._places)
        for number in range(queues):
            await app.queue(f"{kind}-{number}").publish(number)
        try:
            async with asyncio.timeout(60):
                await handled.wait()
        except TimeoutError:
            pass
    return took / queues * 1e3, len(seen), channels, (cpu[0] / queues * 1e3, cpu[1] / queues * 1e3)


def _are_consumed(session: object, queues: int) -> bool:
    found = list(session.subscriptions.values())  # type: ignore[attr-defined]
    parts = [each._consuming for each in found]
    return len(parts) == queues and all(part.consumers.are_shared and part.task is None for part in parts)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
