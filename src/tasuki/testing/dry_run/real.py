"""The entries of the app's real stores, which the parent process reads: a dry run goes on from them."""

from __future__ import annotations

import asyncio
import os
from itertools import count

import msgspec

from tasuki.contracts.state.store import Entry
from tasuki.testing.dry_run.recorder import Recorder

_LIMIT = 5.0
"""Seconds for one read."""
_MOST = 2**24
"""Bytes of one answer."""


class _Answer(msgspec.Struct):
    id: int
    entries: list[tuple[str, bytes]]
    problem: str = ""


_decode = msgspec.json.Decoder(_Answer).decode


class RealStores:
    """An unreadable entry counts as absent, with a warning. ``answers``: the descriptor from which answers come."""

    def __init__(self, answers: int, recorder: Recorder) -> None:
        self._answers = answers
        self._recorder = recorder
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[_Answer]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def get(self, driver: str, name: str, key: str) -> Entry | None:
        """The entry of a key."""
        found = await self._ask(driver, name, key, verb="get")
        return found[0] if found else None

    async def entries(self, driver: str, name: str, prefix: str) -> list[Entry]:
        """The first entries of a prefix."""
        return await self._ask(driver, name, prefix, verb="list")

    async def _ask(self, driver: str, name: str, key: str, *, verb: str) -> list[Entry]:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="read the real stores")
        id = next(self._numbers)
        self._waiting[id] = answer = asyncio.get_running_loop().create_future()
        self._recorder.ask(id, driver=driver, store=name, verb=verb, key=key)
        try:
            async with asyncio.timeout(_LIMIT):
                found = await answer
        except TimeoutError:
            found = _Answer(id, [], "it does not answer")
        finally:
            del self._waiting[id]
        if found.problem:
            text = f"store {name} of {driver} cannot be read, so the dry run finds nothing in it: {found.problem}"
            self._recorder.tell("warning", text=text)
        return [Entry(key, value, 1) for key, value in found.entries]

    async def _listen(self) -> None:
        lines = asyncio.StreamReader(limit=_MOST)
        file = os.fdopen(self._answers, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), file
        )
        try:
            while line := await lines.readline():
                answer = _decode(line)
                if (waiting := self._waiting.get(answer.id)) is not None and not waiting.done():
                    waiting.set_result(answer)
        finally:
            transport.close()

    async def close(self) -> None:
        """End the task that listens."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
