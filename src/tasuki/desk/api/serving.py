"""Serving: from a request at ``/api/v1`` or ``/openapi.json`` to its response, once for each ``Idempotency-Key``."""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tasuki.desk.api import asked
from tasuki.desk.api.answers import HealthAnswer
from tasuki.desk.api.call import ApiCall
from tasuki.desk.api.decoding import read_body, read_query
from tasuki.desk.api.openapi import MOST_KEY, document
from tasuki.desk.api.operations.table import OPERATIONS, Operation
from tasuki.desk.api.problems import ProblemError, problem, problem_for
from tasuki.desk.presentation.look import packed, takes_gzip
from tasuki.desk.security.gate import SESSION
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import Site
from tasuki.desk.tools import Tools
from tasuki.errors import ConflictError, TasukiError
from tasuki.moments import plain

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


KEPT = 86400.0
"""Seconds for which an answer is given again."""

CLAIM = 60.0
"""Seconds after which a request counts as lost that has not ended; an act ends sooner."""


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


class StoredReplies:
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


_PACKED_FROM = 1024
_JSON = "application/json"


class Api:
    """The API of one desk. The gate has let the request in, and checked its origin and its rate."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._replies = StoredReplies(tools.site)

    async def answer(self, request: Request, path: Sequence[str] | None) -> Response:
        """The response; every error is a problem. ``path``: None: it is none that anything has."""
        response = await self._try(request, path or ())
        body = bytes(response.body)
        if len(body) >= _PACKED_FROM and takes_gzip(request.headers.get("accept-encoding", "")):
            response.body = packed(body.decode())
            response.headers["content-length"] = str(len(response.body))
            response.headers["content-encoding"] = "gzip"
        response.headers["vary"] = "accept-encoding, authorization, cookie"
        return response

    async def _try(self, request: Request, path: Sequence[str]) -> Response:
        try:
            if list(path) == ["openapi.json"]:
                return self._document(request)
            if tuple(path[:2]) != ("api", "v1"):
                raise ProblemError(404, "there is no such path")
            return await self._route(request, path[2:])
        except Exception as error:
            if (known := problem_for(error)) is not None:
                return known
            id = secrets.token_hex(4)
            _log.exception("desk: %s failed (%s)", "/".join(path)[:200], id)
            return problem(500, f"something failed here; the log has the details under {id}")

    def _document(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise ProblemError(405, "this method is not allowed", headers={"allow": "GET, HEAD"})
        root = str(request.scope.get("root_path", ""))
        return Response(msgspec.json.encode(document(root)), media_type=_JSON)

    async def _route(self, request: Request, path: Sequence[str]) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        found = [each for each in OPERATIONS if each.fits(path)]
        if not found:
            raise ProblemError(404, "there is no such path")
        operation = next((each for each in found if each.method == method), None)
        if operation is None:
            allowed = sorted({each.method for each in found})
            raise ProblemError(405, "this method is not allowed", headers={"allow": ", ".join(allowed)})
        return await self._serve(request, operation, path)

    async def _serve(self, request: Request, operation: Operation, path: Sequence[str]) -> Response:
        session: ActorSession = request.scope[SESSION]
        names = {part[1:-1]: given for part, given in zip(operation.path, path, strict=True) if part.startswith("{")}
        query = read_query(request.url.query, operation.query)
        if operation.method == "GET":
            return await self._run(operation, ApiCall(self._tools, session, names, query, asked.Nothing()))
        if not session.is_by_header and not _is_json(request):
            # Another site can make a browser send a form, but this type only with leave (CORS), which we never give.
            raise ProblemError(415, "without a token in Authorization, Content-Type must be application/json")
        body: msgspec.Struct = await read_body(request, operation.body or asked.Nothing, operation.most)
        call = ApiCall(self._tools, session, names, query, body)
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._run(operation, call)
        seen = msgspec.json.encode([operation.method, list(path), body])
        return await self._replies.once(session.actor, key, seen, lambda: self._end(operation, call))

    async def _end(self, operation: Operation, call: ApiCall) -> Response:
        """The same, with an answer for every error: it is kept under the key of the request."""
        try:
            return await self._run(operation, call)
        except Exception as error:
            if (known := problem_for(error)) is None:
                raise
            return known

    async def _run(self, operation: Operation, call: ApiCall) -> Response:
        if operation.reads_site:
            await self._tools.site.follow()  # a right that a reload took away is gone for the next request
        answer = await operation.call(call)
        status = 503 if isinstance(answer, HealthAnswer) and not answer.ready else 200
        return Response(msgspec.json.encode(plain(answer)), status, media_type=_JSON)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _JSON
