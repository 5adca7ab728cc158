"""What a provider's signature says: the type that it provides, how it is called, and its mistakes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Annotated, Any, NewType

import pytest

from tasuki import Context, Message
from tasuki.errors import HandlerError
from tasuki.handlers.providing.order import circles, order_of
from tasuki.handlers.providing.provider import Provider, Scope, read_provider, type_of

Dsn = NewType("Dsn", str)
Url = Annotated[str, "url"]


class Engine: ...


class Session:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine


def plain() -> Engine:
    return Engine()


async def awaited() -> Engine:
    return Engine()


def yields() -> Iterator[Engine]:
    yield Engine()


def generates() -> Generator[Engine, None, None]:
    yield Engine()


async def yields_async() -> AsyncIterator[Engine]:
    yield Engine()


managed = contextmanager(yields)
managed_async = asynccontextmanager(yields_async)


def gives_manager() -> AbstractContextManager[Engine]:
    return contextlib.nullcontext(Engine())


async def gives_async_manager() -> AbstractAsyncContextManager[Engine]:
    return contextlib.nullcontext(Engine())


@pytest.mark.parametrize(
    ("function", "is_called_async", "enters"),
    [
        (plain, False, ""),
        (awaited, True, ""),
        (yields, False, "sync"),
        (generates, False, "sync"),
        (yields_async, False, "async"),
        (managed, False, "sync"),
        (managed_async, False, "async"),
        (gives_manager, False, "sync"),
        (gives_async_manager, True, "async"),
        (Engine, False, ""),
    ],
)
def test_reads_how_a_provider_is_called(function: Callable[..., Any], is_called_async: bool, enters: str) -> None:
    provider = read_provider("app:it", function, "process", {Engine})
    assert (provider.type_, provider.is_called_async, provider.enters) == (Engine, is_called_async, enters)


def test_a_class_is_a_provider_of_itself_and_is_given_what_its_constructor_takes() -> None:
    provider = read_provider("app:it", Session, "process", {Engine, Session})
    assert (provider.type_, provider.needed) == (Session, [Engine])


def dsn() -> Dsn:
    return Dsn("x")


def url() -> Url:
    return "x"


def test_a_new_type_and_an_annotated_one_are_types_of_their_own() -> None:
    assert (type_of(dsn), type_of(url)) == (Dsn, Url)


def says_nothing():  # type: ignore[no-untyped-def]
    return Engine()


def says_text() -> str:
    return ""


def says_dict() -> dict[str, int]:
    return {}


def yields_none() -> Engine:  # type: ignore[misc]
    yield Engine()


def unresolved() -> Elsewhere:  # type: ignore[name-defined]  # noqa: F821
    return Engine()


def takes_context(context: Context) -> Engine:
    return Engine()


def takes_message(message: Message) -> Engine:
    return Engine()


def takes_unknown(number: int) -> Engine:
    return Engine()


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (says_nothing, "does not say what it provides; annotate its result"),
        (says_text, r"provides str, which bodies and arguments are too; .*Annotated\[str, …\]"),
        (says_dict, r"provides dict\[str, int\], which bodies"),
        (yields_none, r"yields, and its result is annotated as .*Engine; annotate it as Iterator"),
        (unresolved, r"cannot resolve the annotation of its result .*Elsewhere.*; define or import"),
        (takes_context, "parameter 'context' is the context of one; .*scope=\"message\""),
        (takes_message, "parameter 'message' is the message of one"),
        (takes_unknown, r"has a parameter 'number' \(int\) that nothing provides; declare a provider"),
    ],
)
def test_refuses_what_cannot_be_a_provider_by_name_place_and_remedy(function: Any, problem: str) -> None:
    with pytest.raises(HandlerError, match=rf"test_provider\.py:\d+: function '{function.__name__}' .*{problem}"):
        read_provider("app:it", function, "process", {Engine})


def test_a_provider_for_a_message_may_take_it() -> None:
    assert read_provider("app:it", takes_context, "message", ()).scope == "message"


class A: ...


class B: ...


class C: ...


def make_a(b: B) -> A:
    return A()


def make_b(c: C) -> B:
    return B()


def make_c(a: A) -> C:
    return C()


def first() -> C:
    return C()


def known(*functions: Callable[..., Any], **scopes: Scope) -> dict[Any, Provider]:
    types = {type_of(each) for each in functions}
    made = [read_provider(each.__name__, each, scopes.get(each.__name__, "process"), types) for each in functions]
    return {each.type_: each for each in made}


def test_makes_what_is_needed_first_and_each_once() -> None:
    assert [each.id for each in order_of([A, B], known(make_a, make_b, first))] == ["first", "make_b", "make_a"]


def test_does_not_make_what_only_a_replaced_one_needs() -> None:
    assert [each.id for each in order_of([A], known(make_a, make_b, first), {B})] == ["make_a"]


def test_finds_each_circle_once() -> None:
    [circle] = circles(known(make_a, make_b, make_c))
    assert [each.id for each in circle] == ["make_a", "make_b", "make_c", "make_a"]
    with pytest.raises(HandlerError, match="needs itself: 'make_b' → 'make_c' → 'make_a' → 'make_b'; remove one"):
        order_of([B], known(make_a, make_b, make_c))
    assert list(circles(known(make_a, make_b, first))) == []


def test_one_of_the_process_cannot_need_one_of_a_message() -> None:
    with pytest.raises(HandlerError, match="'make_b' is made once for all messages, and needs 'first', which"):
        order_of([A], known(make_a, make_b, first, first="message"))
