"""Questions before an act: what, how many, where."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.desk.acts.acts import Order


def of_many(verb: str, orders: Sequence[Order], what: str) -> str:
    """``Retry message 0197…c41f of app:mail.dead?``, ``Retry 12 messages of app:mail.dead?``."""
    one = orders[0]
    if len(orders) == 1:
        return f"{verb} {what} {one.message} of {one.id}?" if one.message else f"{verb} {what} {one.id}?"
    places = {order.id for order in orders}
    where = f" of {one.id}" if one.message and len(places) == 1 else ""
    return f"{verb} {len(orders):,} {what}s{where}?"
