"""Committed: members of groups whose transactions commit before their ends are recorded.

The commit does not ack such a message: it stays held until its end is recorded, and a row of the same commit, as for
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
        self._claims: dict[Claim, list[Delivery]] = {}
        for each in deliveries:
            if is_member(each.received):  # one may be stored twice, after a publish whose answer was lost
                claim = key or Claim(consumer, _key_of(each.received), _TTL)
                self._claims.setdefault(claim, []).append(each)
        self._members = {each for members in self._claims.values() for each in members}
        self._overwritten: set[Claim] = set()

    def __bool__(self) -> bool:
        return bool(self._members)

    def __contains__(self, delivery: Delivery) -> bool:
        return delivery in self._members

    async def begin(self, connection: Any, codec: Codec, *, is_batch: bool) -> None:
        """Claim their rows.

        Raises:
            AlreadyDone: the work is done. Where a handler gets batches (``is_batch``), also in a transaction of one of
                the messages, those messages are settled, and Snooze brings the others again.
        """
        done: dict[Delivery, Any] = {}
        for claim, members in self._claims.items():
            found = await self._driver.claim_within(connection, claim.consumer, claim.key, claim.ttl)
            if found == _LEFT_OUT:
                self._overwritten.add(claim)
            elif found is not None:
                done |= dict.fromkeys(members, decoded(codec, found))
        if done and not is_batch:
            raise AlreadyDone(next(iter(done.values())))
        for each, result in done.items():
            _conclude(each, result)
        if done:
            raise Snooze(0, "other messages of the batch were done already")

    async def end(self, connection: Any, left_out: Container[Delivery], result: bytes) -> None:
        """Write what the rows are to say: that the work is done, with this result if it is of one message."""
        for claim, members in self._claims.items():
            if all(each in left_out for each in members):
                await self._driver.remember_within(connection, claim.consumer, claim.key, _LEFT_OUT)
            elif result or claim in self._overwritten:
                value = result if len(self._claims) == 1 else b""
                await self._driver.remember_within(connection, claim.consumer, claim.key, value)


def _key_of(received: Received) -> str:
    """Of one member of one publish: two members may have one id, and a group that is begun again the same ones."""
    membership = membership_of(received.headers[GROUP])
    return received.id if membership is None else f"{membership.token} {membership.number} {received.id}"


def _conclude(delivery: Delivery, result: Any) -> None:
    def conclude() -> None:
        delivery.conclude(Verdict("ack", answer=Answer(result)))

    run_in_loop(delivery.holder, conclude)
