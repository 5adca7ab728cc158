"""How a decoded value becomes the type that a function declares, and which types that can be."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.errors import HandlerError, InvalidBodyError
from tasuki.handlers.converters import from_plain, is_converted, to_plain

_NO_BODY_TYPE = (
    "a body cannot become {type}; use a msgspec.Struct, dataclass, TypedDict, NamedTuple, pydantic model or builtin "
    "types, or give it a converter: app.converter({name}, …)"
)


def check_type(type_: Any) -> None:
    """Refuse a type that no body can become.

    Raises:
        HandlerError: the type and the ones it may be.
    """
    if isinstance(type_, str):
        raise HandlerError(f"a body cannot become the text {type_!r}; write the type itself", kind="Invalid")
    if uses_pydantic(type_):
        _validator(type_)
        return
    try:
        custom = _find_custom(msgspec.inspect.type_info(type_))
        msgspec.convert(None, type_, dec_hook=from_plain)
    except msgspec.ValidationError:
        pass  # a good type, for which None is no value
    except Exception as error:
        raise HandlerError(f"a body cannot become {_name(type_)}: {error}", kind="Invalid") from error
    if custom is not None:
        raise HandlerError(
            _NO_BODY_TYPE.format(type=_name(custom), name=getattr(custom, "__name__", custom)), kind="Invalid"
        )


def make_decoder(codec: Codec, type_: Any) -> Callable[[bytes], Any]:
    """A function from bytes to the type; raises what ``Codec.decoder`` raises."""
    if not uses_pydantic(type_):
        return codec.decoder(type_)
    decode, validate = codec.decoder(), _validator(type_)
    return lambda data: validate(decode(data))


def make_converter(type_: Any) -> Callable[[Any], Any]:
    """A function from a decoded value to the type, for arguments of a call.

    It raises InvalidBodyError for a value that does not fit.
    """
    if type_ is Any:
        return lambda value: value
    if uses_pydantic(type_):
        return _validator(type_)

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, type_, dec_hook=from_plain)
        except msgspec.ValidationError as error:
            raise InvalidBodyError(str(error), kind="Invalid", retryable=False) from error

    return convert


def make_reader(type_: Any) -> Callable[[Any], Any]:
    """A function from a value to be sent to what a handler of this type will get.

    It raises InvalidBodyError for a value that does not fit, or that cannot be sent at all.
    """
    convert = make_converter(type_)

    def read(value: Any) -> Any:
        try:
            plain = msgspec.to_builtins(value, enc_hook=to_plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidBodyError(str(error), kind="Invalid", retryable=False) from error
        return convert(plain)

    return read


def uses_pydantic(type_: Any) -> bool:
    """Whether the type is or contains a pydantic model. Imports nothing: where there is one, pydantic is there."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return False
    if isinstance(type_, type) and (
        issubclass(type_, pydantic.BaseModel) or pydantic.dataclasses.is_pydantic_dataclass(type_)
    ):
        return True
    return any(uses_pydantic(inner) for inner in typing.get_args(type_))


def _validator(type_: Any) -> Callable[[Any], Any]:
    import pydantic

    validate = pydantic.TypeAdapter(type_).validate_python

    def convert(value: Any) -> Any:
        try:
            return validate(value)
        except pydantic.ValidationError as error:
            raise InvalidBodyError(_summary(error), kind="Invalid", retryable=False) from error

    return convert


def _summary(error: Any) -> str:
    """One line for each problem, without the value: it may be large, or secret."""
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(problems)


def _find_custom(info: Any) -> Any:
    """The first class within a type that msgspec can only compare with, not build; None: there is none."""
    stack, seen = [info], set()
    while stack:
        node = stack.pop()
        if isinstance(node, msgspec.inspect.CustomType):
            if not is_converted(node.cls):
                return node.cls
        elif isinstance(node, tuple | list):
            stack.extend(node)
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
            seen.add(id(node))
            stack.extend(getattr(node, name) for name in node.__struct_fields__ if name not in ("default", "cls"))
    return None


def _name(type_: Any) -> str:
    return getattr(type_, "__qualname__", None) or str(type_)
