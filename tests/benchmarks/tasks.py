"""Tasks: what a call costs its publisher, and what it costs more than a body at the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tasuki import App
from tasuki.handlers.arguments import Arguments
from tasuki.queues.messages.codec import JsonCodec

URL = "https://example.com/photos/2026/11"


def microseconds(work: Callable[[], object], times: int = 50_000, repeats: int = 5) -> float:
    """CPU of one call, of the cheapest repeat."""
    results = []
    for _ in range(repeats):
        started = time.process_time()
        for _ in range(times):
            work()
        results.append((time.process_time() - started) / times * 1e6)
    return min(results)


async def send(url: str, as_json: bool = False) -> None:
    """The task."""


async def handled(messages: int, *, is_task: bool) -> float:
    """CPU microseconds a message at the worker, memory driver, no-op."""
    app = App("memory://")
    queue = app.queue("load")
    if is_task:
        queue.task_consumer(concurrency=10, prefetch=500)
        task = queue.task(send)
        items: list[Any] = [task.message(URL, True) for _ in range(messages)]
    else:
        queue.consumer(concurrency=10, prefetch=500)(_take)
        items = [{"url": URL, "as_json": True}] * messages
    async with app:
        await queue.publish_many(items)
        cpu = time.process_time()
        await app.start()
        assert app._runtime.assembly is not None
        (consumer,) = app._runtime.assembly.consumers.values()
        while consumer.metrics.acked < messages:
            await asyncio.sleep(0.002)
        return (time.process_time() - cpu) / messages * 1e6


async def _take(body: dict[str, Any]) -> None:
    """The handler of a body."""


def report(messages: int = 50_000, repeats: int = 5) -> None:
    """Print one line a case."""
    arguments, codec = Arguments(send), JsonCodec()
    bound = microseconds(lambda: arguments.bind("send.publish(…)", (URL,), {"as_json": True}))
    encoded = microseconds(lambda: codec.encode(arguments.bind("send.publish(…)", (URL,), {"as_json": True})))
    print(f"  a call's arguments checked and bound             {bound:6.2f} us CPU   (and encoded: {encoded:.2f})")
    for name, is_task in (("a body, at the worker", False), ("a task of two arguments, at the worker", True)):
        cost = min(asyncio.run(handled(messages, is_task=is_task)) for _ in range(repeats))
        print(f"  {name:48} {cost:6.2f} us CPU")
