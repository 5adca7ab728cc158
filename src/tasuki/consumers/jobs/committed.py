"""Committed: members of groups whose transactions commit before their ends are recorded.

Such a message is not acked by its commit: it stays held until its end is recorded, and a row of the same commit, as for
an idempotency key, says that its work is done. So a kill in between loses nothing of what follows the message, and the
work is not done again (docs/adr/0053).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from tasuki.consumers.delivery import Delivery, run_in_loop
from tasuki.consumers.handling.idempotency import AlreadyDone, Claim, decoded
from tasuki.consumers.settling.verdict import Answer, Verdict
from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Driver, Received
from tasuki.contracts.handler import Snooze
from tasuki.flow.group_records import membership_of
from tasuki.message import GROUP, is_member

_TTL = 7 * 86400.0
"""Seconds for which the row is kept: the longest that a killed worker's message may wait for another one."""
_LEFT_OUT = b"\0tasuki: rolled back\0"
"""In the row of a message that its handler settled otherwise: its work is still to be done."""


class Committed:
    """The members among the messages of one transaction; ``key``: of the only message, whose row says it as well."""

    def __init__(self, driver: Driver, consumer: str, deliveries: Sequence[Delivery], key: Claim | None) -> None:
        self._driver = driver
        members = (each for each in deliveries if is_member(each.received))
        self._claims = {each: key or Claim(consumer, _key_of(each.received), _TTL) for each in members}
        self._overwritten: set[Delivery] = set()

    def __bool__(self) -> bool:
        return bool(self._claims)

    def __contains__(self, delivery: Delivery) -> bool:
        return delivery in self._claims

    async def begin(self, connection: Any, codec: Codec, *, is_batch: bool) -> None:
        """Claim their rows.

        Raises:
            AlreadyDone: the work is done. Of a batch those messages are settled, and Snooze brings the others again.
        """
        done: dict[Delivery, Any] = {}
        for each, claim in self._claims.items():
            found = await self._driver.claim_within(connection, claim.consumer, claim.key, claim.ttl)
            if found == _LEFT_OUT:
                self._overwritten.add(each)
            elif found is not None:
                done[each] = decoded(codec, found)
        if done and not is_batch:
            raise AlreadyDone(next(iter(done.values())))
        for each, result in done.items():
            _conclude(each, result)
        if done:
            raise Snooze(0, "other messages of the batch were done already")

    async def end(self, connection: Any, left_out: Container[Delivery], result: bytes) -> None:
        """Write what the rows are to say: that the work is done, with this result if it is of one message."""
        for each, claim in self._claims.items():
            if each in left_out:
                await self._driver.remember_within(connection, claim.consumer, claim.key, _LEFT_OUT)
            elif result or each in self._overwritten:
                value = result if len(self._claims) == 1 else b""
                await self._driver.remember_within(connection, claim.consumer, claim.key, value)


def _key_of(received: Received) -> str:
    """Of one publish of a message: a group that is begun again after its end may have the same ids."""
    membership = membership_of(received.headers[GROUP])
    return f"{'' if membership is None else membership.token} {received.id}"


def _conclude(delivery: Delivery, result: Any) -> None:
    def conclude() -> None:
        delivery.conclude(Verdict("ack", answer=Answer(result)))

    run_in_loop(delivery.holder, conclude)
