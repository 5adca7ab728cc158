"""Where messages are found by their ids, and between which queues they can be moved in one step."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.clock import SystemClock
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.drivers.redis.transferring import find

pytestmark = pytest.mark.anyio


class Scanned:
    """A session whose scan comes to some messages again, as one does whose table shrinks meanwhile."""

    def __init__(self, *portions: tuple[list[bytes], list[bytes], bytes], size: int = 100) -> None:
        self._portions, self._size = iter(portions), size
        self.asked: list[Any] = []
        """How many messages each portion has at most."""

    async def ask(self, queue: str, script: object, *words: Any) -> Any:
        self.asked.append(words[0])
        return [*next(self._portions), words[0], words[0] * self._size]


async def test_a_message_that_a_scan_meets_twice_is_found_once() -> None:
    session: Any = Scanned(([b"7", b"3"], [b"a", b"b"], b"64"), ([b"7", b"5"], [b"a", b"a"], b"0"))
    assert await find(session, "dead", {"a": inf, "b": inf}) == {"a": [b"5", b"7"], "b": [b"3"]}


async def test_two_transfers_of_one_id_need_two_messages() -> None:
    session: Any = Scanned(([b"7"], [b"a"], b"64"), ([b"7"], [b"a"], b"0"))
    assert await find(session, "dead", {"a": 2}) == {"a": [b"7"]}


@pytest.mark.parametrize(("size", "most"), [(100, 1000), (2**20, 8), (2**24, 1)])
async def test_the_server_reads_a_few_large_messages_at_a_time(size: int, most: int) -> None:
    session: Any = Scanned(([], [], b"64"), ([], [], b"8"), ([], [], b"0"), size=size)
    assert await find(session, "dead", {"a": 1}) == {}
    assert session.asked == [100, most, most]


@pytest.mark.parametrize(("in_cluster", "can"), [(False, True), (True, False)])
def test_the_names_of_queues_say_whether_one_script_reaches_both(
    in_cluster: bool, can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before one of them is declared: an act is asked for before its trash is made."""
    driver = RedisDriver("redis", RedisSettings(), SystemClock())
    monkeypatch.setattr(driver, "_session", SimpleNamespace(is_cluster=in_cluster))
    assert driver.can_transfer("dead", "dead.trash") is can
    assert driver.can_transfer("dead", "dead")
