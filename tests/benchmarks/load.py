"""The load that the measurements share: a project per case, messages in batches, and a no-op handler."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki import App

BODY = {
    "id": "0190f3a2-7c1e",
    "action": "resize",
    "width": 1920,
    "height": 1080,
    "ratio": 1.777,
    "keep": True,
    "tags": ["holiday", "sea", "2026"],
    "source": "/var/data/incoming/photos/2026/11/DSC_001234.jpg",
}
"""Eight keys, about 190 bytes as JSON."""

BATCH = 500


@dataclass(frozen=True)
class Result:
    """CPU microseconds and wall-clock rate per message, of one process, from the first publish to the last ack."""

    messages: int
    cpu_us: float
    per_second: float
    publish_cpu_us: float


def rss_mib() -> float:
    """Resident memory now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def run(app: App, queue: str, messages: int, *, together: bool = False) -> Result:
    """Publish in batches, consume everything; with ``together`` at the same time, else one after the other."""
    handled = messages
    started, cpu = time.perf_counter(), time.process_time()
    await app.open()
    handle = app.queue(queue)
    if together:
        await app.start()
    for start in range(0, messages, BATCH):
        results = await handle.publish_many([BODY] * min(BATCH, messages - start))
        assert all(type(result).__name__ == "Confirmed" for result in results)
    published = time.process_time() - cpu
    await app.start()
    assert app._runtime.assembly is not None
    (consumer,) = app._runtime.assembly.consumers.values()
    while consumer.metrics.acked < handled or consumer.now.held:
        await asyncio.sleep(0.002)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert consumer.metrics.failed == 0
    await app.close()
    return Result(messages, cpu / messages * 1e6, messages / wall, published / messages * 1e6)


async def bare_loop(messages: int) -> float:
    """CPU microseconds a message of the least that anything can do: encode, pop, decode, await, settle in batches."""
    from collections import deque

    import msgspec

    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    queue: deque[bytes] = deque()
    settled = 0

    async def handler(body: Any) -> None:
        return None

    cpu = time.process_time()
    for _ in range(messages):
        queue.append(encode(BODY))
    batch: list[bytes] = []
    while queue:
        body = queue.popleft()
        await handler(decode(body))
        batch.append(body)
        if len(batch) == BATCH:
            settled += len(batch)
            batch.clear()
    return (time.process_time() - cpu) / messages * 1e6
