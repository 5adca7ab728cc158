"""Retry rules: which failures of a handler are worth another attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasuki.errors import HandlerError, LuaError, ProviderError, WaitTimeoutError, class_names

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
