"""Values for errors, which show no value of a placeholder and nothing that looks like a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.observe.redact import redact
from tasuki.scalars import Substituted

HIDDEN = "the value of a placeholder"
_LONGEST = 60


def describe(value: object) -> str:
    """A value as its author knows it: ``the text 'no'``, ``the number 4``, ``a list``."""
    if isinstance(value, Substituted):
        return HIDDEN
    if isinstance(value, str):
        return f"the text {_short(redact(value))!r}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kinds = ((list, "a list"), (Mapping, "a mapping"))
    return next((said for kind, said in kinds if isinstance(value, kind)), f"an object of type {type(value).__name__}")


def shown(text: str, origin: object) -> str:
    """``text`` in quotes, or that it is hidden: ``origin`` is the value that it was made of."""
    return f"({HIDDEN})" if isinstance(origin, Substituted) else repr(text)


def placeholder_values(value: object) -> Iterator[Substituted]:
    """The values of all placeholders in a value, at any depth."""
    if isinstance(value, Substituted):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from placeholder_values(item)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
