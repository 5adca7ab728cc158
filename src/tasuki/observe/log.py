"""Logs: text for people or JSON lines for machines, with the message of the running handler, written by a thread."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, Protocol, TextIO

import msgspec

from tasuki.observe.plain import clean, escape, to_plain, to_text
from tasuki.observe.redact import redact
from tasuki.observe.tracebacks import shown_traceback

_OURS = "tasuki"
"""Loggers of this name and below it say themselves what their records are about."""


class Handled(Protocol):
    """The message or the batch of a running handler."""

    ended: bool
    """Whether its handler has returned: what that has left running is about nothing that is known."""

    def log_fields(self) -> dict[str, Any]:
        """The fields of each record about it."""


HANDLED: ContextVar[Handled | None] = ContextVar("tasuki_handled", default=None)
"""What the handler of this context has; its tasks and threads inherit it. None: no handler runs here."""


class LogFields(logging.Filter):
    """Adds ``consumer``, ``queue``, ``message_id``, ``attempt`` and ``trace`` to each record within a handler.

    Give it to a handler of ``logging``, not to a logger, which filters only its own records. Fields that a record has
    already stay. ``tasuki run`` logs with it; add it to a set-up of your own: ``handler.addFilter(LogFields())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; every record passes."""
        handled = HANDLED.get()
        if handled is not None and not handled.ended and record.name.partition(".")[0] != _OURS:
            for name, value in handled.log_fields().items():
                record.__dict__.setdefault(name, value)
        return True


_GATHERED = 0.005
"""Seconds for which lines are gathered: to wake the thread for each would cost the worker more than to write it."""


class Sink:
    """Holds up to ``limit`` lines until the stream takes them; drops further lines, and lines that cannot be written.

    A terminal that is paused, a full pipe or a broken one costs lines, never time. ``dropped`` counts them.
    """

    def __init__(self, stream: TextIO, limit: int = 10_000) -> None:
        self._stream = stream
        self._limit = limit
        self._lines: deque[str] = deque()
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None
        self._is_writing = False
        self._is_closing = False
        self.dropped = 0

    def write(self, line: str) -> None:
        """Take a line, with its line end, or drop it; returns at once."""
        if sys.is_finalizing():  # no thread starts any more, and waiting for one would never end
            self.dropped += self._put([line])
            return
        with self._changed:
            if len(self._lines) >= self._limit:
                self.dropped += 1
                return
            self._lines.append(line)
            if self._writer is None or not self._writer.is_alive():  # also in the child of a fork
                self._is_closing = False
                self._writer = threading.Thread(target=self._work, name="tasuki-log", daemon=True)
                self._writer.start()
            if len(self._lines) == 1:  # else the writer is awake, or comes back for these
                self._changed.notify_all()

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all is written, at most ``timeout`` seconds; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._lines or self._is_writing), timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write all records and end the thread, within ``timeout`` seconds; a later ``write`` starts a new thread."""
        with self._changed:
            writer, self._is_closing = self._writer, True
            self._changed.notify_all()
        if writer is not None:
            writer.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._is_closing)
                if not self._lines:
                    self._writer = None
                    return
                is_closing = self._is_closing
                self._is_writing = True
            if not is_closing:
                time.sleep(_GATHERED)
            with self._changed:
                lines = list(self._lines)
                self._lines.clear()
            lost = self._put(lines)
            with self._changed:
                self._is_writing = False
                self.dropped += lost
                self._changed.notify_all()

    def _put(self, lines: list[str]) -> int:
        """Write, outside of the lock; returns how many lines are lost."""
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # a broken pipe, a full disk, a closed stream, text it cannot encode
            return len(lines)
        return 0


Fields = Mapping[str, Any]


DELIVERY_FIELDS = ("queue", "message_id", "attempt", "consumer", "trace")
"""Fields that every record within a delivery carries, in the order in which they are written."""


MAX_TRACEBACK = 32_768


_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "said"}

_keeps_handlers = False

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure(
    level: int | str = "INFO",
    format: Literal["auto", "text", "json"] = "auto",  # noqa: A002 - the name of the option
    stream: TextIO | None = None,
    *,
    is_level_given: bool = False,
) -> LogHandler:
    """Send the records of all loggers to ``stream`` (stderr); a second call replaces the first.

    ``auto`` is text on a terminal, JSON otherwise. Text is coloured on a terminal, unless ``NO_COLOR`` is set.
    Returns the handler, whose ``dropped`` counts lost lines. Call its ``flush`` before an ``os._exit``.

    After ``keep_handlers`` it adds nothing, and sets no level, where the application's own handlers get the records;
    with ``is_level_given`` it then sets the level of the logger ``tasuki`` alone.
    """
    target = stream or sys.stderr
    is_terminal = target.isatty()
    is_text = is_terminal if format == "auto" else format == "text"
    handler = LogHandler(Sink(target))
    handler.setFormatter(
        TextFormatter(has_colour=is_terminal and not os.environ.get("NO_COLOR")) if is_text else JsonFormatter()
    )
    handler.addFilter(LogFields())
    root = logging.getLogger()
    for old in _own_handlers():
        root.removeHandler(old)
        old.close()
    level = level.upper() if isinstance(level, str) else level
    if not _keeps_handlers:
        root.addHandler(handler)
        root.setLevel(level)
        handler.root_level = root.level
    elif is_level_given or not _has_others():
        logging.getLogger("tasuki").setLevel(level)
    if _keeps_handlers and not _has_others():
        handler.addFilter(_is_left)
        root.addHandler(handler)
    return handler


