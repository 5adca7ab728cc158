import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from tasuki.drivers.nats.protocol.client import LARGEST, LONGEST_LINE, Reader
from tasuki.drivers.nats.protocol.exchange import frame, frames

HEAD = b"NATS/1.0 408 Request Timeout\r\n\r\n"


class Client:
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.heard = 0

    def hear(self) -> None:
        self.heard += 1

    def route(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.seen.append((subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.seen.append("ping")

    async def _process_pong(self) -> None:
        self.seen.append("pong")

    async def _process_err(self, text: str) -> None:
        self.seen.append(text)

    async def _process_info(self, info: object) -> None:
        self.seen.append(info)


def read(*chunks: bytes) -> list[object]:
    client = Client()
    reader = Reader(client, client.route, client.hear)

    async def feed() -> None:
        for chunk in chunks:
            await reader.parse(chunk)

    asyncio.run(feed())
    return client.seen


def msg(subject: str, reply: str, data: bytes) -> bytes:
    middle = f" {reply}" if reply else ""
    return f"MSG {subject} 1{middle} {len(data)}\r\n".encode() + data + b"\r\n"


def hmsg(subject: str, reply: str, data: bytes) -> bytes:
    middle = f" {reply}" if reply else ""
    return f"HMSG {subject} 1{middle} {len(HEAD)} {len(HEAD) + len(data)}\r\n".encode() + HEAD + data + b"\r\n"


BODIES = st.binary() | st.sampled_from([b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n", b""])
ITEMS = st.lists(st.tuples(st.sampled_from(["msg", "hmsg", "ping"]), st.sampled_from(["", "r.1"]), BODIES), max_size=8)


@given(ITEMS, st.lists(st.integers(0, 400)))
def test_messages_come_whole_however_the_bytes_are_cut(items: list[tuple[str, str, bytes]], cuts: list[int]) -> None:
    data = b""
    wanted: list[object] = []
    for kind, reply, body in items:
        if kind == "ping":
            data += b"PING\r\n"
            wanted.append("ping")
        else:
            data += (msg if kind == "msg" else hmsg)("s.x", reply, body)
            wanted.append((b"s.x", reply.encode(), body, HEAD if kind == "hmsg" else None))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(places)]
    assert read(*chunks) == wanted


def test_data_that_is_no_message_goes_to_the_client() -> None:
    data = b"INFO {\"max_payload\": 7}\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n"
    assert read(data) == [{"max_payload": 7}, "pong", "'stale connection'"]


def test_a_large_message_in_many_chunks() -> None:
    body = bytes(3_000_000)
    data = msg("s", "r", body)
    assert read(*(data[start : start + 32768] for start in range(0, len(data), 32768))) == [(b"s", b"r", body, None)]


@pytest.mark.parametrize(
    "data",
    [
        b"MSG s 1 x\r\n",
        b"MSG s\r\n",
        b"MSG s 1 -5\r\nab\r\n",
        b"HMSG s 1 9 3\r\nabc\r\n",
        b"HMSG s 1 x 3\r\nabc\r\n",
        b"MSG s 1 %d\r\n" % (LARGEST + 1),
        b"x" * (LONGEST_LINE + 1),
        b"NONSENSE\r\n",
        b"MSG\ts 1 99999999999\r\n",
        b"INFO {\r\n",
        b"INFO \xff\r\n",
        b"-ERR \r\n",
        b"PINGPONG\r\n",
    ],
)
def test_nonsense_ends_the_connection_and_takes_no_memory(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)


def test_requests_as_they_are_written() -> None:
    assert frame("s", b"abc") == b"PUB s  3\r\nabc\r\n"
    assert frame("s", b"", "r") == b"PUB s r 0\r\n\r\n"
    written = list(frames([("a", b"1"), ("b", b"22")], [b"", HEAD], b"_IN.7."))
    assert written == [
        b"PUB a _IN.7.0 1\r\n1\r\n",
        b"HPUB b _IN.7.1 %d %d\r\n%b22\r\n" % (len(HEAD), len(HEAD) + 2, HEAD),
    ]
