"""Bodies that a stranger may put on a queue, as its broker gets them, and what must become of each."""

from __future__ import annotations

import gzip
import importlib.util
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import msgspec

MIB = 2**20
"""The ``max_message_size`` of the queues: the default."""
MOST = 249_000
"""Parts that are just not too many."""

JSON, MSGPACK, BYTES = "json/plain", "application/msgpack", "application/octet-stream"

HANDLED, INVALID, UNDECODABLE, FAILED = "", "invalid", "undecodable", "not_retryable"


@dataclass(frozen=True)
class Hostile:
    """A body; ``ends``: the reason of its dead letter, or none, at a Lua and at a Python handler."""

    name: str
    type: str
    make: Callable[[], bytes]
    ends: str
    in_python: str | None = None
    """Where it differs."""
    headers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def reasons(self) -> tuple[str, str]:
        """Of the Lua handler's dead letter, and of the Python handler's."""
        return self.ends, self.ends if self.in_python is None else self.in_python


def filled(before: str, each: str, after: str, size: int = MIB, separator: str = ",") -> Callable[[], bytes]:
    """JSON of a size: as many of a part as fit."""
    count = (size - len(before) - len(after)) // len((each + separator).encode())
    return partial(_repeated, before, each, separator, after, count)


def counted(each: str, count: int = MOST) -> Callable[[], bytes]:
    """A list of this many equal values."""
    return partial(_repeated, "[", each, ",", "]", count)


def _repeated(before: str, each: str, separator: str, after: str, count: int) -> bytes:
    return (before + (each + separator) * (count - 1) + each + after).encode()


def packed(value: Callable[[], Any]) -> Callable[[], bytes]:
    """MessagePack."""
    return lambda: msgspec.msgpack.encode(value())


def raw(data: bytes) -> Callable[[], bytes]:
    """These bytes."""
    return lambda: data


