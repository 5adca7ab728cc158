"""The process of a dry run: started, fed, read, and ended with all its descendants at the limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

_MODULE = "tasuki.testing.dry_run"
MOST_OUTPUT = 64 * 1024
"""Bytes that are kept of each of stdout and stderr, and of one event."""
_MOST_EVENTS = 16 * 2**20
"""Bytes of all events."""
_START = 20.0
"""Seconds that the app may take to load, beside the limit for its handler."""


class Ended(NamedTuple):
    """What a process has told, and how it ended: empty, ``timeout``, or its exit status."""

    events: list[dict[str, Any]]
    output: str
    errors: str
    death: str


Answer = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]
"""Answers what the process asks for."""


async def run_child(order: dict[str, Any], limit: float, answer: Answer) -> Ended:
    """Run a process for an order until it ends, or for this many seconds after it has loaded the app."""
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _MODULE, str(writing),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=(writing,), start_new_session=True, env=_environment(order["path"]),
        )  # fmt: skip
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    assert process.stdin is not None
    async with _ended_always(process), _opened(reading) as told:
        events = _Events(answer, process.stdin)
        readers = [asyncio.create_task(each) for each in (
            events.read(told), _kept(process.stdout), _kept(process.stderr)
        )]  # fmt: skip
        try:
            with contextlib.suppress(ConnectionError):
                data = msgspec.msgpack.encode({**order, "limit": limit})
                process.stdin.write(len(data).to_bytes(4, "big") + data)
                await process.stdin.drain()
            is_late = not await _in_time(process, events, limit)
            if is_late:
                _kill(process)
            code = await process.wait()
            _kill(process)  # its children, which may have its pipes open
            output, errors = [str(each) for each in (await asyncio.gather(*readers))[1:]]
        finally:
            process.stdin.close()
            for reader in (*readers, *events.answering):
                reader.cancel()
    death = "timeout" if is_late else _how(code)
    return Ended(events.found, output, errors, death)


def _environment(path: list[str]) -> dict[str, str]:
    """This process's, with Tasuki where it is found here."""
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([own, *([before] if before else [])]), "PYTHONUNBUFFERED": "1"}


async def _in_time(process: asyncio.subprocess.Process, events: _Events, limit: float) -> bool:
    """Whether it ends by itself: in this many seconds after it has loaded the app."""
    ending = asyncio.create_task(process.wait())
    try:
        loaded = asyncio.create_task(events.loaded.wait())
        await asyncio.wait([ending, loaded], timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        loaded.cancel()
        if not ending.done() and events.loaded.is_set():
            await asyncio.wait([ending], timeout=limit)
        return ending.done()
    finally:
        ending.cancel()


class _Events:
    """The lines of JSON that the process writes."""

    def __init__(self, answer: Answer, back: asyncio.StreamWriter) -> None:
        self.found: list[dict[str, Any]] = []
        self.loaded = asyncio.Event()
        self.answering: set[asyncio.Task[None]] = set()
        self._answer, self._back = answer, back

    async def read(self, lines: asyncio.StreamReader) -> str:
        """Until its end; a line that is none (the code wrote there) is left out."""
        size = 0
        while line := await lines.readline():
            size += len(line)
            if size > _MOST_EVENTS:
                continue
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                self._take(msgspec.json.decode(line, type=dict))
        return ""

    def _take(self, event: dict[str, Any]) -> None:
        do = event.get("do")
        if do == "ask":
            task = asyncio.create_task(self._reply(event))
            self.answering.add(task)
            task.add_done_callback(self.answering.discard)
            return
        self.found.append(event)
        if do in ("loaded", "problem"):
            self.loaded.set()

    async def _reply(self, asked: dict[str, Any]) -> None:
        answer = await self._answer(asked)
        with contextlib.suppress(ConnectionError):
            self._back.write(msgspec.json.encode({"id": asked.get("id"), **answer}) + b"\n")
            await self._back.drain()


async def _kept(stream: asyncio.StreamReader | None) -> str:
    """The beginning of what a stream gives; all of it is read, so that the process never waits."""
    assert stream is not None
    kept = bytearray()
    while data := await stream.read(MOST_OUTPUT):
        kept += data[: MOST_OUTPUT - len(kept)]
    return kept.decode("utf-8", "replace")


@asynccontextmanager
async def _opened(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    """The reading end of a pipe as a stream."""
    stream = asyncio.StreamReader(limit=2 * 2**20)
    file = os.fdopen(descriptor, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), file
    )
    try:
        yield stream
    finally:
        transport.close()


@asynccontextmanager
async def _ended_always(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        _kill(process)
        await asyncio.shield(process.wait())


def _kill(process: asyncio.subprocess.Process) -> None:
    """End it and its descendants: it leads its own group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _how(code: int) -> str:
    if code < 0:
        try:
            return f"its process was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"its process was killed by signal {-code}"
    return f"its process ended with exit status {code}"
