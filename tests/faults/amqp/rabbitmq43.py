"""A scripted AMQP 0-9-1 server that returns, counts and times out deliveries as RabbitMQ 4.3's quorum queues do.

No package of 4.3 can be installed where the tests run. What differs from 4.0 was read in its source (rabbit_fifo,
rabbit_channel, rabbit_amqqueue) and release notes: ``basic.nack`` returns a message and raises only its acquired-count;
``basic.reject`` and the end of a channel raise its delivery-count too; a consumer that holds a message for too long
loses it, gets a ``basic.cancel`` and is assigned no more until it has settled all that timed out, or is cancelled; one
that its client had cancelled before has its channel closed;
``x-consumer-timeout`` is among the arguments that a declaration must repeat, and may be given per consumer.
Exchanges do nothing: only messages published to a queue by its name arrive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pamqp import body, commands, frame, header

INVALID = "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '{}' in vhost '/' of queue type classic"
LATE = "PRECONDITION_FAILED - delivery acknowledgement on channel {} timed out. Timeout value used: 1800000 ms."
CHECKED = ("x-queue-type", "x-expires", "x-message-ttl", "x-max-length", "x-consumer-timeout")


@dataclass(eq=False)
class Message:
    properties: Any
    body: bytes
    acquired: int = 0
    failed: int = 0


@dataclass(eq=False)
class Consumer:
    tag: str
    queue: Queue
    channel: Channel
    prefetch: int
    arguments: dict[str, Any]
    unacked: dict[int, Message] = field(default_factory=dict)
    timed_out: set[int] = field(default_factory=set)


@dataclass(eq=False)
class Queue:
    arguments: dict[str, Any]
    returned: deque[Message] = field(default_factory=deque)
    ready: deque[Message] = field(default_factory=deque)
    consumers: list[Consumer] = field(default_factory=list)
    leaving: list[Consumer] = field(default_factory=list)
    """Those that their client has cancelled; they may still hold messages."""

    def pump(self) -> None:
        """Push to the consumers that have room; only to the first where one is to be active."""
        alone = bool(self.arguments.get("x-single-active-consumer"))
        for consumer in self.consumers[:1] if alone else self.consumers:
            while (self.returned or self.ready) and not consumer.timed_out:
                if consumer.prefetch and len(consumer.unacked) >= consumer.prefetch:
                    break
                consumer.channel.deliver(consumer, (self.returned or self.ready).popleft())


class Channel:
    def __init__(self, server: RabbitMQ43, number: int, writer: asyncio.StreamWriter) -> None:
        self.server, self.number, self.writer = server, number, writer
        self.prefetch = self.tags = self.published = 0
        self.confirms = False
        self.consumers: dict[str, Consumer] = {}
        self.owners: dict[int, Consumer] = {}
        self.publish: commands.Basic.Publish | None = None
        self.head: Any = None
        self.parts = b""

    def send(self, what: Any) -> None:
        self.writer.write(frame.marshal(what, self.number))

    def deliver(self, consumer: Consumer, message: Message) -> None:
        self.tags += 1
        consumer.unacked[self.tags] = message
        self.owners[self.tags] = consumer
        headers = dict(message.properties.headers or {})
        if message.acquired:
            headers["x-acquired-count"] = message.acquired
        if message.failed:
            headers["x-delivery-count"] = message.failed
        values = {name: getattr(message.properties, name) for name, *_ in message.properties}
        properties = commands.Basic.Properties(**{**values, "headers": headers})
        self.send(commands.Basic.Deliver(consumer.tag, self.tags, message.acquired > 0, "", "q"))
        self.send(header.ContentHeader(0, len(message.body), properties))
        if message.body:
            self.send(body.ContentBody(message.body))

    def settle(self, tag: int, multiple: bool, *, requeue: bool, failed: bool = False) -> None:
        for number in sorted(each for each in self.owners if each == tag or (multiple and each <= tag)):
            consumer = self.owners.pop(number)
            consumer.timed_out.discard(number)
            message = consumer.unacked.pop(number, None)
            if message is not None and requeue:
                self.give_back(consumer, message, failed=failed)
            consumer.queue.pump()

    @staticmethod
    def give_back(consumer: Consumer, message: Message, *, failed: bool) -> None:
        message.acquired += 1
        message.failed += failed
        consumer.queue.returned.append(message)

    def end(self) -> None:
        """Return unsettled messages, as failures."""
        for consumer in self.consumers.values():
            for listed in (consumer.queue.consumers, consumer.queue.leaving):
                if consumer in listed:
                    listed.remove(consumer)
            for _, message in sorted(consumer.unacked.items()):
                self.give_back(consumer, message, failed=True)
        for consumer in self.consumers.values():
            consumer.queue.pump()
        self.consumers, self.owners = {}, {}

    def refuse(self, code: int, text: str) -> None:
        self.end()
        self.send(commands.Channel.Close(code, text, 0, 0))

    def content(self, what: Any) -> None:
        if isinstance(what, header.ContentHeader):
            self.head, self.parts = what, b""
        else:
            self.parts += what.value
        if len(self.parts) < self.head.body_size:
            return
        assert self.publish is not None
        queue = self.server.queues.get(self.publish.routing_key)
        if not self.publish.exchange and queue is None:
            self.send(commands.Basic.Return(312, "NO_ROUTE", "", self.publish.routing_key))
            self.send(header.ContentHeader(0, len(self.parts), self.head.properties))
            if self.parts:
                self.send(body.ContentBody(self.parts))
        elif queue is not None:
            queue.ready.append(Message(self.head.properties, self.parts))
            queue.pump()
        self.published += 1
        if self.confirms:
            self.send(commands.Basic.Ack(self.published, False))

    def method(self, what: Any) -> None:  # noqa: C901 - a table of methods
        kind = type(what).__qualname__
        self.server.seen.append(what)
        match kind:
            case "Basic.Publish":
                self.publish = what
            case "Basic.Ack":
                self.settle(what.delivery_tag, what.multiple, requeue=False)
            case "Basic.Nack":
                self.settle(what.delivery_tag, what.multiple, requeue=what.requeue)
            case "Basic.Reject":
                self.settle(what.delivery_tag, False, requeue=what.requeue, failed=True)
            case "Basic.Qos":
                self.prefetch = what.prefetch_count
                self.send(commands.Basic.QosOk())
            case "Basic.Consume":
                self.consume(what)
            case "Basic.Cancel":
                consumer = self.consumers.get(what.consumer_tag)
                if consumer is not None and consumer in consumer.queue.consumers:
                    consumer.queue.consumers.remove(consumer)
                    consumer.queue.leaving.append(consumer)
                    consumer.timed_out.clear()
                    consumer.queue.pump()
                self.send(commands.Basic.CancelOk(what.consumer_tag))
            case "Queue.Declare":
                self.declare(what)
            case "Queue.Delete":
                self.server.queues.pop(what.queue, None)
                self.send(commands.Queue.DeleteOk(0))
            case "Channel.Close":
                self.end()
                self.send(commands.Channel.CloseOk())
            case "Confirm.Select":
                self.confirms = True
                self.send(commands.Confirm.SelectOk())
            case "Channel.Open":
                self.send(commands.Channel.OpenOk())
            case "Queue.Bind":
                self.send(commands.Queue.BindOk())
            case "Exchange.Declare":
                self.send(commands.Exchange.DeclareOk())
            case "Exchange.Bind":
                self.send(commands.Exchange.BindOk())

    def consume(self, what: commands.Basic.Consume) -> None:
        queue = self.server.queues.get(what.queue)
        arguments: dict[str, Any] = dict(what.arguments or {})
        if queue is None:
            self.refuse(404, f"NOT_FOUND - no queue '{what.queue}' in vhost '/'")
        elif "x-consumer-timeout" in arguments and queue.arguments.get("x-queue-type") != "quorum":
            self.refuse(406, INVALID.format(what.queue))
        else:
            consumer = Consumer(what.consumer_tag, queue, self, self.prefetch, arguments)
            self.consumers[consumer.tag] = consumer
            queue.consumers.append(consumer)
            self.send(commands.Basic.ConsumeOk(consumer.tag))
            queue.pump()

    def declare(self, what: commands.Queue.Declare) -> None:
        queue = self.server.queues.get(what.queue)
        arguments: dict[str, Any] = dict(what.arguments or {})
        if queue is None and what.passive:
            self.refuse(404, f"NOT_FOUND - no queue '{what.queue}' in vhost '/'")
            return
        if queue is None:
            if arguments.get("x-queue-type") != "quorum" and "x-consumer-timeout" in arguments:
                self.refuse(406, INVALID.format(what.queue))
                return
            queue = self.server.queues[what.queue] = Queue(arguments)
        for name in () if what.passive else CHECKED:
            wanted, found = arguments.get(name), queue.arguments.get(name)
            if wanted != found:
                received = "none" if wanted is None else f"the value '{wanted}' of type 'signedint'"
                current = "none" if found is None else f"the value '{found}' of type 'signedint'"
                self.refuse(
                    406,
                    f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue '{what.queue}' in vhost '/': "
                    f"received {received} but current is {current}",
                )
                return
        ready = len(queue.returned) + len(queue.ready)
        self.send(commands.Queue.DeclareOk(what.queue, ready, len(queue.consumers)))


class RabbitMQ43:
    """Started by ``running``; listens at ``port``."""

    def __init__(self) -> None:
        self.port = 0
        self.queues: dict[str, Queue] = {}
        self.seen: list[Any] = []
        """All methods that clients have sent."""
        self._writers: set[asyncio.StreamWriter] = set()

    def time_out(self, name: str) -> None:
        """End the deliveries of a queue as held too long."""
        queue = self.queues[name]
        for consumer in [*queue.consumers, *queue.leaving]:
            if not consumer.unacked:
                continue
            for tag, message in sorted(consumer.unacked.items()):
                consumer.timed_out.add(tag)
                consumer.channel.give_back(consumer, message, failed=False)
            consumer.unacked.clear()
            if consumer in queue.leaving:
                consumer.channel.refuse(406, LATE.format(consumer.channel.number))
            else:
                consumer.channel.send(commands.Basic.Cancel(consumer.tag, True))
        queue.pump()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        channels: dict[int, Channel] = {}
        try:
            await reader.readexactly(8)
            properties: dict[str, Any] = {"product": "RabbitMQ", "version": "4.3.5"}
            writer.write(frame.marshal(commands.Connection.Start(0, 9, properties, "PLAIN", "en_US"), 0))
            while True:
                head = await reader.readexactly(7)
                data = head + await reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
                number, what = frame.unmarshal(data)[1:]
                if number == 0:
                    if not self._control(what, writer):
                        return
                    continue
                channel = channels.setdefault(number, Channel(self, number, writer))
                if isinstance(what, header.ContentHeader | body.ContentBody):
                    channel.content(what)
                else:
                    channel.method(what)
                    if isinstance(what, commands.Channel.Close | commands.Channel.CloseOk):
                        del channels[number]
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for channel in channels.values():
                channel.end()
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    def _control(what: Any, writer: asyncio.StreamWriter) -> bool:
        answers: dict[str, Any] = {
            "Connection.StartOk": commands.Connection.Tune(2047, 131072, 0),
            "Connection.Open": commands.Connection.OpenOk(),
            "Connection.Close": commands.Connection.CloseOk(),
        }
        kind = type(what).__qualname__
        if kind in answers:
            writer.write(frame.marshal(answers[kind], 0))
        return kind != "Connection.Close"

    def cut(self) -> None:
        """End all connections, as when their processes die."""
        for writer in list(self._writers):
            writer.transport.abort()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[RabbitMQ43]:
        """A server of its own."""
        it = cls()
        server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
        it.port = server.sockets[0].getsockname()[1]
        try:
            yield it
        finally:
            server.close()
            it.cut()
