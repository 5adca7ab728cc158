"""Narrow the type of a value: for the checker by its annotation, for the test by an assertion."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value, which is not None."""
    assert value is not None
    return value


def instance(value: object, kind: type[T]) -> T:
    """The value, which is an instance of this class."""
    assert isinstance(value, kind)
    return value
