"""One queue of the RabbitMQ driver without a broker: at which moments a receive is served."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pamqp import commands, frame

from tasuki.contracts.driver import Outgoing, QueueSpec, Received
from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.protocol import envelope, frames
from tasuki.drivers.amqp.receiving.deliveries import Delivery
from tasuki.drivers.amqp.receiving.subscription import IdleTimer, Subscription
from tasuki.drivers.amqp.session import idle_after
from tasuki.drivers.amqp.topology.queue_arguments import Defaults, lanes

pytestmark = pytest.mark.anyio


class Broker:
    """A channel whose questions are answered as long as ``answers`` is set, and its connection."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()
        self.number = 1
        self.closed: ClosedError | None = None
        self.connection: Any = SimpleNamespace(
            beginning=asyncio.Lock(), open_channel=self._open, check=self._check, is_doubtful=False, is_alive=True,
            write=lambda data: None,
        )  # fmt: skip
        self.on_delivery: Any = None
        self.consumes = self.at_once = self.most_at_once = 0
        self.consumed: dict[str, str] = {}
        """Tag by queue."""
        self.requests: list[list[Any]] = []
        self.pushed = 0

    async def close(self) -> None:
        self.closed = ClosedError(0, "closed")

    async def _open(self) -> Broker:
        return self

    async def _check(self) -> None:
        pass

    async def ask(self, *methods: Any) -> list[Any]:
        self.requests.append(list(methods))
        self.consumed |= {
            method.queue: method.consumer_tag for method in methods if isinstance(method, commands.Basic.Consume)
        }
        self.asked.set()
        self.consumes += sum(isinstance(method, commands.Basic.Consume) for method in methods)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.answers.wait()
        await asyncio.sleep(0)
        self.at_once -= 1
        return []

    def push(self, queue: str, message: Outgoing) -> None:
        self.pushed += 1
        method = commands.Basic.Deliver(self.consumed[queue], self.pushed, False, "", queue)
        deliver = frames.deliver(frame.marshal(method, 1)[7:-1])
        self.on_delivery(deliver, envelope.encode(message), message.body)


def subscription_of(spec: QueueSpec) -> Subscription:
    return Subscription(
        spec,
        lanes(spec, Defaults()),
        most=0,
        idle=lambda: 3600.0,
        on_idle=lambda: None,
        on_lost=lambda deliveries: None,
    )


async def stop(subscription: Subscription) -> list[Delivery]:
    async with subscription.stopped() as unused:
        return unused


async def holding(broker: Broker, number: int, subscription: Subscription) -> list[Received]:
    """What a receive gets where the broker has this many."""
    await subscription.start(broker.connection)
    assert await subscription.receive(number, 0) == []
    for each in range(number):
        broker.push("work", Outgoing(str(each), b"", {}))
    return await subscription.receive(number, 0)


async def test_a_full_consumer_is_replaced_before_an_ack_makes_room_and_one_with_room_stays() -> None:
    """Nothing is on its way to a full one, so the broker takes nothing back when it ends."""
    broker = Broker()
    subscription = subscription_of(QueueSpec("work"))
    assert len(await holding(broker, 10, subscription)) == 10
    old, returned = broker.consumed["work"], broker.consumed["work.returned"]
    broker.requests.clear()
    assert await subscription.receive(20, 0) == []
    cancel, qos, consume, *_ = broker.requests[1]
    assert (cancel.consumer_tag, qos.prefetch_count, consume.queue) == (old, 30, "work")
    asked = [method for request in broker.requests for method in request]
    assert sum(isinstance(method, commands.Basic.Cancel | commands.Basic.Consume) for method in asked) == 2
    assert broker.consumed["work.returned"] == returned


async def test_a_consumer_with_room_is_waited_for_and_replaced_when_it_is_full() -> None:
    broker = Broker()
    subscription = subscription_of(QueueSpec("work"))
    first = asyncio.create_task(subscription.receive(1, 3600))
    await subscription.start(broker.connection)
    while not broker.consumed or subscription._consuming.task is not None:
        await asyncio.sleep(0)
    second = asyncio.create_task(subscription.receive(5, 3600))
    await asyncio.sleep(0)
    old = broker.consumed["work"]
    assert subscription._consuming.task is None
    broker.push("work", Outgoing("one", b"", {}))
    async with asyncio.timeout(30):
        assert [received.id for received in await first] == ["one"]
        while broker.consumed["work"] == old or subscription._consuming.task is not None:
            await asyncio.sleep(0)
    broker.push("work", Outgoing("two", b"", {}))
    assert [received.id for received in await second] == ["two"]


async def test_no_ack_makes_room_while_consumers_end() -> None:
    broker = Broker()
    subscription = subscription_of(QueueSpec("work"))
    await holding(broker, 1, subscription)
    written: list[bytes] = []
    broker.connection.write = written.append
    broker.answers.clear()
    broker.asked.clear()
    ending = asyncio.create_task(stop(subscription))
    await broker.asked.wait()
    settling = asyncio.create_task(subscription.settle([1], []))
    await asyncio.sleep(0)
    assert not written
    broker.answers.set()
    await asyncio.gather(ending, settling)
    assert written == [frames.ack(1, 1, multiple=True)]


