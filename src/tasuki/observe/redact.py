"""Mask secrets in decoded values and in texts: values of telling names, passwords in URLs, bearer tokens, keys.

``masked`` is for values, ``redact`` for texts; for a JSON document both say the same. They err on the side of masking
too much: a value that is cut off is masked whole. No text makes them slow: each part is read a few times at most.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

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


# A name, in quotes or bare, and what parts it from its value. In a text within a text the quotes are escaped.
_NAMED = re.compile(
    r"""(?x)
    (?: (?P<quote>["']) (?P<quoted>[^"'\n:=]{1,256}+) (?P=quote)
      | (?<![\w.$-]) (?P<bare>[\w.$-]++) (?P<late>\\{0,8}["'])?
    )
    \s{0,4} (?: =>? | ==? | :(?!:|//) =? ) \s{0,4}
    """
)

_SCHEME = re.compile(r"(?i)(?:bearer|basic|digest|negotiate|token|apikey)\s{1,4}")

_QUOTE = re.compile(r"""(?<!\\)(\\*+)(["'])""")

_TOKEN = re.compile(r"""(?<!\\)(?P<escapes>\\*+)(?P<quote>["'])|[\[\](){}]""")

_BARE = re.compile(r"""\\{0,8}["']?[^\s,;&{}\[\]()"'\\]++""")

_REST_OF_LINE = re.compile(r"""(?:="[^"\n]*+"|[^\n"'\\])++""")
"""The value of a header, up to the end of the line or of the text around it: all cookies, all parts of a digest."""

_HEADER = re.compile(r"(?i)(?:cookies?|auth|authorization)$")

_BEFORE_PROSE = re.compile(r"(?i)\b(?:an?|no)\s$")

_PROSE = re.compile(r"[a-z]{1,20} [a-z]")
"""A sentence of words: "needs a token: write one into a file"."""

_DEEPEST_QUOTE = 8
"""Most escapes before a quote: texts within texts within texts."""

_MOST_OPEN = 8
"""Containers of one text that may stay open, before all that follows is masked: each was read to the end."""


class _Value(NamedTuple):
    end: int
    """Where it ends in the text."""
    shown: str
    """What stands in its place; empty: it is no secret."""


class Masker:
    """Masks one text; ``mask`` stands for each secret, ``plain`` are bare values in lower case that are none."""

    def __init__(self, text: str, mask: str, plain: frozenset[str]) -> None:
        self._text = text
        self._mask = mask
        self._plain = plain
        self._open = 0

    def masked(self) -> str:
        """The text without the values of telling names."""
        text = self._text
        parts, done, at = [], 0, 0
        while (found := _NAMED.search(text, at)) is not None:
            at = found.end()
            if self._is_telling(found):
                value = self._value(found)
                if value.shown:
                    parts += [text[done:at], value.shown]
                    done = value.end
                at = max(value.end, at)
        return "".join([*parts, text[done:]])

    def _is_telling(self, found: re.Match[str]) -> bool:
        bare: str | None = found["bare"]
        if bare is None:
            return is_secret_name(found["quoted"].rstrip("\\"))
        if is_secret_name(bare):
            return True
        # An escaped line feed, and a name.
        is_escaped = found.start() > 0 and self._text[found.start() - 1] == "\\" and bare[0] in "nrtbfv"
        return is_escaped and is_secret_name(bare[1:])

    def _value(self, found: re.Match[str]) -> _Value:
        at, quote = found.end(), _quote_of(found)
        if not quote and _PROSE.match(self._text, at) and self._is_prose(found.start()):
            return _Value(at, "")
        if not quote and (scheme := _SCHEME.match(self._text, at)) is not None:
            at = scheme.end()
        kept = self._text[found.end() : at]
        if (own := _QUOTE.match(self._text, at)) is not None and len(own[1]) <= _DEEPEST_QUOTE:
            return self._quoted(own, kept)
        if self._text[at : at + 1] in ("{", "[", "("):
            return self._container(at, kept, quote)
        is_header = not quote and ":" in found[0] and _HEADER.search(found["bare"]) is not None
        value = (_REST_OF_LINE if is_header else _BARE).match(self._text, at)
        if value is None or value[0].casefold() in self._plain:
            return _Value(at, "")
        return _Value(value.end(), f"{kept}{quote}{self._mask}{quote}")

    def _is_prose(self, at: int) -> bool:
        """Whether an indefinite article stands before a name: no field has one."""
        return _BEFORE_PROSE.search(self._text[max(at - 4, 0) : at]) is not None

    def _quoted(self, quote: re.Match[str], kept: str) -> _Value:
        """The value is a text in quotes; cut off, it ends with its line."""
        escapes = len(quote[1])
        for other in _QUOTE.finditer(self._text, quote.end()):
            if _closes(other[2], len(other[1]), quote[2], escapes):
                is_empty = other.start() == quote.end()
                return _Value(other.end(), "" if is_empty else f"{kept}{quote[0]}{self._mask}{quote[0]}")
            if other[2] == quote[2] and len(other[1]) < escapes:  # the text around it ends
                return _Value(other.start(), kept + self._mask)
        return _Value(self._end_of_line(quote.end()), kept + self._mask)

    def _container(self, at: int, kept: str, quote: str) -> _Value:
        """The value is a list, a mapping or a tuple, whose texts have quotes like the name."""
        end = self._closing(at, quote)
        if end is None:  # in prose a bracket may stay open; in a document the rest was cut off
            self._open += 1
            is_prose = not quote and self._open <= _MOST_OPEN
            end = self._end_of_line(at) if is_prose else len(self._text)
        elif end - at > 1 and not self._text[at + 1 : end - 1].strip():
            return _Value(end, "")
        return _Value(end, f"{kept}{quote}{self._mask}{quote}")

    def _closing(self, at: int, around: str) -> int | None:
        """Where the container ends, or the text around it; None: it is cut off."""
        depth, inside, escapes = 0, "", max(len(around) - 1, 0)
        for token in _TOKEN.finditer(self._text, at):
            quote: str | None = token["quote"]
            if quote is not None:
                count = len(token["escapes"])
                if count < escapes and quote == around[-1]:
                    return token.start()
                if not inside:
                    inside = quote if count == escapes else ""
                elif _closes(quote, count, inside, escapes):
                    inside = ""
            elif not inside:
                depth += 1 if token[0] in "[({" else -1
                if not depth:
                    return token.end()
        return None

    def _end_of_line(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end


def _quote_of(found: re.Match[str]) -> str:
    """The quote after the name, with its escapes; empty: the name is bare."""
    if found["bare"] is not None:
        return found["late"] or ""
    quoted: str = found["quoted"]
    return "\\" * (len(quoted) - len(quoted.rstrip("\\"))) + found["quote"]


def _closes(quote: str, escapes: int, opened: str, level: int) -> bool:
    """Whether a quote ends a text that was opened with ``escapes``; an even number of them are backslashes."""
    return quote == opened and (escapes == level or (not level and escapes % 2 == 0))


MASK = "***"

_DEEPEST = 100
"""Levels of a value that are looked into; deeper ones are masked."""


_URL = re.compile(r"""(://[^\s:/@]*+:)(?:(?:(?!://)[^\s"'<>@])++@)++""")

_CUT_URL = re.compile(r"""(://[^\s:/@]*+:)(?!\d*+[/?]?(?:…|$))[^\s"'<>@/…]++(?=(?:…\s\(\+\d++\scharacters\))?$)""")
"""A password of which the rest and the host are cut off; digits alone are a port."""

_PLAIN = frozenset({"", "null", "none", "true", "false", "nil", "undefined", MASK})
"""Bare values that are no secret, and say something where one is missing."""

_BEARER = re.compile(r"(?i)\b(bearer\s{1,4})[\w.~+/=-]{6,}+")

_BASIC = re.compile(r"(?i)\b(basic\s{1,4})([\w+/=-]{8,}+)")

_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?")

_PEM = re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[^-]++")


def redact(text: str) -> str:
    """The text with ``***`` in the place of each likely secret; of any length, also empty, also cut off."""
    if "://" in text:
        text = _CUT_URL.sub(rf"\1{MASK}", _URL.sub(rf"\1{MASK}@", text))
    folded = text.casefold()
    if (":" in text or "=" in text) and ("\\u" in text or may_have_secret_names(folded)):
        text = Masker(text, MASK, _PLAIN).masked()
    if "bearer" in folded:
        text = _BEARER.sub(rf"\1{MASK}", text)
    if "basic" in folded:
        text = _BASIC.sub(lambda found: found[1] + MASK if _is_basic(found[2]) else found[0], text)
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    return _PEM.sub(rf"\1{MASK}", text) if "PRIVATE KEY" in text else text


def redact_bytes(data: bytes) -> bytes:
    """The same for bytes, whether they are text or have text in them."""
    try:
        return redact(data.decode()).encode()
    except UnicodeDecodeError:
        return redact(data.decode("latin-1")).encode("latin-1")


def masked(value: Any, name: str = "", *, keeps_types: bool = False) -> Any:
    """A plain value with a mask for what stands under a telling name, and for what looks like a secret in a text.

    Args:
        value: plain data, as a codec decodes it.
        name: the field that it is the value of.
        keeps_types: whether a container under a telling name keeps its form, and a number becomes 0, so that code which
            reads the value still can; it may be nested without a bound.
    """
    top: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, str, int]] = [(top, 0, value, name, 0)]
    while todo:  # without recursion: strangers nest as deep as they like
        into, at, value, name, depth = todo.pop()
        is_secret = bool(name) and is_secret_name(name)
        if is_nothing(value):
            into[at] = value
        elif not keeps_types and (is_secret or depth > _DEEPEST):
            into[at] = MASK
        elif isinstance(value, Mapping):
            into[at] = inner = dict.fromkeys(value)
            todo += [(inner, key, each, name if is_secret else str(key), depth + 1) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            into[at] = items = [None] * len(value)
            todo += [(items, n, each, name if is_secret else "", depth + 1) for n, each in enumerate(value)]
        else:
            into[at] = _leaf(value, is_secret=is_secret)
    return top[0]


def _leaf(value: Any, *, is_secret: bool) -> Any:
    """A value without parts; a secret becomes one of its type."""
    if isinstance(value, str):
        return MASK if is_secret else redact(value)
    if isinstance(value, bytes):
        return MASK.encode() if is_secret else redact_bytes(value)
    return type(value)(0) if is_secret and isinstance(value, int | float) else value


def is_nothing(value: Any) -> bool:
    """Whether a value is no secret under any name, and says something where one is missing: null, false, empty."""
    return value is None or isinstance(value, bool) or (isinstance(value, str | bytes | list | dict) and not value)


def _is_basic(value: str) -> bool:
    """Whether this is a name and a password, as HTTP sends them."""
    value = value.rstrip("=")
    try:
        return b":" in b64decode(value[: len(value) // 4 * 4], validate=True)
    except ValueError:
        return False
