"""Series: the metrics that Tasuki and handlers export, with their names, types and labels, read from a snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from tasuki.observe.custom import Sample
from tasuki.observe.metrics import Histogram

MAX_NAMES = 500
"""Names of handlers' metrics that are exported; the series of further ones are counted as dropped."""

MAX_SERIES = 1000
"""Series of one name."""


_NO_NAME = re.compile(r"[^a-zA-Z0-9_:]")

_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Names:
    """The names of one exposition. Prometheus refuses all of it if two metrics use one name, as ``x_count`` may do."""

    def __init__(self) -> None:
        self._used = {name for series in SERIES for name in _names_in(series.name, series.type)}

    def take(self, name: str, kind: str) -> bool:
        """Take the names that a metric is written with; False: another metric has one of them."""
        wanted = _names_in(name, kind)
        if name.startswith(PREFIX) or not self._used.isdisjoint(wanted):
            return False
        self._used |= wanted
        return True


def _names_in(name: str, kind: str) -> set[str]:
    """In either format: OpenMetrics names the family of a counter without ``_total``, and has ``_created``."""
    if kind == "gauge":
        return {name}
    plain = name.removesuffix("_total") if kind == "counter" else name
    ends = ("_total", "_created") if kind == "counter" else ("_bucket", "_count", "_sum", "_created")
    return {plain, *(plain + end for end in ends)}


def families(samples: Iterable[Sample]) -> tuple[dict[str, Any], int]:
    """The metrics by name, and how many series could not be exported.

    Functions that count under one name are counted together: counters, histograms and gauges are added. Not exported:
    a name that begins with ``tasuki_``, a name's second type, a name that another metric is written with (``x_count``
    beside the histogram ``x``), and more series than the bounds allow.
    """
    found: dict[str, Any] = {}
    names = Names()
    dropped = 0
    for sample in samples:
        name = name_of(sample.name, sample.type)
        family = found.get(name)
        if family is None:
            if len(found) >= MAX_NAMES or not names.take(name, sample.type):
                dropped += 1
                continue
            family = found[name] = {"type": sample.type, "series": {}}
            if isinstance(sample.value, Histogram):
                family["bounds"] = list(sample.value.bounds)
        if family["type"] != sample.type:
            dropped += 1
            continue
        series, labels = family["series"], labels_of(tuple(sample.labels.items()))
        if labels not in series and len(series) >= MAX_SERIES:
            dropped += 1
        elif isinstance(sample.value, Histogram):
            known = series.setdefault(labels, {"counts": [0] * len(sample.value.counts), "sum": 0.0})
            known["counts"] = [a + b for a, b in zip(known["counts"], sample.value.counts, strict=True)]
            known["sum"] += sample.value.sum
        else:
            series[labels] = series.get(labels, 0.0) + sample.value
    return found, dropped


@lru_cache(4096)
def name_of(name: str, kind: str) -> str:
    """The name that is exported: ``orders.new`` becomes ``orders_new``, and a counter ends with ``_total``."""
    text = _NO_NAME.sub("_", name) or "_"
    text = f"_{text}" if text[0].isdigit() else text
    is_whole = text.endswith("_total") and text != "_total"
    return f"{text}_total" if kind == "counter" and not is_whole else text


@lru_cache(65_536)
def labels_of(labels: tuple[tuple[str, str], ...]) -> str:
    """The labels as Prometheus writes them; a name that is reserved begins with ``exported_``.

    Where two names become one, as ``a.b`` and ``a_b`` do, the later ends with ``_``.
    """
    written: dict[str, str] = {}
    for name, value in labels:
        label = _label(name)
        while label in written:
            label += "_"
        written[label] = escaped(value)
    return ",".join([f'{name}="{value}"' for name, value in written.items()])


def _label(name: str) -> str:
    text = _NO_LABEL.sub("_", name) or "_"
    if text[0].isdigit():
        text = f"_{text}"
    return f"exported_{text}" if text in RESERVED or text.startswith("__") else text


def escaped(value: str) -> str:
    """The value of a label, as it stands between quotation marks."""
    text = value.translate(_ESCAPES)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


Type = Literal["counter", "gauge", "histogram"]


LABELS: Mapping[str, tuple[str, ...]] = {
    "queues": ("queue", "driver"),
    "consumers": ("queue", "consumer", "driver"),
    "drivers": ("driver",),
    "schedules": ("schedule",),
    "process": (),
}
"""The labels of the series of each part of a snapshot."""


RESERVED = frozenset({"queue", "consumer", "driver", "le", "quantile"})
"""Labels that the metrics of handlers cannot have."""

PREFIX = "tasuki_"
"""Names that the metrics of handlers cannot have begin so."""


class Series(NamedTuple):
    """One metric."""

    name: str
    """Of the samples; a counter ends with ``_total``."""
    type: Type
    part: str
    """Of the snapshot: a key of ``LABELS``."""
    field: str | Mapping[str, str]
    """The number's field; or the fields by the value of a further ``label``."""
    help: str
    label: str = ""
    """The further label; its values are the keys of ``field``, or of the field's own mapping."""
    telemetry: str = ""
    """Its name in OpenTelemetry's semantic conventions; empty: made of its own."""


_SETTLED = {
    "acked": "acked",
    "nacked": "nacked",
    "released": "released",
    "rejected": "dead_lettered",
    "snoozed": "snoozed",
    "cancelled": "cancelled",
    "stale": "stale",
}


