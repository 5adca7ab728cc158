"""Frames between a worker and its child processes, a head and plain data as MessagePack; and the channel for them.

::

    length of the payload (4 bytes) · kind (1) · number (4) · payload

=============  ===========  ========================  ==============================================================
kind           from         number                    payload
=============  ===========  ========================  ==============================================================
``BOOT``       worker       -                         what the child is made of; its first frame
``HANDLE``     worker       call                      circumstances, body
``CALL``       worker       call                      circumstances, arguments
``ANSWER``     worker       ticket of an ``ASK``      true and a value, or false and the fields of an error; seconds
                                                      of processor time that the call has cost elsewhere, so far
``CANCEL``     worker       call                      -
``READY``      child        -                         what it logged and counted while it loaded
``RESULT``     child        call                      the result
``FAILED``     child        call; 0: the boot         the fields of an error, see failure.py
``ASK``        child        ticket, from 1            call, operation, arguments; seconds, as for ``COST``
``FORGET``     child        ticket                    -
``PROOF``      child        -                         -; it has come to the end of a step
``NOTE``       child        call; 0: none             a log record
``COST``       child        call                      seconds of processor time that it has used in this process so far
=============  ===========  ========================  ==============================================================

Input of a child is not trusted: a frame has a maximum length, a value a maximum number of parts, and the reader of a
frame states its shape. A child that breaks a rule is killed (ProtocolError).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tasuki.errors import HandlerError
from tasuki.parts import count_parts

BOOT, HANDLE, CALL, ANSWER, CANCEL = range(1, 6)

READY, RESULT, FAILED, ASK, FORGET, PROOF, NOTE, COST = range(16, 24)


MAX_FRAME = 32 * 2**20
"""Bytes of the largest payload that is taken from a child."""

MAX_PARTS = 300_000
"""Most values in a large payload: more than a script can send (values.lua), and what they need in memory is bounded."""


_SMALL = 2**20

_HEAD = struct.Struct("<IBI")

_ERROR = 1
"""Code of the extension type for an error that is a value."""


Frame = tuple[int, int, bytes]


class ProtocolError(Exception):
    """The other side does not keep to the protocol; the text says how."""


def frame(kind: int, number: int, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEAD.pack(len(payload), kind, number) + payload


class FrameReader:
    """Cuts a stream of bytes into frames; ``limit``: the longest payload."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes. Raises ProtocolError for one that is too long."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _HEAD.size:
                length, kind, number = _HEAD.unpack_from(buffer, at)
                if length > self._limit:
                    raise ProtocolError(f"a frame of {length} bytes")
                end = at + _HEAD.size + length
                if len(buffer) < end:
                    return
                payload = bytes(buffer[at + _HEAD.size : end])
                at = end
                yield kind, number, payload
        finally:
            del buffer[:at]


def _extend(value: Any) -> Any:
    if isinstance(value, HandlerError):
        parts = (value.message, value.kind, value.retryable, value.details)
        return msgspec.msgpack.Ext(_ERROR, _encode(parts))
    raise TypeError(type(value).__name__)


def _restore(code: int, data: memoryview) -> Any:
    if code != _ERROR:
        raise ValueError(f"an extension of type {code}")
    message, kind, retryable, details = _decode_error(data)
    return HandlerError(message, kind=kind, retryable=retryable, details=details)


_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_extend).encode

_decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=_restore).decode

_decode_error = msgspec.msgpack.Decoder(tuple[str, str, bool | None, dict[str, Any] | None]).decode

_REFUSED = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)


def encode(value: Any) -> bytes:
    """Plain data as bytes.

    Raises:
        HandlerError: kind Invalid: no plain data, in the words of the shared isolation.
    """
    try:
        return _encode(value)
    except RecursionError:
        problem = "value is nested deeper than 128 levels"
    except UnicodeEncodeError:
        problem = "a text is not valid Unicode"
    except OverflowError:
        problem = "a number is beyond 64 bits"
    except (TypeError, ValueError) as error:
        problem = f"a value of type {error} cannot be passed to another process"
    raise HandlerError(problem, kind="Invalid", retryable=False)


