"""Telemetry: the same metrics as instruments of OpenTelemetry. Imported only where an app asks for that.

Counters and gauges are read from a snapshot when a reader collects. OpenTelemetry has no observable histogram: its
histograms receive each value, which costs a message some microseconds. The names follow the messaging conventions 1.44
where those have one; these are in development, so the table of series has them.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation, get_meter_provider

from tasuki.observe.custom import OF_HANDLERS
from tasuki.observe.exposition.series import MAX_NAMES, PREFIX, SERIES, Series, labels_of, name_of
from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.observe.metrics import Histogram as Counted

SYSTEMS: Mapping[str, str] = {"amqp": "rabbitmq", "sqs": "aws_sqs", "postgres": "postgresql"}
"""Names in the conventions; the other drivers keep theirs."""

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Of durations, as the conventions advise, in seconds."""

_FRESH = 0.5
"""Seconds for which a snapshot counts: one collection reads all instruments."""
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_ATTRIBUTES = {
    "queue": "messaging.destination.name",
    "consumer": "messaging.consumer.group.name",
    "driver": "tasuki.driver",
    "schedule": "tasuki.schedule",
    "error": "error.type",
}
_OPERATIONS = {
    "tasuki_messages_published_total": "send",
    "tasuki_publish_duration_seconds": "send",
    "tasuki_messages_delivered_total": "receive",
    "tasuki_handler_duration_seconds": "process",
}

Attributes = dict[str, str]

_log = logging.getLogger("tasuki.metrics")

_LONGEST_NAME = 255
"""Characters of the name of an instrument."""
_told: set[type[Exception]] = set()
"""The kinds of errors of OpenTelemetry that were logged."""


class Telemetry:
    """The instruments of one app.

    Args:
        snapshot: makes a snapshot; called by the readers' threads.
        provider: of the meters; None: the global one.
        version: of Tasuki.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], provider: MeterProvider | None, version: str) -> None:
        self._make_snapshot = snapshot
        self._meter: Meter = (provider or get_meter_provider()).get_meter("tasuki", version)
        self._read_at = float("-inf")
        self._snapshot: Snapshot = {}
        self._histograms: dict[str, Histogram] = {}
        self._of_handlers: set[str] = set()
        self._handler_histograms: dict[str, Histogram] = {}
        for series in SERIES:
            if series.name.startswith(PREFIX):
                self._create(series)
        OF_HANDLERS.follow(self._bind_handler)

    def bind(self, series: str, counted: Counted, system: str, labels: Mapping[str, str]) -> None:
        """Give the values of one of our histograms to OpenTelemetry's too; ``labels``: queue, driver, consumer."""
        attributes = _attributes(_OPERATIONS.get(series), system, labels)
        counted.also = _recording(self._histograms[series], attributes)

    def _create(self, series: Series) -> None:
        name, unit = series.telemetry or own_name(series.name), _unit(series)
        if series.type == "histogram":
            self._histograms[series.name] = self._meter.create_histogram(
                name, unit=unit, description=series.help, explicit_bucket_boundaries_advisory=list(BOUNDS)
            )
            return
        observe = partial(self._observe, series)
        if series.type == "counter":
            self._meter.create_observable_counter(name, [observe], unit=unit, description=series.help)
        else:
            self._meter.create_observable_gauge(name, [observe], unit=unit, description=series.help)

    def _current(self) -> Snapshot:
        now = time.monotonic()
        if now - self._read_at > _FRESH:
            self._snapshot, self._read_at = self._make_snapshot(), now
            handlers = self._snapshot.get("handlers", {})
            if new := {name: handlers[name] for name in handlers.keys() - self._of_handlers}:
                self._of_handlers |= new.keys()
                # The SDK holds a lock while it collects, which a new instrument waits for.
                threading.Thread(
                    target=self._create_of_handlers, args=(new,), name="tasuki meters", daemon=True
                ).start()
        return self._snapshot

    def _observe(self, series: Series, options: CallbackOptions) -> Iterable[Observation]:
        snapshot = self._current()
        entities = snapshot.get(series.part, {})
        systems = {id: driver.get("system", "") for id, driver in snapshot.get("drivers", {}).items()}
        for id, entity in {"": entities}.items() if series.part == "process" else entities.items():
            labels = {} if series.part == "process" else _labels(series.part, id, entity)
            system = systems.get(labels.get("driver", ""), "")
            for further, number in _numbers(series, entity):
                attributes = _attributes(_OPERATIONS.get(series.name), system, {**labels, **further})
                yield Observation(number, attributes)

    def _create_of_handlers(self, families: Mapping[str, Mapping[str, Any]]) -> None:
        for name, family in families.items():
            try:
                self._create_of_handler(name, family)
            except Exception as error:  # the others can be created
                _tell(error)

    def _create_of_handler(self, name: str, family: Mapping[str, Any]) -> None:
        """An instrument for a counter or a gauge of handlers; a histogram has one from its first value on."""
        callbacks = [partial(self._observe_handler, name)]
        if family["type"] == "gauge":
            self._meter.create_observable_gauge(instrument_name(name), callbacks)
        elif family["type"] == "counter":
            self._meter.create_observable_counter(instrument_name(name.removesuffix("_total")), callbacks)

    def _bind_handler(self, name: str, labels: Mapping[str, str], counted: Counted) -> None:
        """Give the values of a histogram of handlers to OpenTelemetry's too; a handler must not fail for it."""
        exported = name_of(name, "histogram")
        if exported.startswith(PREFIX) or len(self._handler_histograms) >= MAX_NAMES:
            return
        instrument = self._handler_histograms.get(exported)
        try:
            if instrument is None:
                instrument = self._handler_histograms[exported] = self._meter.create_histogram(
                    instrument_name(exported), explicit_bucket_boundaries_advisory=list(counted.bounds)
                )
        except Exception as error:
            _tell(error)
            return
        counted.also = _recording(instrument, dict(attributes_of(labels_of(tuple(labels.items())))))

    def _observe_handler(self, name: str, options: CallbackOptions) -> Iterable[Observation]:
        family = self._current().get("handlers", {}).get(name, {"series": {}})
        for labels, value in family["series"].items():
            yield Observation(value, dict(attributes_of(labels)))


