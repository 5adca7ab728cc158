from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.clock import SystemClock
from tasuki.drivers.nats.queues.names import DELAYED, PLAIN, Lane
from tasuki.drivers.nats.receiving.deliveries import Arrival, ReplyParts
from tasuki.drivers.nats.receiving.pull_requests import GRACE, LONGEST, OVERDUE, SLICE, Early, PullRequests, paced

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Server:
    """In the place of a connection: notes what it is sent."""

    def __init__(self) -> None:
        self.address = SimpleNamespace(api="$JS.API")
        self.is_alive, self.is_alone = True, False
        self.requests: list[dict[str, Any]] = []
        self.steps: list[str] = []
        self.sent = asyncio.Event()

    def send(self, frames: bytes) -> None:
        found = [json.loads(line) for line in frames.split(b"\r\n") if line.startswith(b"{")]
        self.requests += found
        self.steps += ["pull"] * len(found)
        self.sent.set()

    def subscribe(self) -> int:
        self.steps.append("subscribe")
        return self.steps.count("subscribe")

    def unsubscribe(self, number: int) -> None:
        self.steps.append(f"unsubscribe {number}")
        self.sent.set()

    def status_inbox(self, subscription: int, token: str) -> str:
        return f"inbox.s.{subscription}.{token}"

    async def exchange(self, requests: Sequence[tuple[str, bytes]], **_: Any) -> None:
        self.steps.append("ask")


class Rig:
    def __init__(self, queues: int = 1) -> None:
        self.server = Server()
        self.returned: list[Arrival] = []
        self.pulls = PullRequests("stream", self.give_back, lambda: queues, Early(SystemClock()))
        self.pulls.use([Lane(PLAIN, 0)])

    async def give_back(self, arrivals: Sequence[Arrival]) -> None:
        self.returned += arrivals

    def take(self, wait: float) -> asyncio.Task[list[Arrival]]:
        return asyncio.create_task(self.pulls.take(self.server, 1, wait))  # type: ignore[arg-type]

    async def waits(self) -> asyncio.Task[list[Arrival]]:
        task = self.take(100.0)
        async with asyncio.timeout(5):
            await self.server.sent.wait()
        return task

    async def seen(self, step: str) -> None:
        async with asyncio.timeout(5):
            while step not in self.server.steps:
                self.server.sent.clear()
                await self.server.sent.wait()


async def quiet(rig: Rig) -> Rig:
    """After a while without a message."""
    await asyncio.sleep(LONGEST)
    return rig


async def ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(("queues", "sign"), [(1, 0.5), (100, 6.0), (450, 27.0), (1_000, None)])
async def test_a_quiet_queue_gets_a_long_request_and_the_server_says_that_it_stands(
    queues: int, sign: float | None
) -> None:
    rig = await quiet(Rig(queues))
    task = await rig.waits()
    (request,) = rig.server.requests
    assert request["expires"] / 1e9 == 60.0
    assert request.get("idle_heartbeat", 0) / 1e9 == (sign or 0.0)
    await ended(task)


async def test_a_long_request_of_which_the_server_says_nothing_is_doubtful_as_soon_as_a_short_one() -> None:
    rig, loop = await quiet(Rig(1)), asyncio.get_running_loop()
    task = await rig.waits()
    for _ in range(20):
        await asyncio.sleep(0.5)
        rig.pulls.ended(PLAIN, "1", "100 Idle Heartbeat")
    assert not task.done()
    began = loop.time()
    assert await task == []
    assert rig.pulls.is_doubtful
    assert loop.time() - began == pytest.approx(SLICE + OVERDUE)


@pytest.mark.parametrize("queues", [1, 20, 200, 700, 1_000])
@pytest.mark.parametrize("pause", [0.05, 0.2, 1.0, 2.5, 5.0, 60.0])
async def test_no_request_stands_in_silence_for_longer_than_signs_are_apart(queues: int, pause: float) -> None:
    """With 200 queues a lost leader was noticed after 25 s: the request was too short for signs."""
    rig = Rig(queues)
    await asyncio.sleep(pause)
    task = await rig.waits()
    (request,) = rig.server.requests
    assert request.get("idle_heartbeat", request["expires"]) / 1e9 <= paced(SLICE, queues)
    await ended(task)


def test_however_many_queues_there_are_a_process_asks_as_often() -> None:
    assert paced(2.0, 1) == 2.0
    assert {round(queues / paced(2.0, queues)) for queues in (100, 1_000, 10_000)} == {17}


async def test_the_next_receive_takes_a_request_over() -> None:
    rig = await quiet(Rig(1_000))
    await ended(await rig.waits())
    task = rig.take(100.0)
    await asyncio.sleep(0)
    rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")
    assert [arrival.receipt for arrival in await task] == ["receipt"]
    assert rig.server.steps == ["subscribe", "pull"]


