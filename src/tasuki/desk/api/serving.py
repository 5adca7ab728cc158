"""Serving: from a request at ``/api/v1`` or ``/openapi.json`` to its response."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tasuki.desk.api import asked
from tasuki.desk.api.answers import Health
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import read_body, read_query
from tasuki.desk.api.idempotency import Replies
from tasuki.desk.api.openapi import document
from tasuki.desk.api.operations.table import OPERATIONS, Operation
from tasuki.desk.api.problems import ProblemError, problem_for
from tasuki.desk.looks.look import packed, takes_gzip
from tasuki.desk.security.gate import SESSION
from tasuki.desk.security.problems import problem
from tasuki.desk.security.sessions import Session
from tasuki.desk.tools import Tools
from tasuki.moments import plain

_log = logging.getLogger("tasuki.desk")

_PACKED_FROM = 1024
_JSON = "application/json"


class Api:
    """The API of one desk. The gate has let the request in, and checked its origin and its rate."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._replies = Replies(tools.site)

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
        session: Session = request.scope[SESSION]
        names = {part[1:-1]: given for part, given in zip(operation.path, path, strict=True) if part.startswith("{")}
        query = read_query(request.url.query, operation.query)
        if operation.method == "GET":
            return await self._run(operation, Call(self._tools, session, names, query, asked.Nothing()))
        if not session.is_by_header and not _is_json(request):
            # Another site can make a browser send a form, but this type only with leave (CORS), which we never give.
            raise ProblemError(415, "without a token in Authorization, Content-Type must be application/json")
        body: msgspec.Struct = await read_body(request, operation.body or asked.Nothing, operation.most)
        call = Call(self._tools, session, names, query, body)
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._run(operation, call)
        seen = msgspec.json.encode([operation.method, list(path), body])
        return await self._replies.once(session.actor, key, seen, lambda: self._end(operation, call))

    async def _end(self, operation: Operation, call: Call) -> Response:
        """The same, with an answer for every error: it is kept under the key of the request."""
        try:
            return await self._run(operation, call)
        except Exception as error:
            if (known := problem_for(error)) is None:
                raise
            return known

    async def _run(self, operation: Operation, call: Call) -> Response:
        if operation.reads_site:
            await self._tools.site.follow()  # a right that a reload took away is gone for the next request
        answer = await operation.call(call)
        status = 503 if isinstance(answer, Health) and not answer.ready else 200
        return Response(msgspec.json.encode(plain(answer)), status, media_type=_JSON)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _JSON
