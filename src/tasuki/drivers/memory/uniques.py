"""Uniques: which message has each key of a queue, derived from the message itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from tasuki.contracts.driver import Unique
from tasuki.drivers.memory.slots import Slot

_CHECKED = 3
"""Old pins that each publish of a unique message checks, to forget those that mean nothing any more."""


class Pin(msgspec.Struct, gc=False):
    """The message that was stored last for a key; ``until``: the end of its window, in monotonic seconds."""

    slot: Slot
    until: float = 0.0
    is_gone: bool = False


class Uniques:
    """The pins of one queue by key. A pin is no lock: it counts only while its message is where the span says."""

    def __init__(self) -> None:
        self._pins: OrderedDict[str, Pin] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._pins)

    def holder(self, unique: Unique, now: float) -> Slot | None:
        """The message that has the key for this span; None: the key is free."""
        pin = self._pins.get(unique.key)
        if pin is None:
            return None
        if isinstance(unique.span, str):
            has = not pin.is_gone and (unique.span == "running" or not pin.slot.receipt)
        else:
            has = pin.until > now
        return pin.slot if has else None

    def is_waiting(self, unique: Unique) -> bool:
        """Whether the message of the key is in the queue, and no receiver holds it."""
        pin = self._pins[unique.key]
        return not pin.is_gone and not pin.slot.receipt

    def pin(self, unique: Unique, slot: Slot, now: float) -> None:
        """Give the key to a message that was stored."""
        slot.unique = unique.key
        self._pins[unique.key] = Pin(slot, 0.0 if isinstance(unique.span, str) else now + unique.span)
        self._pins.move_to_end(unique.key)
        for _ in range(_CHECKED):
            key, oldest = next(iter(self._pins.items()))
            if oldest.is_gone and oldest.until <= now:
                del self._pins[key]
            else:
                self._pins.move_to_end(key)

    def done(self, slot: Slot) -> None:
        """The message is not in the queue any more."""
        if slot.unique is not None and (pin := self._pins.get(slot.unique)) is not None and pin.slot is slot:
            if pin.until:
                pin.is_gone, slot.body = True, b""
            else:
                del self._pins[slot.unique]

    def keep_only(self, left: Iterable[Slot]) -> None:
        """The queue holds these messages, and no others."""
        numbers = {slot.number for slot in left}
        for pin in [*self._pins.values()]:
            if not pin.is_gone and pin.slot.number not in numbers:
                self.done(pin.slot)
