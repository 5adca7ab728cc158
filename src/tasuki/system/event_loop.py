"""The event loop of workers and of Tasuki's own threads: uvloop where it is installed (``tasuki[uvloop]``)."""

from __future__ import annotations

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop, or of asyncio where uvloop is not installed.

    Safe to run in any thread: uvloop takes over the signals of the process in its main thread alone.

    Raises:
        OSError: no descriptors are left for it.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
