"""Status: the counters and present state of a running application, as plain data."""

from __future__ import annotations

from itertools import islice
from typing import Any

from tasuki.app.assembly import Assembly
from tasuki.kinds.entries.worker import WorkerConfig
from tasuki.moments import plain
from tasuki.observe.custom import OF_HANDLERS, CustomMetrics, Sample
from tasuki.observe.metrics import Histogram

MAX_SAMPLES = 1000
"""Most series of the handlers' own metrics, shared about equally among the functions; others are left out."""


def status_of(assembly: Assembly | None, metrics: CustomMetrics = OF_HANDLERS) -> dict[str, Any]:
    """Counters since the process started, by entry id.

    Returns:
        ``workers``: shared workers by id, ``concurrency``, ``running`` now, and ``queues``;
        ``consumers``: by id, ``running``, ``held`` and ``concurrency`` now, ``paused`` (null, or ``until``, ``actor``,
        ``at``, ``reason``), and all of ``ConsumerMetrics.as_dict``; ``queues``: by id,
        ``published``, ``rejected`` and ``unknown`` publishes of this process, and
        ``late_replies`` to its requests, the ``durability`` that its driver gives, and the ``demanded_durability``: if
        that is more, publishing is refused; ``metrics``: what handlers have counted, each ``{function, name, type,
        labels, value}``, a histogram with ``count`` and ``sum`` instead of ``value``; a name is of one type within one
        function only. All but ``metrics`` are empty without an assembly.
    """
    consumers = assembly.consumers.items() if assembly else ()
    queues = assembly.queues.items() if assembly else ()
    shared = assembly.project.of(WorkerConfig).items() if assembly else ()
    return {
        "workers": {
            id: {"concurrency": config.concurrency, "running": assembly.workers[id].running, "queues": config.queues}
            for id, config in shared
            if assembly
        },
        "consumers": {
            id: {
                "running": now.running,
                "held": now.held,
                "concurrency": now.concurrency,
                "paused": None if now.pause is None else plain(now.pause),
                **consumer.metrics.as_dict(),
            }
            for id, consumer, now in ((id, each, each.now) for id, each in consumers)
        },
        "queues": {
            id: {
                "published": queue.metrics.published,
                "rejected": queue.metrics.rejected,
                "unknown": queue.metrics.unknown,
                "late_replies": queue.metrics.late_replies,
                "durability": queue.durability,
                "demanded_durability": queue.demand.level,
            }
            for id, queue in queues
        },
        "metrics": [_sample(sample) for sample in islice(metrics.samples(), MAX_SAMPLES)],
    }


def _sample(sample: Sample) -> dict[str, Any]:
    value = sample.value
    number = {"count": value.count, "sum": value.sum} if isinstance(value, Histogram) else {"value": value}
    labels = dict(sample.labels)
    return {"function": sample.function, "name": sample.name, "type": sample.type, "labels": labels, **number}
