"""Records of groups: the members, the finished ones, and the messages that follow; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tasuki.errors import PublishError
from tasuki.handlers.body import to_plain
from tasuki.message import HeaderValue
from tasuki.state.records import part_of

GROUPS = "group/"
"""Prefix of the keys: one for each group, by its id, and below it one for each shard."""
MEMBERS = "member/"
"""Prefix of the keys of members whose ids do not say to which group they belong."""
SHARD = 64
"""Members of one shard."""
GROUP_TTL = 30 * 86400.0
"""Seconds for which a group may take, since its last member ended, or is to go on."""
_SLACK = 86400.0
"""Seconds by which a group is kept less, to save writes."""
MAX_RESULT = 64 * 1024
"""Bytes of the result of one member."""
_TOGETHER = 64 * 1024
"""Bytes of the results that are in the record of their shard; each other one is under its own key."""
_PACKED = 4
"""How many times as long a value may be in MessagePack as in the codec of a queue: at most 9 bytes for 3."""
MAX_MEMBERS = 64_000
MAX_ID = 180
"""Characters of a group's id."""
CANCELED = {"kind": "Canceled", "message": "the message was cancelled", "retryable": False}
"""The error of a member that was cancelled before it started."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that is published later."""

    queue: str
    """Id of its queue."""
    body: Any = None
    """Plain data."""
    headers: dict[str, HeaderValue] = {}
    options: dict[str, Any] = {}
    """Of its envelope, as plain data; durations in seconds."""
    fill: str | None = None
    """Where the result goes that it is published for: ``""``: the whole body; else this item; None: nowhere."""
    then: Plan | None = None
    on_error: Plan | None = None

    def body_with(self, value: Any) -> Any:
        """Its body with the result."""
        if self.fill is None:
            return self.body
        return value if self.fill == "" else {**(self.body or {}), self.fill: value}


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of a group, numbered from 0, and the messages that follow it."""

    total: int
    token: str
    """Of this group, and of no other one that has its id."""
    then: Plan | None = None
    on_error: Plan | None = None
    is_one: bool = False
    """It is one message, whose result is given to ``then`` as it is; else it is a list of them."""
    ender: int = -1
    """The member that publishes ``then``; -1: none yet."""
    failed_member: int = -1
    """The member that publishes ``on_error``; -1: none yet."""
    is_failure_told: bool = False
    until: float = 0.0
    """Unix time until which it is kept."""
    room: int = 0
    """Bytes of a body that the queue of ``then`` takes; 0: it is given no results."""

    def lasts(self, now: float) -> float:
        """Seconds for which its records are kept when they are written now."""
        return max(self.until - now, GROUP_TTL)

    def is_kept_until(self, until: float) -> bool:
        """Whether it is kept long enough, but for a day."""
        return self.until >= until - _SLACK

    @property
    def needs_results(self) -> bool:
        """Whether ``then`` is given the results."""
        return self.then is not None and self.then.fill is not None

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.total // SHARD)

    def full(self, shard: int) -> int:
        """The bits of a shard whose members are all done."""
        return (1 << min(SHARD, self.total - shard * SHARD)) - 1


class Shard(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some members of a group; their bits, and the results of done ones by number."""

    done: int = 0
    results: dict[int, msgspec.Raw] = {}
    problem: str = ""
    """Why a result is missing."""
    apart: int = 0
    """Members whose results are under their own keys."""
    size: int = 0
    """Bytes of all results."""
    cancelled: int = 0
    """Members that were given up because they were cancelled: what a worker reports of one later does not count."""


class Membership(NamedTuple):
    """The group of a message, from its header."""

    home: str
    """Id of the queue whose state has the record."""
    number: int
    group: str
    token: str = ""
    """Of the call that has published it; empty: an earlier version of Tasuki did."""

    def __str__(self) -> str:
        """The header."""
        return f"{self.home} {self.number}+{self.token} {self.group}"


class Ended(NamedTuple):
    """The end of a member; ``error`` is None if it is done, else plain data about the failure."""

    result: Any = None
    error: dict[str, Any] | None = None
    problem: str = ""
    """Why there is no result, although it is done."""
    is_kept: bool = False
    """The error is CANCELED and is recorded, so that a worker that has the message cannot end it as done."""


_encoder = msgspec.msgpack.Encoder(enc_hook=to_plain)
_groups, _shards = msgspec.msgpack.Decoder(Group), msgspec.msgpack.Decoder(Shard)
_values = msgspec.msgpack.Decoder()
encode = _encoder.encode
decode_group, decode_shard, value_of = _groups.decode, _shards.decode, _values.decode