async def test_a_receive_that_leaves_far_more_than_it_takes_is_no_use_of_the_rest() -> None:
    """A window became small: others may have what waits here for longer than an idle queue's messages do."""
    broker = Broker()
    subscription = subscription_of(QueueSpec("work"))
    for received in await holding(broker, 100, subscription):
        subscription._release(received.receipt)
    timer = subscription._idle_timer
    for limit, is_used in ((1, False), (10, False), (60, True)):
        before = timer._wanted_at
        await subscription.receive(limit, 0)
        assert (timer._wanted_at > before) is is_used


async def test_what_comes_while_consumers_end_is_handed_out_when_they_have_ended() -> None:
    """The consumers of keys stay: what they push is enough for the receive, so that nothing else begins after it."""
    broker = Broker()
    spec = QueueSpec("work", ordering="key")
    found = lanes(spec, Defaults())
    subscription = subscription_of(spec)
    await subscription.start(broker.connection)
    assert await subscription.receive(1, 0) == []

    broker.answers.clear()
    broker.asked.clear()
    ending = asyncio.create_task(stop(subscription))
    await broker.asked.wait()
    receiving = asyncio.create_task(subscription.receive(1, 3600))
    await asyncio.sleep(0)
    broker.push(found[-1].name, Outgoing("first", b"", {}, key="k"))
    broker.answers.set()
    assert await ending == []
    async with asyncio.timeout(30):
        assert [received.id for received in await receiving] == ["first"]


async def test_consumers_do_not_begin_while_they_end() -> None:
    """A receive that came while consumers began asks for more when they stand: after an end that was waiting."""
    broker = Broker()
    subscription = subscription_of(QueueSpec("work"))
    await subscription.start(broker.connection)
    broker.answers.clear()
    receiving = [asyncio.create_task(subscription.receive(1, 3600))]
    await broker.asked.wait()
    ending = asyncio.create_task(stop(subscription))
    await asyncio.sleep(0)
    receiving.append(asyncio.create_task(subscription.receive(5, 3600)))
    await asyncio.sleep(0)
    broker.answers.set()
    async with asyncio.timeout(30):
        assert await ending == []
        while broker.at_once or broker.consumes < 3 * len(broker.consumed):  # begun, probed for the end, begun
            await asyncio.sleep(0)
    assert broker.most_at_once == 1
    for task in receiving:
        task.cancel()
    await asyncio.gather(*receiving, return_exceptions=True)


async def test_a_receive_that_asks_while_the_channel_ends_gets_the_reason() -> None:
    """The end comes between the answer to its question and its wait: no consumer will ever begin for it."""
    broker = Broker()
    spec = QueueSpec("work", priorities=True)
    subscription = subscription_of(spec)
    await subscription.start(broker.connection)
    assert await subscription.receive(1, 0) == []
    broker.push(next(iter(broker.consumed)), Outgoing("first", b"", {}))
    broker.answers.clear()
    broker.asked.clear()
    receiving = asyncio.create_task(subscription.receive(1, 3600))
    await broker.asked.wait()
    await subscription.close(ClosedError(0, "gone"))
    broker.answers.set()
    with pytest.raises(ClosedError, match="gone"):
        await receiving


async def test_a_delivery_of_a_channel_that_has_ended_is_the_brokers() -> None:
    broker = Broker()
    subscription = subscription_of(QueueSpec("work"))
    await subscription.start(broker.connection)
    assert await subscription.receive(1, 0) == []
    broker.push(next(iter(broker.consumed)), Outgoing("first", b"", {}))
    (held,) = await subscription.receive(1, 0)
    delivery = subscription.held.take(held.receipt)
    assert delivery is not None
    await subscription.close()
    subscription.put_back(delivery)
    assert not len(subscription.inbox)


async def test_it_calls_back_once_and_again_only_after_a_receive() -> None:
    told = asyncio.Event()
    timer = IdleTimer(lambda: 0.02, told.set)
    for _ in range(2):
        timer.wanted()
        assert timer.is_on
        async with asyncio.timeout(5):
            await told.wait()
        assert not timer.is_on
        told.clear()


async def test_repeated_receives_keep_it_from_calling_back() -> None:
    told: list[float] = []
    loop = asyncio.get_running_loop()
    timer = IdleTimer(lambda: 0.2, lambda: told.append(loop.time()))
    asked = loop.time()
    for _ in range(30):
        timer.wanted()
        asked = loop.time()
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.01)
    assert told[0] >= asked + 0.19


@pytest.mark.parametrize(("queues", "seconds"), [(0, 0.5), (1, 0.5), (100, 0.5), (2000, 10.0)])
def test_a_process_with_thousands_of_queues_may_be_later_for_each(queues: int, seconds: float) -> None:
    assert idle_after(queues) == pytest.approx(seconds)


async def test_the_time_is_that_of_now() -> None:
    idle, told = [3600.0], asyncio.Event()
    timer = IdleTimer(lambda: idle[0], told.set)
    idle[0] = 0.01
    timer.wanted()
    async with asyncio.timeout(30):
        await told.wait()


async def test_paused_and_ended_it_is_still() -> None:
    told: list[int] = []
    timer = IdleTimer(lambda: 0.01, lambda: told.append(1))
    timer.wanted()
    timer.pause()
    assert not timer.is_on
    timer.wanted()
    timer.end()
    timer.wanted()
    assert not timer.is_on
    await asyncio.sleep(0.03)
    assert not told
