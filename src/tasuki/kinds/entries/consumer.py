"""``queue.consumer``: one queue, one function, one pool of workers; ``queue.worker``: one pool for several queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from tasuki.consumers.fetching.window import MAX_PREFETCH, MOST_CONCURRENCY
from tasuki.consumers.handling.idempotency import Idempotency, rule_of
from tasuki.fields.types import Config, Duration, Flag, Id, Kind, Positive, PositiveDuration, Text, at_field, full_id
from tasuki.kinds.entries.lifecycle import CONSUMER_REFERENCES, ConsumerLifecycleConfig, RetryConfig
from tasuki.queues.messages.lanes import parse_path
from tasuki.registry.entry import did_you_mean


def _at_most(name: str, maximum: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if value > maximum:
            raise PydanticCustomError("exact", "{problem}", {"problem": f"{name} {value} exceeds maximum {maximum}"})
        return value

    return check


MAX_BATCH = 1000

Concurrency = Annotated[Positive, AfterValidator(_at_most("concurrency", MOST_CONCURRENCY))]
"""Messages handled at the same time."""


def _key(value: str) -> str:
    if value == "key":
        raise ValueError(
            "the key of a message does not arrive with it: publish it as a header, and write header.<name>"
        )
    if value != "id":
        parse_path(value)
    return value


class IdempotencyConfig(Config):
    """Work that was done once for a key is not done again: another message of it is acked, with the same result."""

    key: Annotated[Text, AfterValidator(_key)] = "id"
    """Where the key of a message is: header.order, body.order.id, or id: the message's own, for a broker's repeats."""
    ttl: PositiveDuration = 604800.0
    """Time for which a key is remembered: longer than the last retry and redrive of its messages."""

    def rule(self) -> Idempotency:
        """The same as the consumer wants it."""
        return rule_of(self.key, self.ttl)


def _idempotency(value: object) -> object:
    return {"key": value} if isinstance(value, str) else value


IdempotencyField = Annotated[
    IdempotencyConfig, BeforeValidator(_idempotency, json_schema_input_type=str | IdempotencyConfig)
]


class TaskConfig(Config):
    """A task: a function by a name that messages carry in their header message_type, with rules of its own."""

    other_names: ClassVar = {
        "handler": "did you mean 'func'?",
        "function": "did you mean 'func'?",
        "timeout": "did you mean 'handler_timeout'?",
        "max_attempts": "write retry: {max_attempts: …}",
    }

    func: Id
    """The function; a Python function gets the body's fields as its arguments."""
    retry: RetryConfig | None = None
    """How long to wait before another attempt, after which failures, and how often; the consumer's if not given."""
    handler_timeout: PositiveDuration | None = None
    """Longest time for one message; the consumer's if not given."""
    idempotency: IdempotencyField | None = None
    """By which key the task is done once; the consumer's if not given."""
    on_give_up: Id | None = None
    """A function that is called with the arguments and the error before its message goes to the dead-letter queue."""


class BatchConfig(Config):
    """Messages that the function gets in one call, as a list."""

    other_names: ClassVar = {
        "max_size": "did you mean 'size'?",
        "timeout": "did you mean 'wait'?",
        "max_wait": "did you mean 'wait'?",
        "interval": "did you mean 'wait'?",
    }

    size: Annotated[Positive, AfterValidator(_at_most("batch.size", MAX_BATCH))]
    """Most messages of one call."""
    wait: Duration = 0.1
    """Longest time that the first message of a batch waits for others."""


def _task(value: object) -> object:
    return {"func": value} if isinstance(value, str) else value


