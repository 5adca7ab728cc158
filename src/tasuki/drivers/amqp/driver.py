"""The driver as the framework sees it: the broker's verbs on a thread of their own, so that heartbeats never stop."""

from __future__ import annotations

from tasuki.clock import Clock
from tasuki.contracts.driver import Capabilities
from tasuki.drivers.amqp.limits import CAPABILITIES
from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.drivers.toolkit.threaded import Threaded


class AMQPDriver(Threaded):
    """Keeps queues at RabbitMQ; see the table of the package.

    Args:
        name: the entry's id.
        settings: where the broker is, who we are, and how long to wait.
        clock: not used; delays and leases are the broker's.
    """

    capabilities: Capabilities = CAPABILITIES  # type: ignore[misc]
    tells_options = False

    def __init__(self, name: str, settings: AMQPSettings, clock: Clock | None = None) -> None:
        from tasuki.drivers.amqp.broker import Broker

        super().__init__(Broker(name, settings))
