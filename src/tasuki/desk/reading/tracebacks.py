"""Tracebacks as the desk shows them: the user's frames open, the frames of libraries folded; no I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from tasuki.desk.reading.bodies import lines
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.cause import is_library

_FRAME = re.compile(r'^ *File "([^"]{1,500})", line \d+')


class Part(NamedTuple):
    """Lines that belong together; ``frames``: how many of libraries they are, 0: they are open."""

    text: str
    frames: int = 0


class Attempt(NamedTuple):
    """A failed attempt as its row shows it; texts have no secrets."""

    record: AttemptRecord
    error: str
    """On one line."""
    parts: list[Part]


def attempt_of(record: AttemptRecord) -> Attempt:
    """The row of a record."""
    error = lines(record.message).replace("\n", " ")
    return Attempt(record, error, folded(lines(record.traceback)))


def folded(traceback: str) -> list[Part]:
    """The parts of a traceback."""
    found: list[Part] = []
    for frame in _frames(traceback):
        match = _FRAME.match(frame[0])
        library = int(match is not None and is_library(match[1]))
        text = "\n".join(frame)
        if found and bool(found[-1].frames) == bool(library):
            last = found.pop()
            text, library = f"{last.text}\n{text}", last.frames + library
        found.append(Part(text, library))
    return found


def _frames(traceback: str) -> list[list[str]]:
    """Its lines: each frame with the code below it, and what stands between frames."""
    found: list[list[str]] = []
    is_frame = False
    for line in traceback.splitlines():
        begins = _FRAME.match(line) is not None
        # The code of a frame, and the marks below it, are indented further than the frame.
        if found and not begins and is_frame == line.startswith("    "):
            found[-1].append(line)
            continue
        is_frame = begins
        found.append([line])
    return found
