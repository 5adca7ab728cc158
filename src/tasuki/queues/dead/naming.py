"""Naming: an id names the oldest letter that has it, an id with a mark one of several; no I/O.

A mark is a hash of the message, so it names the same letter on every broker, and after a receive too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2s

from tasuki.message import LAST_ERROR, LAST_ERROR_TIME, Message

_MARKED = re.compile(r"(.*)~[0-9a-f]{8}", re.DOTALL)
_SHOWN_ONLY = (LAST_ERROR, LAST_ERROR_TIME)
"""Headers that ``peek`` may show in another way than a receive (38)."""


def name_of(message: Message) -> str:
    """The id with the mark, as in ``01989f…~3f2a90c1``."""
    held = sorted((name, value) for name, value in message.headers.items() if name not in _SHOWN_ONLY)
    digest = blake2s(repr(held).encode("utf-8", "replace"), digest_size=4)
    digest.update(message.body)
    return f"{message.id}~{digest.hexdigest()}"


def id_of(name: str) -> str:
    """The id in a name."""
    found = _MARKED.fullmatch(name)
    return name if found is None else found[1]


class Names(Collection[str]):
    """Names of letters, as someone gives them; each means one letter at most."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self.marked = frozenset(id for name in self._names if (id := id_of(name)) != name)
        """The ids of those that have a mark."""
        self.ids = sorted(self._names | self.marked)
        """The ids that their letters may have, for a search."""

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def of(self, message: Message) -> str:
        """The name among them that means a letter; empty: none does."""
        if message.id in self.marked and (name := name_of(message)) in self._names:
            return name
        return message.id if message.id in self._names else ""
