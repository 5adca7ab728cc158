"""``queue.queue``: a named place on a driver, its limits and lanes, its rules for messages that fail or expire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_core.core_schema import ValidationInfo

from tasuki.contracts.driver import Limit
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    Count,
    DurabilityLevel,
    Flag,
    Id,
    Kind,
    Positive,
    PositiveDuration,
    PositiveSize,
    Text,
    at_field,
)
from tasuki.ids import NAME_HINT, is_name
from tasuki.kinds.entries.lifecycle import RetryConfig
from tasuki.queues.messages.codec import Compression, Method
from tasuki.queues.messages.lanes import KEY, LaneRule, parse_lane_key, parse_path
from tasuki.queues.messages.signature import Signing
from tasuki.queues.uniqueness import UniqueRule
from tasuki.registry.entry import did_you_mean
from tasuki.scalars import settle
from tasuki.units import parse_duration, parse_rate

LEASE = 15.0
"""The default lease of a queue with places: a killed worker keeps its places as long as its messages."""

_BURST = 0.1
"""Seconds of its rate that a bucket holds, unless ``burst`` says how many messages it holds."""


def _rate(value: object) -> float:
    return parse_rate(settle(value))


def _lane_key(value: str) -> str:
    parse_lane_key(value)
    return value


Rate = Annotated[float, BeforeValidator(_rate, json_schema_input_type=float | str)]
"""Messages a second; written ``10/s``, ``100/m``, ``5/h`` or as a number a second."""

_MOST = 1_000_000_000

MessageCount = Annotated[Positive, Field(le=_MOST)]
"""Messages: no more than every broker can count."""

LaneKey = Annotated[Text, AfterValidator(_lane_key)]
"""What the messages of a lane have in common."""


class LimitConfig(Config):
    """How fast the messages of a queue are handled, and how many at once, over all workers and machines."""

    rate: Rate | None = None
    """Messages in a time: 10/s, 100/m, 5/h; a bare number counts per second. Not given: no limit."""
    burst: MessageCount | None = None
    """Most messages at once after a pause; default: what the rate gives in 100ms, at least 1."""
    concurrency: MessageCount | None = None
    """Most messages that workers hold at once. Not given: no limit."""
    key: LaneKey | None = None
    """One such limit for each value of header.tenant, body.user.id or key (the order key); not given: one for all."""

    @model_validator(mode="after")
    def _limits_something(self) -> LimitConfig:
        if self.rate is None and self.concurrency is None:
            raise at_field("rate", "limit needs a rate (10/s), a concurrency, or both")
        if self.burst is not None and self.rate is None:
            raise at_field("burst", "burst is for a rate: it says how many messages may come at once after a pause")
        return self

    def limit(self) -> Limit:
        """The same as a driver keeps it."""
        if self.rate is None:
            return Limit(concurrency=self.concurrency)
        burst = self.burst if self.burst is not None else min(max(round(self.rate * _BURST), 1), _MOST)
        return Limit(self.rate, burst, self.concurrency)


class FairConfig(Config):
    """Turns: of each value of a key some messages, then of the next one, however many messages one of them has."""

    key: LaneKey
    """Whose messages take turns: header.tenant, body.user.id, or key (the order key)."""
    share: MessageCount = 1
    """Most messages of one value in its turn; more are cheaper, fewer are fairer."""


def _limit_fields(value: object) -> object:
    """The fields of a limit of which only the rate is written."""
    return {"rate": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _limits(value: object, info: ValidationInfo) -> object:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(map(_limit_fields, value))
    return (LimitConfig.model_validate(_limit_fields(value), context=info.context),)  # its problems at its own fields


def _one_of_each(limits: tuple[LimitConfig, ...]) -> tuple[LimitConfig, ...]:
    first: dict[bool, int] = {}
    for index, limit in enumerate(limits):
        by_key = limit.key is not None
        if by_key in first:
            what = "by a key" if by_key else "over the whole queue"
            remedy = (
                "write its rate and its concurrency in one" if by_key else "give one of them a key, or make them one"
            )
            raise at_field(index, f"limit has two limits {what}, and a queue has one of each kind; {remedy}")
        first[by_key] = index
    return limits


LimitsConfig = Annotated[
    tuple[LimitConfig, ...],
    BeforeValidator(_limits, json_schema_input_type=str | float | LimitConfig | list[str | float | LimitConfig] | None),
    AfterValidator(_one_of_each),
]
"""At most one limit over the whole queue, and one for each value of a key."""


def fair_fields(value: object) -> object:
    """The fields of turns of which only the key is written."""
    return {"key": value} if isinstance(value, str) else value


def whole_limit(limits: Sequence[LimitConfig]) -> LimitConfig | None:
    """The limit over the whole queue."""
    return next((limit for limit in limits if limit.key is None), None)


def limit_of_lanes(limits: Sequence[LimitConfig]) -> LimitConfig | None:
    """The limit for each value of its key."""
    return next((limit for limit in limits if limit.key is not None), None)


def with_paths(limits: Sequence[LimitConfig]) -> Iterator[tuple[tuple[str | int, ...], LimitConfig]]:
    """Each limit with its path in its entry; the only one may be written without a list."""
    for index, limit in enumerate(limits):
        yield ("limit", index) if len(limits) > 1 else ("limit",), limit


def lane_key(limits: Sequence[LimitConfig], fair: FairConfig | None) -> str | None:
    """By which key a queue has lanes; None: it has none."""
    if (limit := limit_of_lanes(limits)) is not None:
        return limit.key
    return None if fair is None else fair.key


def check_lanes(limits: Sequence[LimitConfig], fair: FairConfig | None, ordering: str) -> None:
    """Raise the error of two fields that would put one message into two lanes."""
    key = lane_key(limits, fair)
    if fair is not None and key != fair.key:
        problem = f"fair is by {fair.key} and limit by {key}, but a message is in one lane"
        raise at_field("fair", f"{problem}; write the same key in both, or remove one of them")
    if ordering == "key" and key not in (None, KEY):
        problem = f"ordering: key makes the key of a message its lane, and the lanes here are by {key}"
        raise at_field("ordering", f"{problem}; write key: key, or remove ordering: key")


def _value_path(value: str) -> str:
    parse_path(value)
    return value


def _span(value: object) -> object:
    if value in ("pending", "running"):
        return value
    try:
        seconds = parse_duration(settle(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither 'pending' nor 'running' nor a time such as 10m") from None
    if not seconds:
        raise ValueError("give a time that is longer than 0")
    return seconds


class UniqueConfig(Config):
    """One message at a time for each value of a key; a message without the value is stored beside all others."""

    key: Annotated[Text, AfterValidator(_value_path)]
    """The value that is unique: header.tenant, or body.user.id."""
    for_: Annotated[
        Literal["pending", "running"] | float,
        BeforeValidator(_span, json_schema_input_type=Literal["pending", "running"] | PositiveDuration),
        Field(alias="for"),
    ] = "pending"
    """pending: while a message of the key waits; running: until it is done; a time: for so long after its publish."""
    on_conflict: Literal["keep", "replace", "extend"] = "keep"
    """keep the message that has the key; replace it while it waits; extend: replace it, and begin its delay again."""
    max: PositiveDuration | None = None
    """The longest time for which extend delays a message; not given: 10 times its delay."""

    @model_validator(mode="after")
    def _max_is_for_extend(self) -> UniqueConfig:
        if self.max is not None and self.on_conflict != "extend":
            raise at_field("max", "max is for on_conflict: extend")
        return self

    def rule(self) -> UniqueRule:
        """The same as the queue wants it."""
        return UniqueRule(parse_path(self.key), self.for_, self.on_conflict, self.max)


def unique_fields(value: object) -> object:
    """The fields of a rule of which only the key is written."""
    return {"key": value} if isinstance(value, str) else value


RequirementName = Literal[
    "durable", "process", "broker", "power", "node", "multi_process", "ordered", "ordering.key", "delay", "priority",
    "attempts", "lease", "dedup", "max_length", "exact_depth", "peek", "find", "locate", "causes", "purge", "remove",
    "expedite", "transfer", "transactional", "transactional_settle", "delete", "atomic_move", "state", "last_error",
    "unique.pending", "unique.running", "unique.window", "unique.replace", "unique.extend", "limit.rate",
    "limit.concurrency", "limit.key", "fair",
]  # fmt: skip

_CODECS = {"json": "json/plain", "msgpack": "application/msgpack"}

_SHORTEST_SECRET = 16


class DeadLetterConfig(Config):
    """The queue for messages that were rejected or failed too often.

    The header x_dead_letter_reason says why one is there: max_attempts, not_retryable (its error says
    so, or the rules of retry do), worker_died (it kept killing its worker), rejected, expired, undecodable, invalid (it
    does not fit the handler's type), unknown_task (its consumer has no such task) or unsigned.
    """

    queue: Id
    """The dead-letter queue."""
    max_attempts: Positive = 5
    """Attempts of a message before it goes there: failures, and deaths of the worker process in its handler."""


def _secret(value: object) -> SecretStr:
    # Checked here, because pydantic's errors would show the value.
    if not isinstance(value, str) or len(value.encode()) < _SHORTEST_SECRET:
        raise ValueError(f"expected a text of at least {_SHORTEST_SECRET} bytes; take it from ${{env:NAME}}")
    return SecretStr(str(value))


class KeyConfig(Config):
    """One key for signatures."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    """Its name, which each signature carries."""
    secret: Annotated[SecretStr, BeforeValidator(_secret, json_schema_input_type=str)] = Field(repr=False)
    """What only publishers and consumers know, at least 16 bytes; ${env:NAME} keeps it out of the file."""


class SigningConfig(Config):
    """Signatures that prove who published a message, and that it was not changed."""

    keys: Annotated[list[KeyConfig], Field(min_length=1)]
    """The first key signs, all verify: a new one comes last, then first, then the old one goes."""
    required: Flag = True
    """Whether messages without a signature are refused; a wrong signature is always refused."""

    @model_validator(mode="after")
    def _key_ids_are_unique(self) -> SigningConfig:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise at_field("keys", "keys: two keys have the same id")
        return self

    def signing(self) -> Signing:
        """The same as the queue wants it."""
        return Signing({key.id: key.secret.get_secret_value().encode() for key in self.keys}, self.required)


class CompressConfig(Config):
    """Compression of large bodies; each message's content type says whether it is, so that a consumer reads both."""

    method: Method
    """gzip, or zstd: faster and smaller, with the extra tasuki[zstd] at publishers and consumers."""
    above: PositiveSize = 1024
    """Encoded size from which on a body is compressed."""

    def compression(self) -> Compression:
        """The same as the queue wants it."""
        return Compression(self.method, self.above)


class ResultConfig(Config):
    """The record of each job: whether it runs, its progress, and what its handler returned or why it failed."""

    ttl: PositiveDuration = 3600.0
    """Time for which it is kept after its last change."""
    max_size: PositiveSize = 256 * 1024
    """Largest encoded result; a larger one is not kept, and its reader gets an error."""


def _result(value: object) -> object:
    return value if value is None or isinstance(value, dict) else {"ttl": value}


def _compress(value: object) -> object:
    return {"method": value} if isinstance(value, str) else value


def _dead_letter(value: object) -> object:
    return {"queue": value} if isinstance(value, str) else value


@cache
def _codec_names() -> frozenset[str]:
    return frozenset(_CODECS.values()) | {point.name for point in entry_points(group="tasuki.codecs")}


def _codec(value: str) -> str:
    name = _CODECS.get(value, value)
    if name not in _CODECS.values() and name not in _codec_names():
        known = sorted(_codec_names() | _CODECS.keys())
        hint = did_you_mean(value, known) or f"known are: {', '.join(known)}"
        raise ValueError(f"{value!r} is not a codec; {hint}")
    return name


def _broker_name(value: str, info: ValidationInfo) -> str:
    if not value:
        return str((info.context or {}).get("name", ""))
    if not is_name(value):
        raise ValueError(f"{value[:80]!r} is not a queue name; {NAME_HINT}")
    return value


class QueueConfig(Config):
    """A queue. After the project's check, its options and limits are the ones that apply with its driver."""

    other_names: ClassVar = {
        "max_attempts": "write dead_letter: {queue: …, max_attempts: …}",
        "ttl": "did you mean 'message_ttl'?",
        "dlq": "did you mean 'dead_letter'?",
        "rate_limit": "did you mean 'limit'?",
        "rate": "write limit: {rate: …}",
        "burst": "write limit: {rate: …, burst: …}",
        "concurrency": "a consumer has it; over all workers write limit: {concurrency: …}",
    }

    driver: Id
    """The driver that carries it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options for the driver."""
    driver_options: dict[str, Any] = Field(default_factory=dict)
    """Options for the driver, or by driver: driver_options.<driver> counts only where that driver is in use."""
    queue_name: Annotated[str, AfterValidator(_broker_name), Field(validate_default=True)] = ""
    """Its name at the broker; default: the entry's name. No other queue of the project may have the same name there."""
    codec: Annotated[Text, AfterValidator(_codec)] = "json/plain"
    """How bodies become bytes: json/plain (json), application/msgpack (msgpack), or one from another package."""
    compress: Annotated[
        CompressConfig | None, BeforeValidator(_compress, json_schema_input_type=Method | CompressConfig | None)
    ] = None
    """gzip or zstd: compress large bodies; not given: none."""
    dead_letter: Annotated[
        DeadLetterConfig | None, BeforeValidator(_dead_letter, json_schema_input_type=str | DeadLetterConfig | None)
    ] = None
    """The queue for messages that were rejected or failed too often."""
    retry: RetryConfig = RetryConfig()
    """The delay before another attempt, and the failures that get one."""
    max_length: Count | None = None
    """Most messages it may hold; 0 or not given: no limit."""
    overflow: Literal["block", "reject"] = "block"
    """A publish to a full queue: block waits for room until its deadline, reject fails at once."""
    message_ttl: PositiveDuration | None = None
    """Age at which a message that was not handled expires."""
    on_expire: Literal["dead_letter", "drop"] = "dead_letter"
    """The fate of an expired message."""
    max_message_size: PositiveSize = 2**20
    """Largest body that is published, or handled; counted without its compression."""
    durability: DurabilityLevel | None = None
    """What a confirmed message must survive; publishing is refused while its broker gives less."""
    lease: PositiveDuration = 30.0
    """Time for which a silent worker keeps its messages, unless it is known to be dead; with limit.concurrency 15s."""
    ordering: Literal["none", "key"] = "none"
    """key: messages of one key are handled one after the other, in order."""
    dedup_window: PositiveDuration | None = None
    """Time for which a message id is remembered: the same id published again is confirmed, and not stored again."""
    unique: Annotated[
        UniqueConfig | None, BeforeValidator(unique_fields, json_schema_input_type=str | UniqueConfig | None)
    ] = None
    """A key of which it has one message at a time; dead letters and redrives are stored beside all others."""
    limit: LimitsConfig = ()
    """How many of its messages in a time, or at once, over all workers; a text is the rate, a list has two limits: one
    over the whole queue and one with a key. Not given: no limit."""
    fair: Annotated[FairConfig | None, BeforeValidator(fair_fields, json_schema_input_type=str | FairConfig | None)] = (
        None
    )
    """A key whose values take turns, such as header.tenant; not given: messages come in order."""
    state: Id | None = None
    """The store for its state: pauses, cancelled messages, results; default: the one of its driver."""
    cancel: Literal["watched", "strict"] = "watched"
    """How a worker learns of cancelled messages: watched within a second; strict by one read before each start."""
    result: Annotated[
        ResultConfig | None, BeforeValidator(_result, json_schema_input_type=str | ResultConfig | None)
    ] = None
    """Keep what handlers return, and how far they are; a time says for how long. Not given: nothing is kept."""
    requires: list[RequirementName] = Field(default_factory=list)
    """What its driver must be able to do; refused if it cannot. What other fields need is required without saying."""
    middleware: list[Id] = Field(default_factory=list)
    """Middleware around each publish, the first one outermost; dead letters and redrives do not pass through it."""
    signing: SigningConfig | None = None
    """Keys that sign published messages and verify handled ones; not given: neither."""

    @model_validator(mode="after")
    def _expired_messages_go_somewhere(self) -> QueueConfig:
        if self.message_ttl is not None and self.dead_letter is None and self.on_expire == "dead_letter":
            raise at_field("message_ttl", "message_ttl needs a dead_letter queue for what expires, or on_expire: drop")
        return self

    @model_validator(mode="after")
    def _attempts_are_bounded_once(self) -> QueueConfig:
        if self.retry.max_attempts is None:
            return self
        if self.dead_letter is None:
            raise at_field("retry", "retry.max_attempts needs a dead_letter: a queue for messages that are given up")
        if "max_attempts" in self.dead_letter.model_fields_set:
            raise at_field("retry", "retry.max_attempts is the same as dead_letter.max_attempts: give one of them")
        return self

    @model_validator(mode="after")
    def _message_has_one_lane(self) -> QueueConfig:
        check_lanes(self.limit, self.fair, self.ordering)
        return self

    @property
    def lane_rule(self) -> LaneRule | None:
        """How it finds the lane of a message; None: it has no lanes."""
        key = lane_key(self.limit, self.fair)
        return None if key is None else LaneRule(parse_lane_key(key), is_line=self.ordering == "key")


_QUEUES = ("queue.queue",)

KINDS = (
    Kind(
        "queue.queue",
        QueueConfig,
        {
            "driver": (DRIVER_PREFIX.rstrip("."),),
            "dead_letter": _QUEUES,
            "dead_letter.queue": _QUEUES,
            "middleware.*": ("middleware",),
            "state": ("store",),
        },
    ),
)
