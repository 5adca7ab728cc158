"""Which versions of Tasuki can work with what a broker holds: the rule of ADR 16, the same for all drivers."""

from __future__ import annotations

from typing import NamedTuple

from tasuki.errors import DriverError


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