class ConsumerConfig(Config):
    """A consumer: receives messages from a queue and calls a function with each, or each message's own function."""

    other_names: ClassVar = {
        "handler": "did you mean 'func'?",
        "function": "did you mean 'func'?",
        "idempotent": "did you mean 'idempotency'?",
        "workers": "did you mean 'concurrency'?",
        "timeout": "did you mean 'handler_timeout'?",
        "dead_letter": "the queue has it",
        "max_attempts": "the queue has it, as dead_letter.max_attempts",
    }

    queue: Id
    """The queue that it consumes."""
    func: Id | None = None
    """The function that handles the messages; with funcs: those that name no task."""
    funcs: dict[Text, Annotated[TaskConfig, BeforeValidator(_task, json_schema_input_type=str | TaskConfig)]] = Field(
        default_factory=dict
    )
    """Functions by the names of their tasks; a name that is missing here is dead-lettered as unknown_task."""
    concurrency: Concurrency = 1
    """Messages handled at the same time; with shared workers the default is theirs, or a smaller prefetch if stated."""
    prefetch: Annotated[Positive, AfterValidator(_at_most("prefetch", MAX_PREFETCH))] = 10
    """Most messages held at a time, waiting or being handled. Not stated, it begins at 10 and follows the handler: 50
    to 100 ms of its work, at most 1,000; with batch it is one batch more than run, at a queue with a limit as many as
    run."""
    batch: BatchConfig | None = None
    """Call the function with a list of bodies instead of a single one."""
    auto_ack: Flag = False
    """Settle before the function runs: a message is handled at most once, and lost if that fails."""
    handler_timeout: PositiveDuration | None = None
    """Longest time for one message, or for one batch."""
    retry: RetryConfig | None = None
    """How long to wait before a failed message is shown again, and after which failures; the queue's if not given."""
    idempotency: IdempotencyField | None = None
    """By which key the work is done once: header.order, or {key, ttl}; the queue has a state (a store)."""
    middleware: list[Id] = Field(default_factory=list)
    """Middleware around the function, the first one outermost."""
    driver_options: dict[str, Any] = Field(default_factory=dict)
    """Options for the queue's driver, or by driver: driver_options.<driver>."""
    lifecycle: ConsumerLifecycleConfig = ConsumerLifecycleConfig()
    """When it starts and stops, and its identity."""

    @model_validator(mode="after")
    def _has_a_function(self) -> ConsumerConfig:
        if self.func is None and not self.funcs:
            said = "func: the function that handles the messages, or funcs: functions by the names of their tasks"
            raise at_field("func", f"a consumer needs {said}")
        return self

    @model_validator(mode="after")
    def _has_room_for_batches(self) -> ConsumerConfig:
        if self.batch is None:
            return self
        if self.funcs:
            raise at_field("batch", "tasks are called one by one; give the batches their own queue and consumer")
        if "prefetch" in self.model_fields_set and self.prefetch < self.batch.size:
            problem = f"a batch of {self.batch.size} is never full with prefetch {self.prefetch}"
            raise at_field("batch", f"{problem}; raise prefetch to {self.batch.size} at least, or lower size")
        return self

    @model_validator(mode="after")
    def _does_single_messages_once(self) -> ConsumerConfig:
        if self.idempotency is not None and self.batch is not None:
            raise at_field("idempotency", "a key is of one message: remove batch, or the idempotency")
        if self.auto_ack and (self.idempotency or any(task.idempotency for task in self.funcs.values())):
            raise at_field("idempotency", "auto_ack acks before the work is done: no message of a key is redelivered")
        return self

    @property
    def functions(self) -> list[str]:
        """The ids of all functions that it calls, each once."""
        of_tasks = [id for task in self.funcs.values() for id in (task.func, task.on_give_up) if id]
        return list(dict.fromkeys([*([self.func] if self.func else []), *of_tasks]))


_FUNCTION = ("function",)

_REFERENCES = {
    "queue": ("queue.queue",),
    **dict.fromkeys(("func", "funcs.*", "funcs.*.func", "funcs.*.on_give_up"), _FUNCTION),
    "middleware.*": ("middleware",),
    **CONSUMER_REFERENCES,
}


class WorkerConfig(Config):
    """Shared workers: one limit for the messages of several queues that are handled at the same time."""

    other_names: ClassVar = {
        "queue": "did you mean 'queues'?",
        "consumers": "name their queues, as queues: [ids]",
        "workers": "did you mean 'concurrency'?",
        "prefetch": "each consumer has its own",
    }

    queues: list[Id]
    """The queues whose consumers share the workers; with order: strict, the most urgent one first."""
    concurrency: Concurrency
    """Messages of all these queues handled at the same time, in each process."""
    order: Literal["fair", "weighted", "strict"] = "fair"
    """Which queue is next for a free worker. fair: they take turns; weighted: turns by weights; strict: the first."""
    weights: dict[Id, Positive] = Field(default_factory=dict)
    """With order: weighted, how many messages of a queue start for each one of a queue of weight 1; default 1."""

    @field_validator("weights", mode="wrap")
    @classmethod
    def _each_once(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> dict[str, int]:
        weights: dict[str, int] = check(value)
        if len(weights) < len(value):
            ids = [full_id(name, info) for name in value]
            twice = next(id for id in ids if ids.count(id) > 1)
            problem = f"weights names {twice!r} twice; remove one of them"
            raise PydanticCustomError("exact", "{problem}", {"problem": problem})
        return weights

    @model_validator(mode="after")
    def _queues_agree(self) -> Self:
        if not self.queues:
            raise at_field("queues", "queues is empty: name the queues whose consumers share these workers")
        if twice := next((id for id in self.queues if self.queues.count(id) > 1), None):
            raise at_field("queues", f"queues names {twice!r} twice; remove one of them")
        if self.weights and self.order != "weighted":
            raise at_field("weights", f"weights have no effect with order: {self.order}; write order: weighted")
        if unknown := next((id for id in self.weights if id not in self.queues), None):
            hint = did_you_mean(unknown, self.queues) or "add it there"
            raise at_field("weights", f"weights names {unknown!r}, which is not among its queues; {hint}")
        return self


class HealthConfig(Config):
    """When a worker is not live any more; at most one such entry."""

    broker_red_after: PositiveDuration | None = None
    """Not live after this time with an unavailable broker; default: never, as a restart brings no broker back."""


KINDS = (
    Kind("queue.consumer", ConsumerConfig, _REFERENCES),
    Kind("queue.worker", WorkerConfig, {"queues.*": ("queue.queue",)}),
    Kind("health.config", HealthConfig),
)
