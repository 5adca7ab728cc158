"""Rules of retries: of a queue, and of one message, which carries its own in the header ``x_rules``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from tasuki.backoff import Backoff
from tasuki.contracts.context import Retries
from tasuki.errors import HandlerError, LuaError, ProviderError, PublishError, WaitTimeoutError, class_names
from tasuki.message import RULES, HeaderValue
from tasuki.units import Duration, parse_duration

_SAYS_SO = (HandlerError, LuaError, ProviderError, WaitTimeoutError)
"""Errors that a handler's own code raises; the framework raises their other subclasses, about handlers."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Names of exceptions (``ValueError``, ``shop.errors.Closed``; base classes count) and kinds of errors."""

    never: frozenset[str] = frozenset()
    on: frozenset[str] = frozenset()
    """If not empty, no other failure is retried."""

    def allow(self, error: BaseException) -> bool:
        """Whether to retry after this error; never if the error itself has ``retryable = false``."""
        if type(error) in _SAYS_SO and getattr(error, "retryable", None) is False:
            return False
        if not (self.never or self.on):
            return True
        names = set(names_of(error))
        return self.never.isdisjoint(names) and not (self.on and self.on.isdisjoint(names))


def names_of(error: BaseException) -> Iterator[str]:
    """All names by which a rule may refer to an error: its classes and its kind."""
    yield from class_names(error)
    if isinstance(error, HandlerError):
        yield from error.names
        yield error.kind


_MOST = 4096
"""Bytes of the header."""


class MessageRules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rules that count in place of the rules of the task or the consumer; durations in seconds, None: as these say."""

    handler_timeout: float | None = None
    attempts: int | None = None
    backoff: tuple[float, float] | None = None
    """The first and the longest delay. With it, ``on`` and ``never`` count too."""
    on: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def delays(self) -> Backoff | None:
        """The delays between its attempts."""
        return None if self.backoff is None else Backoff(*self.backoff)

    @property
    def failures(self) -> RetryRules | None:
        """The failures that get another attempt."""
        return None if self.backoff is None else RetryRules(frozenset(self.never), frozenset(self.on))


_read = msgspec.json.Decoder(MessageRules).decode


Asking = int | Retries | Mapping[str, Any] | None
"""The retries that a publisher asks for: a number of attempts, or all rules."""


def rules_for(handler_timeout: Duration | None, retries: Asking) -> MessageRules:
    """The rules that a publisher asks for. Raises PublishError: one is none."""
    rules = MessageRules(None if handler_timeout is None else _seconds("handler_timeout", handler_timeout))
    if isinstance(retries, int):
        retries = Retries(_attempts(retries))
        rules = msgspec.structs.replace(rules, attempts=retries.attempts)
    elif retries is not None:
        fields = retries.fields() if isinstance(retries, Retries) else retries
        delays = tuple(_seconds(f"retries: {name}", fields[name]) for name in ("initial_delay", "max_delay"))
        if delays[0] > delays[1]:
            raise PublishError("retries: the first delay (backoff) is longer than max_delay")
        rules = msgspec.structs.replace(
            rules, attempts=fields.get("max_attempts"), backoff=delays, on=(*fields["on"],), never=(*fields["never"],)
        )
    return rules


def header_of(rules: MessageRules) -> str:
    """The header of a message with these rules. Raises PublishError: it is too long."""
    text = msgspec.json.encode(rules)
    if len(text) > _MOST:
        raise PublishError(f"retries: the names of the errors have more than {_MOST} bytes; give them to the task")
    return text.decode()


def rules_of(headers: Mapping[str, HeaderValue]) -> MessageRules | None:
    """The rules in the headers of a message; None: it has none, or a program that is not Tasuki wrote them."""
    text = headers.get(RULES)
    return _rules_in(text) if isinstance(text, str) and len(text) <= _MOST else None


@lru_cache(256)
def _rules_in(text: str) -> MessageRules | None:
    try:
        rules = _read(text)
    except msgspec.MsgspecError:
        return None
    numbers = (rules.handler_timeout, *(rules.backoff or ()))
    is_good = all(number is None or 0 <= number < float("inf") for number in numbers)
    is_good = is_good and rules.handler_timeout != 0 and (rules.attempts is None or rules.attempts >= 1)
    return rules if is_good else None


def _attempts(retries: int) -> int:
    if isinstance(retries, bool) or retries < 1:
        raise PublishError(f"retries must be the number of attempts, 1 or more, or Retries(5, …), not {retries!r}")
    return retries


def _seconds(what: str, value: Duration) -> float:
    try:
        found = parse_duration(value)
    except ValueError as error:
        raise PublishError(f"{what}: {error}") from error
    if what == "handler_timeout" and not found:
        raise PublishError("handler_timeout must be longer than 0 seconds, as in handler_timeout='30s'")
    return found
