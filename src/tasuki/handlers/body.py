"""How a decoded value becomes the type that a function declares, which types that can be, and converters for more."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.errors import HandlerError, InvalidBodyError, TasukiError


class Converter(NamedTuple):
    """``to``: a value as plain data; ``from_``: plain data as a value, ValueError or TypeError for any other data."""

    to: Callable[[Any], Any]
    from_: Callable[[Any], Any]


_converters: dict[type, Converter] = {}
"""Of this process, as the codecs are: a body says nothing about the app that it is from."""


def register(type_: type, to: Callable[[Any], Any], from_: Callable[[Any], Any]) -> None:
    """Let bodies carry a type; the same again is the same.

    Raises:
        TasukiError: bodies carry it already, or another converter does.
    """
    known = _converters.get(type_)
    if known is None and not is_custom(type_):
        raise TasukiError(f"bodies carry {type_.__qualname__} as it is: a converter would never be called")
    if known is not None and [*map(_place, known)] != [_place(to), _place(from_)]:
        raise TasukiError(f"{type_.__qualname__} has another converter: {' and '.join(map(_place, known))}")
    _converters[type_] = Converter(to, from_)


def forget(type_: type) -> None:
    """Undo ``register``."""
    _converters.pop(type_, None)


def is_custom(type_: type) -> bool:
    """Whether a type is none that bodies carry by themselves."""
    return isinstance(msgspec.inspect.type_info(type_), msgspec.inspect.CustomType) and not issubclass(type_, PurePath)


def is_converted(type_: Any) -> bool:
    """Whether a custom type can be a body, or a part of one."""
    return isinstance(type_, type) and (type_ in _converters or issubclass(type_, PurePath))


def has_converter(value: object) -> bool:
    """Whether a converter of the user's own writes this value."""
    return any(base in _converters for base in type(value).__mro__)


def to_plain(value: Any) -> Any:
    """What msgspec does not know as something that it knows: a path, a type with a converter, a pydantic model.

    Raises:
        TypeError: it is none of these.
    """
    kind = type(value)
    for base in kind.__mro__ if _converters else ():
        if base in _converters:
            return _converters[base].to(value)
    if isinstance(value, PurePath):
        return str(value)
    dump = getattr(kind, "model_dump", None)
    if dump is None:
        if isinstance(value, type):
            raise TypeError(f"a body cannot carry the class {value.__qualname__} itself; write {value.__qualname__}(…)")
        raise TypeError(
            f"a body cannot carry a {kind.__qualname__}; give its type a converter: app.converter({kind.__name__}, …)"
        )
    return dump(value, mode="json", by_alias=True)


def from_plain(type_: type, value: Any) -> Any:
    """The opposite. Raises ValueError or TypeError, which msgspec makes a ValidationError."""
    if (converter := _converters.get(type_)) is not None:
        return converter.from_(value)
    if issubclass(type_, PurePath):
        if not isinstance(value, str):
            raise TypeError(f"Expected a path as `str`, got `{type(value).__name__}`")
        return type_(value)
    raise TypeError(f"{type_.__qualname__} has no converter")


def _place(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"


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
