"""Recorder: writes down what a dry run would have done, event by event; its lines outlive the process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from tasuki.observe.plain import clean, to_plain

MOST = 1_000
"""Events of one run; later ones are only counted."""
_TEXT = 4_000
"""Most characters of one text."""
_OWN = "tasuki"
_FUNCTIONS = "tasuki.function"


class Recorder:
    """Events as lines of JSON, from any thread. ``write`` gets each line whole."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self.count = 0
        self.is_settled = False
        """Whether the end of the message is written down."""
        self.is_on = True
        """Whether events are written down; off while the app itself starts and ends."""

    def add(self, do: str, **facts: Any) -> None:
        """Write down one event: ``do`` says what, in one word."""
        if self.is_on:
            self.tell(do, **facts)

    def ask(self, id: int, **facts: str) -> None:
        """Ask the parent process for entries of a store."""
        line = msgspec.json.encode({"do": "ask", "id": id, **facts}) + b"\n"
        with self._lock:
            self._write(line)

    def tell(self, do: str, **facts: Any) -> None:
        """The same, whether or not it is on."""
        plain = {name: shown(value) for name, value in facts.items()}
        line = msgspec.json.encode({"do": do, **plain}) + b"\n"
        with self._lock:
            self.count += 1
            if self.count <= MOST or do in ("outcome", "problem"):
                self._write(line)


def shown(value: Any) -> Any:
    """A value as plain data without secrets, cut."""
    if isinstance(value, str):
        return clean(value, _TEXT)
    if isinstance(value, dict):
        return {str(name): to_plain(each, name=str(name)) for name, each in value.items()}
    return value if isinstance(value, bool | int | float | None) else to_plain(value)


class Logs(logging.Handler):
    """Records of the user's code; Tasuki's own say nothing that the outcome does not."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.INFO)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """Write down one record."""
        name = record.name
        if name.split(".")[0] == _OWN and not name.startswith(_FUNCTIONS):
            return
        try:
            text = self.format(record)
        except Exception as error:  # its arguments do not fit
            text = f"{record.msg!r} ({error})"
        self._recorder.add("log", level=record.levelname.lower(), logger=name, text=text)


def to_descriptor(number: int) -> Callable[[bytes], object]:
    """Write whole lines to a descriptor."""

    def write(line: bytes) -> None:
        while line:
            line = line[os.write(number, line) :]

    return write
