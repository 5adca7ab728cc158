"""The AMQP driver keeps the contract, at a real RabbitMQ."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tasuki.drivers.amqp import AMQPDriver
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.versions import version_in


class TestAMQP(Proxied, DriverConformance):
    shared_broker = RabbitMQ
    takes_clock = False
    real_seconds = 2.0
    patience = 10.0
    case_timeout = 90.0

    def make_driver(self, place: Path, clock: ShiftedClock) -> AMQPDriver:
        port = address(RabbitMQ, place)["port"]
        return AMQPDriver("amqp", clock=clock, url=f"amqp://127.0.0.1:{port}/", reconnect_delay=0.1)

    def version(self) -> str:
        return version_in("RabbitMQ", next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")).name)

    async def restart(self, place: Path) -> None:
        await asyncio.to_thread(RabbitMQ.shared().restart)
