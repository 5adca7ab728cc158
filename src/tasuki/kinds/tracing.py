"""Tracing of a project: adds the spans of its ``traces.config`` to queues and consumers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import SecretStr

from tasuki.errors import UnsupportedError
from tasuki.fields.types import DRIVER_PREFIX
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.telemetry import TracesConfig
from tasuki.tracing.rules import server_of

if TYPE_CHECKING:
    from tasuki.consumers.consumer import Consumer
    from tasuki.queues.queue import Queue
    from tasuki.tracing.tracing import Tracing

_ADDRESSES = ("url", "addrs", "servers", "endpoint")
"""Fields of drivers that name a server, or several."""


def trace_all(project: Project, queues: Mapping[str, Queue], consumers: Mapping[str, Consumer], version: str) -> None:
    """Let queues and consumers make spans, or none if the project does not ask for traces. ``version``: of Tasuki.

    Raises:
        UnsupportedError: OpenTelemetry is not installed; the message says what to install.
    """
    tracing = _tracing_of(project, version)
    for id, queue in queues.items():
        queue.tracing = None if tracing is None else tracing.of_queue(id, *_broker_of(project, queue))
    for id, consumer in consumers.items():
        consumer.tracing = None
        if tracing is not None:
            broker = _broker_of(project, consumer.queue)
            consumer.tracing = tracing.of_consumer(id, consumer.queue.id, *broker)


def _tracing_of(project: Project, version: str) -> Tracing | None:
    for id, config in project.of(TracesConfig).items():
        try:
            from tasuki.tracing.tracing import Tracing
        except ImportError as error:
            raise UnsupportedError(f"{id!r} asks for traces: {error}; pip install 'tasuki[traces]'") from error
        return Tracing(config.options(), project.registry.entries[id].target, version)
    return None


def _broker_of(project: Project, queue: Queue) -> tuple[str, tuple[str, int | None] | None]:
    """The kind of a queue's driver, and host and port of its server."""
    driver = queue.driver.name
    config = project.configs[driver]
    found = next((value for name in _ADDRESSES if (value := getattr(config, name, None))), "")
    first = found[0] if isinstance(found, list) else found
    text = first.get_secret_value() if isinstance(first, SecretStr) else str(first)
    kind = project.kinds[driver].name.removeprefix(DRIVER_PREFIX)
    return kind, server_of(text.partition(",")[0])
