"""Publishes and settlements that fail: errors, outcomes, groups, full disks, a writer that ends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.file import errors
from tasuki.drivers.sqlite.thread.requests import Call
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError, QueueNotFoundError, UnsupportedError
from tests.unit.drivers.sqlite.conftest import connection_of, message

pytestmark = pytest.mark.anyio


async def test_headers_that_cannot_be_kept_are_refused_one_by_one(make: Any) -> None:
    driver = await make()
    bad: list[Any] = [{"large": 2**70}, {"object": object()}, {"half": "\ud800"}]
    batch = [Outgoing("good", b"", {"n": 1}), *(Outgoing("bad", b"", headers) for headers in bad)]
    results = await driver.publish("q", batch)
    assert [type(result) for result in results] == [type(None)] + [UnsupportedError] * 3
    with pytest.raises(UnsupportedError, match="message 'bad' was not stored: its headers cannot be kept"):
        await driver.publish("q", batch[1:])
    assert (await driver.depth("q")).ready == 1


async def test_one_callers_fault_is_not_the_others(make: Any) -> None:
    driver = await make()
    waiting = asyncio.create_task(driver.receive("q", 10, 5.0))
    await asyncio.sleep(0.05)
    results = await asyncio.gather(
        driver.publish("q", [message("good")]),
        driver.publish("q", [message("\ud800")]),
        driver.settle("q", [Ack(999)]),
        return_exceptions=True,
    )
    assert results[0] == ()
    assert type(results[1]) is DriverError
    assert results[2] == [999]
    assert [item.id for item in await waiting] == ["good"]
    with pytest.raises(DriverError, match="SQLite refuses"):
        await driver.publish("q", [message("\ud800")])


async def test_a_failed_fsync_leaves_the_outcome_unknown(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    before = connection_of(driver)
    faults["COMMIT"] = "SQLITE_IOERR_FSYNC"
    with pytest.raises(BrokerUnavailableError, match="its storage refuses to work") as caught:
        await driver.publish("q", [message()])
    assert caught.value.outcome == "unknown"
    assert caught.value.retryable
    assert caught.value.queue == "q"
    faults.clear()
    assert not await driver.publish("q", [message("again")])
    assert connection_of(driver) is not before
    assert "again" in [item.id for item in await driver.receive("q", 5, 0.0)]


async def test_an_error_before_the_commit_is_definite(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    faults["last_insert_rowid"] = "SQLITE_IOERR_READ"
    with pytest.raises(BrokerUnavailableError) as caught:
        await driver.publish("q", [message()])
    assert caught.value.outcome == "rejected"
    faults.clear()
    assert (await driver.depth("q")).ready == 0


async def test_a_rollback_that_fails_gives_the_connection_up(make: Any, faults: dict[str, str]) -> None:
    driver = await make()
    before = connection_of(driver)
    faults.update({"last_insert_rowid": "SQLITE_TOOBIG", "ROLLBACK": "SQLITE_ERROR"})
    with pytest.raises(DriverError):
        await driver.publish("q", [message()])
    faults.clear()
    assert not await driver.publish("q", [message()])
    assert connection_of(driver) is not before


async def test_a_full_disk_at_the_commit_is_definite_and_acks_are_tried_again(
    make: Any, faults: dict[str, str], path: Path
) -> None:
    driver = await make()
    await driver.publish("q", [message("held")])
    (held,) = await driver.receive("q", 1, 0.0)
    faults["INSERT INTO ready"] = "SQLITE_FULL"
    answers = await asyncio.gather(
        driver.publish("q", [message()]), driver.settle("q", [Ack(held.receipt)]), return_exceptions=True
    )
    assert isinstance(answers[0], QueueFullError)
    assert answers[0].outcome == "rejected"
    assert answers[1] == []
    assert not Path(f"{path}.ballast").exists()
    faults["COMMIT"] = "SQLITE_FULL"
    with pytest.raises(QueueFullError) as caught:
        await driver.declare(QueueSpec("q2"))
    assert caught.value.outcome == "rejected"
    faults.clear()
    assert not await driver.publish("q", [message()])
    assert Path(f"{path}.ballast").stat().st_size == errors.BALLAST_BYTES


async def test_while_the_ballast_is_missing_nothing_is_published(
    make: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await make()
    ballast = Path(f"{path}.ballast")
    ballast.unlink()

    def no_room(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(QueueFullError, match="the disk is full"):
        await driver.publish("q", [message()])
    assert not ballast.exists()
    monkeypatch.undo()
    assert not await driver.publish("q", [message()])
    assert ballast.exists()


async def test_requests_to_a_writer_that_ended(make: Any) -> None:
    driver = await make()
    ended = driver._guard.get()
    await driver.close()
    await ended.stop()
    with pytest.raises(BrokerUnavailableError, match="is not open"):
        await ended.submit(Call("q", lambda *_: None))


async def test_requests_behind_a_stop_are_refused(make: Any) -> None:
    driver = await make()
    answers = await asyncio.gather(
        driver.close(), *(driver.publish("q", [message()]) for _ in range(50)), return_exceptions=True
    )
    assert answers[0] is None
    assert [answer for answer in answers[1:] if answer != () and not isinstance(answer, BrokerUnavailableError)] == []


async def test_a_refused_publish_fails_no_other_of_its_group(make: Any) -> None:
    asks, answers = await make(), await make()
    await asks.declare(QueueSpec("reply", temporary=True))
    await answers.inspect(QueueSpec("reply"))
    waiting = asyncio.create_task(answers.receive("q", 1, 30.0))
    lost = asyncio.create_task(answers.receive("reply", 1, 30.0))
    await asyncio.sleep(0)
    await asks.delete("reply")
    results = await asyncio.gather(
        answers.publish("reply", [message("late")]),
        answers.publish("q", [message("good")]),
        return_exceptions=True,
    )
    assert type(results[0]) is QueueNotFoundError
    assert results[1] == ()
    assert [item.id for item in await waiting] == ["good"]
    with pytest.raises(QueueNotFoundError):
        await lost


async def test_a_process_remembers_nothing_of_undeclared_queues(make: Any) -> None:
    asks, answers = await make(), await make()
    for number in range(20):
        spec = QueueSpec(f"reply.{number}", temporary=True)
        await asks.declare(spec)
        await answers.inspect(spec)
        await answers.publish(spec.name, [message("reply")])
        await answers.undeclare(spec.name)
        await asks.delete(spec.name)
    for driver in (asks, answers):
        assert [spec.name for spec in driver._known.all()] == ["q"]
        assert list(driver._guard.get()._database.store.queues._numbers) == ["q"]
