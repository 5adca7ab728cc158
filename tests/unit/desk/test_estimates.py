"""The end of a queue whose driver estimates: found whatever the estimate says, in few peeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasuki import App
from tasuki.contracts.driver import Depth, Outgoing
from tasuki.dead import reading
from tasuki.dead.counting import end_of
from tasuki.desk.dead import windows
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.message import Message

pytestmark = pytest.mark.anyio
ONE = Message("1", b"", {})


async def search(count: int, guess: int, known: int = 0) -> tuple[int, int]:
    """The end that is found of a queue with so many messages, and the peeks that it took."""
    peeks = 0

    async def peek(most: int, start: int) -> Sequence[Message]:
        nonlocal peeks
        assert start >= 0
        peeks += 1
        return [ONE] * min(max(count - start, 0), most)

    return await end_of(peek, guess, known), peeks


@given(st.integers(0, 3_000_000), st.integers(0, 3_000_000), st.integers(0, 3_000_000))
@settings(max_examples=200, deadline=None)
async def test_the_end_is_found_whatever_the_estimate_says(count: int, guess: int, known: int) -> None:
    assert (await search(count, guess, known))[0] == count


@pytest.mark.parametrize("guess", [940_000, 999_999, 1_000_000, 1_060_000])
async def test_a_good_estimate_takes_few_peeks(guess: int) -> None:
    assert await search(1_000_000, guess) <= (1_000_000, 10)
    assert await search(1_000_000, guess, known=1_000_000) == (1_000_000, 1)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.1, 3.0])
async def test_letters_are_read_to_the_end_of_a_queue_that_is_estimated(
    share: float, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"x_original_queue": "app:mails", "x_dead_letter_reason": "rejected", "x_last_error": "KeyError: 'a'"}
    for start in range(0, 3000, 500):
        letters = [Outgoing(f"{number:04}", b"{}", dict(about)) for number in range(start, start + 500)]
        assert not any(await app._runtime.queue("dead").forward(letters))
    exactly = MemoryDriver.depth

    async def depth(self: MemoryDriver, queue: str) -> Depth:
        found = await exactly(self, queue)
        return replace(found, ready=round(found.ready * share), is_estimate=True)

    monkeypatch.setattr(MemoryDriver, "depth", depth)
    for module in (reading, windows):
        monkeypatch.setattr(module, "NEWEST", 100)
    newest = [f"{number:04}" for number in range(2900, 3000)]

    found = await app.dead.letters("dead")
    assert [letter.id for letter in found.letters] == newest
    desk = app.desk(is_open=True)
    window = await windows.read_window(desk.site, "app:dead", "", 100, None, lambda _: None)
    assert sorted(item.letter.id for item in window.items) == newest
    assert (window.total, window.is_all) == (3000, False)
    again = await windows.read_window(desk.site, "app:dead", "", 100, window, lambda _: None)
    assert again is window, "nothing has changed: it is not read again"
