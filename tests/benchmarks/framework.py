"""CPU of the framework itself, on the memory driver: bodies, tasks, Lua, batches, traces, metrics, and the start."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import timeit
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tasuki import App
from tasuki.clock import SystemClock
from tasuki.contracts.driver import Received
from tasuki.message import new_id
from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.observe.exposition.text import respond
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics, QueueMetrics
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import BATCH, BODY, Spent, drain, fill, run

_MESSAGES = 20_000
_LUA = "local function handler(body)\n  return true\nend\nreturn handler\n"
_OPTIONS: dict[str, Any] = {"concurrency": 10, "prefetch": 500}


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


async def noop(body: Any) -> None:
    """Handle a body."""


async def noop_batch(body: list[Any]) -> None:
    """Handle a batch."""


def plain(body: Any) -> None:
    """Handle a body in a thread."""


async def send(url: str, as_json: bool = False) -> None:
    """Handle a task."""


def measure(driver: str) -> Iterator[Figure]:
    """CPU microseconds a message, from the publish in batches to the ack; then metrics and the start."""
    yield Figure("bare loop (encode, pop, decode, await, settle)", _bare_loop(), "us")
    cases: dict[str, tuple[Callable[[App], object], int]] = {
        "async Python no-op": (lambda app: app.queue("load").consumer(**_OPTIONS)(noop), _MESSAGES),
        "plain function": (lambda app: app.queue("load").consumer(**_OPTIONS)(plain), _MESSAGES // 4),
        "batches of 100": (
            lambda app: app.queue("load").consumer(batch={"size": 100, "wait": "100ms"})(noop_batch),
            _MESSAGES,
        ),
        "Lua no-op, body as a table": (_lua, _MESSAGES),
        "traces, 1 % recorded": (lambda app: _traced(app, 0.01), _MESSAGES),
        "traces, all recorded": (lambda app: _traced(app, 1.0), _MESSAGES // 5),
    }
    for name, (declare, messages) in cases.items():
        # The first run imports what it needs.
        yield Figure(name, min(run(_handled(declare, messages)) for _ in range(2)) * 1e6, "us")
    yield Figure("a task of two arguments", min(run(_tasks(_MESSAGES)) for _ in range(2)) * 1e6, "us")
    yield from _metrics()
    yield from _start()


async def _handled(declare: Callable[[App], object], messages: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        app = App("memory://", root=Path(folder))
        declare(app)
        async with app:
            began = Spent.now()
            await fill(app, "load", messages)
            await drain(app, messages)
            return Spent.now().since(began, messages).here


async def _tasks(messages: int) -> float:
    app = App("memory://")
    queue = app.queue("load")
    queue.task_consumer(**_OPTIONS)
    task = queue.task(send)
    async with app:
        began = Spent.now()
        for _ in range(0, messages, BATCH):
            await queue.publish_many([task.message("https://example.com/2026/11", True) for _ in range(BATCH)])
        await drain(app, messages)
        return Spent.now().since(began, messages).here


def _lua(app: App) -> None:
    queue, function = app.queue("load"), app.entry("noop", "function.lua", source=_LUA)
    app.entry("consumer", "queue.consumer", queue=queue.id, func=function, lifecycle={"auto_start": True}, **_OPTIONS)


def _traced(app: App, sample: float) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    app.traces(provider, sample=sample)
    app.queue("load").consumer(**_OPTIONS)(noop)


def _bare_loop() -> float:
    """CPU microseconds a message of the least that anything can do."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    queue: deque[bytes] = deque()

    async def work() -> float:
        cpu = time.process_time()
        for _ in range(_MESSAGES):
            queue.append(encode(BODY))
        settled: list[bytes] = []
        while queue:
            body = queue.popleft()
            await noop(decode(body))
            settled.append(body)
        return (time.process_time() - cpu) / _MESSAGES * 1e6

    return run(work())


def _metrics() -> Iterator[Figure]:
    metrics, messages = (
        ConsumerMetrics(consumer="app:c", queue="app:q", driver="app:d"),
        [Received(new_id(), b"{}", {"timestamp": 1}) for _ in range(1000)],
    )
    metrics.measure(SystemClock())

    def count() -> None:
        for message in messages:
            metrics.ran(message, 1.0, 1.004)

    yield Figure("metrics: counting a message", min(_cpu(count, 100)) * 10, "us")
    one = _snapshot(1000)
    yield Figure("metrics: a scrape of 1000 queues", min(_cpu(lambda: respond(one), 1)) * 1e3, "ms")


def _cpu(work: Callable[[], object], number: int) -> list[float]:
    """Seconds of processor time of some runs."""
    return timeit.repeat(work, timer=time.process_time, number=number, repeat=5)


def _snapshot(queues: int) -> Snapshot:
    """Of one process with this many queues, and a consumer for each."""
    histogram = {"counts": [3] * (len(BUCKETS) + 1), "sum": 12.5}
    times: Any = {"handler_seconds": histogram, "wait_seconds": histogram, "errors": {"ValueError": 1}}
    gauges: Any = {"ready": 5, "in_flight": 2, "delayed": 1, "oldest_age": 1.5, "paused": 0, "consumers": 1}
    queue = {name: 7 for name in QueueMetrics.__slots__ if name not in ("queue", "driver", "publish_seconds")}
    consumer = ConsumerMetrics(consumer="", queue="", driver="").counters()
    ids = [f"app:queue-{number}" for number in range(queues)]
    own: Any = {"driver": "app:broker", "running": 1, "buffered": 1, "concurrency": 1}
    return {
        "version": "1",
        "python": "3",
        "born": "x",
        "at": 1.0,
        "bounds": list(BUCKETS),
        "queues": {id: {**queue, **gauges, "driver": "app:broker", "publish_seconds": histogram} for id in ids},
        "consumers": {f"{id}.consumer": {**consumer, **own, **times, "queue": id} for id in ids},
    }


def _start() -> Iterator[Figure]:
    cases = {
        "interpreter alone": ["-c", "pass"],
        "import tasuki": ["-c", "import tasuki"],
        "from tasuki import App": ["-c", "from tasuki import App"],
        "tasuki --help": ["-m", "tasuki", "--help"],
    }
    for name, arguments in cases.items():
        before = _of_children()
        for _ in range(3):
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        yield Figure(f"start: {name}", (_of_children() - before) / 3 * 1e3, "ms CPU")


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
