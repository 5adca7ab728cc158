"""Questions before an act: what, how many, where."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.dead.rules.batch import KEPT, RATE
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.reading.bodies import line
from tasuki.top.frame import amounts
from tasuki.top.views.view import Key


def of_many(verb: str, orders: Sequence[Order], what: str) -> str:
    """``Retry message 0197…c41f of app:mail.dead?``, ``Retry 12 messages of app:mail.dead?``."""
    one = orders[0]
    if len(orders) == 1:
        return f"{verb} {what} {line(one.message)} of {one.id}?" if one.message else f"{verb} {what} {one.id}?"
    places = {order.id for order in orders}
    where = f" of {one.id}" if one.message and len(places) == 1 else ""
    return f"{verb} {amounts.things(len(orders), what)}{where}?"


def of_letters(key: Key, count: int, queues: Sequence[str], *, is_all: bool = True, kept: bool = True) -> str:
    """``Retry 1,180 letters of app:dead, 100 a second?``.

    ``is_all``: whether these are all of them; ``kept``: whether the driver can bring letters back.
    """
    verb = "Retry" if key.key == "r" else "Delete"
    where = ", ".join(queues)
    pace = "" if count == 1 else f", {RATE:g} a second"
    bound = "" if is_all else "at least "
    is_final = key.key == "D" and (not kept or not is_all or count > KEPT)
    end = " That cannot be undone." if is_final else ""
    return f"{verb} {bound}{amounts.things(count, 'letter')} of {where}{pace}?{end}"


def of_trial(order: Order) -> str:
    """The question before a dry run."""
    return f"Call the handler of message {line(order.message)} in its own process?"


def of_selected(key: Key, dead: str, rows: Sequence[tuple[str, int]]) -> list[Order]:
    """The order for letters of a dead-letter queue, by id and place: a batch, but for the retry of one."""
    if not rows:
        return []
    if key.key == "r" and len(rows) == 1:
        return [Order("redrive", "queue", dead, *rows[0])]
    act = "redrive" if key.key == "r" else "remove"
    return [Order(act, "queue", dead, bulk=Bulk(act, dead, ids=tuple(id for id, _ in rows)))]


def of_one(key: Key, queue: str, id: str, place: int, *, is_dead: bool) -> Order | None:
    """The order to edit a message, or to try it out; only dead letters are edited."""
    if key.does == "edit":
        return Order("edit", "queue", queue, id, place) if is_dead else None
    return Order("dry_run", "queue", queue, id, place)
