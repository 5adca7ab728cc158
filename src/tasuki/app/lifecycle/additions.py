"""Additions: a declaration while the app is open is applied by a reload, which publishes wait for."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.errors import LifecycleError, QueueNotFoundError
from tasuki.handlers.thread_pool import tell

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime

_log = logging.getLogger("tasuki.app")
_APPLYING = contextvars.ContextVar("tasuki_applying", default=False)
"""Whether this code runs within the reload, which would wait for itself."""
_PATIENCE = 10.0
"""Seconds for which a publish waits: a reload may wait for the caller."""


class Additions:
    """Of one app. Declarations of one moment are applied together, in the loop of the app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._is_noted = False
        self._task: asyncio.Task[None] | None = None
        self.problem: Exception | None = None
        """Why the last ones could not be applied."""

    @property
    def is_pending(self) -> bool:
        """Whether something was declared that is not in force yet."""
        return self._is_noted or self._task is not None

    def note(self) -> None:
        """Something was declared, in any thread; it is in force soon, if the app is open.

        Raises:
            LifecycleError: a TestApp holds the app, and would not see it.
        """
        runtime = self._runtime
        if runtime.assembly is None or runtime.reads_only:
            return  # it is read when the app opens
        if runtime.owner is not None:
            problem = f"{runtime.owner.name} holds the app, with the entries that were declared before"
            raise LifecycleError(f"{problem}: declare this one before the {runtime.owner.name.split()[-1]} opens")
        if not self._is_noted and runtime.loop is not None:
            self._is_noted = True
            contextvars.Context().run(tell, runtime.loop, self._begin)

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._apply(), name="additions")

    async def _apply(self) -> None:
        _APPLYING.set(True)
        try:
            while self._is_noted:
                self._is_noted = False
                try:
                    await self._runtime.reload()
                except Exception as error:  # also what the user's code raises when a handler starts
                    if self._runtime.assembly is None:  # it was closed meanwhile
                        return
                    self.problem = error
                    say = "the latest declarations are not in force: %s. Correct them, then await app.reload()"
                    _log.error(say, error)
        finally:
            self._task = None

    def read(self) -> None:
        """A reload reads all declarations up to now."""
        self._is_noted, self.problem = False, None

    async def applied(self) -> None:
        """Wait until the declarations before this call are in force, or could not be applied."""
        if _APPLYING.get():
            return
        if self._task is None and self._is_noted:
            await asyncio.sleep(0)  # its begin is scheduled
        if (task := self._task) is not None:
            await asyncio.wait({task}, timeout=_PATIENCE)

    def told(self, error: QueueNotFoundError) -> QueueNotFoundError:
        """The same error, with the way out if the queue may have been declared just now."""
        if self.problem is not None:
            text = f"{error}; the latest declarations are not in force: {self.problem}"
        elif self.is_pending:
            text = f"{error}; the latest declarations are not in force yet: await app.reload() first"
        else:
            return error
        return QueueNotFoundError(text, queue=error.queue)

    async def close(self) -> None:
        """Apply no more."""
        self._is_noted = False
        if (task := self._task) is not None and task is not asyncio.current_task():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})

    def forget(self) -> None:
        """In a forked child: the task is the parent's."""
        self._is_noted, self._task = False, None
