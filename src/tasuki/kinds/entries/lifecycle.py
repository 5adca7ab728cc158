"""Fields that several kinds share: ``lifecycle``, ``retry``, and the fields of every driver beside its settings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tasuki.backoff import Backoff
from tasuki.fields.types import (
    Config,
    Count,
    DurabilityLevel,
    Duration,
    Factor,
    Flag,
    Id,
    Positive,
    PositiveDuration,
    Refused,
    Share,
    Text,
    at_field,
    refused,
)
from tasuki.kinds.entries.security import POLICIES, IdentityConfig
from tasuki.queues.messages.rules import RetryRules
from tasuki.units import format_duration

REFERENCES: dict[str, tuple[str, ...]] = {"lifecycle.depends_on.*": (), "lifecycle.requires.*": ()}
"""For the kinds whose model has a ``lifecycle``."""

CONSUMER_REFERENCES: dict[str, tuple[str, ...]] = {**REFERENCES, "lifecycle.security.policies.*": POLICIES}
"""For the kinds whose lifecycle has ``security``."""


class BackoffConfig(Config):
    """How long to wait before the next try."""

    initial_delay: Duration = 1.0
    """Wait after the first failure."""
    max_delay: Duration = 90.0
    """Longest wait."""
    backoff_factor: Factor = 2.0
    """Factor by which the wait grows with each failure."""
    jitter: Share = 0.1
    """Share of the wait that is random, so that many retries do not meet."""

    @model_validator(mode="after")
    def _delays_in_order(self) -> Self:
        if self.initial_delay > self.max_delay:
            longest = format_duration(self.max_delay)
            raise at_field("initial_delay", f"initial_delay is longer than max_delay, which is {longest}")
        return self

    def backoff(self) -> Backoff:
        """The same as a calculator of delays."""
        return Backoff(self.initial_delay, self.max_delay, self.backoff_factor, self.jitter)


class RetryConfig(BackoffConfig):
    """The delay before another attempt, and the failures that get one."""

    never: list[Text] = Field(default_factory=list)
    """Failures after which a message goes to the dead-letter queue at once (reason not_retryable).

    Names of Python exceptions, with or without their module (their subclasses count), or kinds of errors: NotFound.
    """
    on: list[Text] = Field(default_factory=list)
    """The only failures that get another attempt, named likewise; default: all."""
    max_attempts: Positive | None = None
    """Attempts before a message goes to the dead-letter queue; the queue's dead_letter.max_attempts if not given."""

    @model_validator(mode="after")
    def _rules_agree(self) -> Self:
        if both := sorted(set(self.never) & set(self.on)):
            raise at_field("on", f"{', '.join(both)} stands in never too; take it out of one of them")
        return self

    def rules(self) -> RetryRules:
        """Which failures are worth another attempt."""
        return RetryRules(frozenset(self.never), frozenset(self.on))


class RestartConfig(BackoffConfig):
    """The delay before a failed service is started again; 2s at most while its broker is unavailable."""

    max_attempts: Count = 0
    """Failures in a row after which it stays stopped; 0: no limit."""


class LifecycleConfig(Config):
    """When a service starts and stops."""

    auto_start: Flag = False
    """Start it with the application."""
    start_timeout: PositiveDuration = 10.0
    """Longest time to start; a driver has 50ms more for each of its queues."""
    stop_timeout: Duration = 10.0
    """Longest time to finish messages in work when stopping."""
    stable_threshold: Duration = 5.0
    """Time after which a running service counts as stable, and its restart delay is reset."""
    depends_on: list[Id] = Field(default_factory=list)
    """Entries that must be running first."""
    requires: list[Id] = Field(default_factory=list)
    """The same as depends_on."""
    startup: Literal["required", "optional"] = "required"
    """Whether the rest of the application waits for it."""
    restart: RestartConfig = RestartConfig()
    """How it is started again after a failure."""
    security: Annotated[
        Refused,
        BeforeValidator(refused("only a consumer acts, and only what acts has an actor")),
    ] = None


class ConsumerLifecycleConfig(LifecycleConfig):
    """When a consumer starts and stops, and its identity."""

    security: IdentityConfig | None = None
    """Its actor and policies; the consumer, its handler and the functions that it calls act as that actor."""


class DriverConfig(Config):
    """The fields of every driver."""

    durability: DurabilityLevel | None = None
    """What a confirmed message must survive on all of its queues; publishing is refused while the broker gives less."""
    state: Id | None = None
    """The store for the state of its queues: pauses, cancelled messages, results; default: the driver's own."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""
