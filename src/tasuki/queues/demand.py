"""The durability that a queue demands, compared with its broker's present one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tasuki.contracts.driver import DURABILITIES, Driver, Durability
from tasuki.errors import DurabilityError

_log = logging.getLogger("tasuki.queue")


def is_less(given: Durability, demanded: Durability) -> bool:
    """Whether a level survives less than another one."""
    return DURABILITIES.index(given) < DURABILITIES.index(demanded)


@dataclass(slots=True)
class Demand:
    """One queue's demand. The first refusal, and the first acceptance after it, are logged once."""

    queue: str
    driver: Driver
    name: str
    """The queue's name at the broker."""
    level: Durability | None = None
    """The level that a confirmed message needs; None: any."""
    _is_refusing: bool = False

    @property
    def given(self) -> Durability:
        """The level of a message that is confirmed now, as far as the driver knows."""
        return self.driver.durability_of(self.name)

    def refusal(self) -> DurabilityError | None:
        """Why publishing is refused now; None if it is not."""
        if self.level is None or self.driver.problem is not None:
            return None
        given = self.given
        if not is_less(given, self.level):
            if self._is_refusing:
                self._is_refusing = False
                _log.warning("queue %s: the broker gives durability %r again: publishing goes on", self.queue, given)
            return None
        text = (
            f"queue {self.queue!r} demands durability {self.level!r}, and driver {self.driver.name!r} gives {given!r} "
            "as its broker is set up: publishing is refused, consuming goes on; change the broker's settings or the "
            "entry's durability"
        )
        if not self._is_refusing:
            self._is_refusing = True
            _log.error("%s", text, extra={"queue": self.queue})
        return DurabilityError(text, driver=self.driver.name, queue=self.queue)