def member_key(queue: str, id: str) -> str:
    """Where it says to which group a message belongs whose publisher has given it an id; by the id of its queue."""
    return f"{MEMBERS}{queue}/{part_of(id)}"


def membership_of(header: object) -> Membership | None:
    """What a header says; None: Tasuki has not written it."""
    home, _, rest = str(header).partition(" ")
    number, _, group = rest.partition(" ")
    number, _, token = number.partition("+")
    return Membership(home, int(number), group, token) if number.isdecimal() and number.isascii() and group else None


def group_key(id: str) -> str:
    """The key of a group."""
    return f"{GROUPS}{part_of(id)}"


def shard_key(id: str, token: str, shard: int) -> str:
    """The key of a shard, which no later group of the same id has."""
    return f"{GROUPS}{part_of(id)}/{token}/{shard}"


def result_key(id: str, token: str, number: int) -> str:
    """The key of a result that is not in the record of its shard."""
    return f"{GROUPS}{part_of(id)}/{token}/r/{number}"


def apart_in(shard: Shard, index: int) -> list[int]:
    """The members of the shard of this number whose results are under their own keys."""
    return [index * SHARD + place for place in range(SHARD) if shard.apart & 1 << place]


def with_done(shard: Shard, number: int, ended: Ended, *, needs_result: bool, room: int = 0) -> Shard:
    """The shard after a member is done. Its first result counts, unless it was cancelled before.

    Where its bit is in ``apart`` then, its result is to be written first. ``room``: as of its group.
    """
    bit = 1 << number % SHARD
    if (shard.done | shard.cancelled) & bit:
        return shard
    done, problem = shard.done | bit, shard.problem or ended.problem
    if not needs_result or ended.problem:
        return msgspec.structs.replace(shard, done=done, problem=problem)
    try:
        value = msgspec.Raw(encode(ended.result))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        problem = problem or f"the result of member {number} cannot be kept: {error}"
        return msgspec.structs.replace(shard, done=done, problem=problem)
    size = len(bytes(value))
    if size > MAX_RESULT:
        text = f"the result of member {number} has {size} bytes, and may have {MAX_RESULT}: {_ADVICE}"
        return msgspec.structs.replace(shard, done=done, problem=problem or text)
    total = shard.size + size
    if room and total > _PACKED * room:
        problem = problem or _too_large(total, room)
    if sum(len(bytes(each)) for each in shard.results.values()) + size > _TOGETHER:
        return msgspec.structs.replace(shard, done=done, problem=problem, size=total, apart=shard.apart | bit)
    results = {**shard.results, number: value}
    return msgspec.structs.replace(shard, done=done, problem=problem, size=total, results=results)


def with_cancelled(shard: Shard, number: int) -> Shard:
    """The shard after a member is given up because it was cancelled, unless it was done before."""
    bit = 1 << number % SHARD
    if (shard.done | shard.cancelled) & bit:
        return shard
    return msgspec.structs.replace(shard, cancelled=shard.cancelled | bit)


def problem_of(group: Group, shards: list[Shard]) -> str:
    """Why ``then`` cannot be given all results; empty: it can, unless its queue refuses them."""
    if not group.needs_results:
        return ""
    size = sum(shard.size for shard in shards)
    if group.room and size > _PACKED * group.room:
        return _too_large(size, group.room)
    return next((shard.problem for shard in shards if shard.problem), "")


def results_of(group: Group, shards: list[Shard], apart: Mapping[int, bytes]) -> Any:
    """What ``then`` is given; ``apart``: the encoded results that are under their own keys."""
    if not group.needs_results:
        return None
    found: dict[int, Any] = {number: value for shard in shards for number, value in shard.results.items()}
    found |= apart
    values = [value_of(found[number]) for number in range(group.total)]
    return values[0] if group.is_one else values


_ADVICE = "let the members keep large results in a store, and return keys"


def _too_large(size: int, room: int) -> str:
    return (
        f"the results have {size} bytes, and the queue of then takes {room} in a message: raise its max_message_size, "
        f"or {_ADVICE}"
    )


def plain(queue: str, body: Any) -> Any:
    """A body as plain data. Raises PublishError: it is none."""
    try:
        return value_of(encode(body))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PublishError(
            f"queue {queue!r}: a message that follows others has plain data as its body: {error}"
        ) from error
