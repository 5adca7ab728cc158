"""Sessions: signed cookies that end by themselves, and the tokens of forms (CSRF) that belong to them."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from tasuki.clock import Clock

LIFE = 12 * 3600
"""Seconds of a session."""
_MOST_ENDED = 100_000
"""Ends that are remembered."""
Way = Literal["token", "proxy"]
"""What let a session in. A cookie that came by way of a proxy, which named its actor, is worth nothing without it."""


class Sessions:
    """A cookie proves itself, so that only the ends of sessions are kept, until their cookies end by themselves.

    The key comes from the token, so that another token ends all sessions. Without a token the key is random: a session
    ends with the process.
    """

    def __init__(self, token: str | None, clock: Clock) -> None:
        self._clock = clock
        self._token = token
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._key = secrets.token_bytes(32) if token is None else sha256(b"tasuki desk\0" + token.encode()).digest()

    def is_token(self, given: str) -> bool:
        """Whether it is the token; takes as long for any text."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def new(self, way: Way = "token") -> str:
        """The cookie of a new session; see :data:`Way`."""
        text = f"{secrets.token_urlsafe(16)}.{int(self._clock.time()) + LIFE}"
        return f"{text}.{self._sign(way, text)}"

    def read(self, cookie: str, way: Way = "token") -> str | None:
        """The id of the session; None: the cookie is forged, or has another key or way, or is over."""
        text, _, signature = cookie.rpartition(".")
        id, _, until = text.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(way, text).encode()):
            return None
        is_alive = until.isdigit() and int(until) > self._clock.time() and id not in self._ended
        return id if is_alive else None

    def end(self, session: str) -> None:
        """Let its cookie be worth nothing in this process, also where a copy of it is."""
        now = self._clock.time()
        self._ended[session] = now + LIFE
        while len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) <= now:
            self._ended.popitem(last=False)

    def form_token(self, session: str) -> str:
        """What each form of a session carries."""
        return self._sign("form", session)

    def is_form_token(self, session: str, given: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(given.encode(), self.form_token(session).encode())

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}\0{text}".encode(), sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class ActorSession:
    """Who asks, and what the forms for this client carry."""

    id: str
    actor: str
    form_token: str
    client: str
    is_new: bool = False
    is_by_token: bool = False
    """It began with the token, and can be ended; other sessions begin by themselves."""
    is_by_header: bool = False
    """A program that sends the token each time: no other page can make it do so."""
