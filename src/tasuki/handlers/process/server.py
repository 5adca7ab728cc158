"""The child's side: runs inside the process of a handler, and handles the worker's frames.

``python -I -S -c "<BOOTSTRAP>" <descriptor> <parent's id> <site> <paths>`` (see process.py) ends up in ``main``.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import threading
from time import monotonic
from typing import Any, Protocol, runtime_checkable

from tasuki.errors import HandlerError, ResultError
from tasuki.handlers.process.confine import ProcessorTime, leave_with_parent
from tasuki.handlers.process.failure import PlainFailure, failure_of
from tasuki.handlers.process.protocol import (
    ANSWER,
    ASK,
    BOOT,
    CALL,
    CANCEL,
    COST,
    FAILED,
    FORGET,
    HANDLE,
    NOTE,
    PROOF,
    READY,
    RESULT,
    Channel,
    decode,
    encode,
    encode_result,
)
from tasuki.system.signals import keep_from_children

_PROOF_EVERY = 0.02
"""Seconds between two proofs: far less than any limit."""
_UNLIMITED = 2**32 - 1


class ChildSite(Protocol):
    """A kind of handler inside a child process."""

    async def boot(self, server: Server, recipe: Any) -> Any:
        """Confine the process and load the handler; the result is sent to the worker when the child is ready."""

    async def treat(self, asker: Asker, circumstances: Any, value: Any, *, is_call: bool) -> Any:
        """Handle one message (``value`` is its body), or one call (``value`` is the list of arguments)."""

    def failure(self, error: BaseException) -> PlainFailure:
        """The fields of an error that one of the two raised."""


@runtime_checkable
class MainThreadSite(ChildSite, Protocol):
    """A site whose code has the main thread; the server runs in another one."""

    def run(self) -> None:
        """Run forever."""


class Asker:
    """How one call reaches the worker: ``ask`` an operation, ``prove`` that a step has ended."""

    __slots__ = ("_server", "call", "elsewhere", "used")

    def __init__(self, server: Server, call: int) -> None:
        self._server = server
        self.call = call
        self.used = 0.0
        """Seconds of processor time that the call has used here, which each question reports to the worker."""
        self.elsewhere = 0.0
        """Seconds of processor time of the call outside this process, as reported by answers."""

    async def ask(self, operation: str, *args: Any) -> Any:
        """The worker's answer. Raises the error of the operation."""
        return await self._server.ask(self, operation, args)

    def prove(self) -> None:
        """Tell the worker that this process is not stuck in a step that began long ago."""
        self._server.prove()

    def tell_used(self) -> None:
        """Tell it without a question."""
        self._server.cost(self.call, self.used)


class Server:
    """Running calls, each a task, and their requests."""

    def __init__(self, end: socket.socket, site: ChildSite) -> None:
        self._site = site
        self._channel = Channel(end, self._on_frame, _leave, _UNLIMITED)
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._proven = 0.0
        self.processor_time: ProcessorTime | None = None

    def _on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind in (HANDLE, CALL):
            self._tasks[number] = self._loop.create_task(self._treat(kind, number, payload))
        elif kind == ANSWER:
            self._answer(number, payload)
        elif kind == CANCEL and number in self._tasks:
            self._tasks[number].cancel()
        elif kind == BOOT:
            self._tasks[0] = self._loop.create_task(self._boot(payload))

    async def _boot(self, payload: bytes) -> None:
        try:
            told = await self._site.boot(self, decode(payload))
        except BaseException as error:
            self._channel.send(FAILED, 0, encode(self._site.failure(error)))
        else:
            self._channel.send(READY, 0, encode(told))

    async def _treat(self, kind: int, number: int, payload: bytes) -> None:
        try:
            circumstances, value = decode(payload)
            is_call = kind == CALL
            result = await self._site.treat(Asker(self, number), circumstances, value, is_call=is_call)
            answer, data = self._result(result, is_call=is_call)
        except asyncio.CancelledError:
            answer, data = FAILED, encode(PlainFailure("Cancelled", ""))
        except BaseException as error:
            answer, data = FAILED, self._failure(error)
        del self._tasks[number]
        self._channel.send(answer, number, data)
        if self.processor_time is not None:
            self.processor_time.move()

    @staticmethod
    def _result(result: Any, *, is_call: bool) -> tuple[int, bytes]:
        """One that cannot travel is an error of a call; a message has been handled all the same."""
        try:
            return RESULT, encode_result(result)
        except HandlerError as unfit:
            if is_call:
                raise
            return FAILED, encode(failure_of(ResultError(unfit.message, kind="Internal", retryable=False)))

    def _failure(self, error: BaseException) -> bytes:
        try:
            return encode(self._site.failure(error))
        except HandlerError as unfit:  # details that are no plain data
            return encode(failure_of(unfit))

    async def ask(self, asker: Asker, operation: str, args: tuple[Any, ...]) -> Any:
        """See :class:`Asker`."""
        data = encode((asker.call, operation, args, asker.used))
        self._last = ticket = self._last % _UNLIMITED + 1
        future = self._asked[ticket] = self._loop.create_future()
        self._channel.send(ASK, ticket, data)
        self._proven = monotonic()
        try:
            is_done, value, asker.elsewhere = await future
        finally:
            if self._asked.pop(ticket, None) is not None:
                self._channel.send(FORGET, ticket)
        if is_done:
            return value
        raise PlainFailure(*value).error()

    def _answer(self, ticket: int, payload: bytes) -> None:
        future = self._asked.pop(ticket, None)
        if future is not None and not future.done():
            try:
                future.set_result(decode(payload))
            except Exception as error:
                future.set_exception(error)

    def note(self, call: int, record: tuple[Any, ...]) -> None:
        """Send a log record; from any thread."""
        data = encode(record)
        self._loop.call_soon_threadsafe(self._channel.send, NOTE, call, data)

    def prove(self) -> None:
        """See :class:`Asker`."""
        now = monotonic()
        if now - self._proven > _PROOF_EVERY:
            self._proven = now
            self._channel.send(PROOF, 0)

    def cost(self, call: int, seconds: float) -> None:
        """See :class:`Asker`."""
        self._channel.send(COST, call, encode(seconds))


def _leave(_: str = "") -> None:
    """The worker has gone, or wants us no more."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


async def _serve(end: socket.socket, site: ChildSite) -> None:
    server = Server(end, site)  # noqa: F841 - it lives as long as this waits
    await asyncio.get_running_loop().create_future()  # until _leave, or the end of the process


def main(descriptor: int, parent: int, site: str) -> None:
    """Serve the worker at the other end of a descriptor; ``site`` is ``module:class``."""
    leave_with_parent(parent)
    os.set_inheritable(descriptor, False)
    # Ctrl-C and an orderly stop reach the whole group; the worker drains first, and then ends us.
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        signal.signal(number, lambda *_: None)
    keep_from_children(signals)
    module, _, name = site.partition(":")
    made: ChildSite = getattr(importlib.import_module(module), name)()
    end = socket.socket(fileno=descriptor)
    # What the code forks must not keep the way to the worker open: its end is how the worker learns of ours.
    os.register_at_fork(after_in_child=end.close)
    if isinstance(made, MainThreadSite):
        threading.Thread(target=lambda: asyncio.run(_serve(end, made)), name="tasuki-server", daemon=True).start()
        made.run()
    else:
        asyncio.run(_serve(end, made))
