"""Writes before an ack: which are tried again, how soon, and which are decided."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.window import Keeping
from tasuki.consumers.settling.insisting import DEFECTIVE, End, Insisting, Write
from tasuki.contracts.driver import Received
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, QueueFullError, StaleReceiptError
from tests.unit.consumers.parts import clock_of_loop, now

pytestmark = pytest.mark.anyio

HOLDER: Any = SimpleNamespace(id="app:consumer", queue_id="app:tasks")


class Rig:
    def __init__(self, *, has_room: bool = True) -> None:
        self.changes: list[Keeping] = []
        self.tries: list[float] = []
        self.error: Exception | None = None
        self.has_room = has_room
        self.insisting = Insisting(clock_of_loop(), self.keep)
        self.delivery = Delivery(Received("m", b"body", {}, 1), HOLDER, 0.0)

    def keep(self, delivery: Delivery, change: Keeping) -> bool:
        self.changes.append(change)
        return change != "parked" or self.has_room

    async def write(self) -> None:
        self.tries.append(now())
        if self.error is not None:
            raise self.error

    def begin(self, **options: Any) -> asyncio.Task[End]:
        write = Write(self.write, "written", **options)
        return asyncio.create_task(self.insisting.until_done(self.delivery, write))

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.tries, self.tries[1:], strict=False)]


async def test_what_succeeds_at_once_is_never_kept() -> None:
    rig = Rig()
    assert await rig.begin() == "done"
    assert (rig.changes, len(rig.tries)) == ([], 1)


async def test_an_outage_of_any_length_is_waited_out_with_pauses_of_two_seconds_at_most() -> None:
    rig = Rig()
    rig.error = BrokerUnavailableError("gone")
    writing = rig.begin()
    await asyncio.sleep(3600)
    (trouble,) = rig.insisting.troubles.values()
    assert (trouble.since, trouble.what, trouble.error) == (0.0, "written", "BrokerUnavailableError('gone')")
    rig.error, since = None, now()
    assert await writing == "done"
    assert now() - since <= 2
    assert rig.pauses[0] < 0.1
    assert max(rig.pauses) <= 2
    assert rig.changes == ["kept", "ended"]
    assert not rig.insisting.troubles


async def test_a_full_queue_is_tried_every_thirty_seconds_at_last() -> None:
    rig = Rig()
    rig.error = QueueFullError("full")
    writing = rig.begin(must=True)
    await asyncio.sleep(3600)
    assert 10 < max(rig.pauses) <= 30
    assert rig.changes == ["kept"]
    rig.error = None
    assert await writing == "done"


async def test_a_final_error_is_decided_at_the_first_try(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.error = AccessDeniedError("no")
    assert await rig.begin() == "decided"
    assert (len(rig.tries), rig.changes) == (1, ["kept", "ended"])
    assert [record.getMessage() for record in caplog.records] == ["cannot be written, ever: AccessDeniedError('no')"]


@pytest.mark.parametrize("has_room", [True, False])
async def test_what_must_be_written_is_parked_by_a_final_error_and_tried_again(has_room: bool) -> None:
    rig = Rig(has_room=has_room)
    rig.error = AccessDeniedError("no")
    writing = rig.begin(must=True)
    await asyncio.sleep(0.01)
    assert rig.changes == ["kept", "parked"]
    await asyncio.sleep(600)
    assert 10 < max(rig.pauses) <= 30
    rig.error = None
    assert await writing == "done"
    assert rig.changes[-1] == ("unparked" if has_room else "ended")


async def test_a_defect_is_tried_for_a_minute_and_then_decided() -> None:
    rig = Rig()
    rig.error = KeyError("defect")
    assert await rig.begin() == "decided"
    assert DEFECTIVE <= now() <= DEFECTIVE + 2


async def test_a_late_write_keeps_no_delivery_and_outlives_its_lease() -> None:
    rig = Rig()
    rig.error, rig.delivery.lost = BrokerUnavailableError("gone"), True
    writing = rig.begin(is_late=True)
    await asyncio.sleep(10)
    assert len(rig.insisting.troubles) == 1
    rig.error = None
    assert await writing == "done"
    assert rig.changes == []


async def test_a_write_of_a_lost_delivery_ends() -> None:
    rig = Rig()
    rig.error = BrokerUnavailableError("gone")
    writing = rig.begin()
    await asyncio.sleep(1)
    rig.delivery.lost = True
    assert await writing == "lost"
    rig.error = StaleReceiptError("over")
    rig.delivery.lost = False
    assert await rig.begin() == "stale"


async def test_a_stop_ends_a_write(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.error = BrokerUnavailableError("gone")
    writing = rig.begin()
    await asyncio.sleep(1)
    writing.cancel()
    assert await writing == "stopped"
    assert rig.changes == ["kept", "ended"]
    assert "cannot be written before the stop" in caplog.text
