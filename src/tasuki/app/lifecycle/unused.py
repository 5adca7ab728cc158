"""A program that declares consumers, and ends without having run them where no worker does: a warning says how to."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime

_log = logging.getLogger("tasuki.app")

_PATIENCE = 1.0
"""Seconds that the stores have to say how many consumers there are."""


class UnusedConsumers:
    """Whether the consumers of an App need a worker and have none; logged when the program ends.

    Only for an App that the program's own file makes: a module that is imported has other users.
    """

    def __init__(self, runtime: Runtime, file: str) -> None:
        self._runtime = weakref.ref(runtime)
        self._file = file
        self.is_certain = True
        """False once a consumer has run, here or in another process, or where no store reports them."""
        if file == getattr(sys.modules.get("__main__"), "__file__", None):
            atexit.register(self._note)
        else:
            self.is_certain = False

    async def look_for_workers(self) -> None:
        """Before the app closes: ask the stores whether another process consumes."""
        runtime = self._runtime()
        if not self.is_certain or runtime is None or runtime.assembly is None:
            return
        from tasuki.app.state.workers import Census

        census = Census(runtime.assembly)
        queues = {consumer.queue.id for consumer in runtime.assembly.consumers.values()}
        self.is_certain = False
        with suppress(TasukiError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                self.is_certain = any([await census.count(queue) == 0 for queue in queues])

    def _note(self) -> None:
        runtime = self._runtime()
        if not self.is_certain or runtime is None or runtime.owner is not None or hasattr(sys, "last_type"):
            return  # ``last_type``: an error ended the program
        if consumer := runtime.source.declared.first_consumer():
            _log.warning(
                "%s ends, and consumer %s never ran in it: messages wait for a worker; start one: tasuki run %s, "
                "or asyncio.run(app.run()) in the program, or consume within 'async with app.worker()'",
                os.path.basename(self._file),
                consumer,
                os.path.relpath(self._file),
            )
