"""The record of the layout at NATS: written once, and refused where it is another one."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import nats
import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.queues.setup import LAYOUT
from tasuki.errors import DriverError
from tests.faults.nats.site import Site, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

BOOK = "tasuki+=book"
SPECS = (QueueSpec("plain"), QueueSpec("keyed", ordering="key"))


async def opened(site: Site, *specs: QueueSpec) -> NATSDriver:
    driver = await site.driver(is_direct=True, timeout=10.0)
    for spec in specs:
        await driver.declare(spec)
    return driver


async def publish(site: Site, subject: str, content: bytes) -> None:
    client = await nats.connect(site.broker.url)
    await client.jetstream().publish(subject, content)
    await client.close()


async def record(site: Site) -> Any:
    return (await site.ask(f"STREAM.MSG.GET.{BOOK}", last_by_subj="tasuki.b.v"))["message"]


async def test_processes_that_begin_together_record_the_layout_once(site: Site) -> None:
    """Also beside queues: the process that made them may have died before it wrote the record."""
    driver = await opened(site, *SPECS)
    await driver.publish("plain", messages("a"))
    await driver.close()
    await site.ask(f"STREAM.PURGE.{BOOK}", filter="tasuki.b.v")
    drivers = [await opened(site) for _ in range(5)]
    await asyncio.gather(*(driver.declare(spec) for driver in drivers for spec in SPECS))
    written = await record(site)
    assert json.loads(base64.b64decode(written["data"])) == {"layout": LAYOUT}
    await opened(site, *SPECS)
    assert await record(site) == written
    (item,) = await take(drivers[0], 1, "plain")
    assert item.id == "a"


@pytest.mark.parametrize(
    ("kept", "has"), [({"layout": 2}, "layout 2"), ({"version": 2, "min_version": 2}, "no layout")]
)
async def test_streams_of_another_layout_are_refused_and_kept(site: Site, kept: dict[str, int], has: str) -> None:
    running = await opened(site, *SPECS)
    await publish(site, "tasuki.b.v", json.dumps(kept).encode())
    before = await record(site)
    expected = f"NATS prefix 'tasuki' has {has}, and this version of Tasuki needs layout 1: .* another stream_prefix"
    with pytest.raises(DriverError, match=expected):
        await opened(site)
    assert await record(site) == before
    await running.close()


async def test_a_record_of_another_program_is_refused(site: Site) -> None:
    await opened(site, *SPECS)
    await publish(site, "tasuki.b.v", b"of another program")
    with pytest.raises(DriverError, match=r"message \d+ on subject 'tasuki.b.v' is no record of a layout; remove"):
        await opened(site)