async def test_a_long_request_that_no_receive_takes_over_is_withdrawn() -> None:
    rig = await quiet(Rig(1_000))
    await ended(await rig.waits())
    await rig.seen("unsubscribe 1")
    task = rig.take(100.0)
    await rig.seen("subscribe")
    await asyncio.sleep(0)
    assert rig.server.steps == ["subscribe", "pull", "unsubscribe 1", "subscribe", "pull"]
    await ended(task)


async def test_a_queue_with_a_message_just_now_gets_a_short_request() -> None:
    rig = await quiet(Rig(1_000))
    task = await rig.waits()
    rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")
    await task
    for pause in 0.0, 3.0, 7.0:
        await asyncio.sleep(pause)
        rig.server.sent.clear()
        await ended(await rig.waits())
        await rig.seen("unsubscribe 1") if pause == 3.0 else rig.pulls.lost()
    expires = [request["expires"] / 1e9 for request in rig.server.requests]
    assert expires == [60.0, 0.5, pytest.approx(24.0, abs=1.0), 60.0]


async def test_a_receive_asks_again_when_the_request_that_it_took_over_ends() -> None:
    rig = Rig(1)
    await ended(await rig.waits())
    task = rig.take(100.0)
    await asyncio.sleep(0)
    rig.server.sent.clear()
    rig.pulls.ended(PLAIN, "1", "408")
    await rig.server.sent.wait()
    assert not task.done(), "its own time is not over"
    rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")
    assert [arrival.receipt for arrival in await task] == ["receipt"]
    assert rig.server.steps == ["subscribe", "pull", "pull"]


async def test_a_lane_whose_request_ends_is_asked_again_while_that_of_another_stands() -> None:
    """Else its next message waits for up to a minute, beside receives that wait."""
    rig = await quiet(Rig(1_000))
    rig.pulls.use([Lane(PLAIN, 9), Lane(DELAYED, 9)])
    task = await rig.waits()
    rig.server.sent.clear()
    rig.pulls.ended(DELAYED, "2", "408")
    async with asyncio.timeout(5):
        await rig.server.sent.wait()
    assert rig.server.steps == ["subscribe", "pull", "pull", "pull"]
    assert not task.done()
    await ended(task)


async def test_a_short_request_is_left_to_its_end() -> None:
    """A message on its way from another server of a cluster would be lost until its lease ends."""
    rig = Rig(1)
    await ended(await rig.waits())
    closing = asyncio.create_task(rig.pulls.close())
    await asyncio.sleep(0)
    rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")
    await closing
    assert [arrival.receipt for arrival in rig.pulls.rest()] == ["receipt"]
    assert rig.server.steps == ["subscribe", "pull"]


async def test_a_close_at_a_server_without_others_waits_for_no_request() -> None:
    rig, loop = Rig(1), asyncio.get_running_loop()
    rig.server.is_alone = True
    await ended(await rig.waits())
    began = loop.time()
    await rig.pulls.close()
    assert loop.time() == began, "a worker stopped 0.5 s later"
    assert rig.server.steps == ["subscribe", "pull", "unsubscribe 1", "ask"]


async def test_a_short_request_without_a_receive_returns_what_comes_for_it() -> None:
    rig = Rig(1)
    await ended(await rig.waits())
    await asyncio.sleep(2 * GRACE)
    assert rig.server.steps == ["subscribe", "pull"]
    rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")
    async with asyncio.timeout(5):
        while not rig.returned:
            await asyncio.sleep(GRACE)
    assert [arrival.receipt for arrival in rig.returned] == ["receipt"]


async def test_a_close_withdraws_a_long_request_and_returns_what_came_for_it() -> None:
    rig = await quiet(Rig(1_000))
    task = await rig.waits()

    async def answer(*_: Any, **__: Any) -> None:
        rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")

    rig.server.exchange = answer  # type: ignore[method-assign]
    await rig.pulls.close()
    left = rig.pulls.rest()
    assert rig.server.steps == ["subscribe", "pull", "unsubscribe 1"]
    assert await task == []
    assert [arrival.receipt for arrival in left] == ["receipt"]


async def test_a_close_right_after_a_long_request_was_withdrawn_returns_what_came_for_it() -> None:
    """As when a worker stops: the message was held until the end of its lease."""
    rig = await quiet(Rig(1_000))
    await ended(await rig.waits())
    await rig.seen("unsubscribe 1")

    async def answer(*_: Any, **__: Any) -> None:
        rig.pulls.arrived("receipt", ReplyParts("stream", PLAIN, 1, 1, 0.0), b"")

    rig.server.exchange = answer  # type: ignore[method-assign]
    await rig.pulls.close()
    assert [arrival.receipt for arrival in rig.pulls.rest()] == ["receipt"]
