"""Places: the keys of a store at the server, its scripts, the bounds of a prefix, and published changes of keys."""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass
from typing import NamedTuple

from tasuki.contracts.state.store import Change
from tasuki.drivers.redis.scripts import SLOTS, Script

LAYOUT = 1
"""Of the keys and scripts of a store (docs/adr/0065)."""

_KEYS = (b"values", b"versions", b"names", b"ends")


def _script(*parts: str) -> Script:
    return Script.about((), *parts)


OPEN = _script("entries", "store")
READ = _script("entries", "read")
WRITE = _script("entries", "put", "write")
WRITE_ALL = _script("entries", "put", "write_all")
ERASE = _script("entries", "erase")
PAGE = _script("entries", "page")
EXPIRE = _script("entries", "expire")
TAKE = _script("bucket", "take")
GIVE = _script("bucket", "give")
HOLD = _script("places")


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where a store is: its keys, which share one hash slot."""

    keys: tuple[bytes, ...]
    slot: int

    def bucket(self, key: bytes) -> tuple[bytes]:
        """The key of a bucket at the server."""
        return (b"%b:bucket:%b" % (self.keys[0], key),)

    def places(self, key: bytes) -> tuple[bytes]:
        """The key of the holders of places at the server."""
        return (b"%b:places:%b" % (self.keys[0], key),)

    def channel(self, prefix: str) -> bytes:
        """Where the changes of all keys with this prefix are published, and few others."""
        part, slash, _ = prefix.partition("/")
        return b"%b:%b" % (self.keys[0], raw(part)) if slash else self.keys[0]


def store_place(prefix: str, name: str) -> StorePlace:
    """The place of a store. Braces in names are written otherwise: they would end the hash tag."""
    tag = raw(f"{prefix}:{name}".replace("%", "%25").replace("{", "%7B").replace("}", "%7D"))
    store = b"{%b}:store" % tag
    return StorePlace((store, *(b"%b::%b" % (store, part) for part in _KEYS)), crc_hqx(tag, 0) % SLOTS)


def raw(text: str) -> bytes:
    """Any text as bytes, whose order is the order of its code points."""
    return text.encode("utf-8", "surrogatepass")


def bounds(prefix: str, after: str) -> tuple[bytes, bytes]:
    """The lowest and the highest name of a list, as ZRANGEBYLEX wants them."""
    first, start = raw(prefix), raw(after)
    low = b"(" + start if start and start >= first else b"[" + first if first else b"-"
    return low, b"(" + first + b"\xff" if first else b"+"  # UTF-8 has no byte 255


class News(NamedTuple):
    """A change of one key."""

    key: str
    version: int
    value: bytes | None
    """None: the key is gone, or its value is too long to be published."""
    is_gone: bool
    left: float | None
    """Seconds until it expires; None: it does not."""

    @property
    def change(self) -> Change | None:
        """What a reader gets; None: the value has to be read first."""
        return Change(self.key, self.value, self.version) if self.is_gone or self.value is not None else None


def read_news(content: bytes) -> News:
    """Read a line with kind, version, microseconds left and size of the key, then the key and the value.

    Raises ValueError.
    """
    head, _, rest = content.partition(b"\n")
    kind, version, left, size = head.split(b" ")
    key, value = rest[: int(size)], rest[int(size) :]
    return News(key.decode(), int(version), value if kind == b"=" else None, kind == b"-", seconds_left(int(left)))


def seconds_left(microseconds: int) -> float | None:
    """As scripts answer it: -1 for a key that does not expire."""
    return None if microseconds < 0 else microseconds / 1e6
