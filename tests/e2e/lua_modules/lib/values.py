"""Handlers in Python that see the facts that callers add to a call."""

from __future__ import annotations

from typing import Any

from tasuki import Context


def values(context: Context) -> dict[str, Any]:
    return dict(context.delivery.values)


async def around(context: Context) -> Any:
    return await context.call("app:around", values={"python": True})
