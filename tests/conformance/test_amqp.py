"""The AMQP driver keeps the contract, at a real RabbitMQ."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import SkipTest

from tasuki.contracts.driver import Ack
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.testing.conformance import DriverConformance, Rig, ShiftedClock, case
from tasuki.testing.conformance.rig import ids
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.versions import version_in
from tests.support.settings import parsed


class TestAMQP(Proxied, DriverConformance):
    shared_broker = RabbitMQ
    takes_clock = False
    real_seconds = 2.0
    patience = 10.0

    def make_driver(self, place: Path, clock: ShiftedClock) -> AMQPDriver:
        port = address(RabbitMQ, place)["port"]
        return AMQPDriver("amqp", parsed(AMQPSettings, url=f"amqp://127.0.0.1:{port}/", reconnect_delay=0.1), clock)

    def version(self) -> str:
        return version_in("RabbitMQ", next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")).name)

    def test_33_options_of_another_process_hold_at_once(self) -> None:
        raise SkipTest("not applicable: RabbitMQ keeps no options that another process can read")

    @case("ordering_key")
    async def test_an_order_per_key_holds_when_all_processes_have_declared_it(self, rig: Rig) -> None:
        """RabbitMQ keeps no options: each process obeys its own declaration, and no message is stuck meanwhile."""
        keyed = await rig.another(ordering="key")
        await rig.publish(*(rig.message(id=f"old-{number}", key="k") for number in range(2)))
        for number in range(2):
            got = await rig.one(driver=keyed)
            assert got.id == f"old-{number}"
            await keyed.settle(rig.queue, [Ack(got.receipt)])
        await rig.driver.declare(rig.spec(ordering="key"))
        await rig.publish(*(rig.message(id=f"new-{number}", key="k") for number in range(2)))
        for number in range(2):
            got = await rig.one(driver=keyed)
            assert got.id == f"new-{number}"
            await rig.nothing()
            await rig.nothing(driver=keyed)
            await keyed.settle(rig.queue, [Ack(got.receipt)])

    @case("ordering_key", "native_priority")
    async def test_no_message_is_stuck_when_a_later_process_declares_fewer_options(self, rig: Rig) -> None:
        """Its queues at the broker tell a process that another one declared an order per key, and priorities."""
        await rig.driver.declare(rig.spec(ordering="key", priorities=True))
        await rig.publish(rig.message(id="key", key="k"), rig.message(id="priority", priority=3))
        await rig.driver.close()
        later = await rig.another()
        assert (await later.inspect(rig.spec())).ordering == "none"
        assert (await later.depth(rig.queue)).ready == 2
        assert sorted(ids(await rig.take(2, driver=later))) == ["key", "priority"]

    async def restart(self, place: Path) -> None:
        await asyncio.to_thread(RabbitMQ.shared().restart)
