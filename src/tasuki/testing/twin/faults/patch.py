"""Patch: let a function fail a number of times, and work again after that."""

from __future__ import annotations

import functools
import inspect
from types import TracebackType
from typing import Any, Self


class Patch:
    """A context manager that replaces an attribute: its first ``times`` calls raise ``error``, later ones work."""

    def __init__(
        self,
        target: object,
        name: str,
        error: type[BaseException] | BaseException,
        times: int | None,
        expected: list[BaseException],
    ) -> None:
        self.calls = 0
        """Calls so far, also those that worked."""
        self._target, self._name = target, name
        self._error, self._times = error, times
        self._expected = expected
        self._original = getattr(target, name)
        self._is_bound = isinstance(inspect.getattr_static(target, name), staticmethod | classmethod)
        self._was_own = name in vars(target)
        self._own = vars(target).get(name)

    def __enter__(self) -> Self:
        wrapped = self._wrapped()
        is_bound = self._is_bound and isinstance(self._target, type)
        setattr(self._target, self._name, staticmethod(wrapped) if is_bound else wrapped)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._was_own:
            setattr(self._target, self._name, self._own)
        else:
            delattr(self._target, self._name)

    def _wrapped(self) -> Any:
        original = self._original

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def failing_async(*args: Any, **kwargs: Any) -> Any:
                self._count()
                return await original(*args, **kwargs)

            return failing_async

        @functools.wraps(original)
        def failing(*args: Any, **kwargs: Any) -> Any:
            self._count()
            return original(*args, **kwargs)

        return failing

    def _count(self) -> None:
        self.calls += 1
        if self._times is not None and self.calls > self._times:
            return
        error = self._error() if isinstance(self._error, type) else self._error
        self._expected.append(error)
        raise error
