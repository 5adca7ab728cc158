"""Attack: one attempt, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MEMORY = 32 * 2**20
TIME = 0.1
"""Seconds for what only the time limit can end."""
_GROWTH_TIME = 0.15
"""Seconds for what the limit of memory may end first."""
_UNHURRIED = 20.0
"""Seconds for what something else must end, on a machine that is busy with other tests."""

GOOD = "good"
"""The body for which every script does honest work, so that a worker can be asked whether it still does."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attempt.

    ``code`` is the inside of a handler with the argument ``body``; it returns ``"escaped"`` if it came out. With
    ``whole`` it is its own script, whose top level is the attack. ``told`` must stand in the error; without it
    the attempt ends without an error, and without effect. ``limits``: which limits may end it.
    ``open`` says why no limit ends it in a shared script; ``isolation: process`` does.
    Without ``placed`` the error cannot say the line: no memory is left to find it, or it is too deep in the host.
    """

    name: str
    tries: str
    code: str
    told: str = ""
    limits: tuple[str, ...] = ()
    whole: bool = False
    body: Callable[[], Any] = dict
    open: str = ""
    placed: bool = True

    @property
    def most(self) -> float:
        """Seconds of processor time that it may cost: twice its limit (or the default one, if less) and 0.5."""
        return 2 * min(self.seconds, 1.0) + 0.5

    @property
    def seconds(self) -> float:
        """The time limit of its script."""
        if self.limits == ("time",):
            return TIME
        return _GROWTH_TIME if "time" in self.limits else _UNHURRIED

    def script(self) -> str:
        """The Lua text."""
        if self.whole:
            return self.code
        work = "return (json.encode({('a'):upper(), #table.concat({1, 2}), math.type(3)}))"
        return f"local kept = {{}}\nreturn function(body)\n  if body == '{GOOD}' then {work} end\n  {self.code}\nend"


GOOD_ANSWER = '["A",2,"integer"]'


def cpu(name: str, tries: str, code: str, **more: Any) -> Attack:
    """Only the limit of time ends it."""
    return Attack(name, tries, code, "longer than its 100ms", ("time",), **more)


def ram(name: str, tries: str, code: str, **more: Any) -> Attack:
    """Only the limit of memory ends it."""
    return Attack(name, tries, code, "more than its 32MiB of memory", ("memory",), **more)


def either(name: str, tries: str, code: str, **more: Any) -> Attack:
    """The limit that is reached first ends it."""
    return Attack(name, tries, code, "the script", ("time", "memory"), **more)
