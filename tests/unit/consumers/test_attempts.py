"""Records of failed attempts: batched, beside the settlement, bounded, and in the dead letter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.settling import attempts as recording
from tasuki.contracts.handler import Context, Reject, Retry
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.store import MemoryStore
from tasuki.errors import BrokerUnavailableError, MessageTooLargeError
from tasuki.flow.attempts import TTL, lifetime, read_attempts
from tasuki.message import ATTEMPT_RECORDS, ATTEMPTS, REDRIVEN
from tasuki.queues.dead.attempts import AttemptRecord, records_in
from tasuki.queues.dead_letter import redriven
from tasuki.state import shared as shared_state
from tasuki.state.shared import AT_ONCE, PER_SECOND, Allowance, HourlyRecords, SharedState
from tests.unit.consumers.parts import Bench, clock_of_loop, make_bench

pytestmark = pytest.mark.anyio


class Writes:
    """What a store was asked to write at once; ``error`` is raised instead, ``hold`` waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[Sequence[tuple[str, bytes]]] = []
        self.ttls: set[float | None] = set()
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        put_all = MemoryStore.put_all

        async def noted(store: MemoryStore, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
            self.batches.append(entries)
            self.ttls.add(ttl)
            if self.hold is not None:
                await self.hold.wait()
            if self.error is not None:
                raise self.error
            await put_all(store, entries, ttl=ttl)

        monkeypatch.setattr(MemoryStore, "put_all", noted)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


async def bench_of(run: Callable[[Any, Context], Any], **options: Any) -> tuple[Bench, SharedState]:
    driver = MemoryDriver("app:driver", clock=clock_of_loop())
    state = SharedState(driver, "state", clock_of_loop())
    return await make_bench(run, driver=driver, state=state, **options), state


async def fail(body: Any, context: Context) -> None:
    await asyncio.sleep(0.5)
    raise ConnectionError("postgres://me:hunter2@db refused")


async def kept(bench: Bench, state: SharedState, id: str) -> list[AttemptRecord]:
    await asyncio.sleep(0.1)  # of virtual time
    return await read_attempts(await state.store(), bench.queue.spec.name, id)


async def test_each_attempt_is_recorded_and_the_letter_has_all(writes: Writes) -> None:
    bench, state = await bench_of(fail)
    id = (await bench.queue.publish(1)).id
    async with bench:
        await bench.empty()
        [letter] = await bench.dead_letters()
        found = records_in(letter)
        assert [each.attempt for each in found] == [1, 2, 3]
        assert await kept(bench, state, id) == found
    last = found[-1]
    assert (last.took, last.type, last.round) == (0.5, "ConnectionError", 0)
    assert last.message == "ConnectionError: postgres://me:***@db refused"
    assert last.place.endswith("test_attempts.py:fail")
    assert "in fail" in last.traceback
    assert "hunter2" not in str(letter.headers[ATTEMPT_RECORDS])
    host, _, pid = last.worker.rpartition(":")
    assert host
    assert pid.isdigit()
    assert found[0].at < found[1].at < found[2].at
    assert writes.ttls == {TTL + 5 * delay for delay in (0.0, 1.0, 2.0)}


async def test_a_success_writes_nothing(writes: Writes) -> None:
    async def succeed(body: Any, context: Context) -> None:
        return None

    bench, _ = await bench_of(succeed)
    await bench.queue.publish_many([1] * 10)
    async with bench:
        await bench.empty()
    assert writes.batches == []


async def test_a_queue_without_a_store_records_nothing(writes: Writes) -> None:
    bench = await make_bench(fail)
    await bench.handle(1)
    [letter] = await bench.dead_letters()
    assert ATTEMPT_RECORDS not in letter.headers
    assert letter.headers[ATTEMPTS] == 3
    assert writes.batches == []


async def test_a_storm_is_few_writes(writes: Writes) -> None:
    bench, _ = await bench_of(fail, options=ConsumerOptions(concurrency=100, prefetch=1000))
    await bench.queue.publish_many([1] * 1000)
    async with bench:
        while bench.consumer.metrics.nacked < 1000:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        assert sum(map(len, writes.batches)) == 1000
        assert len(writes.batches) <= 10
        assert max(map(len, writes.batches)) <= recording.BATCH
        assert bench.consumer.metrics.attempts_dropped == 0


@pytest.mark.parametrize(("which", "written"), [(["AT_ONCE"], 8), (["PER_HOUR", "EACH"], 4)])
async def test_what_exceeds_the_allowance_is_dropped_and_counted_and_the_letter_has_it(
    which: list[str],
    written: int,
    writes: Writes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "tasuki.consumer")
    for name in which:
        monkeypatch.setattr(shared_state, name, 4)
    bench, _ = await bench_of(fail, max_attempts=2, options=ConsumerOptions(concurrency=10))
    await bench.queue.publish_many([1] * 5)
    async with bench:
        await bench.empty()
    assert sum(map(len, writes.batches)) == written
    assert bench.consumer.metrics.attempts_dropped == 10 - written
    assert sum("as more than " in each.message for each in caplog.records) == 1
    assert all(records_in(letter)[-1].attempt == 2 for letter in await bench.dead_letters())


async def test_a_store_that_is_away_delays_nothing_and_is_counted(
    writes: Writes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tasuki.consumer")
    bench, _ = await bench_of(fail, options=ConsumerOptions(concurrency=10))
    writes.error = BrokerUnavailableError("away", driver="app:driver")
    await bench.queue.publish_many([1] * 10)
    async with bench:
        await bench.empty()
    assert bench.consumer.metrics.attempts_dropped == 30
    assert sum("are dropped" in each.message for each in caplog.records) == 1
    letters = await bench.dead_letters()
    assert [[each.attempt for each in records_in(letter)] for letter in letters] == [[3]] * 10


async def test_a_store_that_hangs_holds_bounded_memory_and_ends_a_stop_in_time(
    writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_WAITING", 5)
    bench, _ = await bench_of(fail, options=ConsumerOptions(concurrency=100, prefetch=100), max_attempts=1000)
    await bench.queue.publish(1)
    writes.hold = asyncio.Event()
    async with bench:
        while bench.consumer.metrics.nacked < 1 or not writes.batches:
            await asyncio.sleep(0.1)
        await bench.queue.publish_many([1] * 20)
        while bench.consumer.metrics.nacked < 21:
            await asyncio.sleep(0.1)
        assert bench.consumer.metrics.attempts_dropped >= 15
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before <= 2
    assert bench.consumer.metrics.attempts_dropped >= 21


async def test_a_letter_does_not_wait_long_for_the_store(writes: Writes, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    async def hang(*args: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(1000)

    monkeypatch.setattr(MemoryStore, "list", hang)
    bench, _ = await bench_of(fail, options=ConsumerOptions(concurrency=10), max_attempts=2)
    await bench.queue.publish_many([1] * 10)
    async with bench:
        while len(await bench.dead_letters()) < 10:
            await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() < 10
        read_first = reads
        await bench.queue.publish(1)
        while len(await bench.dead_letters()) < 11:
            await asyncio.sleep(0.1)
        assert reads == read_first


async def test_a_defect_of_the_store_keeps_no_letter(writes: Writes, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(MemoryStore, "list", broken)
    bench, _ = await bench_of(fail, max_attempts=2)
    writes.error = RuntimeError("a defect")
    await bench.handle(1)
    [letter] = await bench.dead_letters()
    assert [each.attempt for each in records_in(letter)] == [2]
    assert bench.consumer.metrics.attempts_dropped == 2


async def test_what_is_too_large_goes_without_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = await bench_of(fail, max_attempts=2)
    publish = MemoryDriver.publish

    async def small_ones(self: MemoryDriver, queue: str, batch: Any) -> Any:
        if queue == "dead" and any(ATTEMPT_RECORDS in message.headers for message in batch):
            return [MessageTooLargeError("too large", driver="app:driver")] * len(batch)
        return await publish(self, queue, batch)

    monkeypatch.setattr(MemoryDriver, "publish", small_ones)
    monkeypatch.setattr(MemoryDriver, "is_move_atomic", lambda *args: False)
    monkeypatch.setattr("tasuki.consumers.settling.handover.Moves.can_reach", lambda *args: False)
    await bench.handle(1)
    [letter] = await bench.dead_letters()
    assert ATTEMPT_RECORDS not in letter.headers


async def test_a_letter_that_comes_back_has_the_attempts_before(writes: Writes) -> None:
    bench, _ = await bench_of(fail, max_attempts=2)
    await bench.queue.publish(1)
    async with bench:
        await bench.empty()
        [letter] = await bench.dead_letters()
        await bench.dead.remove([letter.id])
        [error] = await bench.queue.forward([redriven(letter)])
        assert error is None
        await bench.empty()
        [again] = await bench.dead_letters()
    assert again.headers[REDRIVEN] == 1
    assert [(each.round, each.attempt) for each in records_in(again)] == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("signal", "said", "type_"),
    [(Retry("later", after="1s"), "later", "Retry"), (Reject("no"), "no", "Reject")],
)
async def test_what_a_handler_asks_for_is_recorded(signal: Exception, said: str, type_: str, writes: Writes) -> None:
    async def run(body: Any, context: Context) -> None:
        raise signal

    bench, state = await bench_of(run, max_attempts=2)
    id = (await bench.queue.publish(1)).id
    async with bench:
        await bench.empty()
        first = (await kept(bench, state, id))[0]
    assert (first.attempt, first.message, first.type) == (1, said, type_)


async def test_nack_false_and_bad_bodies_are_recorded(writes: Writes) -> None:
    async def run(body: Any, context: Context) -> Any:
        if body == "nack":
            context.nack()
        return False

    bench, _ = await bench_of(run, max_attempts=1)
    await bench.queue.publish_many(["nack", "false"])
    await bench.handle(b"{", headers={"content_type": "json/plain"})
    said = sorted(records_in(letter)[0].message for letter in await bench.dead_letters())
    assert said[1:] == ["nacked by the handler", "the handler returned False, which counts as a failure"]
    assert len(said) == 3


async def test_an_expired_message_has_no_attempt(writes: Writes) -> None:
    bench, _ = await bench_of(fail)
    await bench.queue.publish(1, ttl="1s")
    await asyncio.sleep(2)
    async with bench:
        await bench.empty()
    [letter] = await bench.dead_letters()
    assert ATTEMPT_RECORDS not in letter.headers
    assert writes.batches == []


async def test_a_timeout_is_recorded(writes: Writes) -> None:
    async def hang(body: Any, context: Context) -> None:
        await asyncio.sleep(100)

    bench, _ = await bench_of(hang, max_attempts=1, options=ConsumerOptions(handler_timeout=2.0))
    await bench.handle(1)
    [letter] = await bench.dead_letters()
    [record] = records_in(letter)
    assert record.type == "HandlerTimeoutError"
    assert record.took == pytest.approx(2.0, abs=0.5)


async def test_a_defect_in_making_a_record_is_counted_and_fails_nothing(
    writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> str:
        raise RuntimeError("a defect")

    monkeypatch.setattr(recording, "redact", broken)
    bench, _ = await bench_of(fail, max_attempts=2)
    await bench.handle(1)
    [letter] = await bench.dead_letters()
    assert (letter.headers[ATTEMPTS], ATTEMPT_RECORDS in letter.headers) == (2, False)
    assert bench.consumer.metrics.attempts_dropped == 2


async def test_memory_keeps_a_bounded_number(writes: Writes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_IN_MEMORY", 10)
    bench, state = await bench_of(fail, max_attempts=1, options=ConsumerOptions(concurrency=10))
    await bench.queue.publish_many([1] * 40)
    async with bench:
        await bench.empty()
        await asyncio.sleep(0.1)
        page = await (await state.store()).list("attempts/", limit=1000)
    assert len(page.entries) == 10


def test_many_at_once_are_recorded_and_then_so_many_a_second() -> None:
    one = Allowance("c", HourlyRecords())
    assert [one.take(100.0) for _ in range(AT_ONCE + 1)] == [""] * AT_ONCE + ["more than 300 fail in a second"]
    assert [one.take(101.0) == "" for _ in range(PER_SECOND + 2)] == [True] * PER_SECOND + [False] * 2
    assert sum(one.take(200.0) == "" for _ in range(2 * AT_ONCE)) == AT_ONCE


def test_all_consumers_of_a_process_share_an_hour_and_each_has_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many consumers fail at once, a process does not fill its store."""
    monkeypatch.setattr(shared_state, "PER_HOUR", 5)
    monkeypatch.setattr(shared_state, "EACH", 2)
    shared = HourlyRecords()
    loud, quiet = Allowance("loud", shared), Allowance("quiet", shared)
    assert [loud.take(0.5 * at) for at in range(7)] == [""] * 5 + ["more than 5 fail in an hour"] * 2
    assert [quiet.take(10.0) for _ in range(3)] == ["", "", "more than 5 fail in an hour"]
    assert loud.take(3599.0)
    assert [loud.take(3600.0), quiet.take(3600.0)] == ["", ""]


def test_the_more_there_are_in_an_hour_the_shorter_they_are_kept() -> None:
    one = HourlyRecords()
    assert one.longest() > TTL
    for _ in range(100):
        one.take("c", 0.0)
    assert one.longest() == 100 * 3600.0
    for _ in range(9_900):
        one.take("c", 10.0)
    assert one.longest() == 3600.0
    one.take("c", 3700.0)
    assert one.longest() == 3600.0  # the hour before counts
    one.take("c", 3700.0 + 7200.0)
    assert one.longest() > TTL  # and the one before that does not


def test_a_record_is_kept_until_the_attempts_after_it_and_a_day_more() -> None:
    assert lifetime(0.0) == 86_400.0
    assert lifetime(12 * 3600.0) == 86_400.0 + 5 * 12 * 3600.0
