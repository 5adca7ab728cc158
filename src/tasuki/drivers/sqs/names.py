"""Names as SQS allows them: of queues, of message groups, and of ids for deduplication."""

from __future__ import annotations

import hashlib
import re

FIFO = ".fifo"
LONGEST_NAME = 80
LONGEST_TOKEN = 128

_OTHER = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,128}", re.ASCII)
_MARK = 8


def broker_name(queue: str, *, is_fifo: bool) -> str:
    """The name at SQS: letters, digits, ``-`` and ``_``, at most 80, and ``.fifo`` at the end of FIFO queues.

    A name that has to be changed gets a part of its hash, so that two queues never share one.
    """
    plain = queue.removesuffix(FIFO)
    room = LONGEST_NAME - (len(FIFO) if is_fifo else 0)
    name = _OTHER.sub("-", plain)
    if name != plain or not 0 < len(name) <= room:
        mark = hashlib.sha256(plain.encode()).hexdigest()[:_MARK]
        name = f"{name[: room - _MARK - 1]}-{mark}"
    return name + FIFO if is_fifo else name


def token(text: str) -> str:
    """A text as group or deduplication id: itself where SQS takes it, else its hash."""
    if _TOKEN.fullmatch(text):
        return text
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
