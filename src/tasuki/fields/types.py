"""The types of fields: durations, sizes, numbers, flags, secrets, ids; and the model that all settings are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from tasuki.ids import resolve_id
from tasuki.scalars import settle
from tasuki.units import parse_duration, parse_size

_LONGEST = 100 * 365 * 86400.0
_LARGEST = 2**63 - 1

_PLACEHOLDER = {"type": "string", "pattern": r"\$\{env:"}
_DURATION_TEXT = {"type": "string", "pattern": r"^(0|([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h|d))+)$"}
_SIZE_TEXT = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *([bB]|[kKmMgG][iI]?[bB])?$"}
_WHOLE = {"type": "integer", "minimum": 0}


class Config(BaseModel):
    """The checked fields of an entry: immutable, strict about types, and closed to unknown names."""

    # Built when it is first used: a project has entries of few kinds.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        defer_build=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )
    # Names that people try for a field, and the hint that they get: what this format calls it, or where it stands.
    other_names: ClassVar[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class NotHonored:
    """Metadata of a field that the format has and the driver cannot honor; any value but the default is warned of."""

    reason: str
    """Why, and the replacement."""


@dataclass(frozen=True, slots=True)
class InProject:
    """Metadata of a field that names a file of the project."""


def at_field(field: str | int, problem: str) -> PydanticCustomError:
    """The error of a check over several fields, or items of a list, to be shown at one of them."""
    return PydanticCustomError("at_field", "{problem}", {"problem": problem, "field": field})


def _duration(value: object) -> float:
    seconds = parse_duration(settle(value))
    if seconds > _LONGEST:
        raise ValueError(f"{value!r} is longer than 100 years")
    return seconds


def _size(value: object) -> int:
    size = parse_size(settle(value))
    if size > _LARGEST:
        raise ValueError(f"{value!r} is larger than a 64-bit number")
    return size


def _whole(value: object) -> object:
    number = settle(value)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def full_id(value: str, info: ValidationInfo) -> str:
    """The id that a reference of the entry under check means."""
    return resolve_id(value, (info.context or {}).get("namespace", ""))


def _secret(value: object) -> object:
    # Checked here, because pydantic's errors would show the value.
    if value is None or isinstance(value, SecretStr):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text; take it from ${env:NAME}")
    return SecretStr(str(value))


def _path(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def revealed(secret: SecretStr | None) -> str | None:
    """The text of a secret, for the client of a driver alone."""
    return secret.get_secret_value() if secret is not None else None


def refused(reason: str) -> Callable[[object], object]:
    """A validator for a field that the format knows and this version cannot honour: refuses every value."""

    def check(value: object) -> object:
        if value is not None:
            raise ValueError(reason)
        return value

    return check


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"anyOf": [_DURATION_TEXT, {"type": "number", "minimum": 0}, _PLACEHOLDER]}),
]
"""Seconds; written ``500ms``, ``1h30m`` or as a number of seconds."""
PositiveDuration = Annotated[Duration, Field(gt=0)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"anyOf": [_SIZE_TEXT, _WHOLE, _PLACEHOLDER]})]
"""Bytes; written ``256KiB`` or as a number of bytes."""
PositiveSize = Annotated[Size, Field(gt=0)]
_Placeholder = Annotated[str, Field(pattern=r"\$\{env:")]
Count = Annotated[
    int,
    Field(ge=0, le=_LARGEST),
    BeforeValidator(_whole, json_schema_input_type=Annotated[int, Field(ge=0)] | _Placeholder),
]
"""A whole number, 0 or more."""
Positive = Annotated[
    int,
    Field(ge=1, le=_LARGEST),
    BeforeValidator(_whole, json_schema_input_type=Annotated[int, Field(ge=1)] | _Placeholder),
]
"""A whole number, 1 or more."""
Factor = Annotated[
    float,
    Field(ge=1, le=1000),
    BeforeValidator(settle, json_schema_input_type=Annotated[float, Field(ge=1, le=1000)] | _Placeholder),
]
"""A number, 1 or more."""
Share = Annotated[
    float,
    Field(ge=0, le=1),
    BeforeValidator(settle, json_schema_input_type=Annotated[float, Field(ge=0, le=1)] | _Placeholder),
]
"""A number from 0 to 1."""
Flag = Annotated[bool, BeforeValidator(settle, json_schema_input_type=bool | _Placeholder)]
"""true or false, nothing else."""
DurabilityLevel = Literal["memory", "process", "broker", "power", "node"]
"""What a confirmed message survives, from little to much; the words of the driver contract."""
Text = Annotated[str, Field(min_length=1)]
VariableName = Annotated[Text | None, Field(exclude=True)]
"""Of the variable that holds another field's value; the loader has read it into that field."""
Id = Annotated[str, Field(min_length=1), AfterValidator(full_id)]
"""The id of another entry; a bare name is of the same namespace."""
Secret = Annotated[SecretStr, BeforeValidator(_secret, json_schema_input_type=str)]
"""A text that no error, log line or ``repr`` shows."""
ProjectFile = Annotated[Text, BeforeValidator(_path, json_schema_input_type=str), InProject()]
"""Path of a file; a relative one starts at the project's folder."""
Refused = SkipJsonSchema[Any]
