"""Clauses 14, 19, 25, 31, 34, 54, 55: brokers that fall silent, die or lose data; processes that come, fork or die."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import DURABILITIES, Ack, Driver, Move, Nack, Outgoing, Receipt, Release
from tasuki.errors import DriverError, QueueNotFoundError, StaleReceiptError
from tasuki.testing.conformance.killed import Holder
from tasuki.testing.conformance.rig import GONE, Rig, Suite, case, each_result, ids, until_back

_MOST_ANSWERS = 50


class Failing(Suite):
    """A driver whose broker fails: its errors, and the messages that remain."""

    @case()
    async def test_14_a_silent_broker_is_noticed_and_its_connection_replaced(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())

        async def problem(asked: Awaitable[object]) -> BaseException | None:
            try:
                await asked
            except DriverError as error:
                return error
            return None

        async with rig.suite.silent(rig.place):
            # An empty receive, or a receipt that is known to be stale, needs no answer.
            asking = (rig.driver.publish(rig.queue, [rig.message()]), rig.driver.depth(rig.queue))
            problems = await asyncio.gather(*map(problem, asking))
        assert all(isinstance(error, GONE) and error.retryable for error in problems), problems
        found: list[str] = []
        while not set(published) <= set(found):  # among what the verbs published, perhaps
            found += await until_back(rig.drain)

    @case()
    async def test_14_what_was_not_answered_is_not_called_rejected(self, rig: Rig) -> None:
        error: DriverError | None = None
        message = rig.message(id="sent")
        await rig.publish(rig.message(id="before"))  # so that a driver has nothing to ask before it sends the message
        async with rig.suite.unanswered(rig.place):
            try:
                await rig.driver.publish(rig.queue, [message])
            except DriverError as problem:
                error = problem
        assert error is not None, "confirmed by a broker whose answers do not arrive"
        await until_back(lambda: _publish(rig, rig.message(id="after")))
        found = await rig.drain()
        assert {"before", "after"} <= set(found)
        assert error.outcome == "unknown" or "sent" not in found, f"{error!r} is {error.outcome}, and was stored"

    @case()
    async def test_14_a_publish_that_is_cut_short_at_any_answer_is_not_called_rejected(self, rig: Rig) -> None:
        """A broker may ask back before it stores: the answer to the last of several requests is the one that counts."""
        stored = set(await rig.publish(rig.message(id="before")))
        rejected: set[str] = set()
        for answers in range(_MOST_ANSWERS):
            id = f"cut-{answers}"
            async with rig.suite.cut_short(rig.place, answers) as is_cut:
                try:
                    await _publish(rig, rig.message(id=id))
                except DriverError as problem:
                    if problem.outcome == "rejected":
                        rejected.add(id)
                else:
                    stored.add(id)
                has_been_cut = is_cut()
            await until_back(lambda: _publish(rig, rig.message(id=f"after-{answers}")))  # noqa: B023
            if not has_been_cut:
                break
        else:
            raise AssertionError(f"a publish took more than {_MOST_ANSWERS} answers")
        found = await rig.drain()
        assert stored <= set(found)
        assert not rejected & set(found), "called rejected, and stored"

    @case("multi_process")
    async def test_19_confirmed_messages_survive_a_kill_of_the_broker(self, rig: Rig) -> None:
        if DURABILITIES.index(rig.driver.durability) < DURABILITIES.index("broker"):
            raise SkipTest(f"not applicable: durability {rig.driver.durability}")
        confirmed: list[str] = []
        over = asyncio.Event()

        async def publish() -> None:
            while not over.is_set():
                batch = rig.messages(5)
                try:
                    results = await rig.driver.publish(rig.queue, batch)
                except DriverError:
                    await asyncio.sleep(0.01)
                    continue
                confirmed.extend(one.id for one, result in zip(batch, results or [None] * 5, strict=True) if not result)
                await asyncio.sleep(0.001)

        publishing = asyncio.create_task(publish())
        await _until(lambda: len(confirmed) >= 50, publishing)
        await rig.suite.kill(rig.place)
        already = len(confirmed)
        await _until(lambda: len(confirmed) > already, publishing)
        over.set()
        await publishing
        found: set[str] = set()
        while not set(confirmed) <= found:
            found.update(await until_back(rig.drain))

    @case()
    async def test_31_what_could_not_be_settled_comes_back(self, rig: Rig) -> None:
        published = await rig.publish(*rig.messages(3))
        held = await rig.take(3)
        async with rig.suite.broken(rig.place):
            try:
                await rig.driver.settle(rig.queue, [Ack(delivery.receipt) for delivery in held])
            except DriverError:
                pass
        await rig.advance(rig.long * 1.2)
        # Not one stays with a driver whose caller has given up: it is settled, or it is back.
        back = await until_back(rig.drain)
        assert set(back) <= set(published)
        await rig.nothing()
        # A count may be late where it is not exact; the case's own timeout is the bound.
        while await _is_left(rig):  # noqa: ASYNC110 - the broker does not tell
            await asyncio.sleep(0.1)

    @case("multi_process")
    async def test_34_a_forked_child_leaves_the_connections_of_its_parent_alone(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="before"))
        message = rig.message(id="child")

        async def publish() -> str:
            results = await rig.driver.publish(rig.queue, [message])
            return "confirmed" if not any(results) else type(next(filter(None, results))).__name__

        answer = await asyncio.to_thread(answer_of_a_fork, publish)
        assert ids(await rig.take()) == ["before"] or answer == "confirmed"
        for number in range(5):
            await rig.publish(rig.message(id=f"after-{number}"))
        found = await rig.drain()
        assert {f"after-{number}" for number in range(5)} <= set(found)
        assert answer == "BrokerUnavailableError" or (answer == "confirmed" and "child" in found), answer

    @case("multi_process")
    async def test_25_a_temporary_queue_outlives_those_that_publish_to_it(self, rig: Rig) -> None:
        await rig.driver.delete(rig.queue)  # a lasting queue may not become a temporary one
        spec = await rig.declare(temporary=True)
        for number in range(2):
            other = await rig.stranger()
            await other.inspect(spec)
            assert not any(await other.publish(rig.queue, [rig.message(id=str(number))]))
            await other.undeclare(rig.queue)
            await other.close()
        assert ids(await rig.take(2)) == ["0", "1"]

    @case("multi_process")
    async def test_25_the_temporary_queue_of_a_killed_process_goes_and_others_stay(self, rig: Rig) -> None:
        if rig.suite.removes_within is None:
            raise SkipTest("not applicable: a temporary queue is kept for longer than a case can wait")
        await rig.driver.delete(rig.queue)
        await rig.declare(temporary=True)
        await rig.publish(rig.message(id="stays"))
        spec = rig.spec(name=rig.other, temporary=True)
        async with Holder(rig.suite, rig.place, spec, 0) as holder:
            await rig.driver.inspect(spec)
            await rig.driver.undeclare(spec.name)
            holder.kill()
        async with asyncio.timeout(rig.suite.removes_within):
            while await _exists(await rig.stranger(), rig):  # noqa: ASYNC110 - the broker does not tell
                await asyncio.sleep(0.2)
        assert ids(await rig.take()) == ["stays"]


async def _publish(rig: Rig, message: Outgoing) -> None:
    for result in await rig.driver.publish(rig.queue, [message]):
        if isinstance(result, DriverError):
            raise result


async def _is_left(rig: Rig) -> bool:
    depth = await rig.driver.depth(rig.queue)
    return depth.message_count > 0


async def _exists(driver: Driver, rig: Rig) -> bool:
    try:
        await driver.inspect(rig.spec(name=rig.other, temporary=True))
    except QueueNotFoundError:
        return False
    await driver.close()
    return True


async def _until(condition: Callable[[], bool], task: asyncio.Task[None]) -> None:
    """Wait for a condition that a task brings about; the case's own timeout is the bound."""
    while not condition():
        if task.done():
            task.result()
        await asyncio.sleep(0.01)


