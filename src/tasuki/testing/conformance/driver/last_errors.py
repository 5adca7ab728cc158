"""Clauses 38 and 60: a waiting message is shown with its last error, its failed attempts, and when it is due."""

from __future__ import annotations

from collections.abc import Iterable

from tasuki.contracts.driver import NACK_ERROR_CHARS, Ack, Driver, Nack, Release, Settlement, Waiting
from tasuki.message import CAUSE, LAST_ERROR, LAST_ERROR_TIME
from tasuki.testing.conformance.rig import Kind, Rig, Suite, case

_FAR = 300.0
"""Seconds: later than the end of a case, which takes less than a third of it."""


class LastErrors(Suite):
    """A nack gives the error, ``peek`` shows it."""

    @case("keeps_errors")
    async def test_38_peek_shows_the_last_error_and_its_time(self, rig: Rig) -> None:
        viewer = await rig.elsewhere()
        await rig.publish(rig.message(id="a", headers={"n": 1}), rig.message(id="b"))
        assert await _errors(viewer, rig) == {"a": None, "b": None}
        await _nack(rig, a="ValueError: first", b="KeyError: other")
        before = await _time(viewer, rig, "a")
        assert abs(before - rig.clock.time()) < 600.0, f"{before} is not in Unix seconds"
        await rig.advance(min(rig.long, 1.0))
        second = "second\n\0🎌 襷 'quoted' " + "ü" * NACK_ERROR_CHARS
        await _nack(rig, a=second[:NACK_ERROR_CHARS])
        assert await _errors(viewer, rig) == {"a": second[:NACK_ERROR_CHARS], "b": "KeyError: other"}
        assert await _time(viewer, rig, "a") > before
        shown = {message.id: message for message in await viewer.peek(rig.queue, 10)}
        assert shown["a"].headers["n"] == 1
        assert shown["a"].body == b"body"

    @case("keeps_errors")
    async def test_38_an_error_stays_until_another_one_is_given(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a"))
        await _nack(rig, a="the cause")
        kinds: tuple[Kind, ...] = (Release, Nack, Release)
        for settlement in kinds:
            got = await rig.one()
            assert got.headers == {}, "a receiver does not see the error"
            assert not await rig.driver.start(rig.queue, [got.receipt])
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
            assert await _errors(rig.driver, rig) == {"a": "the cause"}

    @case("keeps_errors")
    async def test_38_an_error_goes_with_its_message(self, rig: Rig) -> None:
        able = rig.driver.capabilities
        ends = {"ack": True, "remove": able.has("remove"), "purge": able.has("purge"), "delete": True}
        for end in (end for end, is_able in ends.items() if is_able):
            await rig.publish(rig.message(id="a"))
            await _nack(rig, a=end)
            if end == "ack":
                await rig.ack(await rig.one())
            elif end == "remove":
                await rig.driver.remove(rig.queue, ["a"])
            elif end == "purge":
                await rig.driver.purge(rig.queue)
            else:
                await rig.driver.delete(rig.queue)
                await rig.declare()
            await rig.publish(rig.message(id="a"))
            assert await _errors(rig.driver, rig) == {"a": None}
            await rig.drain()

    @case("keeps_errors")
    async def test_38_errors_of_delayed_messages_and_of_a_mixed_batch(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(5))
        acked, late, silent, released, prompt = await rig.take(5)
        batch: list[Settlement] = [
            Ack(acked.receipt),
            Nack(late.receipt, rig.long, "late"),
            Nack(silent.receipt, rig.long),
            Release(released.receipt),
            Nack(prompt.receipt, 0.0, "prompt"),
            Nack("no receipt", 0.0, "stale"),
        ]
        assert list(await rig.driver.settle(rig.queue, batch)) == ["no receipt"]
        expected = {late.id: "late", silent.id: None, released.id: None, prompt.id: "prompt"}
        assert await _errors(rig.driver, rig) == expected
        await rig.reopen()
        assert await _errors(rig.driver, rig) == expected

    @case("keeps_errors", "ordering_key")
    async def test_38_errors_in_a_queue_with_order_per_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(2) for key in "ab"))
        await _nack(rig, a0="first of a", b0="first of b")
        assert await _errors(rig.driver, rig) == {"a0": "first of a", "b0": "first of b", "a1": None, "b1": None}

    @case("transfer")
    async def test_60_each_delay_is_shown(self, rig: Rig) -> None:
        cause = {CAUSE: "0123456789ab"}
        await rig.publish(*(rig.message(id=id, headers=cause) for id in ("nacked", "released", "ready")))
        nacked, released, ready = await rig.take(3)
        batch: list[Settlement] = [
            Nack(nacked.receipt, 2 * _FAR),
            Release(released.receipt, 3 * _FAR),
            Release(ready.receipt),
        ]
        assert list(await rig.driver.settle(rig.queue, batch)) == []
        await rig.publish(rig.message(id="published", delay=4 * _FAR, headers=cause))
        await rig.reopen()
        due = {"nacked": 2 * _FAR, "released": 3 * _FAR, "ready": 0.0, "published": 4 * _FAR}
        for way, shown in (await _shown(rig, due)).items():
            assert shown.keys() == due.keys(), way
            for id, each in shown.items():
                assert max(due[id] - _FAR / 3, 0.0) <= each.delay <= due[id], (way, id, each.delay)

    @case("transfer")
    async def test_60_a_delay_that_is_over_is_none(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a", delay=rig.long))
        await rig.advance(rig.long + rig.suite.delay_grain)
        assert [each.delay for shown in (await _shown(rig, ["a"])).values() for each in shown.values()] == [0.0, 0.0]

    @case("transfer")
    async def test_60_failed_attempts_are_shown(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(id=id, headers={CAUSE: "0123456789ab"}) for id in "abc"))
        await _nack(rig, a="first", b="first")
        await _nack(rig, a="second")
        await rig.reopen()
        for way, shown in (await _shown(rig, "abc")).items():
            assert {id: each.failures for id, each in shown.items()} == {"a": 2, "b": 1, "c": 0}, way
        assert {each.id: each.attempt for each in await rig.take(3)} == {"a": 3, "b": 2, "c": 1}

    @case("transfer", "ordering_key")
    async def test_60_delays_and_failures_in_a_queue_with_order_per_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(2) for key in "ab"))
        await rig.publish(rig.message(id="a2", key="a", delay=2 * _FAR))
        (first,) = [each for each in await rig.take(2) if each.id == "a0"]
        await rig.driver.settle(rig.queue, [Nack(first.receipt, _FAR)])
        for way, shown in (await _shown(rig, ["a0", "a1", "a2", "b1"])).items():
            assert {id: each.failures for id, each in shown.items()} == {"a0": 1, "a1": 0, "a2": 0, "b1": 0}, way
            assert [shown[id].delay > 0 for id in ("a0", "a1", "a2", "b1")] == [True, False, True, False], way


