"""Supplied: the context of a function that is given something by providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasuki.contracts.handler import Context


class Supplied(Context):
    """The same context, and the objects provided to the function, by their types."""

    __slots__ = ("provided",)

    def __init__(self, context: Context, provided: Mapping[Any, Any]) -> None:
        super().__init__(context.facts, context.settling, context.reach)
        self.provided = provided


def provided(context: Context, type_: Any) -> Any:
    """The object of a type, provided to the function that runs in this context."""
    assert isinstance(context, Supplied)  # the handler runs functions with provided parameters in no other
    return context.provided[type_]