def encode_result(value: Any) -> bytes:
    """The same for a result, which the worker must also take.

    Raises:
        HandlerError: kind Invalid: no plain data, or more than a frame may hold.
    """
    payload = encode(value)
    if len(payload) > MAX_FRAME:
        problem = f"a value of {len(payload)} bytes is too large to be passed to another process (at most {MAX_FRAME})"
        raise HandlerError(problem, kind="Invalid", retryable=False)
    if len(payload) > _SMALL and not has_few_parts(payload):
        problem = f"a value of more than {MAX_PARTS} parts cannot be passed to another process"
        raise HandlerError(problem, kind="Invalid", retryable=False)
    return payload


def decode(payload: bytes) -> Any:
    """The value of bytes that come from a worker, which is believed."""
    return _decode(payload)


class Shape:
    """Reads payloads of a child: the type must fit, and the parts must be few."""

    def __init__(self, type_: Any) -> None:
        self._decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(type_, ext_hook=_restore).decode

    def read(self, payload: bytes) -> Any:
        """The value. Raises ProtocolError."""
        if len(payload) > _SMALL and not has_few_parts(payload):
            raise ProtocolError(f"a value of more than {MAX_PARTS} parts")
        try:
            return self._decode(payload)
        except _REFUSED as error:
            raise ProtocolError(f"a frame that cannot be read ({type(error).__name__})") from error


def has_few_parts(payload: bytes, most: int = MAX_PARTS) -> bool:
    """Whether MessagePack holds at most this many values."""
    return count_parts(payload, most) <= most


_READ = 256 * 1024
"""Most bytes read in one turn of the loop, so that a process that sends without end does not block it."""


class Channel:
    """Sends at once what the socket takes, and the rest when it can; hands over each frame that arrives.

    Args:
        end: this side's end of a socket pair; the channel closes it.
        on_frame: called with kind, number and payload.
        on_end: called once, with what went wrong: empty when the other side has closed its end.
        limit: the longest payload that is taken.
    """

    def __init__(
        self,
        end: socket.socket,
        on_frame: Callable[[int, int, bytes], None],
        on_end: Callable[[str], None],
        limit: int = MAX_FRAME,
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._reader = FrameReader(limit)
        self._unsent: deque[memoryview] = deque()
        self.unsent = 0
        """Bytes that the other side has not taken yet."""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)

    def send(self, kind: int, number: int, payload: bytes = b"") -> None:
        """Send a frame; nothing happens when the channel is closed."""
        if not self._is_open:
            return
        data = memoryview(frame(kind, number, payload))
        if not self._unsent:
            data = data[self._try(data) :]
        if data and self._is_open:
            if not self._unsent:
                self._loop.add_writer(self._end, self._write)
            self._unsent.append(data)
            self.unsent += len(data)

    def _try(self, data: memoryview) -> int:
        try:
            return self._end.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return len(data)  # the other side is gone; its end says so to the reader

    def _write(self) -> None:
        while self._unsent:
            data = self._unsent[0]
            sent = self._try(data)
            self.unsent -= sent
            if sent < len(data):
                self._unsent[0] = data[sent:]
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._end)

    def _read(self) -> None:
        try:
            data = self._end.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._fail("")
            return
        try:
            for kind, number, payload in self._reader.feed(data):
                self._on_frame(kind, number, payload)
                if not self._is_open:
                    return
        except ProtocolError as error:
            self._fail(str(error))

    def _fail(self, problem: str) -> None:
        if self._is_open:
            self.close()
            self._on_end(problem)

    def close(self) -> None:
        """Close this end. Idempotent."""
        if not self._is_open:
            return
        self._is_open = False
        if not self._loop.is_closed():
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
        self._unsent.clear()
        self._end.close()
