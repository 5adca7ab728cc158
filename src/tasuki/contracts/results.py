"""The results of a batch, as drivers return them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tasuki.contracts.values import Merged
from tasuki.errors import DriverError

Results = Sequence[DriverError | None]
"""One result a message or move: None where it is done, else its error."""
Answers = Sequence[DriverError | Merged | None]
"""One result a published message: None where it is stored, Merged where another one has its key, else its error."""

R = TypeVar("R", bound=DriverError | Merged | None)


def answer(results: Sequence[R]) -> Sequence[R]:
    """The results; none if all are done.

    Raises DriverError when all share their fate: errors of one type with one outcome.
    """
    if not any(results):
        return ()
    first = results[0]
    if isinstance(first, DriverError) and all(_is_same(each, first) for each in results):
        raise first
    return results


def _is_same(result: DriverError | Merged | None, first: DriverError) -> bool:
    return type(result) is type(first) and isinstance(result, DriverError) and result.outcome == first.outcome
