"""OnFailure: undoes the first steps of an unfinished action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class OnFailure:
    """``with`` calls ``undo`` if the block raises, or is cancelled; ``async with`` awaits it."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[], Any]) -> None:
        self._undo = undo

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._undo()

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self._undo()
