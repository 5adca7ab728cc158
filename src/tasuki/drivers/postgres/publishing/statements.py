"""The statements that store messages, by the number of their columns.

The answer of each: the settings of the connection, the answer of the function, and what it made of one of the settings
for its own commit.
"""

from __future__ import annotations

from tasuki.drivers.postgres.durability import VALUES


def _call(function: str, columns: int, before: int, *, within: int | None = None, more: str = "") -> str:
    """For ``before`` arguments and ``columns``; ``within``: behind which argument comes that it commits itself.

    ``more``: what follows the arguments.
    """
    arguments = [f"${number}" for number in range(1, before + columns + 1)]
    if within is not None:
        arguments.insert(within, "false")
    return f"SELECT {VALUES}, {{}}.{function}({', '.join(arguments)}{more}), current_setting('synchronous_commit')"


_BUSY = ", answers_busy => true"

PUBLISH = {
    7: _call("publish", 7, 1, within=8),
    8: _call("publish", 8, 1, within=8),  # with lanes
    11: _call("publish_unique", 11, 1, within=8, more=_BUSY),
    12: _call("publish_unique", 12, 1, within=8, more=_BUSY),
}
"""Behind the name of the queue."""

TRANSFER = {columns: _call("transfer", columns, 2) for columns in (9, 10)}
"""Behind the names of the queue and of the target."""

MOVE = {columns: _call("move", columns, 2) for columns in (10, 11)}
"""Behind the names of the queue and of the target."""
