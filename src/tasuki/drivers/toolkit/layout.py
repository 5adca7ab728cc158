"""Which stores this version can work with: the rule of ADR 65, the same for every driver and every state store.

A store is a schema, a file, the keys of a queue, or the streams of a prefix. Each driver has the number of its layout
beside its schema, as ``LAYOUT``; the first is 1. A change of a layout raises that number; the step that brings a store
there from the layout before goes where the driver calls ``require``.
"""

from __future__ import annotations

from typing import NamedTuple

from tasuki.errors import DriverError


def require(found: int | None, needed: int, *, place: str, instead: str, driver: str) -> None:
    """Refuse a store of another layout, or of none (None).

    ``instead``: the setting that has the driver make its store elsewhere.

    Raises:
        DriverError: names the found layout, the one that is needed, and the remedy.
    """
    if found != needed:
        has = "no layout" if found is None else f"layout {found}"
        remedy = f"drain it with the version that made it, or set another {instead}"
        raise DriverError(
            f"{place} has {has}, and this version of Tasuki needs layout {needed}: {remedy}", driver=driver
        )


class Layout(NamedTuple):
    """The version of tables or records, and the oldest version whose processes can work with them."""

    version: int
    min_version: int


def is_outdated(found: Layout, ours: Layout, *, place: str, driver: str) -> bool:
    """Whether a stored layout is older than ours, so that it has to be brought up to date.

    A newer one is left as it is: ours works with it.

    Raises:
        DriverError: processes of our version cannot work with it.
    """
    if found.min_version > ours.version:
        problem = (
            f"{place} has layout {found.version}, which needs a Tasuki that knows layout {found.min_version}; "
            f"this one knows {ours.version}: upgrade it"
        )
        raise DriverError(problem, driver=driver)
    return found.version < ours.version
