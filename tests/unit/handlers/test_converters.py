"""Types of the user's own in bodies: paths, and what a converter is registered for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import msgspec
import pytest

from tasuki import App
from tasuki.errors import CodecError, HandlerError, InvalidBodyError, TasukiError
from tasuki.handlers import body
from tasuki.handlers.body import check_type, make_converter
from tasuki.queues.messages.codec import JsonCodec, MsgpackCodec

CODECS = [JsonCodec(), MsgpackCodec()]


class Money:
    def __init__(self, text: str) -> None:
        amount, _, self.currency = text.partition(" ")
        self.amount = int(amount)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]


class Price(Money): ...


@dataclass
class Order:
    file: Path
    total: Money


@pytest.fixture(autouse=True)
def money() -> Iterator[None]:
    App("memory://").converter(Money, str, Money)
    yield
    body.forget(Money)
    body.forget(Price)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("type_", [Path, PurePath, PurePosixPath])
def test_paths_are_carried_as_texts(codec: Any, type_: Any) -> None:
    data = codec.encode({"file": type_("a/b")})
    assert codec.decoder()(data) == {"file": "a/b"}
    assert codec.decoder(dict[str, type_])(data) == {"file": type_("a/b")}


@pytest.mark.parametrize("codec", CODECS)
def test_a_type_with_a_converter_is_carried_as_what_it_makes(codec: Any) -> None:
    order = Order(Path("x"), Money("5 EUR"))
    data = codec.encode(order)
    assert codec.decoder()(data) == {"file": "x", "total": "5 EUR"}
    assert codec.decoder(Order)(data) == order
    assert codec.encode(Order(Path("x"), Price("5 EUR"))) == data
    check_type(list[Order])
    assert make_converter(Order)({"file": "x", "total": "5 EUR"}) == order


@pytest.mark.parametrize(
    ("body", "problem"), [({"file": 1, "total": "5 EUR"}, "a path"), ({"file": "x", "total": "x"}, "invalid literal")]
)
def test_what_does_not_convert_is_invalid(body: Any, problem: str) -> None:
    for read in (make_converter(Order), lambda value: JsonCodec().decoder(Order)(JsonCodec().encode(value))):
        with pytest.raises(InvalidBodyError, match=problem):
            read(body)


def test_without_a_converter_the_error_says_what_to_write() -> None:
    body.forget(Money)
    with pytest.raises(CodecError, match=r"a body cannot carry a Money; .*app\.converter\(Money, …\)"):
        JsonCodec().encode(Money("1 EUR"))
    with pytest.raises(HandlerError, match=r"a body cannot become Money; .*app\.converter\(Money, …\)"):
        check_type(list[Money])


def test_a_converter_that_would_not_be_called_or_another_one_is_refused() -> None:
    app = App("memory://")
    app.converter(Money, str, Money)  # the same again is the same
    with pytest.raises(TasukiError, match="Money has another converter: builtins"):
        app.converter(Money, repr, Money)
    for type_ in (int, Order, Path):
        with pytest.raises(TasukiError, match=r"bodies carry .* as it is"):
            app.converter(type_, str, type_)  # type: ignore[arg-type]


def test_not_a_number_within_a_converted_body_is_found() -> None:
    with pytest.raises(CodecError, match="not finite"):
        JsonCodec().encode({"file": Path("x"), "n": float("nan")})
    assert msgspec.json.decode(JsonCodec().encode({"file": Path("x"), "n": None})) == {"file": "x", "n": None}
