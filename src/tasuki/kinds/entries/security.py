"""``security.policy``, ``security.policy.expr`` and ``security.config``: who may do what, and how strictly."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasuki.fields.types import Config, Flag, Id, Kind, Text
from tasuki.security.condition import Condition, parse_condition
from tasuki.security.expression import parse_expression
from tasuki.security.policy import Policy, parse_pattern

POLICIES = ("security.policy",)
"""What a reference to a policy may point to: this kind and its family."""


def _pattern(value: str) -> str:
    parse_pattern(value)
    return value


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _expression(value: str) -> str:
    parse_expression(value)
    return value


Patterns = Annotated[
    list[Annotated[str, AfterValidator(_pattern)]],
    Field(min_length=1),
    BeforeValidator(_list, json_schema_input_type=str | list[str]),
]


class ActorConfig(Config):
    """The identity that acts."""

    id: Text
    """Its id, such as service:mailer."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """Data for conditions: actor.meta.*."""


class IdentityConfig(Config):
    """An actor and its policies; the actor may do only what they allow."""

    actor: ActorConfig
    """The identity that acts."""
    groups: list[Id] = Field(default_factory=list)
    """Groups of policies."""
    policies: list[Id] = Field(default_factory=list)
    """Single policies."""


class ConditionConfig(Config):
    """One test."""

    field: Text
    """The field to compare: actor.id, actor.meta.*, action, resource or meta.*."""
    operator: Text
    """The comparison: eq, ne, lt, lte, gt, gte, in, nin, contains, ncontains, matches, nmatches, exists, nexists."""
    value: Any = None
    """What it is compared with."""
    value_from: Text | None = None
    """Another field that it is compared with."""

    @model_validator(mode="after")
    def _makes_sense(self) -> ConditionConfig:
        self.build()
        return self

    def build(self) -> Condition:
        """The condition itself."""
        return parse_condition(self.field, self.operator, self.value, self.value_from)


class _Definition(Config):
    actions: Patterns
    """The actions: queue.publish.queue, queue.*, or * for everything."""
    resources: Patterns
    """The resources: app:tasks, app:*, or * for everything."""
    effect: Literal["allow", "deny"]
    """Whether it is allowed or denied; one deny outweighs all that allow."""

    def as_policy(self, id: str) -> Policy:
        """The policy of this id."""
        actions, resources = (tuple(map(parse_pattern, patterns)) for patterns in (self.actions, self.resources))
        return Policy(id, actions, resources, self.effect)


class PolicyDefinition(_Definition):
    """An effect under conditions."""

    conditions: list[ConditionConfig] = Field(default_factory=list)
    """All of them must hold."""

    def as_policy(self, id: str) -> Policy:
        """The policy of this id."""
        return replace(super().as_policy(id), conditions=tuple(condition.build() for condition in self.conditions))


class ExpressionDefinition(_Definition):
    """An effect under an expression."""

    expression: Annotated[Text, AfterValidator(_expression)]
    """The condition, such as actor.meta.role == "admin" || meta.owner == actor.id."""

    def as_policy(self, id: str) -> Policy:
        """The policy of this id."""
        return replace(super().as_policy(id), expression=parse_expression(self.expression))


class AnyPolicyConfig(Config):
    """What both kinds of policy have."""

    groups: list[Id] = Field(default_factory=list)
    """The groups that it belongs to; they exist by being named here."""

    policy: _Definition
    """The effect and its scope."""


class PolicyConfig(AnyPolicyConfig):
    """A policy with conditions."""

    policy: PolicyDefinition
    """The effect and its scope."""


class ExpressionPolicyConfig(AnyPolicyConfig):
    """A policy with an expression."""

    policy: ExpressionDefinition
    """The effect and its scope."""


class SecurityConfig(Config):
    """How strict the project is; at most one such entry."""

    strict: Flag = False
    """Without an actor nothing is allowed, instead of everything."""
    application: IdentityConfig | None = None
    """The actor of the application's own code and the command line; default: none."""


KINDS = (
    Kind("security.policy", PolicyConfig),
    Kind("security.policy.expr", ExpressionPolicyConfig),
    Kind("security.config", SecurityConfig, {"application.policies.*": POLICIES}),
)
