"""hash: digests, with a key or without. See hash.lua for the functions of scripts.

================  ================================  ===================================
operation         arguments                         returns
================  ================================  ===================================
``hash.digest``   algorithm, data, raw              hexadecimal digits; raw: the bytes
``hash.hmac``     algorithm, data, secret, raw      the same
================  ================================  ===================================
"""

from __future__ import annotations

import hashlib
import hmac

from tasuki.contracts.handler import Context

NAME = "hash"


def digest(_: Context, algorithm: str, data: str | bytes, raw: bool) -> str | bytes:
    """The digest of some bytes; a text is UTF-8."""
    found = hashlib.new(algorithm, _bytes(data), usedforsecurity=False)
    return found.digest() if raw else found.hexdigest()


def keyed(_: Context, algorithm: str, data: str | bytes, secret: str | bytes, raw: bool) -> str | bytes:
    """The HMAC of some bytes."""
    found = hmac.new(_bytes(secret), _bytes(data), algorithm)
    return found.digest() if raw else found.hexdigest()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


OPERATIONS = {"hash.digest": digest, "hash.hmac": keyed}
