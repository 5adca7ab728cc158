"""Owner: an object that holds an App open in place of the app's own open and close, such as a TestApp."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Owner(Protocol):
    """Has opened the app, and alone closes it."""

    name: str
    """For errors: ``a TestApp``."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the app, for a caller without an event loop, and wait for its result."""
