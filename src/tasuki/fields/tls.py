"""The ``tls`` of a driver: encryption, trusted certificates, and the client's own certificate, as PEM or in files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import BeforeValidator, SecretStr, model_validator

from tasuki.fields.types import Config, Flag, Text, VariableName, at_field

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
