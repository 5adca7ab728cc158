"""The types of fields in YAML: durations, sizes, numbers, references, sources; and the model that all configs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from tasuki.registry.entry import resolve_id
from tasuki.registry.source import Source
from tasuki.registry.yaml.scalars import settle
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
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True, arbitrary_types_allowed=True)
    # Names that people try for a field, and the hint that they get: what this format calls it, or where it stands.
    other_names: ClassVar[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class NotHonored:
    """Metadata of a field that the format has and the driver cannot honor; any value but the default is warned of."""

    reason: str
    """Why, and the replacement."""


def at_field(field: str, problem: str) -> PydanticCustomError:
    """The error of a check over several fields, to be shown at one of them."""
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


def _full_id(value: str, info: ValidationInfo) -> str:
    return resolve_id(value, (info.context or {}).get("namespace", ""))


def _source(value: object) -> object:
    return Source(value) if isinstance(value, str) else value


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
Id = Annotated[str, Field(min_length=1), AfterValidator(_full_id)]
"""The id of another entry; a bare name is of the same namespace."""
SourceText = Annotated[InstanceOf[Source], BeforeValidator(_source), WithJsonSchema({"type": "string"})]
"""A script: inline text, ``file://x`` (from the YAML file's folder) or ``file:///x`` (from the source root)."""
Refused = SkipJsonSchema[Any]