def answer_of_a_fork(ask: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """What a forked child answers, or the name of its error; ``nothing``: it ended before."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which is what this is about
        child = os.fork()
    if not child:
        try:
            os.write(writing, _answer(ask).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return data.decode() or "nothing"


def _answer(ask: Callable[[], Coroutine[Any, Any, str]]) -> str:
    async def answer() -> str:
        try:
            async with asyncio.timeout(20):
                return await ask()
        except Exception as error:
            return type(error).__name__

    return asyncio.run(answer())


Use = Callable[[Rig, Receipt], Awaitable[bool]]
"""Uses a receipt; returns whether it was stale."""


async def _ack(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.settle(rig.queue, [Ack(receipt)]))


async def _nack(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.settle(rig.queue, [Nack(receipt)]))


async def _release(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.settle(rig.queue, [Release(receipt)]))


async def _extend(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.extend(rig.queue, [receipt], rig.long))


async def _start(rig: Rig, receipt: Receipt) -> bool:
    return bool(await rig.driver.start(rig.queue, [receipt]))


async def _move(rig: Rig, receipt: Receipt) -> bool:
    if not rig.driver.is_move_atomic(rig.queue, rig.queue):
        return True  # it stores first, whatever the receipt is
    move = Move(receipt, rig.queue, (rig.message(id="moved"),))
    (result,) = await each_result(rig.driver.move(rig.queue, [move]), 1)
    if isinstance(result, GONE):
        raise result
    return isinstance(result, StaleReceiptError)


USES: tuple[Use, ...] = (_ack, _nack, _release, _extend, _start, _move)


class Restoring(Suite):
    """The data of the broker is put back to an earlier state."""

    @case("multi_process")
    async def test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing(self, rig: Rig) -> None:
        other = await rig.another()
        await rig.publish(rig.message(id="first"))
        await rig.ack(*await rig.take(1))
        await rig.suite.save(rig.place)
        await _are_back(rig, other)
        await rig.publish(*(rig.message(id=f"{number}") for number in range(len(USES))))
        held = {each.id: each.receipt for each in await rig.take(len(USES))}
        await rig.suite.restore(rig.place)
        await _are_back(rig, other)
        await rig.publish(*(rig.message(id=f"{number}") for number in range(len(USES))))
        theirs = await rig.take(len(USES), driver=other)
        for number, use in enumerate(USES):
            is_stale = await until_back(lambda: use(rig, held[f"{number}"]))  # noqa: B023
            assert is_stale, f"a receipt from before the data was put back is good: {use.__name__}"
        await rig.nothing()
        stale = await other.settle(rig.queue, [Ack(each.receipt) for each in theirs])
        assert list(stale) == [], "an old receipt has settled what another receiver holds"
        await rig.nothing()

    @case("multi_process")
    async def test_54_an_open_driver_goes_on_after_the_data_was_put_back(self, rig: Rig) -> None:
        kept = await rig.publish(rig.message(id="kept"))
        await rig.suite.save(rig.place)
        await _are_back(rig)
        await rig.publish(rig.message(id="lost"))
        await rig.suite.restore(rig.place)
        await _are_back(rig)
        confirmed = await rig.publish(*rig.messages(20))
        found = await rig.drain(expected=len(kept) + len(confirmed))
        assert found == [*kept, *confirmed]

    @case()
    async def test_55_messages_that_a_failed_step_left_nowhere_are_ready_again(self, rig: Rig) -> None:
        published = set(await rig.publish(*rig.messages(3)))
        await rig.suite.misplace(rig.place, rig.queue)
        found: set[str] = set()
        async with asyncio.timeout(rig.suite.patience * 2):
            while found < published:
                found.update(await rig.drain())


async def _are_back(rig: Rig, *others: Driver) -> None:
    """Wait until the drivers reach the broker again."""
    for driver in (rig.driver, *others):
        await until_back(lambda: driver.depth(rig.queue))  # noqa: B023
