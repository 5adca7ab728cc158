"""Spread: numbers that differ between installations and schedules, and are the same on every worker of one."""

from __future__ import annotations

from hashlib import blake2b

RANDOM = "random"
"""In place of a field of a cron expression: one of its values, which stays the same."""
_RANGES = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
"""Of the five fields: days that every month has."""


def is_spread(cron: str) -> bool:
    """Whether a cron expression has a field that is random."""
    return RANDOM in cron.lower().split()


def spread(cron: str, id: str, salt: str) -> str:
    """The expression with a number in each random field.

    Args:
        cron: the expression; its other fields stay as they are.
        id: of the schedule.
        salt: of the installation.
    """
    fields = cron.split()
    if not is_spread(cron) or len(fields) != len(_RANGES):
        return cron  # the parser refuses it
    return " ".join(
        str(first + int(share(salt, id, f"field {place}") * (last - first + 1))) if field.lower() == RANDOM else field
        for place, (field, (first, last)) in enumerate(zip(fields, _RANGES, strict=True))
    )


def share(salt: str, id: str, what: str) -> float:
    """A number from 0 to just below 1, evenly spread; the same for equal arguments on every worker."""
    number = int.from_bytes(blake2b(f"{salt}:{id}:{what}".encode(), digest_size=6).digest())
    return number / 2**48
