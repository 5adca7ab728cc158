"""Errors of cron expressions: the field, the mistake, and how to write it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from cronsim import CronSim, CronSimError


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
