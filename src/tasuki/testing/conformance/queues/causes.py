"""Clauses 38, 52, 53 and 60: why waiting messages died: by cause, and each with its last error and due time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasuki.contracts.driver import (
    NACK_ERROR_CHARS,
    Ack,
    Causes,
    Driver,
    Move,
    Nack,
    Outgoing,
    Release,
    Settlement,
    Transfer,
    Unique,
    Waiting,
)
from tasuki.contracts.values import RECENT_PARTS
from tasuki.message import CAUSE, LAST_ERROR, LAST_ERROR_TIME, HeaderValue
from tasuki.testing.conformance.driver.transferring import declare_near
from tasuki.testing.conformance.rig import FAR, Kind, Rig, Suite, case

_A, _B, _C = "aaaaaaaaaaaa", "0123456789ab", "cccccccccccc"


def _letters(rig: Rig, cause: str, *ids: str, delay: float = 0.0) -> list[Outgoing]:
    return [rig.message(b"\x00body", id=id, headers={"n": 1, CAUSE: cause, "é": "ü"}, delay=delay) for id in ids]


def _counts(found: Causes) -> dict[str, int]:
    return {each.cause: each.count for each in found.counts}


async def _shown(rig: Rig, cause: str, *, newest_first: bool = False) -> list[str]:
    found = await rig.driver.peek_cause(rig.queue, cause, 100, newest_first=newest_first)
    return [each.id for each in found]


class CausesOfDeath(Suite):
    """Letters in groups, however many there are."""

    @case("causes")
    async def test_52_causes_are_counted(self, rig: Rig) -> None:
        await rig.publish(*_letters(rig, _A, "a0"), rig.message(id="none"))
        await rig.publish(*_letters(rig, _B, "b0", "b1"))
        await rig.publish(*_letters(rig, _B, "b2"), *_letters(rig, _C, "c0", "c1"))
        found = await rig.driver.causes(rig.queue, 10)
        assert [(each.cause, each.count) for each in found.counts] == [(_B, 3), (_C, 2), (_A, 1)]
        assert (found.rest, found.unmarked, found.marked) == (None, 1, 6)
        for each in found.counts:
            assert 0 < each.first <= each.last
            assert each.recent == (*(0,) * (RECENT_PARTS - 1), each.count)
        newest = found.counts[0].newest
        assert newest is not None
        assert (newest.id, newest.body, newest.headers) == ("b2", b"", {"n": 1, CAUSE: _B, "é": "ü"})
        assert [each.ids for each in found.counts] == [("b2", "b1", "b0"), ("c1", "c0"), ("a0",)]
        depth = await rig.driver.depth(rig.queue)
        assert depth.in_flight == 0, "it takes a message, which comes again when its lease ends"
        assert len(await rig.take(7)) == 7

    @case("causes")
    async def test_52_causes_beyond_the_most_are_one_sum(self, rig: Rig) -> None:
        for number in range(4):
            await rig.publish(*_letters(rig, f"{number:012x}", *(f"{number}{each}" for each in range(number + 1))))
        found = await rig.driver.causes(rig.queue, 2)
        assert _counts(found) == {f"{3:012x}": 4, f"{2:012x}": 3}
        assert found.rest is not None
        assert (found.rest.cause, found.rest.count, found.rest.newest) == ("", 3, None)
        assert 0 < found.rest.first <= found.rest.last
        none = await rig.driver.causes(rig.queue, 0)
        assert (none.counts, none.marked) == ((), 10)
        some = await rig.driver.causes(rig.queue, 1, [f"{1:012x}", _A, "\0", f"{3:012x}"])
        assert (_counts(some), some.marked) == ({f"{3:012x}": 4, f"{1:012x}": 2}, 10)
        assert [some.of(f"{number:012x}") for number in range(4)] == [None, 2, None, 4]
        assert [each.ids for each in some.counts] == [("33", "32", "31"), ("11", "10")]

    @case("causes")
    async def test_52_only_what_tasuki_writes_is_a_cause(self, rig: Rig) -> None:
        odd: Sequence[tuple[str, HeaderValue]] = [
            (CAUSE, "AAAAAAAAAAAA"), (CAUSE, "aaaaaaaaaaa"), (CAUSE, "aaaaaaaaaaaaa"), (CAUSE, ""),
            (CAUSE, 123456789012), (CAUSE, "aaaaaaaaaaaa\n"), (CAUSE, "é" * 6), ('n,"x_cause', _A), ("§" + CAUSE, _A),
            ("x_cause_", _A),
            ("text", f'{{"x_cause":"{_A}"}}'), ("text", f'\\",{CAUSE}'), ("text", f"\u00a7{CAUSE}"),
        ]  # fmt: skip
        await rig.publish(*(rig.message(id=f"{at}", headers={name: value}) for at, (name, value) in enumerate(odd)))
        await rig.publish(rig.message(id="a", headers={"text": f'","x_cause":"{_B}"', "§x_cause": _B, CAUSE: _A}))
        found = await rig.driver.causes(rig.queue, 10)
        assert (_counts(found), found.unmarked) == ({_A: 1}, len(odd))
        assert await _shown(rig, _A) == ["a"]
        for cause in ("AAAAAAAAAAAA", "", "é" * 6, "\0", "\ud800", "%"):
            assert await rig.driver.peek_cause(rig.queue, cause, 10) == []

    @case("causes")
    async def test_52_held_messages_do_not_count(self, rig: Rig) -> None:
        await rig.publish(*_letters(rig, _A, "a0", "a1"), *_letters(rig, _B, "b0"), rig.message(id="none"))
        got = await rig.take(4)
        assert [each.id for each in got] == ["a0", "a1", "b0", "none"]
        found = await rig.driver.causes(rig.queue, 10)
        assert (_counts(found), found.unmarked) == ({}, 0)
        assert await _shown(rig, _A) == []
        await rig.driver.settle(rig.queue, [Nack(got[1].receipt, error="it broke"), Nack(got[3].receipt)])
        found = await rig.driver.causes(rig.queue, 10)
        assert (_counts(found), found.unmarked) == ({_A: 1}, 1)
        assert await _shown(rig, _A) == ["a1"]
        if rig.driver.capabilities.has("keeps_errors"):
            [shown] = await rig.driver.peek_cause(rig.queue, _A, 1)
            newest = found.counts[0].newest
            assert newest is not None
            assert shown.headers[LAST_ERROR] == newest.headers[LAST_ERROR] == "it broke"
        await rig.ack(got[0], got[2])
        assert _counts(await rig.driver.causes(rig.queue, 10)) == {_A: 1}

    @case("causes", "remove", "purge")
    async def test_52_what_leaves_no_longer_counts(self, rig: Rig) -> None:
        await rig.publish(*_letters(rig, _A, "a0", "a1", "a2"), *_letters(rig, _B, "b0"), rig.message(id="none"))
        await rig.ack(await rig.one())
        assert await rig.driver.remove(rig.queue, ["a1", "b0"]) == 2
        assert _counts(await rig.driver.causes(rig.queue, 10)) == {_A: 1}
        await rig.driver.purge(rig.queue)
        found = await rig.driver.causes(rig.queue, 10)
        assert (found.counts, found.rest, found.unmarked) == ((), None, 0)

    @case("causes")
    async def test_52_delayed_messages_count(self, rig: Rig) -> None:
        await rig.publish(*_letters(rig, _A, "a0", delay=FAR), *_letters(rig, _A, "a1"), rig.message(delay=FAR))
        found = await rig.driver.causes(rig.queue, 10)
        assert (_counts(found), found.unmarked) == ({_A: 2}, 1)
        assert await _shown(rig, _A) == ["a0", "a1"]

    @case("causes", "ordering_key")
    async def test_52_messages_behind_their_key_count(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{at}", headers={CAUSE: _A}, key="k") for at in range(3)))
        got = await rig.one()
        assert _counts(await rig.driver.causes(rig.queue, 10)) == {_A: 2}
        assert await _shown(rig, _A, newest_first=True) == ["2", "1"]
        await rig.ack(got)

    @case("causes", "limits")
    async def test_52_messages_in_lanes_count(self, rig: Rig) -> None:
        await rig.declare(fair=1)
        await rig.publish(*(rig.message(id=lane, headers={CAUSE: _A}, lane=lane) for lane in "ab"), rig.message(id="c"))
        found = await rig.driver.causes(rig.queue, 10)
        assert (_counts(found), found.unmarked) == ({_A: 2}, 1)

    @case("causes", "transfer", "find")
    async def test_52_a_message_that_is_stored_anew_counts_where_it_is(self, rig: Rig) -> None:
        await declare_near(rig)
        other = rig.other
        await rig.publish(*_letters(rig, _A, "a0", "a1"))
        got = await rig.one()
        [letter] = _letters(rig, _B, "b0")
        await rig.driver.move(rig.queue, [Move(got.receipt, other, (letter,))])
        [back] = _letters(rig, _A, "a1")
        await rig.driver.transfer(rig.queue, [Transfer("a1", other, back)])
        assert _counts(await rig.driver.causes(rig.queue, 10)) == {}
        assert _counts(await rig.driver.causes(other, 10)) == {_A: 1, _B: 1}

    @case("causes", "unique:pending", "unique:replace")
    async def test_52_a_replaced_message_has_the_cause_of_the_new_one(self, rig: Rig) -> None:
        unique = Unique("k", "pending", "replace")
        of_each: Sequence[dict[str, HeaderValue]] = ({CAUSE: _A}, {CAUSE: _B}, {})
        for id, headers in zip("abc", of_each, strict=True):
            await rig.driver.publish(rig.queue, [Outgoing(id, b"", headers, unique=unique)])
            found = await rig.driver.causes(rig.queue, 10)
            assert (_counts(found), found.unmarked) == (({str(headers[CAUSE]): 1}, 0) if headers else ({}, 1))

    @case("causes")
    async def test_53_letters_of_a_cause_are_shown_in_both_directions(self, rig: Rig) -> None:
        for number in range(6):
            await rig.publish(*_letters(rig, _A, f"a{number}"), *_letters(rig, _B, f"b{number}"))
        assert await _shown(rig, _A) == [f"a{number}" for number in range(6)]
        assert await _shown(rig, _A, newest_first=True) == [f"a{number}" for number in reversed(range(6))]
        pages = [
            [each.id for each in await rig.driver.peek_cause(rig.queue, _B, 2, after, newest_first=way)]
            for way in (False, True)
            for after in (0, 3, 5, 6)
        ]
        assert pages == [["b0", "b1"], ["b3", "b4"], ["b5"], [], ["b5", "b4"], ["b2", "b1"], ["b0"], []]
        [shown] = await rig.driver.peek_cause(rig.queue, _A, 1)
        assert (shown.body, shown.headers) == (b"\x00body", {"n": 1, CAUSE: _A, "é": "ü"})
        assert await rig.driver.peek_cause(rig.queue, _C, 10) == []
        assert [(each.id, each.attempt) for each in await rig.take(2)] == [("a0", 1), ("b0", 1)]

    @case("causes")
    async def test_53_some_among_many(self, rig: Rig) -> None:
        causes = [f"{number % 7:012x}" for number in range(3000)]
        for start in range(0, 3000, 500):
            await rig.publish(
                *(rig.message(id=f"{number}", headers={CAUSE: causes[number]}) for number in range(start, start + 500))
            )
        found = await rig.driver.causes(rig.queue, 3)
        assert found.marked == 3000
        assert sum(_counts(found).values()) == 3 * 429
        page = await rig.driver.peek_cause(rig.queue, f"{5:012x}", 10, 400, newest_first=True)
        expected = [f"{number}" for number in range(2999, -1, -1) if number % 7 == 5][400:410]
        assert [each.id for each in page] == expected


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
        for way, shown in (await _told(rig, due)).items():
            assert shown.keys() == due.keys(), way
            for id, each in shown.items():
                assert max(due[id] - _FAR / 3, 0.0) <= each.delay <= due[id], (way, id, each.delay)

    @case("transfer")
    async def test_60_a_delay_that_is_over_is_none(self, rig: Rig) -> None:
        await rig.publish(rig.message(id="a", delay=rig.long))
        await rig.advance(rig.long + rig.suite.delay_grain)
        assert [each.delay for shown in (await _told(rig, ["a"])).values() for each in shown.values()] == [0.0, 0.0]

    @case("transfer")
    async def test_60_failed_attempts_are_shown(self, rig: Rig) -> None:
        await rig.publish(*(rig.message(id=id, headers={CAUSE: "0123456789ab"}) for id in "abc"))
        await _nack(rig, a="first", b="first")
        await _nack(rig, a="second")
        await rig.reopen()
        for way, shown in (await _told(rig, "abc")).items():
            assert {id: each.failures for id, each in shown.items()} == {"a": 2, "b": 1, "c": 0}, way
        assert {each.id: each.attempt for each in await rig.take(3)} == {"a": 3, "b": 2, "c": 1}

    @case("transfer", "ordering_key")
    async def test_60_delays_and_failures_in_a_queue_with_order_per_key(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(2) for key in "ab"))
        await rig.publish(rig.message(id="a2", key="a", delay=2 * _FAR))
        (first,) = [each for each in await rig.take(2) if each.id == "a0"]
        await rig.driver.settle(rig.queue, [Nack(first.receipt, _FAR)])
        for way, shown in (await _told(rig, ["a0", "a1", "a2", "b1"])).items():
            assert {id: each.failures for id, each in shown.items()} == {"a0": 1, "a1": 0, "a2": 0, "b1": 0}, way
            assert [shown[id].delay > 0 for id in ("a0", "a1", "a2", "b1")] == [True, False, True, False], way


async def _told(rig: Rig, ids: Iterable[str]) -> dict[str, dict[str, Waiting]]:
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
