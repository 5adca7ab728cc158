"""Cron expressions: five fields or a word such as ``@daily``, read as wall times without a time zone."""

from __future__ import annotations

import copy
import re
from datetime import date, datetime, timedelta
from typing import Any

from cronsim import CronSim, CronSimError

from tasuki.schedules.times.cron_problems import explain_fields, explain_word, never_comes

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
