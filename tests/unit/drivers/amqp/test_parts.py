"""Inbox, confirms, topology and addresses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from pamqp import commands
from pydantic import ValidationError

from tasuki.contracts.driver import QueueSpec, Received
from tasuki.drivers.amqp.broker import Broker
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.faults import ClosedError, Errors
from tasuki.drivers.amqp.limits import parts_of, whole_of
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Batch, Confirms
from tasuki.drivers.amqp.protocol.frames import Properties
from tasuki.drivers.amqp.receiving.deliveries import Delivery, Inbox
from tasuki.drivers.amqp.settings import AMQPSettings, Endpoint, endpoint
from tasuki.drivers.amqp.topology import declaring
from tasuki.drivers.amqp.topology.declaring import Marks, check_spec
from tasuki.drivers.amqp.topology.queue_arguments import GIVEN_UP, Defaults, lanes, partition_lane
from tasuki.drivers.amqp.topology.removing import Part
from tasuki.errors import QueueNotFoundError
from tasuki.fields.types import TlsConfig
from tests.support.narrow import instance
from tests.support.settings import parsed


def broker_of(driver: AMQPDriver) -> Broker:
    return instance(driver._inner, Broker)


def delivery(*place: int) -> Delivery:
    first, second, third = place
    return Delivery((first, second, third), 0, b"", Received("id", b"", {}), b"")


def test_the_inbox_gives_in_order_of_place() -> None:
    chance = random.Random(5)
    inbox, expected = Inbox(), []
    for number in range(300):
        place = (-chance.randint(0, 3), chance.randint(0, 1), number)
        inbox.put(delivery(*place))
        expected.append(place)
        if number % 7 == 0:
            expected.sort()
            assert [item.place for item in inbox.take(3)] == expected[:3]
            del expected[:3]
    assert len(inbox) == len(expected)
    assert [item.place for item in inbox.take(1000)] == sorted(expected)
    assert len(inbox) == 0


def test_a_returned_message_is_at_its_place_again() -> None:
    inbox = Inbox()
    for number in range(5):
        inbox.put(delivery(0, 1, number))
    taken = inbox.take(3)
    for index in (2, 0, 1):
        inbox.put(taken[index])
    assert [item.place[2] for item in inbox.take(5)] == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_confirms_by_tag_and_up_to_a_tag() -> None:
    confirms, batch = Confirms(), Batch(5)
    confirms.sent(batch, [("q", b"a"), ("q", b"b")], 0)
    confirms.sent(batch, [("q", b"c"), ("q", b"d"), ("q", b"e")], 2)
    confirms.answered(3, False, is_stored=False)
    confirms.answered(2, True, is_stored=True)
    assert not batch.done.done()
    confirms.answered(5, True, is_stored=True)
    assert batch.done.done()
    assert batch.fates == ["stored", "stored", "refused", "stored", "stored"]


@pytest.mark.anyio
async def test_a_return_makes_a_confirm_worthless() -> None:
    confirms, batch = Confirms(), Batch(4)
    confirms.sent(batch, [("q", b"a"), ("q", b"b"), ("q", b"b"), ("p", b"a")], 0)
    confirms.returned("q", Properties({"message_id": b"a"}).encode())
    confirms.returned("q", Properties({"message_id": b"b"}).encode())
    confirms.answered(4, True, is_stored=True)
    assert batch.fates == ["unroutable", "doubtful", "doubtful", "stored"]
    assert not confirms._twins


@pytest.mark.anyio
@pytest.mark.parametrize("is_answered_between", [False, True])
async def test_when_all_messages_of_an_id_were_returned_none_is_in_doubt(is_answered_between: bool) -> None:
    confirms, batch = Confirms(), Batch(2)
    confirms.sent(batch, [("q", b"a"), ("q", b"a")], 0)
    confirms.returned("q", Properties({"message_id": b"a"}).encode())
    if is_answered_between:
        confirms.answered(1, False, is_stored=True)
    confirms.returned("q", Properties({"message_id": b"a"}).encode())
    confirms.answered(2, True, is_stored=True)
    assert batch.fates == ["unroutable", "unroutable"]
    assert batch.done.done()
    assert not confirms._twins


@pytest.mark.anyio
async def test_the_end_of_a_channel_ends_the_wait() -> None:
    confirms, batch = Confirms(), Batch(1)
    confirms.sent(batch, [("q", b"a")], 0)
    confirms.end(ClosedError(320, "bye"))
    with pytest.raises(ClosedError):
        await batch.done


def test_a_quorum_queue_always_has_somewhere_for_what_it_gives_up() -> None:
    for lane in lanes(QueueSpec("q", priorities=True), Defaults()):
        arguments = lane.arguments
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-delivery-limit"] > 1000
        assert arguments["x-dead-letter-routing-key"] == GIVEN_UP
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert lane.durable
    names = [lane.name for lane in lanes(QueueSpec("q", priorities=True), Defaults())]
    assert names == ["q", "q.returned", *(f"q.p{number}" for number in range(1, 10))]


def test_options_become_arguments() -> None:
    options = {
        "max_length": 5, "max_length_bytes": 1000, "message_ttl": 1.5, "queue_expiry": 60.0, "delivery_limit": 7,
        "dead_letter_exchange": "dlx", "dead_letter_routing_key": "k", "single_active_consumer": True,
    }  # fmt: skip
    queue, returned = lanes(QueueSpec("q", options=options), Defaults())
    expected = {
        "x-max-length": 5, "x-max-length-bytes": 1000, "x-message-ttl": 1500, "x-expires": 60_000,
        "x-delivery-limit": 7, "x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "k",
        "x-single-active-consumer": True,
    }  # fmt: skip
    assert expected.items() <= queue.arguments.items()
    assert "x-max-length" not in returned.arguments  # what comes back is never refused
    assert "x-message-ttl" not in returned.arguments
    (classic,) = lanes(QueueSpec("q", options={"queue_type": "classic", "durable": False}), Defaults(queue_ttl=2.0))
    assert not classic.durable
    assert classic.arguments == {"x-queue-type": "classic", "x-overflow": "reject-publish", "x-message-ttl": 2000}


def test_a_temporary_queue_is_one_that_the_broker_removes() -> None:
    (lane,) = lanes(QueueSpec("q", temporary=True), Defaults())
    assert lane.durable
    assert lane.arguments == {"x-queue-type": "classic", "x-overflow": "reject-publish", "x-expires": 600_000}
    (sooner,) = lanes(QueueSpec("q", temporary=True), Defaults(queue_expiry=5.0))
    assert sooner.arguments["x-expires"] == 5000
    (later,) = lanes(QueueSpec("q", temporary=True), Defaults(queue_expiry=5000.0))
    assert later.arguments["x-expires"] == 600_000


def test_the_names_of_parts() -> None:
    spec = QueueSpec("a.b", priorities=True, ordering="key", options={"partitions": 64})
    parts = [lane.name for lane in lanes(spec, Defaults())[1:]]
    assert {whole_of(name) for name in parts} == {"a.b"}
    assert set(parts) < set(parts_of("a.b"))
    for name in (
        "a",
        "a.p0",
        "a.p10",
        "a.k",
        "a.k1x",
        "a.k64",
        ".p1",
        "p1",
        "a.returned.b",
        "a-returned",
        "a.consumers",
    ):
        assert whole_of(name) is None


class Looked(dict[str, QueueSpec]):
    """Known queues that count how often they are looked at."""

    looks = 0

    def __contains__(self, name: object) -> bool:
        self.looks += 1
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self.looks += 1
            yield name


def test_to_check_a_name_costs_the_same_however_many_queues_are_known() -> None:
    looks = []
    for number in (10, 1000):
        known = Looked({f"q-{index}": QueueSpec(f"q-{index}") for index in range(number)})
        check_spec(QueueSpec("new"), known, Errors("test", "amqp://b/"))
        looks.append(known.looks)
    assert looks[0] == looks[1]


def test_what_a_sweep_gives_back_is_never_more_than_it_has() -> None:
    assert Part([1, 3]).settlement(7) == frames.ack(7, 3, multiple=True)
    expected = frames.ack(7, 1) + frames.ack(7, 4) + frames.requeue(7, 3, multiple=True)
    assert Part([1, 4], others=2, last=3).settlement(7) == expected


@pytest.mark.anyio
async def test_a_connection_that_comes_when_the_driver_has_closed_is_not_made_ready() -> None:
    driver = AMQPDriver("d", AMQPSettings())
    with pytest.raises(ClosedError):
        await broker_of(driver)._prepare(None)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_queue_that_is_deleted_while_a_connection_is_made_ready_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = broker_of(AMQPDriver("d", AMQPSettings()))
    for name in ("a", "b"):
        await broker.declare(QueueSpec(name))
    turn = asyncio.Lock()
    await turn.acquire()  # so that the deletion stays where it would wait for the connection

    async def take_back(connection: object) -> None:
        pass

    session: Any = SimpleNamespace(was_prepared=True, turn=lambda queue: turn, marks=Marks(), take_back=take_back)
    broker._guard.opened(session)
    declared: list[str] = []
    connection: Any = None

    async def are_there(connection: object, *found: commands.Queue.Declare) -> bool:
        declared.append(found[0].queue)
        return True

    monkeypatch.setattr(declaring, "are_there", are_there)
    preparing = asyncio.create_task(broker._prepare(connection))
    deletion = asyncio.create_task(broker.delete("b"))
    await preparing
    assert declared == ["a"]
    deletion.cancel()
    await asyncio.wait((deletion,))


@pytest.mark.anyio
async def test_a_queue_that_is_deleted_while_it_is_counted_is_not_found() -> None:
    broker = broker_of(AMQPDriver("d", AMQPSettings()))
    await broker.declare(QueueSpec("q"))

    class Gone:
        async def ask(self, *methods: object) -> NoReturn:
            raise ClosedError(404, "NOT_FOUND - no queue 'q'")

    class Link:
        async def get(self) -> Link:
            broker._known.forget("q")  # as a deletion does first
            return self

        @asynccontextmanager
        async def borrow(self) -> AsyncIterator[Gone]:
            yield Gone()

    session: Any = SimpleNamespace(link=Link())
    broker._guard.opened(session)
    with pytest.raises(QueueNotFoundError):
        await broker.depth("q")


def test_addresses() -> None:
    def found(url: str, **fields: Any) -> Endpoint:
        return endpoint("d", parsed(AMQPSettings, url=url, **fields))

    one = found("amqp://u:p%40ss@host:1234/v%2Fh")
    assert (one.hosts, one.vhost, one.user, one.password, one.tls) == ([("host", 1234)], "v/h", "u", "p@ss", None)
    one = found("amqp://host")
    assert (one.hosts, one.vhost, one.user, one.password, one.tls) == ([("host", 5672)], "/", "guest", "guest", None)
    one = found("amqps://host")
    assert (one.hosts, one.tls) == ([("host", 5671)], TlsConfig())
    assert found("amqp://host", tls=TlsConfig()).hosts == [("host", 5671)]
    assert found("amqp://u:p@a:1,b,[::1]:3/v").hosts == [("a", 1), ("b", 5672), ("::1", 3)]
    assert found("amqp://u:secret@a:1,[::1]/v").shown == "amqp://a:1,[::1]:5672/v"
    assert found("amqp://a,b/").hosts == [("a", 5672), ("b", 5672)]
    for url in ("http://host", "amqp://", "amqp://u:secret@host:port/", "amqp://u:secret@a,,b/", "nonsense"):
        with pytest.raises(ValidationError) as problem:
            parsed(AMQPSettings, url=url)
        assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("url", "fields", "shown"),
    [
        ("amqp://u:p@h/prod", {}, "amqp://h:5672/prod"),
        ("amqp://h/prod", {"vhost": "test"}, "amqp://h:5672/test"),
        ("amqp://h/%2Fprod", {}, "amqp://h:5672/%2Fprod"),
        ("amqp://h", {"vhost": "a/b"}, "amqp://h:5672/a%2Fb"),
        ("amqp://h/%2F", {}, "amqp://h:5672/"),
        ("amqps://a,b/prod", {}, "amqps://a:5671,b:5671/prod"),
    ],
)
def test_messages_show_the_address_with_its_virtual_host(url: str, fields: dict[str, Any], shown: str) -> None:
    assert broker_of(AMQPDriver("d", parsed(AMQPSettings, url=url, **fields)))._errors.broker == shown


def test_nothing_of_the_driver_shows_the_password() -> None:
    driver = AMQPDriver("d", parsed(AMQPSettings, url="amqp://user:hunter2@host/"))
    assert "hunter2" not in repr(vars(driver._inner)) + repr(driver)


def keyed(number: int, key: str | None, *, is_partitioned: bool = False) -> Delivery:
    received = Received(str(number), b"", {})
    return Delivery((0, 1, number), number, b"", received, b"", key=key, is_partitioned=is_partitioned)


def test_each_key_is_picked_once_and_not_while_it_is_busy() -> None:
    inbox = Inbox()
    for number, key in enumerate(["a", "a", "b", None, None, "c", "b"]):
        inbox.put(keyed(number, key))
    assert [item.tag for item in inbox.pick(10, {"c"})] == [0, 2, 3, 4]
    assert [item.tag for item in inbox.pick(1, set())] == [1]
    assert [item.tag for item in inbox.pick(10, {"b"})] == [5]
    assert [item.tag for item in inbox.take(10)] == [6]


def test_what_is_of_a_lane_of_keys_stays_where_it_is() -> None:
    inbox = Inbox()
    for number in range(6):
        inbox.put(keyed(number, "k", is_partitioned=number % 2 == 0))
    assert [item.tag for item in inbox.take_where(lambda delivery: not delivery.is_partitioned)] == [1, 3, 5]
    assert [item.tag for item in inbox.take(10)] == [0, 2, 4]


def test_a_key_has_the_same_lane_everywhere() -> None:
    spec = QueueSpec("q", ordering="key")
    names = [lane.name for lane in lanes(spec, Defaults()) if lane.is_partition]
    assert names == [f"q.k{number}" for number in range(16)]
    assert partition_lane(spec, "customer-7") == "q.k8"
    assert {partition_lane(spec, str(number)) for number in range(1000)} == set(names)
    few = QueueSpec("q", ordering="key", options={"partitions": 2})
    assert {partition_lane(few, str(number)) for number in range(100)} == {"q.k0", "q.k1"}
