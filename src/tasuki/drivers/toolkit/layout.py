"""Which stores this version can work with: the rule of ADR 65, the same for every driver and every state store.

A store is a schema, a file, the keys of a queue, or the streams of a prefix. Each driver has the number of its layout
beside its schema, as ``LAYOUT``; the first is 1. A change of a layout raises that number; the step that brings a store
there from the layout before goes where the driver calls ``require``.
"""

from __future__ import annotations

from tasuki.errors import DriverError


def require(found: int | None, needed: int, *, place: str, instead: str, driver: str) -> None:
    """Refuse a store of another layout, or of none (None).

    ``instead``: the setting that has the driver make its store elsewhere.

    Raises:
        DriverError: it names the found and the needed layout, and the remedy.
    """
    if found != needed:
        has = "no layout" if found is None else f"layout {found}"
        remedy = f"drain it with the version that made it, or set another {instead}"
        raise DriverError(
            f"{place} has {has}, and this version of Tasuki needs layout {needed}: {remedy}", driver=driver
        )
