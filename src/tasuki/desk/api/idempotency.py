"""Idempotency: a request with a key is carried out once, and answered again from the store of the project."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from tasuki.desk.api.problems import ProblemError
from tasuki.desk.site import Site
from tasuki.errors import ConflictError, TasukiError

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

KEPT = 86400.0
"""Seconds for which an answer is given again."""
CLAIM = 60.0
"""Seconds after which a request counts as lost that has not ended; an act ends sooner."""
MOST_KEY = 200
_PREFIX = "api-key/"
_MOST_HERE = 1000
_PASSING = (403, 404, 408, 429)
"""Errors that may be over when it is tried again: nothing has changed, and a right or a queue may be there by then."""
_MOST_BODY = 256 * 1024
_LOST = {
    "status": 409,
    "type": "application/problem+json",
    "body": b'{"type": "about:blank", "title": "Conflict", "status": 409, "code": "done_before", "detail": '
    b'"this request was carried out; its answer was too long to be kept"}',
}

_log = logging.getLogger("tasuki.desk")


class Reply(msgspec.Struct, frozen=True):
    """The kept answer to a request; status 0: it is being carried out."""

    fingerprint: str
    status: int = 0
    type: str = ""
    body: bytes = b""


_decoder = msgspec.msgpack.Decoder(Reply)


class Replies:
    """Of one desk. A project without a store that processes share has them in this process alone."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._here: OrderedDict[str, Reply] = OrderedDict()

    async def once(
        self, actor: str, key: str, request: bytes, carry_out: Callable[[], Awaitable[Response]]
    ) -> Response:
        """The answer to a request, which is carried out unless one with this key was.

        Raises:
            ProblemError: the key is none, or was used for another request, or that request has not ended.
            AwayError, DriverError: the store does not answer, so nothing is carried out.
        """
        if len(key) > MOST_KEY or not key.isprintable():
            raise ProblemError(400, f"Idempotency-Key must have 1 to {MOST_KEY} printable characters")
        place = _PREFIX + sha256(f"{actor}\0{key}".encode()).hexdigest()
        fingerprint = sha256(request).hexdigest()
        if (known := await self._claim(place, Reply(fingerprint))) is not None:
            return _again(known, fingerprint)
        response = None
        try:
            response = await carry_out()
        finally:
            if response is None or response.status_code >= 500 or response.status_code in _PASSING:
                with suppress(TasukiError):  # then the claim ends by itself
                    await self._put(place, None)  # it may be tried again
            else:
                type_, body = response.media_type or "", bytes(response.body)
                await self._keep(place, Reply(fingerprint, response.status_code, type_, body))
        return response

    async def _keep(self, place: str, reply: Reply) -> None:
        """Keep it; where that cannot be, the client has its answer all the same, and the claim ends by itself."""
        try:
            await self._put(place, reply if len(reply.body) <= _MOST_BODY else msgspec.structs.replace(reply, **_LOST))
        except TasukiError as error:
            _log.warning("desk: the answer to a request with an Idempotency-Key is not kept: %s", error)

    async def _claim(self, place: str, claim: Reply) -> Reply | None:
        """The reply that is kept there; None: there was none, and now the claim is."""

        async def work(live: Assembly) -> Reply | None:
            store = await live.states_of_queues()[0].store()
            while True:
                with suppress(ConflictError):
                    await store.put(place, msgspec.msgpack.encode(claim), ttl=CLAIM, version=0)
                    return None
                if (found := await store.get(place)) is not None:
                    return _decoder.decode(found.value)

        if self._site.live.states_of_queues():
            return await self._site.on(self._site.reader, work)
        if (known := self._here.get(place)) is not None:
            return known
        self._here[place] = claim
        if len(self._here) > _MOST_HERE:
            self._here.popitem(last=False)
        return None

    async def _put(self, place: str, reply: Reply | None) -> None:
        async def work(live: Assembly) -> None:
            store = await live.states_of_queues()[0].store()
            if reply is None:
                await store.delete(place)
            else:
                await store.put(place, msgspec.msgpack.encode(reply), ttl=KEPT)

        if self._site.live.states_of_queues():
            await self._site.on(self._site.reader, work)
        elif reply is None:
            self._here.pop(place, None)
        else:
            self._here[place] = reply


def _again(known: Reply, fingerprint: str) -> Response:
    if known.fingerprint != fingerprint:
        raise ProblemError(422, "this Idempotency-Key was used for another request")
    if not known.status:
        raise ProblemError(409, "a request with this Idempotency-Key has not ended yet", "in_progress")
    return Response(known.body, known.status, {"idempotency-replayed": "true"}, known.type)
