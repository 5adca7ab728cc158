"""PEM: certificates and keys as text, in a file or in the configuration itself."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

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
