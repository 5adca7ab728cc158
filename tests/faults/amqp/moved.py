"""How many messages a broker has moved out of its delay queues, by its own count and its own clock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

from tests.support.brokers.rabbitmq import RabbitMQ

_WATCH = """
Count = fun() ->
    Key = [{queue_type, rabbit_quorum_queue}, {dead_letter_strategy, at_least_once}],
    #{messages_dead_lettered_expired_total := Expired, messages_dead_lettered_confirmed_total := Moved} =
        maps:get(Key, rabbit_global_counters:overview()),
    {os:system_time(millisecond), Expired, Moved} end,
spawn(fun() -> register(watch, self()), (fun Watch(Found) ->
    receive {get, To} -> To ! {found, Found} after 20 ->
        {_, Expired, Moved} = Now = Count(),
        Watch(case Found of [{_, Expired, Moved} | _] -> Found; _ -> [Now | Found] end) end end)([]) end), ok.
"""
_READ = "watch ! {get, self()}, receive {found, Found} -> lists:reverse(Found) end."


class Count(NamedTuple):
    """What the broker has counted at one moment, for all delay queues."""

    time: float
    """Seconds since 1970."""
    expired: int
    """Messages whose time in a delay queue was over."""
    moved: int
    """Messages of which the next queue has confirmed that it has stored them."""


async def watch(broker: RabbitMQ) -> None:
    """Let a process of the broker look every 20 ms, and note each change."""
    await asyncio.to_thread(broker.control, "eval", _WATCH)


async def watched(broker: RabbitMQ) -> Sequence[Count]:
    """What it has noted since."""
    printed = await asyncio.to_thread(broker.control, "eval", _READ)
    found = re.findall(r"\{(\d+),\s*(\d+),\s*(\d+)\}", printed)
    return [Count(int(time) / 1000, int(expired), int(moved)) for time, expired, moved in found]