SERIES: tuple[Series, ...] = (
    Series("tasuki_messages_published_total", "counter", "queues",
           {"confirmed": "published", "rejected": "rejected", "unknown": "unknown"},
           "Messages published, by the answer of the broker.", "outcome", "messaging.client.sent.messages"),
    Series("tasuki_publish_duration_seconds", "histogram", "queues", "publish_seconds",
           "Time until the broker has answered for a batch of messages.", "", "messaging.client.operation.duration"),
    Series("tasuki_unique_suppressed_total", "counter", "queues", "suppressed",
           "Unique messages for which another one was kept."),
    Series("tasuki_messages_delivered_total", "counter", "consumers", "delivered",
           "Messages received.", "", "messaging.client.consumed.messages"),
    Series("tasuki_messages_redelivered_total", "counter", "consumers", "redelivered",
           "Deliveries of a message that was delivered before."),
    Series("tasuki_messages_settled_total", "counter", "consumers", _SETTLED,
           "Deliveries that ended, by the way in which they did.", "result"),
    Series("tasuki_messages_dead_lettered_total", "counter", "queues", "dead",
           "Messages moved to the dead-letter queue, by the reason.", "reason"),
    Series("tasuki_messages_expired_total", "counter", "queues", "expired",
           "Messages whose time to live had passed when they were received."),
    Series("tasuki_messages_unstarted_returned_total", "counter", "consumers", "unstarted",
           "Messages returned to the queue before their handlers started, at a stop or a pause."),
    Series("tasuki_handler_failures_total", "counter", "consumers", "errors",
           "Failures of the handler, by the type of the error.", "error"),
    Series("tasuki_handler_timeouts_total", "counter", "consumers", "timed_out",
           "Handlers that ran longer than handler_timeout."),
    Series("tasuki_handler_duration_seconds", "histogram", "consumers", "handler_seconds",
           "Time that the handler took.", "", "messaging.process.duration"),
    Series("tasuki_message_wait_seconds", "histogram", "consumers", "wait_seconds",
           "Time from when a message was due until its handler started."),
    Series("tasuki_leases_lost_total", "counter", "consumers", "lease_lost",
           "Leases that ended before the message was settled."),
    Series("tasuki_attempt_records_dropped_total", "counter", "consumers", "attempts_dropped",
           "Records of failed attempts that were too many, or that the store has not taken."),
    Series("tasuki_limit_waits_total", "counter", "queues", "limit_waits",
           "Requests for messages that waited for a token or place of the queue's limit."),
    Series("tasuki_handlers_running", "gauge", "consumers", "running", "Handlers that run now."),
    Series("tasuki_handlers_running_long", "gauge", "consumers", "running_long",
           "Handlers without handler_timeout that have run for more than ten times the usual, and five minutes."),
    Series("tasuki_messages_buffered", "gauge", "consumers", "buffered",
           "Messages received whose handlers have not started."),
    Series("tasuki_consumer_concurrency", "gauge", "consumers", "concurrency",
           "Handlers that may run at the same time."),
    Series("tasuki_queue_messages", "gauge", "queues",
           {"ready": "ready", "in_flight": "in_flight", "delayed": "delayed"},
           "Messages in the queue.", "state"),
    Series("tasuki_queue_oldest_age_seconds", "gauge", "queues", "oldest_age",
           "Age of the oldest message that is ready."),
    Series("tasuki_queue_consumers", "gauge", "queues", "consumers", "Consumers in all processes."),
    Series("tasuki_queue_paused", "gauge", "queues", "paused", "Whether the queue is paused: 1 or 0."),
    Series("tasuki_queue_is_dead_letter", "gauge", "queues", "is_dead_letter",
           "1 for a queue of dead letters; other queues have no such series."),
    Series("tasuki_driver_up", "gauge", "drivers", "up", "Whether the broker answers: 1 or 0."),
    Series("tasuki_driver_reconnects_total", "counter", "drivers", "reconnects",
           "Times that the broker has answered again after it had not."),
    Series("tasuki_schedule_ticks_total", "counter", "schedules",
           {"published": "published", "skipped": "skipped", "late": "late"},
           "Ticks of the schedule that this installation handled.", "result"),
    Series("tasuki_schedule_last_success_timestamp_seconds", "gauge", "schedules", "last_success",
           "When the schedule last published a message, in Unix seconds."),
    Series("tasuki_loop_lag_seconds", "gauge", "process", "loop_lag",
           "How late the event loop was at its last check."),
    Series("tasuki_loop_blocked_seconds_total", "counter", "process", "loop_blocked",
           "Time for which a handler blocked the event loop."),
    Series("tasuki_desk_acts_total", "counter", "process", "acts",
           "Acts at the desk or its API.", "act,result"),
    Series("tasuki_series_dropped_total", "counter", "process", "series_dropped",
           "Series of handlers, or pairs of queue and consumer, that were one too many."),
    Series("tasuki_log_lines_dropped_total", "counter", "process", "log_lines_dropped",
           "Log lines that were not written."),
    Series("process_start_time_seconds", "gauge", "process", "start_time",
           "Start of the first process, in Unix seconds."),
    Series("process_cpu_seconds_total", "counter", "process", "cpu_seconds", "Processor time of all processes."),
    Series("process_resident_memory_bytes", "gauge", "process", "resident_bytes", "Resident memory of all processes."),
    Series("process_open_fds", "gauge", "process", "open_fds", "Open file descriptors of all processes."),
)  # fmt: skip


BUILD = "tasuki_build_info"


COUNTER_FIELDS = frozenset(
    field
    for series in SERIES
    if series.type != "gauge"
    for field in ([series.field] if isinstance(series.field, str) else series.field.values())
)
"""Fields of a snapshot that never fall."""