def keep_handlers() -> None:
    """Leave records to the handlers that the application has given its loggers, as Django's LOGGING does.

    Each record is written once, and the root logger keeps its level, now and at each later ``configure``.
    """
    global _keeps_handlers
    _keeps_handlers = True
    root = logging.getLogger()
    for own in _own_handlers():
        if root.level == own.root_level:
            root.setLevel(logging.WARNING)
        if _has_others():
            root.removeHandler(own)
        else:
            own.addFilter(_is_left)
            logging.getLogger("tasuki").setLevel(own.root_level)


def _own_handlers() -> list[LogHandler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, LogHandler)]


def _has_others() -> bool:
    """Whether another handler gets the records of Tasuki."""
    found = [*logging.getLogger("tasuki").handlers, *logging.getLogger().handlers]
    return any(not isinstance(each, LogHandler) for each in found)


def _is_left(record: logging.LogRecord) -> bool:
    """Whether no other handler gets a record."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if logger.handlers:
            return False
        logger = logger.parent
    return True


class LogHandler(logging.Handler):
    """Formats records in the caller's thread and writes them in the sink's. Never raises, never blocks."""

    root_level = -1
    """The level that ``configure`` has set with it."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._failed = 0

    @property
    def dropped(self) -> int:
        """How many records could not be formatted or written."""
        return self._failed + self._sink.dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Format and hand to the sink."""
        try:
            line = self.format(record)
        except Exception:
            self._failed += 1
            return
        self._sink.write(line + "\n")

    def flush(self) -> None:
        """Wait, at most one second, until all records are written."""
        self._sink.flush()

    def close(self) -> None:
        """Flush and end the writing thread."""
        self._sink.close()
        super().close()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, the fields, ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without line end; only ASCII, so that nothing in it can act on a terminal."""
        line = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(_message(record)),
        }
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        if text := _traceback(record):
            line["error"] = text
        return _to_json(line)


def _to_json(line: dict[str, Any]) -> str:
    try:
        text = msgspec.json.encode(line).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(line)
    return text if text.isascii() else json.dumps(line)


class TextFormatter(logging.Formatter):
    """``12:34:56.789 INFO    app.mail: sent  queue=app:tasks attempt=1``; a traceback follows, indented.

    Fields that a record names in ``said`` stand in its message already, and are left out here.
    """

    def __init__(self, *, has_colour: bool = False) -> None:
        super().__init__()
        self._has_colour = has_colour

    def format(self, record: logging.LogRecord) -> str:
        """The line, without line end; line breaks in the message are escaped."""
        level = f"{record.levelname:<7}"
        if self._has_colour and (colour := _COLOURS.get(record.levelname)):
            level = f"\x1b[{colour}m{level}\x1b[0m"
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{at}.{int(record.msecs):03d} {level} {escape(record.name)}: {escape(clean(_message(record)))}"
        said = getattr(record, "said", ())
        found = {name: value for name, value in _fields(record).items() if name not in said}
        fields = " ".join(f"{escape(name)}={_field(value)}" for name, value in found.items())
        lines = [f"{head}  {fields}" if fields else head]
        lines += [f"    {escape(line)}" for line in _traceback(record).splitlines()]
        return "\n".join(lines)


class DeliveryLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds ``fields()`` to each record: queue, message_id, attempt, consumer and trace, as far as known.

    They are computed only when a record is really written.
    """

    def __init__(self, logger: logging.Logger, fields: Callable[[], Fields]) -> None:
        super().__init__(logger)
        self._fields = fields

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Join the fields with the ``extra`` of the caller, which wins."""
        kwargs["extra"] = {**self._fields(), **(kwargs.get("extra") or {})}
        return msg, kwargs


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        # Wrong arguments, or an object whose text fails: what there is, rather than nothing.
        return f"{to_text(record.msg)} <arguments: {type(error).__name__}>"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given = vars(record)
    names = [name for name in DELIVERY_FIELDS if name in given]
    names += [name for name in given if name not in _OWN and name not in DELIVERY_FIELDS]
    return {name: to_plain(value, name=name) for name in names if (value := given[name]) is not None}


def _field(value: Any) -> str:
    if isinstance(value, str) and value and not any(character in value for character in " ='\""):
        return escape(value)
    return escape(json.dumps(value, ensure_ascii=False))


def _traceback(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        try:
            assert record.exc_info[1] is not None
            parts.append(shown_traceback(record.exc_info[1], MAX_TRACEBACK).rstrip("\n"))
        except Exception as error:
            parts.append(f"{record.exc_info[0].__name__} (its text raises {type(error).__name__})")
    if record.stack_info:
        # The end tells what happened. Twice as much is redacted, since a secret cut in two would not be recognised.
        parts.append(redact(record.stack_info[-2 * MAX_TRACEBACK :]))
    cleaned = "\n".join(parts)
    return cleaned if len(cleaned) <= MAX_TRACEBACK else "…" + cleaned[-MAX_TRACEBACK:]


def _utc(record: logging.LogRecord) -> str:
    return f"{_utc_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(8)
def _utc_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
