"""Keeping: what a queue's publishers wait for before a message counts as confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import Durability, QueueSpec
from tasuki.errors import BrokerTimeoutError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word


SHARE = 0.8
"""Of the longest wait for an answer: the server answers before the connection is given up."""


def wants_fsync(spec: QueueSpec) -> bool:
    """Whether a message must be on the server's disk."""
    return bool(spec.options.get("wait_fsync"))


def demand(spec: QueueSpec) -> str:
    """As the scripts keep it: 1 or 0 for the disk, and the number of replicas; empty without a demand."""
    fsync, replicas = wants_fsync(spec), spec.options.get("wait_replicas") or 0
    return f"{int(fsync)} {replicas}" if fsync or replicas else ""


def command(fsync: int, replicas: int, timeout: float) -> Sequence[Word]:
    """The command that waits for it, at most ``SHARE`` of this many seconds."""
    milliseconds = int(timeout * SHARE * 1000)
    return ("WAITAOF", fsync, replicas, milliseconds) if fsync else ("WAIT", replicas, milliseconds)


def check(answer: Any, fsync: int, replicas: int, *, driver: str, queue: str) -> None:
    """Raise BrokerTimeoutError if the answer to the command says less; the messages are stored, and may be lost."""
    on_disk, copies = answer if isinstance(answer, list) else (0, answer)
    if on_disk < fsync or copies < replicas:
        lacks = f"{copies} of {replicas} replicas have the messages" if copies < replicas else "its disk is late"
        problem = f"the server of queue {queue!r} has stored the messages, but {lacks}: they are not confirmed"
        raise BrokerTimeoutError(problem, driver=driver, queue=queue, outcome="unknown")


def level(found: Durability, spec: QueueSpec) -> Durability:
    """What a confirmed message survives, by what the server's configuration gives to every queue."""
    return "power" if found == "broker" and wants_fsync(spec) else found
