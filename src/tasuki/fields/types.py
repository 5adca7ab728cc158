"""Types of fields: durations, sizes, numbers, flags, secrets, ids, TLS; the model of all settings; kinds of entries."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from tasuki.ids import resolve_id
from tasuki.scalars import settle
from tasuki.units import parse_duration, parse_size

DRIVER_PREFIX = "queue.driver."


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


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entry. A package adds one as an entry point of group ``tasuki.kinds``, named like the kind."""

    name: str
    model: type[Config]
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields that hold ids: dotted path (``*``: each item) → the kinds or families they may point to (none: any)."""


class NoOptions(Config):
    """A driver without options of this sort."""


class LengthOptions(Config):
    """Options of a queue whose driver bounds it itself."""

    max_length: Count | None = None
    """Most messages the queue may hold; 0: no limit."""


@dataclass(frozen=True, slots=True)
class DriverKind(Kind):
    """A kind of driver. A package adds one as an entry point of group ``tasuki.drivers``, named like its short name.

    ``model`` is the settings that the driver is made with, each with its type, default, unit and text: an entry
    also has the fields of every driver (``durability``, ``lifecycle``).
    """

    contract: int = 0
    """The edition of the contract that the class keeps (``tasuki.contracts.driver.CONTRACT`` when it was written).

    A kind of another package must name it, as a number; those built in keep the edition that they come with.
    """
    driver: str = ""
    """Import path of the class, such as ``my_package.driver:MyDriver``; called with name, settings, clock."""
    client: str = ""
    """Import name of the package that it needs, which is the extra of its short name; empty: none."""
    queue_options: type[Config] = NoOptions
    consumer_options: type[Config] = NoOptions
    too_long: Callable[[Any, Any, float], str] | None = None
    """Why a queue's messages cannot have this delay in seconds, by its driver's settings and its own; or empty."""
    clash: Callable[[Any], tuple[str, str] | None] | None = None
    """Which field of a queue its driver cannot keep beside others of it, and why; None: it keeps them all."""
    place: Callable[[Any, Path], Hashable] | None = None
    """Where queues are, by the driver's settings and the project's folder: drivers with equal places share them.

    None: each entry has its own.
    """

    in_clear: Callable[[Any], Sequence[str]] | None = None
    """The hosts beyond this machine to which a password goes unencrypted, by the driver's settings; None: nowhere."""

    @property
    def short_name(self) -> str:
        """``memory`` for ``queue.driver.memory``: what its bag in ``driver_options`` is called."""
        return self.name.removeprefix(DRIVER_PREFIX)


_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


def is_pem(text: str) -> bool:
    """Whether this is PEM text, and not the path of a file that holds some."""
    return _BEGIN.search(text) is not None


def has_block(text: str, label: str) -> bool:
    """Whether PEM text has a block whose label ends so: ``CERTIFICATE``, ``PRIVATE KEY``."""
    return any(found.endswith(label) for found in _BEGIN.findall(text))


@contextmanager
def as_file(pem: str | None) -> Iterator[str | None]:
    """The path of a file with this PEM text, which only the owner can read and which exists within the block.

    A path is returned as it is, and so is None. OpenSSL reads a client's certificate and key from files alone.
    """
    if pem is None or not is_pem(pem):
        yield pem
        return
    with tempfile.NamedTemporaryFile("w", prefix="tasuki-", suffix=".pem", encoding="utf-8") as file:
        file.write(pem)
        file.flush()
        yield file.name


def _pem(label: str) -> Callable[[object], object]:
    """A path of a file stays as it is; text, in the entry or of ``file://``, must have a block of this label."""

    def read(value: object) -> object:
        text = getattr(value, "text", value)  # of a file:// the loader has read the text
        is_text = text is not value or (isinstance(text, str) and is_pem(text))
        if is_text and not has_block(str(text), label):
            raise ValueError(f"the text contains no {label.lower()} in PEM form")
        return text

    return read


def _key(value: object) -> SecretStr:
    # Checked here, because pydantic's errors would show the value.
    if not isinstance(value, str) or not value:
        raise ValueError("expected a file, or PEM text; take the text from ${env:NAME}")
    return SecretStr(str(value))


Certificates = Annotated[Text, BeforeValidator(_pem("CERTIFICATE"), json_schema_input_type=str)]
"""Path of a PEM file, or PEM text."""


Key = Annotated[
    SecretStr,
    BeforeValidator(_key, json_schema_input_type=str),
    BeforeValidator(_pem("PRIVATE KEY"), json_schema_input_type=str),
]
"""The same for a private key."""


class TlsConfig(Config):
    """How a connection is encrypted.

    Certificates and keys are PEM: the path of a file (from the project's folder), file://x as for sources, or the text
    itself, best from ${env:NAME}.
    """

    enabled: Flag = True
    """Whether to encrypt."""
    server_name: Text | None = None
    """The name that the broker's certificate must have; the host of the address if not given."""
    cert: Certificates | None = None
    """The client's certificate: a file, or PEM text."""
    key: Key | None = None
    """The client's key: a file, or PEM text."""
    ca: Certificates | None = None
    """The certificates to trust: a file, or PEM text; the system's if not given."""
    cert_env: VariableName = None
    """Variable that holds the certificate: the older way to write cert: ${env:NAME}."""
    key_env: VariableName = None
    """Variable that holds the key, likewise."""
    ca_env: VariableName = None
    """Variable that holds the certificates to trust, likewise."""
    insecure_skip_verify: Flag = False
    """Trust any certificate; for development. The driver warns of it when it is made."""

    @model_validator(mode="after")
    def _a_certificate_has_a_key(self) -> TlsConfig:
        if (self.cert is None) != (self.key is None):
            raise at_field("cert", "cert and key belong together: give both, or neither")
        return self


def check_agreement(tls: TlsConfig | None, address: str, *, is_encrypted: bool) -> None:
    """Return unless ``tls`` and the address of one entry contradict each other.

    ``address`` is the part of the address that decides, such as ``rediss://``; ``is_encrypted``: what it says.

    Raises:
        PydanticCustomError: they do.
    """
    if tls is not None and tls.enabled != is_encrypted:
        says = "true" if tls.enabled else "false"
        raise at_field("tls", f"tls: enabled: {says} contradicts {address} in the address; change one of them")
