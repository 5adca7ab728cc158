"""Where a thread sleeps until a process touches a file or another thread wakes it; Linux only (inotify, eventfd)."""

from __future__ import annotations

import ctypes
import os
import select
import sys
from math import ceil

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
