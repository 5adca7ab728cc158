"""Secret names: which fields hold a secret, by their names; one table for values and for texts."""

from __future__ import annotations

import re
from functools import lru_cache

_NAME = re.compile(
    r"""(?x)
    password | passwd | passphrase | passcode  # anywhere: user_password_hash, passwords, passwordRepeat
    | (?:
        (?<![a-z])pass | pwd | secrets? | token | credentials? | cookies? | authorization | (?<![a-z])auth | signature
        | dsn | jwts? | connection_?string | sess(?:ion)?_?ids? | session_?cookies?
        | (?:access|refresh|auth|api|session|bearer|csrf)_?tokens
        | (?:api|access|secret|private|ssh|account|signing|encryption|master|shared|auth|session)_?keys?(?:_?ids?)?
    ) $
    """
)
_UNTELLING = re.compile(
    r"(?<!connection)_(?:values?|hash(?:e[sd])?|texts?|plain|raw|strings?|encrypted|encoded|headers?|pem|b64|base64|live)$|_?\d+$"
)
"""Ends of names that say nothing of what the field is for: ``secret_value``, ``token_2``."""
_LONGEST = 256
"""Characters of a name that are looked at, from its end."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[\W_]+")
_ESCAPED = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    if "\\" in name:
        name = _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), name)
    words = _BETWEEN.sub("_", _HUMP.sub("_", name)).casefold().strip("_")
    while (shorter := _UNTELLING.sub("", words)) != words:
        words = shorter
    return _NAME.search(words) is not None


def is_secret_name(name: str) -> bool:
    """Whether a field of this name (``password``, ``apiKeys``, ``db_token``) holds a secret."""
    if len(name) <= _LONGEST:
        return _is_secret(name)
    return "passw" in name.casefold() or _is_secret(name[-_LONGEST:])


def may_have_secret_names(folded: str) -> bool:
    """Whether a case-folded text can have a secret name in it, unescaped: most texts need no slow search."""
    return (  # not a loop: errors are searched a few times each
        "pass" in folded or "pwd" in folded or "secret" in folded or "token" in folded or "credential" in folded
        or "cookie" in folded or "auth" in folded or "signature" in folded or "dsn" in folded or "jwt" in folded
        or "key" in folded or "sess" in folded or ("connection" in folded and "string" in folded)
    )  # fmt: skip
