"""Removing: what purges and deletes a queue with all its parts, its delayed messages too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pamqp import commands

from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError
from tasuki.drivers.amqp.publishing import delay_removal
from tasuki.drivers.amqp.receiving.subscription import Subscription
from tasuki.drivers.amqp.topology.queue_arguments import Lane, active_queue_name
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.amqp.session import Session


async def purge(session: Session, queue: str, lanes: Sequence[Lane]) -> int:
    """Remove all messages that no process holds; returns how many. Raises ClosedError or LateError.

    First from the delay queues, last the messages pushed here: in the order in which messages travel.
    """
    async with session.turn(queue):
        connection = await session.link.get()
        removed = await delay_removal.remove(connection, queue, {lane.name for lane in lanes}, session.sweeping)
        session.publishing.forget(queue)
        async with connection.borrow() as channel:
            answers = await channel.ask(*(commands.Queue.Purge(queue=lane.name) for lane in lanes))
        removed += sum(int(answer.message_count) for answer in answers)
        if (subscription := session.live(queue)) is not None:
            removed += await _empty(subscription)
        return removed


async def _empty(subscription: Subscription) -> int:
    """Remove messages pushed here and not delivered, and resting ones; they stay here if that fails."""
    unused, resting = await subscription.take_waiting()

    def undo() -> None:
        if subscription.ended is None:
            for delivery in unused:
                subscription.put_back(delivery)
            for delivery in resting:
                subscription.rest_again(delivery)

    with OnFailure(undo):
        await subscription.settle([delivery.tag for delivery in (*unused, *resting)], ())
    return sum(not delivery.is_moved for delivery in (*unused, *resting))  # of those the copy was counted


async def delete(session: Session, queue: str, lanes: Sequence[Lane], *, is_swept: bool) -> None:
    """Delete its queues at the broker, and end what runs on them here. Raises ClosedError or LateError."""
    async with session.turn(queue):
        subscription = session.subscriptions.pop(queue, None)
        if subscription is not None:
            await subscription.close(ClosedError(NOT_FOUND, "it was deleted"))
        if (turn := session.active_turns.pop(queue, None)) is not None:
            await turn.give_up()
        connection = await session.link.get()
        if is_swept:
            await delay_removal.remove(connection, queue, {lane.name for lane in lanes}, session.sweeping)
        names = [*(lane.name for lane in lanes), active_queue_name(queue)]
        async with connection.borrow() as channel:
            await channel.ask(*(commands.Queue.Delete(queue=name) for name in names))
        session.publishing.forget(queue)