def squeezed(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """Compressed as gzip."""
    return lambda: gzip.compress(make(), 9)


def zipped(make: Callable[[], bytes], *, says_size: bool = True) -> Callable[[], bytes]:
    """Compressed as zstd."""

    def made() -> bytes:
        import zstandard

        if says_size:
            return bytes(zstandard.ZstdCompressor().compress(make()))
        pack = zstandard.ZstdCompressor().compressobj()
        return bytes(pack.compress(make()) + pack.flush())

    return made


@cache
def colliding(bits: int, arc: int, hits: int) -> list[int]:
    """Numbers that Python's dict finds by walking through each other: the first fill a way, the others begin on it."""
    mask, way, at = (1 << bits) - 1, [], 1
    for _ in range(arc):
        way.append(at)
        at = (5 * at + 1) & mask
    place = {number: index for index, number in enumerate(way)}
    found: list[int] = []
    high = 1
    while len(found) < hits:
        for low in way[:64]:
            perturb = key = low | high << bits
            at = key & mask
            while perturb and at in place:
                perturb >>= 5
                at = (at * 5 + perturb + 1) & mask
            if not perturb and place.get(at, arc) < arc // 3:
                found.append(key)
        high += 1
    return way + found


def _claiming() -> bytes:
    """An object of 4 billion keys by its own account: each of these is one of 1…n."""
    keys = [key for key in colliding(17, 56_000, 28_000) if key < 2**32]
    return b"\xdf\xff\xff\xff\xff" + b"".join(b"\xce" + key.to_bytes(4, "big") + b"\xc0" for key in keys)


def _zeros(size: int) -> Callable[[], bytes]:
    return lambda: bytes(size)


def _nested_gzip() -> bytes:
    data = bytes(64 * MIB)
    for _ in range(3):
        data = gzip.compress(data, 9)
    return data


def _stored_blocks() -> bytes:
    """A stream of 200,000 empty blocks: nothing is in it."""
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * 200_000 + b"\1\0\0\xff\xff" + struct.pack("<II", 0, 0)


ROWS = [
    # JSON: wide, deep, and texts of all kinds
    Hostile("json of empty objects", JSON, filled("[", "{}", "]"), INVALID),
    Hostile("json of empty lists", JSON, filled("[", "[]", "]"), INVALID),
    Hostile("json of zeros", JSON, filled("[", "0", "]"), INVALID),
    Hostile("json of texts", JSON, filled("[", '""', "]"), INVALID),
    Hostile("json of just few enough zeros", JSON, counted("0"), HANDLED),
    Hostile("json of just few enough objects", JSON, counted("{}", MOST // 2), HANDLED),
    Hostile("json of just few enough pairs", JSON, counted("[1,2]", MOST // 3), HANDLED),
    Hostile("json of 5 million objects", JSON, filled("[", "{}", "]", 16 * MIB), INVALID),
    Hostile("json 400 deep", JSON, raw(b"[" * 400 + b"]" * 400), FAILED, HANDLED),
    Hostile("json 100,000 deep", JSON, raw(b"[" * 100_000 + b"]" * 100_000), UNDECODABLE),
    Hostile("json objects 100,000 deep", JSON, raw(b'{"a":' * 100_000), UNDECODABLE),
    Hostile("json deep and wide", JSON, counted("[[[[[[[[0]]]]]]]]", MOST // 9), HANDLED),
    Hostile("json of names", JSON, lambda: json.dumps({f"{i:x}": 0 for i in range(80_000)}).encode(), HANDLED),
    Hostile("json of one name", JSON, filled("{", '"a":0', "}", 900_000), HANDLED),
    Hostile("json of names that are numbers", JSON,
            lambda: json.dumps({str(i * (2**17 - 1)): 0 for i in range(50_000)}).encode(), HANDLED),
    Hostile("json of long names", JSON, lambda: json.dumps({f"{i}" * 1000: 0 for i in range(200)}).encode(), HANDLED),
    Hostile("json of an empty name", JSON, raw(b'{"":{"":{"":1}}}'), HANDLED),
    Hostile("a text of 1 MiB", JSON, lambda: b'"' + b"x" * (MIB - 2) + b'"', HANDLED),
    Hostile("a text of 1 MiB and a byte", JSON, lambda: b'"' + b"x" * (MIB - 1) + b'"', INVALID),
    Hostile("a text of 64 MiB", JSON, lambda: b'"' + b"x" * 64 * MIB + b'"', INVALID),
    Hostile("a text of commas", JSON, lambda: b'"' + b"," * (MIB - 2) + b'"', HANDLED),
    Hostile("a text of brackets", JSON, lambda: b'"' + b"[{" * (MIB // 2 - 1) + b'"', HANDLED),
    Hostile("escaped quotation marks", JSON, filled('"', r"\",", '"', separator=""), HANDLED),
    Hostile("escaped backslashes", JSON, filled('"', r"\\", '"', separator=""), HANDLED),
    Hostile("escapes", JSON, filled('"', r"\u0041", '"', separator=""), HANDLED),
    Hostile("escaped NULs", JSON, filled('"', r"\u0000", '"', separator=""), HANDLED),
    Hostile("pairs of surrogates", JSON, filled('"', r"\ud83d\ude00", '"', separator=""), HANDLED),
    Hostile("half a surrogate", JSON, raw(rb'"\ud800"'), UNDECODABLE),
    Hostile("surrogates in the wrong order", JSON, raw(rb'"\ude00\ud83d"'), UNDECODABLE),
    Hostile("surrogates as bytes", JSON, raw(b'"\xed\xa0\x80"'), UNDECODABLE),
    Hostile("overlong UTF-8", JSON, raw(b'"\xc0\xaf"'), UNDECODABLE),
    Hostile("Latin-1", JSON, lambda: b'"' + b"\xe9" * 500_000 + b'"', UNDECODABLE),
    Hostile("a byte order mark", JSON, raw(b"\xef\xbb\xbf{}"), UNDECODABLE),
    Hostile("UTF-16", JSON, lambda: json.dumps(["x" * 100_000]).encode("utf-16"), UNDECODABLE),
    Hostile("blanks", JSON, lambda: b" " * (MIB - 2) + b"{}", HANDLED),
    Hostile("blanks and nothing", JSON, lambda: b" " * MIB, UNDECODABLE),
    Hostile("NULs", JSON, _zeros(MIB), UNDECODABLE),
    Hostile("nothing", JSON, raw(b""), UNDECODABLE),
    Hostile("two values", JSON, raw(b"{}{}"), UNDECODABLE),
    Hostile("an open list", JSON, filled("[", "0", "", 400_000), UNDECODABLE),
    # Numbers
    Hostile("a number of 1 MiB", JSON, lambda: b"7" * MIB, UNDECODABLE),
    Hostile("numbers of 4,300 digits", JSON, filled("[", "7" * 4300, "]"), FAILED, HANDLED),
    Hostile("numbers of 4,301 digits", JSON, filled("[", "7" * 4301, "]"), UNDECODABLE),
    Hostile("numbers of 30 digits", JSON, filled("[", "7" * 30, "]"), FAILED, HANDLED),
    Hostile("a fraction of 1 MiB", JSON, lambda: b"0." + b"1" * (MIB - 2), HANDLED),
    Hostile("fractions of 800 digits", JSON, filled("[", "0." + "1" * 798, "]"), HANDLED),
    Hostile("fractions between two floats", JSON,
            filled("[", "2.2250738585072011360574097967091319759348195463516456480234261097248e-308", "]"), HANDLED),
    Hostile("an exponent beyond floats", JSON, raw(b"1e999999999999"), UNDECODABLE),
    Hostile("an exponent of 1 MiB", JSON, lambda: b"1e" + b"0" * (MIB - 3) + b"1", HANDLED),
    Hostile("NaN", JSON, raw(b"[NaN]"), UNDECODABLE),
    # MessagePack
    Hostile("numbers as keys that collide in Lua", MSGPACK,
            packed(lambda: {i * (2**17 - 1): 0 for i in range(70_000)}), INVALID),
    Hostile("numbers as keys that collide in Python", MSGPACK,
            packed(lambda: dict.fromkeys(colliding(16, 28_000, 14_000))), INVALID),
    Hostile("the same in an object that claims more keys", MSGPACK, _claiming, INVALID),
    Hostile("floats as keys", MSGPACK, packed(lambda: {float(i) * 2**20: 0 for i in range(60_000)}), INVALID),
    Hostile("lists as keys", MSGPACK, packed(lambda: {(i, 0): 0 for i in range(60_000)}), INVALID),
    Hostile("a thousand numbers as keys", MSGPACK, packed(lambda: {i * (2**17 - 1): 0 for i in range(1000)}), HANDLED),
    Hostile("objects of a thousand numbers as keys", MSGPACK,
            packed(lambda: [{i * (2**17 - 1): 0 for i in range(1000)}] * 124), HANDLED),
    Hostile("1…n as keys", MSGPACK, packed(lambda: dict.fromkeys(range(1, 100_000), 0)), HANDLED),
    Hostile("MessagePack of 1,000,000 empty objects", MSGPACK, packed(lambda: [{}] * 1_000_000), INVALID),
    Hostile("MessagePack of just few enough objects", MSGPACK, packed(lambda: [{}] * MOST), HANDLED),
    Hostile("MessagePack of just few enough values", MSGPACK, packed(lambda: [0, "a", 1.5] * (MOST // 3)), HANDLED),
    Hostile("MessagePack 100,000 deep", MSGPACK, lambda: b"\x91" * 100_000, UNDECODABLE),
    Hostile("MessagePack 500,000 deep", MSGPACK, lambda: b"\x91" * 500_000, INVALID),
    Hostile("a list that claims 4 billion", MSGPACK, raw(b"\xdd\xff\xff\xff\xff"), UNDECODABLE),
    Hostile("lists that claim millions", MSGPACK, lambda: b"\xdd\x0f\xff\xff\xff" * 900, UNDECODABLE),
    Hostile("objects that claim millions", MSGPACK, lambda: b"\xdf\x0f\xff\xff\xff" * 900, UNDECODABLE),
    Hostile("a text that claims 4 GiB", MSGPACK, raw(b"\xdb\xff\xff\xff\xffx"), UNDECODABLE),
    Hostile("an object as a key", MSGPACK, raw(b"\x81\x80\x01"), UNDECODABLE),
    Hostile("extensions", MSGPACK, lambda: b"\xdc\xff\xff" + b"\xd4\x05\x00" * 65_535, UNDECODABLE),
    Hostile("infinity", MSGPACK, packed(lambda: [float("inf")]), UNDECODABLE),
    Hostile("bytes that look like infinity", MSGPACK, packed(lambda: b"\xcb\x7f\xf0" * 300_000), HANDLED),
    Hostile("a text that is no UTF-8", MSGPACK, lambda: b"\xda\xff\xff" + b"\xff" * 65_535, UNDECODABLE),
    # Compression that no queue has asked for
    Hostile("16 MiB of objects in 16 KB", f"{JSON}+gzip", squeezed(filled("[", "{}", "]", 16 * MIB)), INVALID),
    Hostile("1 MiB of objects in 1 KB", f"{JSON}+gzip", squeezed(filled("[", "{}", "]")), INVALID),
    Hostile("few enough objects, compressed", f"{JSON}+gzip", squeezed(counted("{}", MOST // 2)), HANDLED),
    Hostile("64 MiB of NULs", f"{BYTES}+gzip", squeezed(_zeros(64 * MIB)), INVALID),
    Hostile("exactly 1 MiB of NULs", f"{BYTES}+gzip", squeezed(_zeros(MIB)), HANDLED),
    Hostile("MessagePack of objects, compressed", f"{MSGPACK}+gzip",
            squeezed(packed(lambda: [{}] * 1_000_000)), INVALID),
    Hostile("numbers as keys, compressed", f"{MSGPACK}+gzip",
            squeezed(packed(lambda: {i * 2**18: 0 for i in range(70_000)})), INVALID),
    Hostile("a bomb in a bomb in a bomb", f"{JSON}+gzip", _nested_gzip, UNDECODABLE),
    Hostile("a name compressed twice", f"{JSON}+gzip+gzip", _nested_gzip, UNDECODABLE),
    Hostile("two members", f"{JSON}+gzip", lambda: gzip.compress(b"[]") + gzip.compress(b"[]"), UNDECODABLE),
    Hostile("50,000 members", f"{BYTES}+gzip", lambda: gzip.compress(b"") * 50_000, UNDECODABLE),
    Hostile("gzip that ends too early", f"{JSON}+gzip", lambda: squeezed(filled("[", "0", "]"))()[:-9], UNDECODABLE),
    Hostile("gzip with a wrong sum", f"{JSON}+gzip", lambda: gzip.compress(b"[]")[:-8] + bytes(8), UNDECODABLE),
    Hostile("gzip without a content", f"{JSON}+gzip", _stored_blocks, UNDECODABLE),
    Hostile("zlib, not gzip", f"{JSON}+gzip", lambda: zlib.compress(b"[]"), UNDECODABLE),
    Hostile("plain JSON that says gzip", f"{JSON}+gzip", filled("[", "0", "]", 400_000), UNDECODABLE),
    # Types and headers
    Hostile("an unknown type", "application/x-python-pickle", filled("[", "{}", "]"), INVALID),
    Hostile("a type of 60 KB", "x" * 60_000, raw(b"[]"), HANDLED),
    Hostile("a type with many plus signs", "+gzip" * 10_000, raw(b"[]"), HANDLED),
    Hostile("1 MiB of random-looking bytes", BYTES, lambda: bytes(range(256)) * 4096, HANDLED),
    Hostile("JSON that says MessagePack", MSGPACK, filled("[", "{}", "]", 900_000), INVALID),
    Hostile("MessagePack that says JSON", JSON, packed(lambda: [{}] * 900_000), UNDECODABLE),
    Hostile("10,000 headers", JSON, raw(b"[]"), HANDLED, headers={f"h{i}": i for i in range(10_000)}),
    Hostile("a header of 1 MiB", JSON, raw(b"[]"), HANDLED, headers={"note": "x" * MIB}),
    Hostile("a header of addresses", JSON, raw(b"[]"), HANDLED, headers={"note": "://" * (MIB // 3)}),
    Hostile("1,000 headers of addresses", JSON, raw(b"[]"), HANDLED,
            headers={f"h{i}": "://" * 5_000 for i in range(1000)}),
    Hostile("a last error of addresses", JSON, raw(b"[]"), HANDLED,
            headers=dict.fromkeys(("x_last_error", "x_last_traceback", "x_cause"), "://" * (MIB // 3))),
]  # fmt: skip
if importlib.util.find_spec("zstandard") is not None:
    ROWS += [
        Hostile("16 MiB of objects, zstd", f"{JSON}+zstd", zipped(filled("[", "{}", "]", 16 * MIB)), INVALID),
        Hostile("64 MiB of NULs, zstd", f"{BYTES}+zstd", zipped(_zeros(64 * MIB)), INVALID),
        Hostile("zstd of an unknown size", f"{BYTES}+zstd", zipped(_zeros(64 * MIB), says_size=False), UNDECODABLE),
        Hostile("zstd that claims 2**62 bytes", f"{BYTES}+zstd",
                raw(b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**62) + b"\x01\0\0"), INVALID),
        Hostile("two frames", f"{JSON}+zstd", lambda: zipped(raw(b"[]"))() * 2, UNDECODABLE),
        Hostile("zstd that ends too early", f"{BYTES}+zstd", lambda: zipped(_zeros(MIB))()[:-2], UNDECODABLE),
        Hostile("a frame to skip", f"{JSON}+zstd", raw(b"\x50\x2a\x4d\x18\xff\xff\xff\xff"), UNDECODABLE),
    ]  # fmt: skip
