import dataclasses
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NewType, TypedDict

import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.handlers.body import check_type, make_converter, make_decoder, uses_pydantic
from tests.unit.handlers.codec import JsonCodec


class Struct(msgspec.Struct):
    id: int
    child: "Struct | None" = None


@dataclasses.dataclass
class Data:
    id: int


class Typed(TypedDict):
    id: int


class Named(NamedTuple):
    id: int


class Model(pydantic.BaseModel):
    id: int


@pydantic.dataclasses.dataclass
class PydanticData:
    id: int


class Custom:
    id: int


class HoldsCustom(msgspec.Struct):
    customs: list[Custom]


UserId = NewType("UserId", int)
GOOD = [Struct, Data, Typed, Model, PydanticData]


@pytest.mark.parametrize(
    "type_",
    [
        *GOOD, Named, Any, int, UserId, list[Struct], dict[str, Data], Struct | None,
        Literal["a", "b"], tuple[int, str], Decimal, bytes, list[Model], Model | None,
    ],
)  # fmt: skip
def test_good_types(type_: Any) -> None:
    check_type(type_)


@pytest.mark.parametrize("type_", [Custom, HoldsCustom, list[Custom], dict[str, Custom | None]])
def test_types_that_no_body_can_become(type_: Any) -> None:
    with pytest.raises(HandlerError, match=r"cannot become Custom; use a msgspec\.Struct") as caught:
        check_type(type_)
    assert caught.value.kind == "Invalid"


@pytest.mark.parametrize("type_", [Struct | Data, [int], "text"])
def test_types_that_cannot_be_told_apart_or_are_none(type_: Any) -> None:
    with pytest.raises(HandlerError, match="cannot become"):
        check_type(type_)


@pytest.mark.parametrize("type_", GOOD)
def test_decoding(type_: Any) -> None:
    decode = make_decoder(JsonCodec(), type_)
    value = decode(b'{"id": 5}')
    assert isinstance(value, dict if type_ is Typed else type_)
    assert value == make_converter(type_)({"id": 5})
    with pytest.raises(InvalidBodyError):
        decode(b'{"id": "five"}')
    with pytest.raises(CodecError):
        decode(b"{")


def test_pydantic_within_a_generic() -> None:
    assert make_decoder(JsonCodec(), list[Model])(b'[{"id": 1}]') == [Model(id=1)]


def test_pydantic_errors_name_the_place_but_not_the_value() -> None:
    with pytest.raises(InvalidBodyError) as caught:
        make_decoder(JsonCodec(), Model)(b'{"id": "hunter2"}')
    assert str(caught.value).startswith("id: Input should be a valid integer")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InvalidBodyError, match=r"^body: "):
        make_decoder(JsonCodec(), Model)(b"5")


@pytest.mark.parametrize("type_", GOOD)
def test_converting_arguments(type_: Any) -> None:
    convert = make_converter(type_)
    value = convert({"id": 5})
    assert convert(value) == value
    with pytest.raises(InvalidBodyError):
        convert({"id": "five"})


def test_any_argument_stays_as_it_is() -> None:
    value = object()
    assert make_converter(Any)(value) is value


def test_without_pydantic_nothing_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "pydantic")
    assert not uses_pydantic(Struct)
