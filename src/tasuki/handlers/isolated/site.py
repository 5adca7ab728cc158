"""A Python function in its child process: the part that runs there.

The main thread has the event loop of the function; the way to the worker has its own thread, so that a function
may block its loop and still ask.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tasuki.contracts.handler import Context
from tasuki.contracts.state.job_context import wants_result
from tasuki.handlers.body import make_converter
from tasuki.handlers.isolated.context import child_context
from tasuki.handlers.isolated.target import Circumstances, PythonTarget
from tasuki.handlers.load import load_path
from tasuki.handlers.process.confine import confine_memory
from tasuki.handlers.process.failure import PlainFailure, failure_of, plain_details
from tasuki.handlers.process.server import Asker, Server
from tasuki.handlers.python import PythonHandler
from tasuki.handlers.task import PythonTask
from tasuki.handlers.threads import run_in
from tasuki.message import Message
from tasuki.observe.log import HANDLED, LogFields
from tasuki.observe.trace import CURRENT, trace_of
from tasuki.observe.tracebacks import format_error


def continue_trace(headers: Mapping[str, str]) -> None:
    """Continue a trace in the rest of this task, and in what it begins; without headers, none.

    Where the function uses OpenTelemetry, so do its spans: it has imported it, or there are none.
    """
    CURRENT.set(headers or None)
    if headers and "opentelemetry.trace" in sys.modules:
        from tasuki.tracing.spans import attach, context_of

        if (context := context_of(headers)) is not None:
            attach(context)


_OWN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


class PythonSite:
    """See :class:`tasuki.handlers.process.server.ChildSite`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._handler = PythonHandler("")
        self._decode: Callable[[Any], Any] = lambda value: value
        self._server: Server | None = None

    def run(self) -> None:
        """Be the main thread, forever."""
        if sys.stdout is not None:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def boot(self, server: Server, recipe: Any) -> Any:
        """The recipe is a PythonTarget; the result, for the worker, says whether the function has a body parameter."""
        self._server = server
        target = msgspec.convert(recipe, PythonTarget)
        _forward_all(server, target.level)
        around = None if target.prepare is None else await asyncio.to_thread(load_path(target.prepare))
        kind = PythonTask if target.is_task else PythonHandler
        self._handler = handler = kind(
            target.id,
            import_path=target.import_path,
            source=None if target.source is None else Path(target.source),
            method=target.method,
            threads=target.threads,
            around=around,
        )
        await run_in(self._loop, handler.start())
        codec = _Plain()
        self._decode = handler.decoder(codec)
        if target.memory is not None:
            confine_memory(target.memory, target.threads)
        return codec.was_asked

    async def treat(self, asker: Asker, circumstances: Any, value: Any, *, is_call: bool) -> Any:
        """Run the function in the main thread's loop; without a requester, the result is only whether it is False."""
        assert self._server is not None
        known = msgspec.convert(circumstances, Circumstances)
        logger = logging.Logger(f"tasuki.function.{known.function}", known.level)
        logger.addHandler(_Forward(self._server, asker.call))
        context = child_context(known, asker, asyncio.get_running_loop(), logger)
        continue_trace(known.trace)
        handled = _Known(known)
        HANDLED.set(handled)
        try:
            return await run_in(self._loop, self._run(value, context, is_call=is_call))
        finally:
            handled.ended = True

    async def _run(self, value: Any, context: Context, *, is_call: bool) -> Any:
        if is_call:
            return await self._handler.call(value, context)
        result = await self._handler.handle(self._decode(value), context)
        if wants_result(context):
            return result
        return False if result is False else None

    def failure(self, error: BaseException) -> PlainFailure:
        """The fields of an error."""
        return failure_of(error)


class _Known:
    """What the function runs for, as far as records report it."""

    def __init__(self, known: Circumstances) -> None:
        self.ended = False
        self._known = known

    def log_fields(self) -> dict[str, Any]:
        """As of the message in the worker."""
        known = self._known
        fields: dict[str, Any] = {"consumer": known.consumer, "queue": known.queue}
        if known.message is None:
            return fields
        fields |= {"message_id": known.message[0], "attempt": known.attempt}
        trace = trace_of(Message(*known.message))
        return fields if trace is None else {**fields, "trace": trace}


def _forward_all(server: Server, level: int) -> None:
    root, forward = logging.getLogger(), _Forward(server, 0)
    forward.addFilter(LogFields())
    root.addHandler(forward)
    root.setLevel(level)


class _Plain:
    """A codec for values that are decoded already."""

    name = "plain"

    def __init__(self) -> None:
        self.was_asked = False

    def encode(self, value: Any) -> bytes:
        """Never called."""
        raise NotImplementedError

    def decoder(self, type_: Any = Any) -> Callable[[Any], Any]:
        """A function from a plain value to the type."""
        self.was_asked = True
        return make_converter(type_)


class _Forward(logging.Handler):
    """Gives records to the worker, as part of a call or (0) of none."""

    def __init__(self, server: Server, call: int) -> None:
        super().__init__()
        self._server = server
        self._call = call

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; one that cannot be sent is dropped."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += "\n" + format_error(record.exc_info[1]).rstrip()
            fields = {name: value for name, value in vars(record).items() if name not in _OWN}
            plain = plain_details(fields) or {name: str(value) for name, value in fields.items()}
            self._server.note(self._call, (record.name, record.levelno, text, plain))
        except Exception:
            self.handleError(record)
