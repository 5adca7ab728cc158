"""Policy: allows or denies a request, or does not apply to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasuki.security.actor import Request
from tasuki.security.compare import ComparisonError
from tasuki.security.condition import Condition
from tasuki.security.expressions.expression import Expression
from tasuki.security.pattern import Pattern

Effect = Literal["allow", "deny"]
Ruling = Literal["allow", "deny", "undefined"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of a policy, with its reason."""

    policy: str
    ruling: Ruling
    why: str


@dataclass(frozen=True, slots=True)
class Policy:
    """An effect on actions and resources, if all conditions, or the expression, hold."""

    id: str
    actions: tuple[Pattern, ...]
    resources: tuple[Pattern, ...]
    effect: Effect
    conditions: tuple[Condition, ...] = ()
    expression: Expression | None = None

    @property
    def asks_who(self) -> bool:
        """Whether a condition, or the expression, is about the actor."""
        fields = (path for each in self.conditions for path in (each.field, each.value_from or ()))
        return any(path[:1] == ("actor",) for path in fields) or (
            self.expression is not None and "actor" in self.expression.names
        )

    def judge(self, request: Request) -> Finding:
        """The ruling and its reason; the policy abstains where a comparison cannot be made."""
        if not _speaks_of(self.actions, request.action):
            return self._silent("its actions do not match")
        if not _speaks_of(self.resources, request.resource):
            return self._silent("its resources do not match")
        for condition in self.conditions:
            if (failure := _failure(condition, request)) is not None:
                return self._silent(f"the condition does not hold: {condition}{failure}")
        if self.expression is not None and (failure := _failure(self.expression, request)) is not None:
            return self._silent(f"its expression does not hold{failure}")
        rests = self.conditions or self.expression
        return Finding(self.id, self.effect, "its conditions hold" if rests else "it has no conditions")

    def _silent(self, why: str) -> Finding:
        return Finding(self.id, "undefined", why)


def _speaks_of(patterns: Sequence[Pattern], value: str) -> bool:
    return any(pattern.matches(value) for pattern in patterns)


def _failure(test: Condition | Expression, request: Request) -> str | None:
    """None if a test holds; else the end of a sentence with the reason."""
    try:
        return None if test.holds(request) else ""
    except ComparisonError as error:
        return f" ({error})"
