"""How many parts a body has, without decoding it, against what it decodes to."""

from __future__ import annotations

import random
import struct
from typing import Any

import msgspec
import pytest

from tasuki.parts import (
    MAX_NUMBER_KEYS,
    MAX_PARTS,
    count_of,
    count_parts,
    entry_of,
    problem_of_json,
    problem_of_msgpack,
    width_of,
)

SCALARS: list[Any] = [
    *(None, True, 0, 127, 128, 2**8, 2**16, 2**32, 2**64 - 1, -1, -32, -33, -(2**7) - 1, -(2**15) - 1, -(2**63)),
    *(1.5, "", "a" * 31, "a" * 32, "é" * 200, "a" * 70_000, b"", b"\xde\xff" * 10, bytes(300), bytes(70_000)),
    *(msgspec.msgpack.Ext(5, bytes(size)) for size in (1, 2, 4, 8, 16, 3, 300, 70_000)),
]
MANY = 20_000


def parts_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(parts_of(part) for pair in value.items() for part in pair)
    return 1 + sum(map(parts_of, value)) if isinstance(value, list | tuple) else 1


def grown(random_: random.Random, depth: int) -> Any:
    kind = random_.random()
    if depth == 0 or kind < 0.4:
        return random_.choice(SCALARS[:-3])
    count = random_.choice([0, 1, 3, 15, 16, 17])
    items = [grown(random_, depth - 1) for _ in range(count)]
    return items if kind < 0.7 else {f"k{i}": item for i, item in enumerate(items)}


@pytest.mark.parametrize("seed", range(30))
def test_messagepack_is_counted_as_it_decodes(seed: int) -> None:
    value = grown(random.Random(seed), 4)
    data = msgspec.msgpack.encode(value)
    assert count_parts(data, 10**9) == parts_of(value)
    assert not problem_of_msgpack(data)
    if parts_of(value) > 3:
        assert count_parts(data, 3) == 4


@pytest.mark.parametrize(
    "value", [*SCALARS, [0] * 70_000, {str(i): 0 for i in range(70_000)}], ids=lambda v: f"{v!r:.20}"
)
def test_every_first_byte_has_its_width(value: Any) -> None:
    data = msgspec.msgpack.encode([value, 7])
    if isinstance(value, list | dict):
        data = msgspec.msgpack.encode(value)
        assert (entry_of(data, 0), count_of(data, 0)) == (1 if isinstance(value, list) else 2, 70_000)
        assert width_of(data, 0) == 5
    else:
        assert (entry_of(data, 1), width_of(data, 1)) == (0, len(data) - 2)


def test_msgpack_that_is_cut_or_claims_more_than_it_has_is_left_to_the_decoder() -> None:
    for data in (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff" * 2000,
        b"\xdb\xff\xff\xff\xff" + bytes(5000),
        b"\xc9",
    ):
        assert not problem_of_msgpack(data)


@pytest.mark.parametrize(
    "text",
    [
        '["' + "," * MAX_PARTS * 2 + '"]',  # a table of numbers, as one text
        '["' + "[{" * MAX_PARTS + '"]',
        '["' + r"\"," * MAX_PARTS + '"]',
        '["' + r"\\\"," * MAX_PARTS + '"]',
        '["' + r"\\" * MAX_PARTS + '"]',
        "[" + "0," * (MAX_PARTS - 2) + "0]",
        "[" + '"\\\\",' * (MAX_PARTS - 2) + '","]',
        " " * MAX_PARTS * 2 + "{}",
    ],
    ids=lambda text: text[:12],
)
def test_only_marks_outside_of_texts_are_parts_of_json(text: str) -> None:
    msgspec.json.decode(text)
    assert not problem_of_json(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[" + "0," * (MAX_PARTS - 1) + "0]",
        "[" + r'"\\",' * (MAX_PARTS - 1) + "0]",
        "[" + "{}," * (MAX_PARTS // 2) + "0]",
        "{" + '"a":[],' * (MAX_PARTS // 2) + '"a":0}',
        "[" + '{"a":{"b":[1,2]}}, ' * (MAX_PARTS // 4) + "0]",
    ],
    ids=lambda text: text[:12],
)
def test_json_with_more_parts_is_refused(text: str) -> None:
    msgspec.json.decode(text)
    assert problem_of_json(text.encode()) == "it has more than 250000 parts"


def keyed(keys: Any, more: Any = None) -> bytes:
    return msgspec.msgpack.encode([1, {"x": {key: [{}, {"y": 2}] for key in keys}}, more])


@pytest.mark.parametrize(
    "keys",
    [
        [i * (2**17 - 1) for i in range(MANY)],
        [i * 2**40 for i in range(MANY)],
        [-i * 1000 for i in range(MANY)],
        [float(i) for i in range(MANY)],
        [(i, 0) for i in range(MANY)],
        [*(f"k{i}" for i in range(MANY)), *range(10**6, 10**6 + MAX_NUMBER_KEYS + 1)],
    ],
    ids=["Mersenne", "powers", "negative", "floats", "lists", "among texts"],
)
def test_an_object_with_many_numbers_as_keys_is_refused(keys: list[Any]) -> None:
    assert "more than 1000 numbers as keys" in problem_of_msgpack(keyed(keys))
    nested = {f"k{i}": i for i in range(MANY)} | {"in": dict.fromkeys(keys, 0), "last": 1}
    assert problem_of_msgpack(msgspec.msgpack.encode(nested))


@pytest.mark.parametrize(
    "keys",
    [
        list(range(1, MANY)),
        list(range(-128, 256)),
        [f"k{i}" for i in range(MANY)],
        [b"%d" % i for i in range(MANY)],
        [*(f"k{i}" for i in range(MANY)), *range(10**6, 10**6 + MAX_NUMBER_KEYS)],
        [i * (2**17 - 1) for i in range(MAX_NUMBER_KEYS)],
    ],
    ids=["1…n", "bytes", "texts", "binary", "1000 among texts", "1000"],
)
def test_other_keys_may_be_many(keys: list[Any]) -> None:
    assert not problem_of_msgpack(keyed(keys, [[1.5] * 100, b"\xde\xff" * 3000]))
    inner = {key: {"a": 1} for key in keys}
    assert not problem_of_msgpack(msgspec.msgpack.encode({f"o{i}": inner if i == 5 else i for i in range(2000)}))


def test_what_follows_the_value_is_left_to_the_decoder() -> None:
    data = msgspec.msgpack.encode({f"k{i}": i for i in range(2000)})
    assert not problem_of_msgpack(data + keyed(range(10**6, 10**6 + 2000)))


def test_floats_that_look_like_objects_are_none() -> None:
    look = struct.unpack(">d", b"\xde\x04\x00\xcd\x10\x00\xcd\x20")[0]
    assert not problem_of_msgpack(msgspec.msgpack.encode([look] * 20_000))