async def _shown(rig: Rig, ids: Iterable[str]) -> dict[str, dict[str, Waiting]]:
    """The waiting messages by their ids, as each verb of the driver shows them."""
    driver, able = rig.driver, rig.driver.capabilities
    found = {"peek": await driver.peek(rig.queue, 10)}
    if able.has("find"):
        found["find"] = await driver.find(rig.queue, list(ids))
    if able.has("causes") and all(CAUSE in each.headers for each in found["peek"]):
        found["peek_cause"] = await driver.peek_cause(rig.queue, "0123456789ab", 10)
    return {way: {each.id: each for each in shown if isinstance(each, Waiting)} for way, shown in found.items()}


async def _nack(rig: Rig, **errors: str) -> None:
    """Receive all that is there; nack the named ones, release the rest."""
    taken = await rig.driver.receive(rig.queue, 10, rig.suite.patience)
    while len(taken) < len(errors):
        taken += await rig.driver.receive(rig.queue, 10, rig.suite.patience)
    batch = [Nack(each.receipt, 0.0, errors[each.id]) if each.id in errors else Release(each.receipt) for each in taken]
    assert list(await rig.driver.settle(rig.queue, batch)) == []


async def _errors(driver: Driver, rig: Rig) -> dict[str, object]:
    return {message.id: message.headers.get(LAST_ERROR) for message in await driver.peek(rig.queue, 10)}


async def _time(driver: Driver, rig: Rig, id: str) -> float:
    (at,) = (message.headers[LAST_ERROR_TIME] for message in await driver.peek(rig.queue, 10) if message.id == id)
    assert isinstance(at, float)
    return at