def own_name(name: str) -> str:
    """``tasuki_handler_timeouts_total`` becomes ``tasuki.handler.timeouts``."""
    return name.removesuffix("_total").removesuffix("_seconds").replace("_", ".")


def instrument_name(name: str) -> str:
    """The name of a handler's metric as OpenTelemetry takes it: a letter first, no colon, at most 255 characters."""
    text = name.replace(":", ".")
    return (text if text[0].isalpha() else f"handler{text}")[:_LONGEST_NAME]


def _recording(instrument: Histogram, attributes: Attributes) -> Callable[[float], None]:
    """Gives values to an instrument; what a view or an exemplar filter raises must not fail the message."""
    record = instrument.record

    def give(value: float) -> None:
        try:
            record(value, attributes)
        except Exception as error:
            _tell(error)

    return give


def _tell(error: Exception) -> None:
    """Log what OpenTelemetry has raised: each kind of error once, as it comes with each value."""
    if (kind := type(error)) not in _told:
        _told.add(kind)
        _log.error("metrics: OpenTelemetry has failed, and values may be missing; further %s are not logged",
                   kind.__qualname__, exc_info=error)  # fmt: skip


@lru_cache(10_000)
def attributes_of(labels: str) -> tuple[tuple[str, str], ...]:
    """Labels as Prometheus writes them, as attributes."""
    return tuple((name, _ESCAPED.sub(_unescape, value)) for name, value in _LABEL.findall(labels))


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _labels(part: str, id: str, entity: Mapping[str, Any]) -> Attributes:
    known = {part.removesuffix("s"): id}
    return known | {name: entity[name] for name in ("queue", "driver") if name in entity}


def _attributes(operation: str | None, system: str, labels: Mapping[str, str]) -> Attributes:
    found = {_ATTRIBUTES.get(name, f"tasuki.{name}"): value for name, value in labels.items()}
    if system:
        found["messaging.system"] = SYSTEMS.get(system, system)
    if operation is not None:
        found["messaging.operation.name"] = operation
    if (outcome := labels.get("outcome", "confirmed")) != "confirmed":
        found["error.type"] = outcome  # the conventions ask for it where an operation has failed
    return found


def _numbers(series: Series, entity: Mapping[str, Any]) -> Iterator[tuple[Attributes, float]]:
    """The numbers of one entity, each with the further labels of the series."""
    field = series.field
    if not isinstance(field, str):
        for value, name in field.items():
            if (number := entity.get(name)) is not None:
                yield {series.label: value}, number
    elif not series.label:
        if (number := entity.get(field)) is not None:
            yield {}, number
    else:
        first, _, second = series.label.partition(",")
        for value, found in (entity.get(field) or {}).items():
            if second:
                for inner, number in found.items():
                    yield {first: value, second: inner}, number
            else:
                yield {first: value}, found


def _unit(series: Series) -> str:
    name = series.name.removesuffix("_total")
    if name.endswith("_seconds"):
        return "s"
    return "{message}" if "_messages" in name or "suppressed" in name else ""
