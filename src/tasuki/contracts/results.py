"""The results of a batch, as drivers return them."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.errors import DriverError

Results = Sequence[DriverError | None]
"""One result a message or move: None where it is done, else its error."""


def answer(results: Results) -> Results:
    """The results; none if all are done.

    Raises DriverError when all share their fate: errors of one type with one outcome.
    """
    if not any(results):
        return ()
    first = results[0]
    if first is not None and all(_is_same(each, first) for each in results):
        raise first
    return results


def _is_same(error: DriverError | None, first: DriverError) -> bool:
    return error is not None and type(error) is type(first) and error.outcome == first.outcome
