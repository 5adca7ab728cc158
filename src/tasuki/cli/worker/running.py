"""Output of ``run`` about its start and its progress."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tasuki.cli.exits import CommandError
from tasuki.cli.output import bar
from tasuki.cli.project import Target, durable_hint, is_shared
from tasuki.errors import DriverError
from tasuki.fields.types import DriverKind

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project


def refuse_memory(project: Project) -> None:
    """Several processes cannot share a queue in memory. Raises CommandError."""
    from tasuki.kinds.entries.queue import QueueConfig

    for id in project.of(QueueConfig):
        kind = project.driver_of(id)
        if not is_shared(kind):
            raise CommandError(
                f"queue {id!r} is on {kind.name}: each process would have its own, and messages would be in the "
                f"wrong one; {durable_hint()}, or run one process"
            )


def drivers_of(project: Project) -> list[str]:
    """A line on each driver that has queues, with the file that it keeps them in."""
    from tasuki.kinds.entries.queue import QueueConfig

    drivers = dict.fromkeys(queue.driver for queue in project.of(QueueConfig).values())
    files = {id: file_of(project, id) for id in drivers}
    return [f"{id} ({project.kinds[id].name})" + (f" in {files[id]}" if files[id] else "") for id in drivers]


def file_of(project: Project, driver: str) -> str | None:
    """The file that a driver keeps its queues in; None: it keeps them elsewhere."""
    kind = project.kinds[driver]
    assert isinstance(kind, DriverKind)
    place = kind.place(project.configs[driver], project.registry.root) if kind.place else None
    return place if isinstance(place, str) and os.path.isabs(place) else None


def longest_stop(project: Project) -> float:
    """The longest ``stop_timeout`` of a consumer, in seconds: how long a worker may take to drain."""
    from tasuki.kinds.entries.consumer import ConsumerConfig

    return max((consumer.lifecycle.stop_timeout for consumer in project.of(ConsumerConfig).values()), default=10.0)


def summary(target: Target, project: Project, processes: int) -> str:
    """A few lines about the worker that is about to run."""
    from tasuki import __version__
    from tasuki.kinds.check.conflicts import has_limit
    from tasuki.kinds.check.consumers import concurrency_of, follows_handler, prefetch_of, shared_workers
    from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
    from tasuki.kinds.entries.queue import QueueConfig

    name = target.given or target.found.target
    lines = [f"tasuki {__version__}: {name}" + (f", {processes} processes" if processes > 1 else "")]
    lines += [f"  driver    {line}" for line in drivers_of(project)]
    consumers = [item for item in project.of(ConsumerConfig).items() if item[1].lifecycle.auto_start]
    shared, queues = shared_workers(project.configs), project.of(QueueConfig)
    for id, config in consumers:
        is_limited = has_limit(queues[config.queue])
        most, held = concurrency_of(config, shared), prefetch_of(config, shared, is_limited=is_limited)
        begins = "from " if follows_handler(config, queues[config.queue], is_limited=is_limited) else ""
        called = ", ".join([*([config.func] if config.func else []), *config.funcs])
        lines.append(f"  consumer  {id}: {config.queue} → {called}, {most} at a time, prefetch {begins}{held}")
    lines += [
        f"  workers   {id}: {workers.concurrency} at a time, {workers.order}, for {', '.join(workers.queues)}"
        for id, workers in project.of(WorkerConfig).items()
    ]
    if not consumers:
        lines.append("  no consumer has lifecycle.auto_start: nothing will be handled")
    return "\n".join(lines)


async def follow_emptying(app: App, pause: float = 0.2) -> None:
    """Show how many messages were handled, and how many are left, until cancelled."""
    with bar(1, "handling") as show:
        while True:
            await asyncio.sleep(pause)
            if app._runtime.assembly is None:
                continue
            consumers = list(app._runtime.assembly.consumers.values())
            counts = [consumer.metrics for consumer in consumers]
            handled = sum(each.acked + each.cancelled + each.dead_lettered for each in counts)
            try:
                depths = [
                    await queue.depth() for queue in {consumer.queue for consumer in consumers} if queue.consumer_count
                ]
            except DriverError:
                continue  # the broker is unavailable; the logs say so
            left = sum(depth.message_count for depth in depths)
            show(handled, handled + left)
