"""Moments: Unix seconds in the program, ISO 8601 in the JSON that people and other programs read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

import msgspec

FORMAT = "date-time"
"""Of a moment in JSON Schema."""
Moment = Annotated[float, msgspec.Meta(extra_json_schema={"format": FORMAT})]
"""Unix seconds; ``plain`` writes them as a date."""
_YEAR_9999 = 253370764800.0


def iso(at: float) -> str | None:
    """``2026-12-02T09:30:00.250Z``; None for a number that is no time of people."""
    if not 0 <= at < _YEAR_9999:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(value: str | float) -> float:
    """The Unix seconds of a date that ``iso`` has written, or of a number. Raises ValueError."""
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)


@cache
def moments_in(of: type[msgspec.Struct]) -> frozenset[str]:
    """The fields of a struct that are moments."""
    hints = get_type_hints(of, include_extras=True)
    return frozenset(name for name, hint in hints.items() if Moment in (hint, *get_args(hint)))


def plain(value: Any) -> Any:
    """A struct as data for JSON, with its moments as dates."""
    if isinstance(value, msgspec.Struct):
        return _plain(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    found = dict[str, Any]()
    for name, encoded, is_moment, default in _fields(type(value)):
        item = getattr(value, name)
        if type(item) in _SCALARS:
            if item != default:
                found[encoded] = iso(item) if is_moment and item is not None else item
        elif item is not msgspec.UNSET and item != default:
            found[encoded] = plain(item)
    return found


_SCALARS = frozenset({str, int, float, bool, type(None)})


@cache
def _fields(of: type[msgspec.Struct]) -> list[tuple[str, str, bool, Any]]:
    """Of each field its name, its name in JSON, whether it is a moment, and the value that is left out."""
    moments, omits = moments_in(of), of.__struct_config__.omit_defaults
    return [
        (each.name, each.encode_name, each.name in moments, each.default if omits else _NEVER)
        for each in msgspec.structs.fields(of)
    ]


_NEVER = object()


def dated(value: Any, names: Collection[str]) -> Any:
    """Plain data with dates in place of the Unix seconds under these names."""
    if isinstance(value, Mapping):
        return {
            key: iso(item) if key in names and isinstance(item, int | float) else dated(item, names)
            for key, item in value.items()
        }
    return [dated(item, names) for item in value] if isinstance(value, list | tuple) else value
