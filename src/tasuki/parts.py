"""How much a body would be once it is decoded, read from its bytes before anything is made of them.

A few bytes can stand for many values. And numbers as keys can be chosen so that all of them collide in a hash table:
in Lua's, and in Python's, where the hash of a number is the number.
"""

from __future__ import annotations

MAX_PARTS = 250_000
"""Most parts of a body: its values, and in MessagePack its keys."""
MAX_NUMBER_KEYS = 1_000
"""Most keys of one object that are numbers, apart from 1…n and numbers of one byte."""

LEAST_MSGPACK = 4 * MAX_NUMBER_KEYS
"""Bytes below which MessagePack is never refused: such a key takes three, and its value one."""
_NO_MARKS = bytes(set(range(256)) - set(b'"[{,'))
_TOO_MANY = f"it has more than {MAX_PARTS} parts"


def problem_of_json(text: bytes) -> str:
    """Why JSON is not decoded; empty if it may be. Bytes that are no JSON may get any answer.

    An empty list or object counts as two parts.
    """
    if len(text) <= MAX_PARTS or _marks(text) < MAX_PARTS:
        return ""
    if b"\\" in text:
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    pieces = text.translate(None, _NO_MARKS).split(b'"')  # every second one was a text
    return _TOO_MANY if _marks(b"".join(pieces[::2])) >= MAX_PARTS else ""


def problem_of_msgpack(data: bytes) -> str:
    """Why MessagePack is not decoded; empty if it may be. Bytes that are none may get any answer."""
    if len(data) > MAX_PARTS and count_parts(data, MAX_PARTS) > MAX_PARTS:
        return _TOO_MANY
    if len(data) >= LEAST_MSGPACK and (b"\xde" in data or b"\xdf" in data) and _has_number_keys(data):
        return f"an object in it has more than {MAX_NUMBER_KEYS} numbers as keys; write them as texts"
    return ""


def count_parts(data: bytes, most: int) -> int:
    """How many values MessagePack has, or more than ``most``."""
    at, parts, end = 0, 0, len(data)
    while at < end and parts <= most:
        parts += 1
        at += _WIDTHS[data[at]] or _long(data, at)
    return parts


def width_of(data: bytes, at: int) -> int:
    """How many bytes a value of MessagePack has; of a list or an object its head alone."""
    return _WIDTHS[data[at]] or _long(data, at)


def entry_of(data: bytes, at: int) -> int:
    """How many values of MessagePack an entry of the list (1) or the object (2) has that is there; 0: it is neither."""
    return _ENTRIES[data[at]]


def count_of(data: bytes, at: int) -> int:
    """How many entries the list or the object has that is there in MessagePack."""
    head = data[at]
    return head & 15 if head < 0xA0 else int.from_bytes(data[at + 1 : at + _WIDTHS[head]], "big")


def _marks(text: bytes) -> int:
    """A comma is before each part, or a bracket: of each list and object, also of an empty one."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _widths() -> list[int]:
    """By first byte: bytes of a value, or of the head of a list or an object; 0: it says how many follow."""
    table = [1] * 256
    for code in range(0xA0, 0xC0):
        table[code] = 1 + (code & 31)
    for code in (*_LENGTHS, *_EXTENSIONS):
        table[code] = 0
    for first, size in ((0xCA, 4), (0xCB, 8), *((0xCC + n, 2 ** (n % 4)) for n in range(8))):
        table[first] = 1 + size
    for power in range(5):
        table[0xD4 + power] = 2 + 2**power
    for power in (1, 2):
        table[0xDB + power] = table[0xDD + power] = 1 + 2**power
    return table


_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length of bytes or of a text, by first byte."""
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
"""The same of an extension, which has its code before its content."""
_WIDTHS = _widths()
_ENTRIES = bytes([*[0] * 0x80, *[2] * 16, *[1] * 16, *[0] * 0x3C, 1, 1, 2, 2, *[0] * 32])
"""By first byte: the values of an entry of a list (1) or of an object (2); 0: it is neither."""


def _long(data: bytes, at: int) -> int:
    """Bytes of a value that says how many they are."""
    head = data[at]
    field = _LENGTHS.get(head) or _EXTENSIONS[head]
    return 1 + field + int.from_bytes(data[at + 1 : at + 1 + field], "big") + (head in _EXTENSIONS)


def _has_number_keys(data: bytes) -> bool:
    """Whether a large object has too many numbers as keys; the keys of small ones are not looked at."""
    at, end = 0, len(data)
    keys = numbers = size = 0  # of the innermost large object: keys to come, numbers among the others, all its keys
    inside = 1  # values before its next key
    outer: list[tuple[int, int, int, int]] = []
    while at < end:
        if not inside:
            if keys:
                keys, inside = keys - 1, 2
                numbers += _is_number(data, at, size)
                if numbers > MAX_NUMBER_KEYS:
                    return True
            elif outer:
                inside, keys, numbers, size = outer.pop()
                continue
            else:
                return False
        head = data[at]
        inside -= 1
        if entry := _ENTRIES[head]:
            count = count_of(data, at)
            if entry == 1 or count <= MAX_NUMBER_KEYS:
                inside += count * entry
            else:
                outer.append((inside, keys, numbers, size))
                inside, keys, numbers, size = 0, count, 0, count
        at += _WIDTHS[head] or _long(data, at)
    return False


def _is_number(data: bytes, at: int, size: int) -> bool:
    """Whether a key counts: a number, or a list, whose hash is made of the numbers in it."""
    head = data[at]
    if head in _WHOLE:
        number = int.from_bytes(data[at + 1 : at + _WIDTHS[head]], "big", signed=head >= _SIGNED)
        return not _LEAST_BYTE <= number <= max(size, _MOST_BYTE)
    return head in _FLOATS or _ENTRIES[head] > 0


_FLOATS, _WHOLE, _SIGNED = b"\xca\xcb", bytes(range(0xCC, 0xD4)), 0xD0
_LEAST_BYTE, _MOST_BYTE = -(2**7), 2**8 - 1
