"""Keys: names of the objects of a document, which every tool can put into a ``$ref``."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

LONGEST = 80
"""Characters of a key."""
_MARK = 8
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,80}", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def keys_of(wanted: Mapping[K, str]) -> dict[K, str]:
    """A key for each object: ``app.mails`` for the wanted ``app:mails``. No two objects get the same key.

    A text with other characters than letters, digits, ``.``, ``_`` and ``-``, a text longer than 80 characters, and a
    text that two objects want get a part of the hash of the object's identity. So a key changes only with its object,
    or when another object wants the same text.
    """
    texts = {id: text.replace(":", ".") for id, text in wanted.items()}
    counts = Counter(texts.values())
    keys = {id: text for id, text in texts.items() if counts[text] == 1 and _PLAIN.fullmatch(text)}
    taken = set(keys.values())
    for id, text in texts.items():
        if id not in keys:
            keys[id] = _marked(text, repr(id), taken)
            taken.add(keys[id])
    return {id: keys[id] for id in wanted}


def _marked(text: str, identity: str, taken: set[str]) -> str:
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    plain = _OTHER.sub("_", text)
    marked = (f"{plain[: LONGEST - size - 1]}-{digest[:size]}" for size in range(_MARK, len(digest)))
    return next(key for key in marked if key not in taken)
