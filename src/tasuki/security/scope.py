"""Scope: an immutable set of policies, and their joint decision."""

from __future__ import annotations

from collections.abc import Iterable

from tasuki.security.actor import Request
from tasuki.security.policy import Finding, Policy, Ruling


class Scope:
    """Any deny denies; else one allow allows; else none applies. Of several policies with one id the last counts."""

    __slots__ = ("_policies",)

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        self._policies = {policy.id: policy for policy in policies}

    @property
    def policies(self) -> tuple[Policy, ...]:
        """What it is made of."""
        return tuple(self._policies.values())

    def evaluate(self, request: Request) -> Ruling:
        """What its policies say together."""
        return ruling_of(self.judge(request)).ruling

    def judge(self, request: Request) -> list[Finding]:
        """What each policy says, and why."""
        return [policy.judge(request) for policy in self._policies.values()]


def ruling_of(findings: Iterable[Finding]) -> Finding:
    """The finding that decides: the first deny, else the first allow, else the absence of both."""
    allow: Finding | None = None
    for finding in findings:
        if finding.ruling == "deny":
            return finding
        if finding.ruling == "allow" and allow is None:
            allow = finding
    return allow or Finding("", "undefined", "no policy allows it")
