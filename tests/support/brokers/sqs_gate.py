"""A gate before the SQS emulator: lets requests through, or answers for SQS what the emulator never would."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """An error in the place of SQS's answer; the emulator does not see the request."""

    status: int
    code: str
    message: str = "as the test wants"


@dataclass(frozen=True)
class Partly:
    """These entries of a batch fail, with a code each; the others go through."""

    failed: Mapping[int, str]
    is_sender_fault: bool = False


@dataclass(frozen=True)
class Lost:
    """The emulator does what it is asked, and the connection ends before its answer."""


@dataclass(frozen=True)
class Changed:
    """The emulator's answer, changed."""

    change: Callable[[Body], None]


Rule = Callable[[str, Body], "Answer | Partly | Lost | Changed | None"]
"""Gets the operation (``SendMessageBatch``) and the request; None: let it through."""


@dataclass
class Seen:
    """A request that came."""

    operation: str
    body: Body = field(repr=False)


class Gate:
    """Listens on a free loopback port, in its own thread; ``rule`` decides, ``seen`` holds what came."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.seen: list[Seen] = []
        self.rule: Rule = lambda operation, body: None
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()
        self._ready.wait()

    def times(self, operation: str) -> int:
        """How many requests of a kind came."""
        return sum(seen.operation == operation for seen in self.seen)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            while request := await _read(reader):
                answer = await self._answer(*request, there, back)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one side went away, or the gate ends
        finally:
            back.close()
            writer.close()

    async def _answer(
        self, head: bytes, data: bytes, there: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> bytes | None:
        operation = _header(head, b"x-amz-target").decode().rpartition(".")[2]
        body: Body = json.loads(data or b"{}")
        self.seen.append(Seen(operation, body))
        decision = self.rule(operation, body)
        if isinstance(decision, Answer):
            return _error(decision)
        failed = []
        if isinstance(decision, Partly):
            failed = [
                {"Id": str(number), "Code": code, "Message": "no", "SenderFault": decision.is_sender_fault}
                for number, code in decision.failed.items()
            ]
            body["Entries"] = [entry for entry in body["Entries"] if int(entry["Id"]) not in decision.failed]
            if not body["Entries"]:
                return _message(b"HTTP/1.1 200 OK", {"Successful": [], "Failed": failed})
        back.write(_with_body(head, json.dumps(body).encode()))
        answer = await _read(there)
        if answer is None or isinstance(decision, Lost):
            return None
        found = json.loads(answer[1] or b"{}")
        if isinstance(decision, Changed):
            decision.change(found)
        if failed:
            found["Failed"] = [*found.get("Failed", []), *failed]
        return _with_body(answer[0], json.dumps(found).encode())


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Head and body of a request or an answer; None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    return head, await reader.readexactly(int(_header(head, b"content-length") or 0))


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _with_body(head: bytes, body: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body])


def _message(first: bytes, body: Body) -> bytes:
    return _with_body(first + b"\r\ncontent-type: application/x-amz-json-1.0", json.dumps(body).encode())


def _error(answer: Answer) -> bytes:
    body = {"__type": f"com.amazonaws.sqs#{answer.code}", "message": answer.message}
    return _message(b"HTTP/1.1 %d No" % answer.status, body)
