"""Names at the server: queues ⇄ tokens, streams, subjects; all that a server forbids in them is written otherwise.

A stream is ``<prefix>+<queue>``, its subjects are ``<prefix>.q.<queue>.<lane>``, or ``<prefix>.o.<queue>.<lane>`` while
the queue is declared with order per key: a process which does not know of the order yet cannot publish past it then.
``.`` becomes ``~``, and whatever is not a letter, a digit, ``_`` or ``-`` becomes ``=`` and two hexadecimal digits a
byte.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from tasuki.errors import UnsupportedError

LONGEST = 255
"""Characters in a stream's name."""

_OTHER = re.compile(rb"[^A-Za-z0-9_.-]")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WRITTEN = re.compile(rb"=([0-9A-F]{2})")


def token_of(queue: str) -> str:
    """The queue's name as one part of a subject."""
    plain = _OTHER.sub(lambda found: b"=%02X" % found[0][0], queue.encode())
    return plain.decode().replace(".", "~")


def queue_of(token: str) -> str:
    """The queue's name out of its token."""
    plain = token.replace("~", ".").encode("latin-1")
    return _WRITTEN.sub(lambda found: bytes([int(found[1], 16)]), plain).decode()


class Names:
    """The names of one prefix; raises UnsupportedError for one that the server would read otherwise."""

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise UnsupportedError(f"stream_prefix {prefix[:80]!r}: use letters, digits, '_' and '-', at most 64")
        self.prefix = prefix
        self.records_stream = f"{prefix}+=book"
        """The stream of what the driver itself keeps; no token begins like that."""
        self.record_subjects = f"{prefix}.b.>"
        self.layout = f"{prefix}.b.v"
        """Where the records have the layout of all streams of the prefix."""

    def stream(self, queue: str) -> str:
        """The stream of a queue. Raises UnsupportedError if the name is too long for the server."""
        name = f"{self.prefix}+{token_of(queue)}"
        if len(name) > LONGEST:
            raise UnsupportedError(
                f"queue {queue[:80]!r} has too long a name for NATS: with its prefix {len(name)} characters, at most "
                f"{LONGEST}; give it a shorter queue_name",
                queue=queue,
            )
        return name

    def subject(self, queue: str, lane: str, *, ordered: bool = False) -> str:
        """Where messages of a lane are published; ``>`` for all lanes."""
        return f"{self.prefix}.{'o' if ordered else 'q'}.{token_of(queue)}.{lane}"

    def filter(self, queue: str, lane: str, *, ever_ordered: bool) -> str:
        """What finds all messages of a lane in the queue's stream."""
        return f"{self.prefix}.{'*' if ever_ordered else 'q'}.{token_of(queue)}.{lane}"

    def returned(self, queue: str, epoch: str, sequence: int | str, *rest: int | str) -> str:
        """Where the notes on what became of a message are; ``>`` and ``*`` stand for any."""
        return ".".join(map(str, (self.prefix, "b", "r", token_of(queue), epoch, sequence, *rest)))

    def receiver(self, queue: str, who: str) -> str:
        """Where a process reports that it receives from the queue; ``*`` for all."""
        return f"{self.prefix}.b.c.{token_of(queue)}.{who}"

    def line(self, who: str) -> str:
        """Where a process answers what it holds."""
        return f"{self.prefix}.l.{who}"

    def temporary(self, queue: str) -> str:
        """Where the sign of life of a temporary queue is; ``*`` for all."""
        return f"{self.prefix}.b.t.{queue if queue == '*' else token_of(queue)}"

    def ids_stream(self, queue: str) -> str:
        """The stream of a queue's ids."""
        name = f"{self.prefix}+=ids+{token_of(queue)}"
        return name if len(name) <= LONGEST else f"{self.prefix}+=ids+=hash+{blake2b(queue.encode()).hexdigest()[:64]}"

    def id_subject(self, queue: str, digest: str) -> str:
        """Where an id is noted; ``*`` for all."""
        return f"{self.prefix}.i.{token_of(queue)}.{digest}"

    def store_stream(self, store: str) -> str:
        """The stream of a store."""
        name = f"{self.prefix}+=store+{token_of(store)}"
        return (
            name if len(name) <= LONGEST else f"{self.prefix}+=store+=hash+{blake2b(store.encode()).hexdigest()[:64]}"
        )

    def store_subject(self, part: str) -> str:
        """What the subjects of a store begin with; ``part`` is its name as part of a subject."""
        return f"{self.prefix}.s.{part}"
