"""Mutants: a driver or a store around a real one, with one thing broken by its public verbs alone.

Most are one expression, and a row of a :class:`MutantTable`; one that keeps something between its calls is a class.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from inspect import getmembers_static, isfunction
from operator import attrgetter
from typing import Any, Literal

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_PAGE, Change, Current, Entry, Store

PID = os.getpid()
"""In a forked child: its parent's."""
Watch = AsyncIterator[Change | Literal[Current.CURRENT]]


def proxy_of(contract: type) -> Any:
    """A class of drivers or stores that pass each verb and each fact of the contract on to the ``inner`` one."""
    public = {name: member for name, member in getmembers_static(contract) if not name.startswith("_")}
    members: dict[str, Any] = {name: _passed_on(name, member) for name, member in public.items()}
    members["__getattr__"] = lambda self, name: getattr(self.inner, name)
    return type(f"{contract.__name__}Proxy", (contract,), members)


def _passed_on(name: str, member: object) -> object:
    def passed_on(self: Any, *arguments: Any, **options: Any) -> Any:
        return getattr(self.inner, name)(*arguments, **options)

    return passed_on if isfunction(member) else property(attrgetter(f"inner.{name}"))


class Mutant(proxy_of(Driver)):  # type: ignore[misc]  # made when it is imported
    """Passes everything on to a real driver, but for what a subclass breaks; a case in ``noticed_by`` must fail."""

    noticed_by: tuple[str, ...] = ()
    needs = ""
    """A capability (a name for ``Capabilities.has``) without which it changes nothing."""

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.problem = None


class Unbroken(Mutant):
    """No mutant: with it every case that is to notice one must pass, or its failing would prove nothing."""


class StoreMutant(proxy_of(Store)):  # type: ignore[misc]  # made when it is imported
    """Passes everything on to a real store, but for what a subclass breaks; a case in ``noticed_by`` must fail."""

    noticed_by: tuple[str, ...] = ()
    needs = ""
    """A fact without which it changes nothing."""

    def __init__(self, inner: Store, clock: Clock) -> None:
        self.inner = inner
        self.clock = clock
        """The clock that the driver was given."""

    @classmethod
    def of(cls, driver: Driver, name: str, clock: Clock) -> Store:
        """The store of this name at a driver, with this mutation."""
        return cls(driver.store(name), clock)

    async def entries(self, prefix: str = "") -> list[Entry]:
        """All entries of the real store."""
        page = await self.inner.list(prefix, limit=MAX_PAGE)
        found = list(page.entries)
        while page.cursor:
            page = await self.inner.list(prefix, after=page.cursor, limit=MAX_PAGE)
            found += page.entries
        return found


class UnbrokenStore(StoreMutant):
    """No mutant: with it every case that is to notice one must pass, or its failing would prove nothing."""


class StoresBroken(Mutant):
    """A driver that is as it was, but for its stores."""

    def __init__(self, inner: Driver, mutant: type[StoreMutant], clock: Clock) -> None:
        super().__init__(inner)
        self._mutant = mutant
        self._clock = clock

    def store(self, name: str) -> Store:
        """The broken store of this name."""
        return self._mutant.of(self.inner, name, self._clock)


Row = Callable[..., None]
"""Takes the name of a mutant, the case or cases that must notice it, how it breaks the verb, and what it needs."""


class MutantTable:
    """The mutants of one module that break a single verb by a single expression."""

    def __init__(self, module: str, base: type[Mutant] | type[StoreMutant] = Mutant) -> None:
        self._module = module
        self._base = base

    def given(self, verb: str) -> Row:
        """Rows that change what the verb is given last: each item of a batch, or one object; None leaves it out."""
        return partial(self._add, verb, _given)

    def answer(self, verb: str) -> Row:
        """Rows that change what the verb answers."""
        return partial(self._add, verb, _answer)

    def instead(self, verb: str) -> Row:
        """Rows that call something else in place of the verb, with the real driver or store before its arguments."""
        return partial(self._add, verb, _instead)

    def variant(self, base: type[Mutant] | type[StoreMutant], name: str, noticed_by: str, **members: Any) -> None:
        """A row for a class that takes its mistake from its members."""
        self._define(name, base, {"noticed_by": (noticed_by,), **members})

    def _add(
        self,
        verb: str,
        breaks: Callable[[str, Callable[..., Any]], object],
        name: str,
        noticed_by: str | tuple[str, ...],
        how: Callable[..., Any],
        needs: str = "",
    ) -> None:
        cases = (noticed_by,) if isinstance(noticed_by, str) else noticed_by
        self._define(name, self._base, {verb: breaks(verb, how), "noticed_by": cases, "needs": needs})

    def _define(self, name: str, base: type[Mutant] | type[StoreMutant], members: dict[str, Any]) -> None:
        # A mutant in a child process is found by the name of its module and its own, as any class is.
        setattr(sys.modules[self._module], name, type(name, (base,), {**members, "__module__": self._module}))


def _given(verb: str, change: Callable[[Any], Any]) -> object:
    async def broken(self: Any, *arguments: Any, **options: Any) -> Any:
        *first, last = arguments
        if isinstance(last, list | tuple):
            last = [changed for changed in map(change, last) if changed is not None]
        else:
            last = change(last)
        return await getattr(self.inner, verb)(*first, last, **options)

    return broken


def _answer(verb: str, change: Callable[[Any], Any]) -> object:
    async def broken(self: Any, *arguments: Any, **options: Any) -> Any:
        return change(await getattr(self.inner, verb)(*arguments, **options))

    return broken


def _instead(verb: str, other: Callable[..., Any]) -> object:
    def broken(self: Any, *arguments: Any, **options: Any) -> Any:
        return other(self.inner, *arguments, **options)

    return broken
