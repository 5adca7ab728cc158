"""Publish the lines of a file to a queue, batch by batch, with a result for each line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import click
import msgspec

from tasuki.cli.exits import ERROR, OK, CommandError, exit_code_of
from tasuki.cli.progress import bar
from tasuki.errors import BrokerUnavailableError, TasukiError
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed, PublishResult, Rejected

BATCH = 1000
BATCH_BYTES = 8 * 2**20
OUTCOMES = ("confirmed", "rejected", "unknown")
MAX_PROBLEMS = 1000
"""Most problems that are kept; all are counted."""

ReadLine = Callable[[bytes], Any]


@dataclass(slots=True)
class Report:
    """What became of the lines: how many, and which were not confirmed."""

    confirmed: int = 0
    rejected: int = 0
    unknown: int = 0
    durability: str | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)
    """``line``, ``id``, ``status``, ``error`` of unconfirmed messages, at most ``MAX_PROBLEMS``."""
    stopped_by: TasukiError | None = None
    """The broker went away: the lines from ``next_line`` on were not sent."""
    next_line: int | None = None

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return exit_code_of(self.stopped_by) if self.stopped_by else ERROR if self.problems else OK

    def as_dict(self) -> dict[str, Any]:
        """Its parts for JSON."""
        counts = {name: getattr(self, name) for name in (*OUTCOMES, "durability")}
        return {**counts, "problems": self.problems, "not_sent_from_line": self.next_line}

    def add(self, line: int, result: PublishResult) -> None:
        """Count one result."""
        if isinstance(result, Confirmed):
            self.confirmed += 1
            self.durability = result.durability
        else:
            self.fail(line, "rejected" if isinstance(result, Rejected) else "unknown", str(result.error), result.id)

    def fail(self, line: int, status: str, error: str, id: str = "") -> None:
        """Count a line that was not confirmed."""
        setattr(self, status, getattr(self, status) + 1)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"line": line, "id": id or None, "status": status, "error": error})


async def send_file(queue: Queue, path: str, read_line: ReadLine) -> Report:
    """Publish each line that is not empty, in order; a line that cannot be read is rejected, and the rest goes on.

    Stops where the broker is unavailable: the report says from which line on nothing was sent.
    """
    report = Report()
    with _opened(path) as (file, size), bar(size, "publishing") as advance:
        read = 0
        for batch in _batches(file):
            read += sum(len(line) for _, line in batch)
            await _send(queue, batch, read_line, report)
            advance(read)
            if report.stopped_by:
                report.next_line = batch[-1][0] + 1
                break
    return report


async def _send(queue: Queue, batch: list[tuple[int, bytes]], read_line: ReadLine, report: Report) -> None:
    numbers, items = [], []
    for number, line in batch:
        try:
            items.append(read_line(line.rstrip(b"\r\n")))
            numbers.append(number)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            report.fail(number, "rejected", f"the line cannot be read: {error}")
    for number, result in zip(numbers, await queue.publish_many(items), strict=True):
        report.add(number, result)
        if not isinstance(result, Confirmed) and isinstance(result.error, BrokerUnavailableError):
            report.stopped_by = result.error


@contextmanager
def _opened(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size; 0 if it has none."""
    if path == "-":
        yield sys.stdin.buffer, 0
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise CommandError(f"cannot read {path!r}: {error.strerror or error}") from error
    with file:
        yield file, os.fstat(file.fileno()).st_size


def _batches(file: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, as many at a time as are safe to hold; empty lines are counted and left out."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        batch.append((number, line))
        size += len(line)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_header(text: str) -> tuple[str, bool | int | float | str]:
    """``name=value``; a value that reads as a number, true or false is one, all else is text (``"1"`` too)."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--header")
    try:
        read = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        read = value
    return name, read if isinstance(read, bool | int | float | str) else value
