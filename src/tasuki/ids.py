"""Ids of entries, ``namespace:name``, and the names in them: of any language, as Python's own."""

from __future__ import annotations

import re
from hashlib import sha256
from unicodedata import is_normalized, normalize

LONGEST_NAME = 255
"""Bytes of a name in UTF-8: RabbitMQ takes no longer one for a queue."""
NAME_HINT = "use letters and digits of any language, '_', '-' and '.', at most 255 bytes, not '-' or '.' first"
_MARK = 8
_OTHER = re.compile(r"[^\w.-]+")


def resolve_id(reference: str, namespace: str) -> str:
    """The full id of a reference: a bare name is of the referring entry's own namespace."""
    return reference if ":" in reference else f"{namespace}:{reference}"


def is_name(text: str) -> bool:
    """Whether a text can be the name of an entry, of a queue at its broker, or a namespace.

    Its characters are the ones of identifiers (also accents and vowel signs, but nothing invisible), ``-`` and ``.``,
    composed (NFC), so that two names that look the same are the same.
    """
    if not text or text[0] in "-." or not text.isprintable() or not is_normalized("NFC", text):
        return False  # identifiers of Python 3.13 may have an invisible joiner
    return f"_{text.replace('-', '').replace('.', '')}".isidentifier() and len(text.encode()) <= LONGEST_NAME


def name_for(text: str, before: str = "") -> str:
    """A name for any text, behind a part of a name: the text if it is one, else its letters and a part of its hash.

    So two texts never share one, and the name of a text is the same in each process.
    """
    if is_name(f"{before}{text}") and is_name(text):
        return f"{before}{text}"
    mark = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
    left = _OTHER.sub("-", normalize("NFC", text)).strip("-.")
    while left and not is_name(f"{before}{left}-{mark}"):
        left = left[:-1]
    return f"{before}{left}-{mark}" if left else f"{before}{mark}"
