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


def own_group(id: str) -> str:
    """The group of a message without a key: it is alone there."""
    return token(f"id:{id}")


def is_bound_to(is_fifo: bool, key: str | None, group: str | None) -> bool:
    """Whether a message has a place to lose in its group: in a FIFO queue, unless it is alone there."""
    return is_fifo and (key is not None or group is None or not group.startswith("id:"))


def suspects_name(url: str) -> str:
    """The name of the queue for the suspects of the queue at this address; no queue of an application has it."""
    name = url.rpartition("/")[2].removesuffix(FIFO)
    mark = hashlib.sha256(f"suspects of {url.rpartition('/')[2]}".encode()).hexdigest()[:_MARK]
    return f"{name[: LONGEST_NAME - _MARK - 10]}-suspects-{mark}"


def token(text: str) -> str:
    """A text as group or deduplication id: itself where SQS takes it, else its hash."""
    if _TOKEN.fullmatch(text):
        return text
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
