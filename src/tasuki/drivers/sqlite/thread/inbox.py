"""Where requests of all threads queue up for the writer, and where it waits for them."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tasuki.drivers.sqlite.thread.requests import Request

if TYPE_CHECKING:
    from tasuki.drivers.sqlite.thread.wakeup import FileWatch

MAX_GROUP = 1000


class Inbox:
    """``put`` and ``close`` are for any thread, the rest is for the writer's.

    It waits in one of two places: ``get``, where a put costs no system call, and ``sleep``, which wake-ups of other
    processes end too.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._entrance = threading.Lock()
        self._is_closed = False
        self._watch: FileWatch | None = None
        self._is_asleep = False

    def put(self, request: Request) -> bool:
        """Queue it; False: closed."""
        with self._entrance:
            if self._is_closed:
                return False
            self._requests.put(request)
            if self._is_asleep and self._watch is not None:
                self._is_asleep = False
                self._watch.wake()
            return True

    def get(self, seconds: float | None) -> list[Request]:
        """What has queued up; waits for the first one, None: forever."""
        try:
            first = self._requests.get(timeout=seconds)
        except Empty:
            return []
        return [first, *self.rest()]

    def rest(self) -> list[Request]:
        """What has queued up, at most a group; does not wait."""
        group: list[Request] = []
        try:
            while len(group) < MAX_GROUP:
                group.append(self._requests.get_nowait())
        except Empty:
            pass
        return group

    def sleep(self, file: str, seconds: float) -> bool:
        """Sleep until a request, a touch of ``file``, or the end of the time; True: a touch is possible.

        Raises:
            OSError, ImportError: files cannot be watched here.
        """
        if self._watch is None:
            from tasuki.drivers.sqlite.thread.wakeup import FileWatch

            self._watch = FileWatch(file)
            return True  # it was not watched until now
        # First this, then the check of the requests: a later put sees it, and wakes the thread.
        self._is_asleep = True
        try:
            return self._requests.empty() and self._watch.sleep(seconds)
        finally:
            self._is_asleep = False

    def was_touched(self) -> bool:
        """Whether the file was touched since the last call or sleep."""
        return self._watch is not None and self._watch.was_touched()

    def stop_watching(self) -> None:
        """Close the watch; the next sleep opens a new one."""
        with self._entrance:  # never signal a closed descriptor: its number may have been reused
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Take no more requests."""
        self.stop_watching()
        with self._entrance:
            self._is_closed = True

    def forget_parent(self) -> None:
        """Close its files in a forked child, which has no thread to wake, and where the lock may be held forever."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
