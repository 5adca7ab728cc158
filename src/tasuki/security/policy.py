"""Policies: patterns of actions and resources; one policy allows, denies or abstains, a scope of several decides.

==================  =====================================================================================
written             matches
==================  =====================================================================================
``*``               everything, the empty text too
``app:tasks``       exactly this text
``app:*``           what begins with ``app:``
``queue.*``         what begins with ``queue``: Wippy leaves the dot out, so ``queue`` and ``queuex`` match
``*.read``          what ends with ``.read``
``*mail*``          what has ``mail`` in it
==================  =====================================================================================

Case counts, nothing is normalised, and every match is one comparison of texts: there is nothing to backtrack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasuki.security.actor import PolicyRequest
from tasuki.security.compare import ComparisonError

# A project without policies reads no conditions.
if TYPE_CHECKING:
    from tasuki.security.condition import Condition
    from tasuki.security.expression import Expression

MAX_LENGTH = 1000


_Form = Literal["exact", "prefix", "suffix", "inner"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern; made by :func:`parse_pattern`."""

    text: str
    form: _Form
    core: str

    def matches(self, value: str) -> bool:
        """Whether a text is meant."""
        if self.form == "exact":
            return value == self.core
        if self.form == "prefix":
            return value.startswith(self.core)
        return value.endswith(self.core) if self.form == "suffix" else self.core in value


def parse_pattern(text: str) -> Pattern:
    """The pattern of a text.

    Raises:
        ValueError: it is empty or too long, or a wildcard stands within it, where it would never match anything.
    """
    if not text:
        raise ValueError("a pattern is empty")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a pattern has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    core, has_end = _without_end(text)
    has_start = core.startswith("*")
    core = core.removeprefix("*")
    if "*" in core:
        raise ValueError(f"{text!r} has a wildcard in the middle; put '*' at the start or at the end")
    form: _Form = ("inner" if has_end else "suffix") if has_start else "prefix" if has_end else "exact"
    return Pattern(text, form, core)


def _without_end(text: str) -> tuple[str, bool]:
    """The text without a wildcard at its end, and whether there was one."""
    if len(text) > 2 and text.endswith(".*"):
        return text[:-2], True
    return text.removesuffix("*"), text.endswith("*")


Effect = Literal["allow", "deny"]


Ruling = Literal["allow", "deny", "undefined"]


@dataclass(frozen=True, slots=True)
class PolicyFinding:
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

    def judge(self, request: PolicyRequest) -> PolicyFinding:
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
        return PolicyFinding(self.id, self.effect, "its conditions hold" if rests else "it has no conditions")

    def _silent(self, why: str) -> PolicyFinding:
        return PolicyFinding(self.id, "undefined", why)


def _speaks_of(patterns: Sequence[Pattern], value: str) -> bool:
    return any(pattern.matches(value) for pattern in patterns)


def _failure(test: Condition | Expression, request: PolicyRequest) -> str | None:
    """None if a test holds; else the end of a sentence with the reason."""
    try:
        return None if test.holds(request) else ""
    except ComparisonError as error:
        return f" ({error})"


class Scope:
    """Any deny denies; else one allow allows; else none applies. Of several policies with one id the last counts."""

    __slots__ = ("_policies",)

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        self._policies = {policy.id: policy for policy in policies}

    @property
    def policies(self) -> tuple[Policy, ...]:
        """What it is made of."""
        return tuple(self._policies.values())

    def evaluate(self, request: PolicyRequest) -> Ruling:
        """What its policies say together."""
        return ruling_of(self.judge(request)).ruling

    def judge(self, request: PolicyRequest) -> list[PolicyFinding]:
        """What each policy says, and why."""
        return [policy.judge(request) for policy in self._policies.values()]


def ruling_of(findings: Iterable[PolicyFinding]) -> PolicyFinding:
    """The finding that decides: the first deny, else the first allow, else the absence of both."""
    allow: PolicyFinding | None = None
    for finding in findings:
        if finding.ruling == "deny":
            return finding
        if finding.ruling == "allow" and allow is None:
            allow = finding
    return allow or PolicyFinding("", "undefined", "no policy allows it")
