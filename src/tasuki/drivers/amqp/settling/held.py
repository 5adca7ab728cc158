"""Held: delivered messages that are not settled yet, and the keys that wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp.receiving.inbox import Delivery

_receipts = count(1)


class Held(dict[int, Delivery]):
    """The deliveries of one subscription by receipt, and beside them those that are being settled."""

    def __init__(self) -> None:
        super().__init__()
        self._settling: set[Delivery] = set()

    @property
    def is_in_use(self) -> bool:
        """Whether deliveries are held, or are being settled."""
        return bool(self or self._settling)

    @property
    def unsettled(self) -> int:
        """How many there are of both."""
        return len(self) + len(self._settling)

    def hand_out(self, deliveries: Iterable[Delivery]) -> list[Received]:
        """They are held from now on, each with its own receipt."""
        return [self._hand_out(delivery) for delivery in deliveries]

    def _hand_out(self, delivery: Delivery) -> Received:
        receipt = next(_receipts)
        self[receipt] = delivery
        old = delivery.received
        return Received(old.id, old.body, dict(old.headers), receipt, old.attempt, old.suspect)

    def take(self, receipt: object) -> Delivery | None:
        """The delivery of a receipt, which is not held any more."""
        return self.pop(receipt, None) if isinstance(receipt, int) else None

    def take_where(self, is_wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Some, which are not held any more."""
        found = [receipt for receipt, delivery in self.items() if is_wanted(delivery)]
        return [self.pop(receipt) for receipt in found]

    @contextmanager
    def settling(self, deliveries: Sequence[Delivery]) -> Iterator[None]:
        """They are not held any more, and no other message of their keys may be handed out yet."""
        self._settling.update(deliveries)
        try:
            yield
        finally:
            self._settling.difference_update(deliveries)

    def busy_keys(self) -> set[str]:
        """Keys of which a delivery is held or is being settled."""
        return {
            delivery.key for each in (self.values(), self._settling) for delivery in each if delivery.key is not None
        }
