"""Gives an app's metrics to OpenTelemetry, if its ``metrics.config`` says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasuki import __version__
from tasuki.errors import UnsupportedError
from tasuki.kinds.entries.telemetry import MetricsConfig

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.runtime import Runtime
    from tasuki.observe.exposition.telemetry import Telemetry


def make_telemetry(runtime: Runtime, assembly: Assembly) -> Telemetry | None:
    """The instruments that the project asks for; None: it asks for none.

    Raises:
        UnsupportedError: OpenTelemetry is not installed; the message says what to install.
    """
    for id, config in assembly.project.of(MetricsConfig).items():
        if config.opentelemetry:
            try:
                from tasuki.observe.exposition.telemetry import Telemetry
            except ImportError as error:
                raise UnsupportedError(
                    f"{id!r} asks for OpenTelemetry: {error}; pip install 'tasuki[metrics]'"
                ) from error
            target = assembly.project.registry.entries[id].target
            return Telemetry(runtime.metrics.snapshot, target, __version__)
    return None


def bind(telemetry: Telemetry, assembly: Assembly) -> None:
    """Give the times of these queues and consumers to it from now on."""
    for queue in assembly.queues.values():
        labels = {"queue": queue.id, "driver": queue.driver.name}
        telemetry.bind(
            "tasuki_publish_duration_seconds",
            queue.metrics.publish_seconds,
            system_of(assembly, queue.driver.name),
            labels,
        )
    for consumer in assembly.consumers.values():
        driver = consumer.queue.driver.name
        labels = {"queue": consumer.queue.id, "consumer": consumer.id, "driver": driver}
        system, metrics = system_of(assembly, driver), consumer.metrics
        telemetry.bind("tasuki_handler_duration_seconds", metrics.handler_seconds, system, labels)
        telemetry.bind("tasuki_message_wait_seconds", metrics.wait_seconds, system, labels)


def system_of(assembly: Assembly, driver: str) -> str:
    """The kind of a driver: ``amqp``, ``redis``."""
    return assembly.project.kinds[driver].name.rpartition(".")[2]
