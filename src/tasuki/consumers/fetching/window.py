"""Window: how many deliveries a consumer may hold, and so how many to request now."""

from __future__ import annotations

from dataclasses import dataclass

MOST_CONCURRENCY = 1000
"""Most messages that one consumer of a process handles at the same time."""
MAX_PREFETCH = 10000
"""Most messages that it holds."""


def prefetch_for(concurrency: int, prefetch: int, own: int, least: int = 1) -> int:
    """The window of a consumer that handles so many messages at a time, instead of its ``own`` with ``prefetch``.

    It has the same proportion, and room for each worker; ``least``: the size of a batch.
    """
    return max(min(max(-(-prefetch * concurrency // own), least), MAX_PREFETCH), concurrency)


@dataclass(eq=False, slots=True)
class Window:
    """``prefetch`` bounds the held deliveries: buffered, running, and not yet settled at the broker.

    As many more may be ``kept`` because their dead letter or reply cannot be published yet, so that a full or
    unavailable dead-letter queue does not stop the other messages at once.
    """

    prefetch: int
    held: int = 0
    kept: int = 0

    def wanted(self, buffered: int) -> int:
        """How many messages to request; 0: wait.

        While the buffer keeps the workers busy, at least a quarter of the window is requested at once; with an empty
        buffer any room is used.
        """
        room = self.prefetch - self.held + min(self.kept, self.prefetch)
        return room if room > 0 and (buffered == 0 or room * 4 >= self.prefetch) else 0
