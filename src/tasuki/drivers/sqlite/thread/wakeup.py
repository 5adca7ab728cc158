"""Where the writer sleeps until a thread's request or a touched file wakes it; Linux only (inotify, eventfd)."""

from __future__ import annotations

import ctypes
import os
import select
import sys
import threading
from math import ceil
from queue import Empty, SimpleQueue

from tasuki.drivers.sqlite.thread.requests import Request

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


_IN_ATTRIB = 0x00000004
_MOST_BYTES = 4096


class FileWatch:
    """Watches one file; unread touches count as one.

    Raises:
        OSError: this system or its limits do not allow it (``fs.inotify.max_user_instances``, open files).
    """

    def __init__(self, path: str) -> None:
        if sys.platform != "linux":
            raise OSError("only Linux has inotify")
        self._touches = self._wakes = -1
        try:
            self._touches = _watching(path)
            self._wakes = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._touches, select.POLLIN)
        self._poll.register(self._wakes, select.POLLIN)

    def sleep(self, seconds: float) -> bool:
        """Sleep until a touch, a ``wake`` or the end of the time; whether it was a touch."""
        self._poll.poll(ceil(seconds * 1000))
        try:
            os.eventfd_read(self._wakes)
        except BlockingIOError:
            pass
        return self.was_touched()

    def wake(self) -> None:
        """End the sleep, or the next one; from any thread."""
        os.eventfd_write(self._wakes, 1)

    def was_touched(self) -> bool:
        """Whether the file was touched since this was last asked; does not wait."""
        try:
            # Touches one after another are one event, so this is all there is; should some be left, they come next.
            return bool(os.read(self._touches, _MOST_BYTES))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close its files; again does nothing."""
        for file in (self._touches, self._wakes):
            if file >= 0:
                os.close(file)
        self._touches = self._wakes = -1


def _watching(path: str) -> int:
    """A descriptor of inotify that becomes readable when the file's times or mode are set."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        make, add = libc.inotify_init1, libc.inotify_add_watch
    except AttributeError as problem:
        raise OSError("the C library has no inotify") from problem
    file: int = make(os.O_CLOEXEC | os.O_NONBLOCK)
    if file < 0:
        raise _error()
    if add(file, os.fsencode(path), _IN_ATTRIB) < 0:
        refusal = _error()
        os.close(file)
        raise refusal
    return file


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
