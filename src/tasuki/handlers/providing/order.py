"""Order: which providers a function needs, and in which order; pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from tasuki.errors import HandlerError
from tasuki.handlers.providing.provider import Provider

Known = Mapping[Any, Provider]
"""Providers by their types."""


def order_of(needed: Iterable[Any], known: Known, made: Container[Any] = ()) -> list[Provider]:
    """The providers of the needed types, each after those that it needs; not those ``made`` in another way.

    Raises:
        HandlerError: they need each other in a circle, or one of scope process needs one of scope message.
    """
    order: dict[str, Provider] = {}

    def add(type_: Any, path: tuple[Provider, ...]) -> None:
        provider = known.get(type_)
        if provider is None or type_ in made or provider.id in order:
            return
        if provider in path:
            raise HandlerError(circle_problem([*path[path.index(provider) :], provider]), kind="Invalid")
        if path and (problem := scope_problem(path[-1], provider)):
            raise HandlerError(problem, kind="Invalid")
        for inner in provider.needed:
            add(inner, (*path, provider))
        order[provider.id] = provider

    for type_ in needed:
        add(type_, ())
    return list(order.values())


def circles(known: Known) -> Iterator[list[Provider]]:
    """Each circle of providers once: it begins and ends with the same one."""
    seen: set[frozenset[str]] = set()
    for provider in known.values():
        circle = _circle_from(provider, known)
        if circle and (ids := frozenset(each.id for each in circle)) not in seen:
            seen.add(ids)
            yield circle


def _circle_from(start: Provider, known: Known) -> list[Provider]:
    """The way from a provider to itself; empty: there is none."""
    todo, seen = [[start]], set()
    while todo:
        path = todo.pop()
        for type_ in path[-1].needed:
            provider = known.get(type_)
            if provider is start:
                return [*path, start]
            if provider is not None and provider.id not in seen:
                seen.add(provider.id)
                todo.append([*path, provider])
    return []


def circle_problem(circle: list[Provider]) -> str:
    """The problem of a circle, and the remedy."""
    if len(circle) == 2:
        return f"{circle[0].place} needs itself; remove the parameter"
    way = " → ".join(repr(provider.id) for provider in circle)
    return f"{circle[0].place} needs itself: {way}; remove one of these parameters"


def scope_problem(outer: Provider, inner: Provider) -> str:
    """Why one may not need the other, and the remedy; empty: it may."""
    if outer.scope == "process" and inner.scope == "message":
        return (
            f"{outer.place} is made once for all messages, and needs {inner.id!r}, which is made for one; "
            f'give {outer.id!r} scope="message", or {inner.id!r} scope="process"'
        )
    return ""


def sync_problem(place: str, order: Iterable[Provider]) -> str:
    """Why a plain function cannot be given these, and the remedy; empty: it can."""
    for provider in order:
        if provider.is_async:
            return (
                f"{place} runs in a thread, and cannot be given what the async provider {provider.id!r} makes on the "
                "event loop; write it with 'async def', or the provider with 'def'"
            )
    return ""
