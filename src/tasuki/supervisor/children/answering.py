"""Answering: the child's end. It answers from a thread, even while a handler blocks the event loop."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tasuki.supervisor.children.frames import Frames, encode
from tasuki.system.threads import HelperThread

_log = logging.getLogger("tasuki.processes")

_PIECE = 65_536
_PATIENCE = struct.pack("ll", 1, 0)
"""A second (as ``struct timeval``), after which a process that ends waits no longer for a parent that does not read."""

Answer = Callable[..., Any]
"""Gets the arguments of a question by name; returns plain data. Called in the answering thread."""


class NotYetError(LookupError):
    """This process does not answer this question, or not yet."""


class ParentAnswers:
    """Answers the questions of the parent, by name; ``answers`` may grow while it runs.

    Args:
        descriptor: the inherited end of the socket pair.
        on_end: called once, in the thread, when the parent has ended.
    """

    def __init__(self, descriptor: int, on_end: Callable[[], object] = lambda: None) -> None:
        self.answers: dict[str, Answer] = {}
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        self._on_end = on_end
        self._frames = Frames()
        self._sending = threading.Lock()
        self._may_send = True
        self._stopped = self._is_ending = False
        self._thread = HelperThread("tasuki answers", self._work)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def report(self, name: str) -> None:
        """Give the parent the answer to a question that it has not asked: the last counts before the end.

        From now on a parent that does not read is not waited for.
        """
        self._is_ending = True
        self._send(encode(0, name, self._answer(name, {})))

    def stop(self) -> None:
        """Answer no more, and leave no half answer; the descriptor stays open, for a program that is executed next."""
        self._stopped = self._is_ending = True
        with self._sending:
            self._may_send = False
        self._thread.stop()

    def _work(self, thread: HelperThread) -> None:
        thread.works()
        while data := self._receive():
            for number, name, arguments in self._frames.feed(data):
                try:
                    frame = encode(number, "", self._answer(name, arguments))
                except Exception as error:  # the next question may have an answer
                    if not isinstance(error, NotYetError):
                        _log.exception("cannot answer %r of the parent process", name)
                    frame = encode(number, f"{type(error).__name__}: {error}", None)
                self._send(frame)
        with self._sending:
            self._may_send = False
            self._socket.close()
        if not self._stopped:
            self._on_end()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_PIECE)
        except ConnectionError:
            return b""

    def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        answer = self.answers.get(name)
        if answer is None:
            raise NotYetError(f"there is no answer to {name!r} yet")
        return answer(**arguments)

    def _send(self, frame: bytes) -> None:
        with self._sending:
            left = memoryview(frame if self._may_send else b"")
            while self._may_send and left:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:  # the parent is busy or suspended, and will read on
                    self._may_send = not self._is_ending
                except OSError:  # it is gone
                    self._may_send = False
            if left:  # half a frame may be on its way
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)
