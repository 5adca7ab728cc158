"""``queue.worker``: one pool of workers for the consumers of several queues; ``health.config``: when one is ill."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidatorFunctionWrapHandler, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from tasuki.fields.types import Config, Id, Kind, Positive, PositiveDuration, at_field, full_id
from tasuki.kinds.entries.consumer import Concurrency
from tasuki.registry.references import did_you_mean


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
    Kind("queue.worker", WorkerConfig, {"queues.*": ("queue.queue",)}),
    Kind("health.config", HealthConfig),
)
