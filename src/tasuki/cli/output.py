"""What commands print: one JSON document for machines; aligned tables, texts and progress bars for people."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any, TextIO, TypeGuard

import click

from tasuki.observe.plain import cut, escape, escape_json, escape_lines, text_width
from tasuki.units import format_duration

UNKNOWN = "-"

_DAYS = 3 * 86400.0
"""Seconds from which on a distance is given in days."""

_LATEST = 253402300800
"""Unix seconds of the year 10000, which dates do not have."""

_LEAST = 20
"""Columns that a long text, also in the last column of a table, has at least."""


def has_colour(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless the user wants none (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _columns() -> int:
    return shutil.get_terminal_size().columns


def print_json(value: Any) -> None:
    """One JSON document; bytes become base64, other unknown types text."""
    indent = 2 if is_terminal(sys.stdout) else None
    click.echo(escape_json(json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)))


def print_text(text: str) -> None:
    """Print a foreign text: unchanged for another program, without control characters on a terminal."""
    click.echo(escape_lines(text) if is_terminal(sys.stdout) else text)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    import msgspec

    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError):
        return str(value)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns that are as wide as they must be; numbers to the right; the last one is cut at the terminal's width.

    On a terminal that has no room for the last one, each row becomes lines of names and values.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(text_width, column)) for column in zip(headings, *cells, strict=True)]
    if is_terminal(sys.stdout) and sum(widths[:-1]) + 2 * len(widths[:-1]) + min(widths[-1], _LEAST) > _columns():
        for row in cells:
            print_pairs(dict(zip(headings, row, strict=True)))
            click.echo()
        return
    is_number = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(headings))]
    click.echo(click.style(_line(headings, widths, is_number), bold=True), color=has_colour(sys.stdout))
    for row in cells:
        click.echo(_line(row, widths, is_number))


def _cell(value: Any) -> str:
    return UNKNOWN if value is None else escape(str(value))


def _line(cells: Sequence[str], widths: Sequence[int], is_number: Sequence[bool]) -> str:
    parts = [
        f"{' ' * (width - text_width(cell))}{cell}" if number else _padded(cell, width)
        for cell, width, number in zip(cells, widths, is_number, strict=True)
    ]
    line = "  ".join(parts).rstrip()
    return _cut(line, _columns()) if is_terminal(sys.stdout) and text_width(line) > _columns() else line


def _cut(line: str, most: int) -> str:
    width = 0
    for place, letter in enumerate(line):
        width += text_width(letter)
        if width >= most:
            return f"{line[:place]}…"
    return line


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - text_width(cell))


def print_wrapped(word: str, text: str, *, indent: int) -> None:
    """A word, styled or not, and beside it a text that wraps on a terminal."""
    lines = escape_lines(text).splitlines()
    if is_terminal(sys.stdout):
        width = max(_columns() - indent, _LEAST)
        lines = [part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]]
    pad = " " * (indent - len(click.unstyle(word)))
    click.echo(word + pad + ("\n" + " " * indent).join(lines), color=has_colour(sys.stdout))


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    width = max(map(text_width, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{_padded(name, width)}  {_cell(value)}")


def age(seconds: float | None) -> str | None:
    """A duration as people say it: ``3m12s``; below ten seconds with a decimal."""
    if seconds is None:
        return None
    return format_duration(round(max(seconds, 0.0), 1 if seconds < 10 else None))


def is_time(value: object) -> TypeGuard[float]:
    """Whether a value of a message, which any program may have written, is Unix seconds of a date."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST


def moment(at: datetime | float, now: float, zone: tzinfo = UTC) -> str:
    """A time as people read it, with how long until or since: ``2026-12-02 03:00 JST (in 5h43m)``."""
    when = (datetime.fromtimestamp(at, zone) if isinstance(at, int | float) else at.astimezone(zone)).replace(
        microsecond=0
    )
    left = when.timestamp() - now
    distance = format_duration(float(round(abs(left)))) if abs(left) < _DAYS else f"{abs(left) / 86400:.0f}d"
    name = "Z" if zone is UTC else f" {when.tzname()}"
    return f"{when:%Y-%m-%d %H:%M:%S}{name} ({f'in {distance}' if left > 0 else f'{distance} ago'})"


def iso(at: datetime | float) -> str:
    """A time for programs: ISO 8601, in UTC."""
    when = datetime.fromtimestamp(at, UTC) if isinstance(at, int | float) else at.astimezone(UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def count(number: int, noun: str) -> str:
    """``1 message``, ``3 messages``."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """``messages``, ``entries``, ``processes``."""
    return noun[:-1] + "ies" if noun.endswith("ry") else noun + ("es" if noun.endswith("s") else "s")


def preview(body: Any) -> str:
    """A body on one line."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=_plain)
    return escape(cut(text, 2000))


Advance = Callable[..., None]
"""Takes how far it is now, not how much further; and where its end is, if that moves."""


@contextmanager
def bar(length: int, label: str) -> Iterator[Advance]:
    """A bar that ends at ``length``."""
    if not is_terminal(sys.stderr):
        yield lambda done, length=length: None
        return
    with click.progressbar(length=max(length, 1), label=label, file=sys.stderr, color=has_colour(sys.stderr)) as shown:

        def advance(done: int, length: int = length) -> None:
            shown.length = max(length, done, 1)
            shown.update(done - shown.pos)

        yield advance
