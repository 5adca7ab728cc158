"""Cron expressions: five fields or a word such as ``@daily``, read as wall times without a time zone; their errors."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from cronsim import CronSim, CronSimError

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Words for whole expressions."""


_EPOCH = datetime(1970, 1, 1)

_SECOND = timedelta(seconds=1)

_DAY = 86400

_FIRST_DAY = _EPOCH.toordinal()

_SINGLE = re.compile(r"(?<![^ ,])(\w+)-\1/0*[1-9]\d*(?![^ ,])")
"""A range of one value with a step: CronSim reads ``5-5/10`` as ``5/10``, Debian's cron as ``5``."""

_SETS_OF_FIELDS = ("minutes", "hours", "days", "months", "weekdays")

_shared_values: dict[tuple[str, str], set[Any]] = {}
"""Attribute of CronSim and text of the field → its values, which never change."""

_LONGEST_TEXT = 256
"""Characters: a text is refused before its lists and ranges are expanded."""


class Cron:
    """A parsed cron expression, with the meaning that Debian's cron gives to each field.

    Its wall times are whole seconds from 1970-01-01 00:00, as a clock on the wall counts them: without a time zone,
    every day has 86,400 of them. Two expressions are equal if their fields are written alike; case and spaces do not
    count.
    """

    __slots__ = ("_parsed", "fields", "is_fixed")

    def __init__(self, text: str) -> None:
        self.fields = _fields(text)
        """The five fields, in capitals: ``0 9 * * MON-FRI``."""
        # CronSim must never get a time zone: with one it stops at some changes of the clock (Pacific/Chatham).
        try:
            self._parsed = CronSim(self.fields, _EPOCH)
        except CronSimError as error:
            raise explain_fields(text, str(error)) from None
        minute, hour, day, _, weekday = written = self.fields.split(" ")
        # A hundred thousand expressions need not hold the same days as often.
        for name, text_of_field in zip(_SETS_OF_FIELDS, written, strict=True):
            values = getattr(self._parsed, name)
            setattr(self._parsed, name, _shared_values.setdefault((name, text_of_field), values))
        self.is_fixed = not (
            minute.startswith("*")
            or hour.startswith("*")
            or len(self._parsed.minutes) == 60
            or len(self._parsed.hours) == 24
        )
        """Whether the job has fixed hours and minutes: neither field begins with ``*`` or names all its values.

        That decides what happens where clocks change; see :mod:`tasuki.schedules.times.wall_time`.
        """
        # CronSim has refused days that no month has. Two rules that a day must keep both may leave none all the same.
        needs_both = self._parsed.day_and and "*" not in (day, weekday)
        if needs_both and self.next_wall(0) is None:
            raise never_comes(text)

    def next_wall(self, after: int) -> int | None:
        """The first wall time later than ``after``; None if there is none within 50 years."""
        return self._step(after, 1)

    def last_wall(self, before: int) -> int | None:
        """The last wall time earlier than ``before``; None if there is none within 50 years."""
        return self._step(before, -1)

    def count(self, start: int, end: int) -> int:
        """How many wall times there are from ``start`` to just before ``end``; looks at days, not at minutes."""
        if start >= end:
            return 0
        first, last = start // _DAY, end // _DAY
        hours, minutes = self._parsed.hours, self._parsed.minutes
        days = sum(self._has_day(day) for day in range(first, last))
        return days * len(hours) * len(minutes) + self._count_before(end) - self._count_before(start)

    def _count_before(self, wall: int) -> int:
        """How many wall times its day has before it."""
        day, second = divmod(wall, _DAY)
        if not self._has_day(day):
            return 0
        hours, minutes = self._parsed.hours, self._parsed.minutes
        whole, rest = sum(hour < second // 3600 for hour in hours), second % 3600
        started = sum(minute * 60 < rest for minute in minutes) if second // 3600 in hours else 0
        return whole * len(minutes) + started

    def _has_day(self, day: int) -> bool:
        """Whether a day, counted from 1970-01-01, has any."""
        on = date.fromordinal(_FIRST_DAY + day)
        return on.month in self._parsed.months and self._parsed.match_day(on)

    def _step(self, wall: int, direction: int) -> int | None:
        run = copy.copy(self._parsed)  # parsing takes several times as long
        run.dt, run.tick_direction = _EPOCH + timedelta(seconds=wall), direction
        found = next(run, None)
        return (found - _EPOCH) // _SECOND if found is not None else None

    def __eq__(self, other: object) -> bool:
        return self.fields == other.fields if isinstance(other, Cron) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"Cron({self.fields!r})"


def _fields(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"a cron of {len(text)} characters is too long; write at most {_LONGEST_TEXT}")
    if text.strip().startswith("@"):
        if (fields := WORDS.get(text.strip().lower())) is None:
            raise explain_word(text, WORDS)
        return fields
    fields = " ".join(text.upper().split())
    if fields.count(" ") != 4:
        raise explain_fields(text, "")
    return _SINGLE.sub(r"\1", fields)


class _Field(NamedTuple):
    name: str
    raised_as: str
    """Its name in the errors of CronSim."""
    first: int
    last: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """The number that a text means, also one out of range; None for any other text."""
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.first
        return int(text) if text.isascii() and text.isdigit() else None

    def spelt(self, number: int, like: str) -> str:
        """The number as a name in the manner of ``like``, where that is one."""
        if like.upper() not in self.names:
            return str(number)
        name = self.names[number - self.first]
        return name.lower() if like.islower() else name


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_FIELDS = (
    _Field("minute", "minute", 0, 59),
    _Field("hour", "hour", 0, 23),
    _Field("day of month", "day-of-month", 1, 31),
    _Field("month", "month", 1, 12, _MONTHS),
    _Field("day of week", "day-of-week", 0, 7, _DAYS),
)

_ORDER = ", ".join(field.name for field in _FIELDS)

_ANY_TIME = datetime(2024, 1, 1)


def explain_word(text: str, words: Iterable[str]) -> ValueError:
    """The error for a word that is none of ``words``."""
    word = text.strip().lower()
    if word.startswith("@every"):
        return ValueError(f"cron {text!r} is an interval; write every: {word.removeprefix('@every').strip() or '30s'}")
    near = difflib.get_close_matches(word, list(words), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"write one of: {', '.join(words)}; or five fields: {_ORDER}"
    return ValueError(f"cron {text!r} is an unknown word; {hint}")


def explain_fields(text: str, raised: str) -> ValueError:
    """The error for an expression that CronSim refused with the text ``raised``."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return _wrong_number(text, len(fields))
    for field, written in zip(_FIELDS, fields, strict=True):
        if raised.endswith(field.raised_as):
            if field.raised_as == "day-of-month" and _is_readable(written):
                return never_comes(text)
            problem, hint = _problem(field, written)
            return ValueError(f"cron {text!r}: {problem} in the field {field.name}; {hint}")
    return ValueError(f"cron {text!r}: {raised}; write five fields: {_ORDER}")


def never_comes(text: str) -> ValueError:
    """The error for an expression whose fields are right and whose date is in no calendar."""
    return ValueError(
        f"cron {text!r} names a date that never comes; choose a day that its months have, or L for the last of a month"
    )


def _wrong_number(text: str, count: int) -> ValueError:
    if count == 0:
        return ValueError(f"the cron is empty; write five fields: {_ORDER}")
    hint = f"write five fields: {_ORDER}"
    if count == 6:
        hint += "; there is none for seconds or years: drop it, and for seconds write every: 30s"
    return ValueError(f"cron {text!r} has {count} field{'s' if count > 1 else ''}, not 5; {hint}")


def _is_readable(days_of_month: str) -> bool:
    try:
        CronSim(f"0 0 {days_of_month} * *", _ANY_TIME)
    except CronSimError:
        return False
    return True


def _problem(field: _Field, written: str) -> tuple[str, str]:
    for term in written.split(","):
        if not term:
            return f"{written!r} has an empty item", "remove the comma that is too many"
        if found := _problem_of_term(field, term):
            return found
    return f"{written!r} cannot be read", _allowed(field)


def _problem_of_term(field: _Field, term: str) -> tuple[str, str] | None:
    if term == "?":
        return "'?' has no meaning", "write *"
    span, slash, step = term.partition("/")
    if slash and not (step.isascii() and step.isdigit() and int(step)):
        return f"{term!r} has no step", f"write the step as a number of 1 or more, such as {span or '*'}/2"
    ends = span.split("-")
    numbers = [field.number(end) for end in ends]
    for end, number in zip(ends, numbers, strict=True):
        if number is not None and not field.first <= number <= field.last:
            return (
                f"{end} is not between {field.first} and {field.last}",
                f"write numbers from {field.first} to {field.last}",
            )
    if len(ends) == 2 and numbers[0] is not None and numbers[1] is not None and numbers[0] > numbers[1]:
        return f"the range {span!r} runs backward", f"write it as two: {_forward(field, ends, numbers[0], numbers[1])}"
    return None


def _forward(field: _Field, ends: list[str], start: int, end: int) -> str:
    """The two ranges that a backward one means: ``fri-mon`` → ``fri-sat,sun-mon``."""
    last = field.first + len(field.names) - 1 if field.names else field.last
    low, high = field.spelt(field.first, ends[0]), field.spelt(last, ends[0])
    return ",".join(
        [ends[0] if start == last else f"{ends[0]}-{high}", low if end == field.first else f"{low}-{ends[1]}"]
    )


def _allowed(field: _Field) -> str:
    named = f" or names from {field.names[0].lower()} to {field.names[-1].lower()}" if field.names else ""
    more = {
        "day of month": ", L (the last day), LW (the last weekday)",
        "day of week": ", 5L (the last Friday), 2#2 (the second Tuesday)",
    }.get(field.name, "")
    numbers = f"numbers from {field.first} to {field.last}{named}"
    return f"write *, random, {numbers}, lists (1,2), ranges (1-5), steps (*/2){more}"
