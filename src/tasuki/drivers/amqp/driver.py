"""The driver as the framework sees it: the broker's verbs on a thread of their own, so that heartbeats never stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tasuki.backoff import UNTIL_BACK
from tasuki.clock import Clock
from tasuki.contracts.driver import Capabilities
from tasuki.drivers.amqp.capabilities import CAPABILITIES
from tasuki.drivers.toolkit.threaded import Threaded

REQUEST_TIMEOUT = 10.0
"""Seconds within which the broker must have answered any call."""


class AMQPDriver(Threaded):
    """Keeps queues at RabbitMQ; see the table of the package.

    Args:
        name: the entry's id.
        clock: not used: the broker tells the time.
        url: ``amqp://user:password@host:port/vhost``, or ``amqps://`` with TLS; several nodes of a cluster as
            ``host:port,host:port``.
        vhost: in place of the URL's.
        connection_name: what the broker shows for our connections.
        auth_mechanism: how to log in; EXTERNAL takes the name from the client's certificate.
        heartbeat: seconds; 0: none.
        connection_timeout: seconds for connecting and logging in.
        request_timeout: seconds for any other call.
        reconnect_delay, reconnect_max_delay: seconds between attempts, growing.
        default_message_ttl, default_queue_ttl, default_queue_expiry: seconds, for all of its queues.
        prefetch_count: most unsettled messages of one queue; 0: as many as consumers ask for.
        frame_size, channel_max: limits of a connection; 0: the broker's.
        tls: see ``drivers/tls.py``.
    """

    capabilities: Capabilities = CAPABILITIES  # type: ignore[misc]
    tells_options = False

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        url: str = "amqp://guest:guest@localhost:5672/",
        vhost: str | None = None,
        connection_name: str | None = None,
        auth_mechanism: Literal["PLAIN", "EXTERNAL", "AMQPLAIN"] = "PLAIN",
        heartbeat: float = 10.0,
        connection_timeout: float = 10.0,
        request_timeout: float = REQUEST_TIMEOUT,
        reconnect_delay: float = 1.0,
        reconnect_max_delay: float = UNTIL_BACK.max_delay,
        default_message_ttl: float | None = None,
        default_queue_ttl: float | None = None,
        default_queue_expiry: float | None = None,
        prefetch_count: int = 0,
        frame_size: int = 0,
        channel_max: int = 0,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        from tasuki.drivers.amqp.broker import Broker
        from tasuki.drivers.amqp.settings import Settings, read_url
        from tasuki.drivers.amqp.topology.queue_arguments import Defaults

        hosts, path, user, password, encryption = read_url(name, url, tls)
        settings = Settings(
            hosts=hosts,
            vhost=vhost or path,
            user=user,
            password=password,
            mechanism=auth_mechanism,
            tls=encryption,
            name=connection_name or f"tasuki {name}",
            heartbeat=_whole_seconds(heartbeat),
            connection_timeout=connection_timeout,
            request_timeout=request_timeout,
            reconnect_delay=reconnect_delay,
            reconnect_max_delay=reconnect_max_delay,
            frame_size=frame_size,
            channel_max=channel_max,
        )
        defaults = Defaults(queue_ttl=default_queue_ttl, queue_expiry=default_queue_expiry)
        broker = Broker(name, settings, defaults=defaults, prefetch=prefetch_count, message_ttl=default_message_ttl)
        super().__init__(broker)


def _whole_seconds(heartbeat: float) -> int:
    """The protocol knows whole seconds; a heartbeat of less than one is one."""
    return 0 if heartbeat <= 0 else max(round(heartbeat), 1)
