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

    def __init__(self, *portions: tuple[list[bytes], list[bytes], bytes]) -> None:
        self._portions = iter(portions)

    async def ask(self, queue: str, script: object, *words: object) -> Any:
        return next(self._portions)


async def test_a_message_that_a_scan_meets_twice_is_found_once() -> None:
    session: Any = Scanned(([b"7", b"3"], [b"a", b"b"], b"64"), ([b"7", b"5"], [b"a", b"a"], b"0"))
    assert await find(session, "dead", {"a": inf, "b": inf}) == {"a": [b"5", b"7"], "b": [b"3"]}


async def test_two_transfers_of_one_id_need_two_messages() -> None:
    session: Any = Scanned(([b"7"], [b"a"], b"64"), ([b"7"], [b"a"], b"0"))
    assert await find(session, "dead", {"a": 2}) == {"a": [b"7"]}


@pytest.mark.parametrize(("in_cluster", "can"), [(False, True), (True, False)])
def test_the_names_of_queues_say_whether_one_script_reaches_both(
    in_cluster: bool, can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before one of them is declared: an act is asked for before its trash is made."""
    driver = RedisDriver("redis", RedisSettings(), SystemClock())
    monkeypatch.setattr(driver, "_session", SimpleNamespace(is_cluster=in_cluster))
    assert driver.can_transfer("dead", "dead.trash") is can
    assert driver.can_transfer("dead", "dead")
