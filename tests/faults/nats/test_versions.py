"""Two versions side by side at one NATS server: the newer one has added to its records what the older does not know."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import msgspec
import nats
import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Release, Settlement
from tasuki.drivers.nats import envelope
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.records import layout
from tasuki.drivers.toolkit.layout import Layout
from tasuki.errors import DriverError
from tests.faults.nats.site import Site, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

NEXT = Layout(layout.LAYOUT.version + 1, layout.LAYOUT.min_version)
BOOK = "tasuki+=book"
SPECS = (QueueSpec("plain", dedup_window=60.0), QueueSpec("keyed", ordering="key"))
ADDED = {"tasuki.added": "x"}


async def opened(site: Site, *specs: QueueSpec) -> NATSDriver:
    driver = await site.driver(is_direct=True, timeout=10.0)
    for spec in specs:
        await driver.declare(spec)
    return driver


async def publish(site: Site, subject: str, content: bytes) -> None:
    client = await nats.connect(site.broker.url)
    await client.jetstream().publish(subject, content)
    await client.close()


async def record(site: Site) -> dict[str, Any]:
    answer = await site.ask(f"STREAM.MSG.GET.{BOOK}", last_by_subj="tasuki.b.v")
    found: dict[str, Any] = json.loads(base64.b64decode(answer["message"]["data"]))
    return found


async def metadata(site: Site, stream: str) -> dict[str, str]:
    found: dict[str, str] = (await site.ask(f"STREAM.INFO.{stream}"))["config"].get("metadata") or {}
    return found


async def add_to_all_records(site: Site) -> None:
    """What a version that expands may do: add keys, subjects and streams, and raise the version."""
    for stream in (await site.ask("STREAM.NAMES"))["streams"]:
        config = (await site.ask(f"STREAM.INFO.{stream}"))["config"]
        config["metadata"] = {**(config.get("metadata") or {}), **ADDED}
        assert "error" not in await site.ask(f"STREAM.UPDATE.{stream}", **config)
    added = {"name": "tasuki+=added", "subjects": ["tasuki.a.>"], "storage": "file"}
    assert "error" not in await site.ask("STREAM.CREATE.tasuki+=added", **added)
    await publish(site, "tasuki.b.a.plain.x", b"added")
    await publish(site, "tasuki.b.c.plain.other", json.dumps({"consumers": 1, "added": True}).encode())
    await publish(site, "tasuki.b.v", json.dumps({**NEXT._asdict(), "added": "x"}).encode())


def packed_by_newer(id: str) -> bytes:
    """A message whose head has a field more."""
    head = msgspec.msgpack.encode([id, {}, 0.0, "added"])
    return b"".join((envelope._HEAD.pack(envelope.MARK, len(head)), head, b""))


async def use(publisher: NATSDriver, consumer: NATSDriver, site: Site, turn: int) -> None:
    """Everything that writes a record."""
    for spec in SPECS:
        await publisher.declare(spec)
    batch = [*messages(f"a{turn}", f"b{turn}"), *messages(f"c{turn}", delay=0.2)]
    assert not await publisher.publish("plain", batch)
    assert not await consumer.publish("plain", messages(f"a{turn}"))
    assert not await publisher.publish("keyed", messages("x", key="k"))
    await publish(site, "tasuki.q.plain.m", packed_by_newer("n"))
    for queue, number in (("plain", 4), ("keyed", 1)):
        taken = await take(consumer, number, queue)
        assert not await consumer.start(queue, [taken[0].receipt])
        assert not await consumer.extend(queue, [item.receipt for item in taken], 30.0)
        back: list[Settlement] = [Nack(taken[0].receipt, 0.1), *(Release(item.receipt) for item in taken[1:])]
        assert not await consumer.settle(queue, back)
        again = await take(publisher, number, queue)
        assert {item.id: item.attempt for item in again} == {item.id: 2 if item is taken[0] else 1 for item in taken}
        assert not await publisher.settle(queue, [Ack(item.receipt) for item in again])
    await publisher.publish("plain", messages(f"z{turn}", delay=60.0))
    assert [item.id for item in await consumer.peek("plain", 1)] == [f"z{turn}"]
    assert await consumer.purge("plain") == 1
    await publisher.declare(QueueSpec("gone", temporary=True))
    await publisher.delete("gone")
    for spec in SPECS:
        await consumer.declare(spec)


async def test_two_versions_work_side_by_side(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await opened(site, *SPECS)
    assert await record(site) == layout.LAYOUT._asdict()
    await add_to_all_records(site)
    starting = await opened(site, *SPECS)
    monkeypatch.setattr(layout, "LAYOUT", NEXT)
    newer = await opened(site, *SPECS)
    monkeypatch.undo()
    for turn, (one, other) in enumerate(((running, newer), (newer, starting), (starting, running))):
        await use(one, other, site, turn)
        assert await record(site) == {**NEXT._asdict(), "added": "x"}
        for stream in ("tasuki+plain", "tasuki+keyed", BOOK):
            assert (await metadata(site, stream)).items() >= ADDED.items()


async def test_records_from_before_the_layout_get_it_once(site: Site) -> None:
    driver = await opened(site, *SPECS)
    await driver.publish("plain", messages("a"))
    await driver.close()
    await site.ask(f"STREAM.PURGE.{BOOK}", filter="tasuki.b.v")
    drivers = [await opened(site) for _ in range(5)]
    await asyncio.gather(*(driver.declare(spec) for driver in drivers for spec in SPECS))
    assert await record(site) == layout.LAYOUT._asdict()
    written = await site.ask(f"STREAM.MSG.GET.{BOOK}", last_by_subj="tasuki.b.v")
    await opened(site, *SPECS)
    assert await site.ask(f"STREAM.MSG.GET.{BOOK}", last_by_subj="tasuki.b.v") == written
    (item,) = await take(drivers[0], 1, "plain")
    assert item.id == "a"


async def test_a_newer_version_raises_the_layout_and_keeps_the_rest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(site, *SPECS)
    await publish(site, "tasuki.b.v", json.dumps({**layout.LAYOUT._asdict(), "added": "x"}).encode())
    monkeypatch.setattr(layout, "LAYOUT", NEXT)
    await opened(site, *SPECS)
    assert await record(site) == {**NEXT._asdict(), "added": "x"}


async def test_records_that_need_a_newer_version_are_refused(site: Site) -> None:
    await opened(site, *SPECS)
    await publish(site, "tasuki.b.v", b'{"version": 1000, "min_version": 999}')
    expected = "NATS prefix 'tasuki' has layout 1000, which needs a Tasuki that knows layout 999; this one knows 2"
    with pytest.raises(DriverError, match=expected):
        await opened(site)
    assert await record(site) == {"version": 1000, "min_version": 999}
    await publish(site, "tasuki.b.v", b"of another program")
    with pytest.raises(DriverError, match=r"message \d+ on subject 'tasuki.b.v' is no record of a layout; remove"):
        await opened(site)
