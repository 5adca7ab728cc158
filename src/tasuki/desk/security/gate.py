"""The gate: what every request passes before a page sees it, and the headers that every response gets."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from math import ceil
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasuki.clock import Clock
from tasuki.desk.api.problems import problem
from tasuki.desk.security.access import Access, client_behind, host_name, port_of
from tasuki.desk.security.forms import Readers
from tasuki.desk.security.sessions import LIFE, ActorSession, Sessions, Way

_MOST_BYTES = 2048


def segments_of(scope: Mapping[str, Any]) -> list[str] | None:
    """The segments of a request's path below the place where the desk is mounted; None: there is no such page.

    Refused: a path that is too long, that is not UTF-8, that has NUL, ``.`` or ``..`` in it, or an empty segment.
    """
    raw: bytes = scope.get("raw_path") or str(scope["path"]).encode()
    root = str(scope.get("root_path", "")).encode()
    raw = raw.partition(b"?")[0]
    if root and raw.startswith(root):
        raw = raw[len(root) :]
    if len(raw) > _MOST_BYTES or (raw and not raw.startswith(b"/")):
        return None
    try:
        found = [unquote_to_bytes(segment).decode() for segment in raw[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
    if found == [""]:
        return []
    return None if any(each in ("", ".", "..") or "\0" in each for each in found) else found


def is_api(scope: Mapping[str, Any]) -> bool:
    """Whether programs ask at a request's path, so that its errors are for programs."""
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    return path.startswith("/api/") or path == "/openapi.json"


def own_path(text: str) -> str:
    """The path of a page of the desk to go back to; the first page for anything that leads elsewhere."""
    plain = text.isprintable() and text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if plain and len(text) <= _MOST_BYTES else "/"


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from a page of the desk, as far as its headers say.

    A browser sends Origin or Sec-Fetch-Site; a program that sends neither has no cookies of a victim.
    """
    origin = headers.get("origin")
    if origin is not None:
        try:
            parts = urlsplit(origin[:300])
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "").lower()
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def is_linked(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site, such as a terminal in a browser, led here, as far as the browser says."""
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def is_embedded(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site loads this as a part of itself; a link to the desk is none.

    It could not read the answer, but a hundred images of the largest page would keep the desk, and its process, busy.
    """
    return is_linked(headers) and headers.get("sec-fetch-mode", "navigate") != "navigate"


_log = logging.getLogger("tasuki.desk")


HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; font-src 'none'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types tasuki"
    ),
    "x-content-type-options": "nosniff",
    # With no-referrer a browser says "Origin: null" of our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

SESSION = "tasuki.session"
"""Key of the session in the scope of a request."""

_SAFE = ("GET", "HEAD")
_METHODS = (*_SAFE, "POST", "DELETE")
_OPEN = (["login"], ["logout"])
"""Pages that need no session."""

_LONGEST_ACTOR = 200


class Gate:
    """An ASGI application around the pages.

    Args:
        pages: sees only requests that may be answered; the scope has the session.
        access: the rules.
        sessions: the cookies.
        clock: for the rates.
        free: paths, of one segment each, that need no session, no Host and no rate.
    """

    def __init__(
        self, pages: ASGIApp, access: Access, sessions: Sessions, clock: Clock, free: frozenset[str] = frozenset()
    ) -> None:
        self._pages, self._access, self._sessions, self._free = pages, access, sessions, free
        self._reads, self._acts = Rate(20.0, 100, clock), Rate(5.0, 20, clock)
        self._publishes = Rate(access.publish_rate, max(20, ceil(access.publish_rate)), clock)
        self.readers = Readers()
        self._wrong, self._logged = Rate(10 / 60, 10, clock), Rate(1.0, 60, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = segments_of(scope)
        session = None if self._is_free(path) else self._session(request)
        answer = self._refuse(request, path)
        link = request.query_params.get("token") if answer is None and self._takes_link(request, path) else None
        if answer is None and link is None:
            answer = self._refuse_stranger(request, path, session)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._complete(MutableHeaders(scope=message), request, session)
            await send(message)

        scope[SESSION] = session
        is_page = answer is None and link is None and path is not None and path[:1] not in (["static"], ["metrics"])
        if not is_page or is_api(scope):
            scope.pop("tasuki.cookie", None)  # only a page begins a session
        elif session is not None and session.is_new and self._access.actor_header:
            self._note("desk: a session of %s from %s begins", session.actor, session.client)
        if link is not None:
            answer = self._enter_by_link(request, link)
        await (answer or self._pages)(scope, receive, send_safely)

    def _is_free(self, path: list[str] | None) -> bool:
        return path is not None and len(path) == 1 and path[0] in self._free

    def _refuse(self, request: Request, path: list[str] | None) -> Response | None:
        """The answer to a request of another site, or to another host; None: it may come from here."""
        refuse = problem if is_api(request.scope) else _plain
        if request.method not in _METHODS:
            return refuse(405, "this method is not allowed", headers={"allow": ", ".join(_METHODS)})
        if self._is_free(path):
            return None
        is_safe = request.method in _SAFE
        if host_name(request.headers.get("host", "")) not in self._access.hosts:
            return refuse(421, "the desk does not answer to this host; name it with --admin-host")
        is_foreign = is_embedded(request.headers) if is_safe else not is_own_origin(request.headers)
        if is_foreign:
            return refuse(403, "this request comes from another site")
        return None

    def _refuse_stranger(
        self, request: Request, path: list[str] | None, session: ActorSession | None
    ) -> Response | None:
        """The answer to a client that asks too often, or is not logged in; None: a page answers.

        Clients with a session have a separate rate: strangers at the same address cannot use it up. The right
        token always opens the door, so posts to it are counted where they are wrong.
        """
        if self._is_free(path):
            return None
        refuse = problem if is_api(request.scope) else _plain
        client = self.client_of(request)
        is_safe, is_static = request.method in _SAFE, path is not None and path[:1] == ["static"]
        is_counted = not is_static and (is_safe or path != ["login"])
        key = client if session is None else f"{client} in"
        rate = self._reads if is_safe else self._publishes if _publishes(request, path) else self._acts
        if is_counted and (wait := rate.take(key)):
            return refuse(429, "too many requests", headers={"retry-after": str(ceil(wait))})
        if session is None and not is_static and path not in _OPEN:
            is_program = is_api(request.scope) or path == ["metrics"]  # Prometheus would read the login as metrics
            return self._ask_for_token(request, is_program=is_program)
        return None

    def _ask_for_token(self, request: Request, *, is_program: bool) -> Response:
        refuse, bearer = problem if is_program else _plain, {"www-authenticate": "Bearer"}
        if "authorization" in request.headers:
            if wait := self.note_wrong_token(request):
                return refuse(429, "too many wrong tokens", headers={"retry-after": str(ceil(wait))})
            return refuse(401, "the token is wrong", headers=bearer)
        if self._access.token is None:
            return refuse(401, "the proxy names no actor", headers=bearer)
        if is_program:
            return problem(401, "the token is missing: send it in Authorization: Bearer …", headers=bearer)
        if request.method not in _SAFE or "x-fragment" in request.headers:
            return _plain(401, "the session is over: load the page again", headers=bearer)
        root = str(request.scope.get("root_path", ""))
        query = f"?{request.url.query}" if request.url.query else ""
        back = quote(request.url.path.removeprefix(root) + query, safe="/")
        return RedirectResponse(f"{root}/login?back={back}", 303)

    def _session(self, request: Request) -> ActorSession | None:
        client, access = self.client_of(request), self._access
        way, actor = self._way(request), access.default_actor
        if way == "proxy":
            named = request.headers.getlist(access.actor_header)
            # A proxy that adds its header leaves the client's before it: then either may be forged.
            actor = named[0].strip()[:_LONGEST_ACTOR] if len(named) == 1 else ""
        elif access.actor_header and access.token is None:
            return None  # only the proxy knows who that is
        if not actor:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if access.token is not None and scheme.lower() == "bearer":
            is_right = self._sessions.is_token(token.strip())
            return ActorSession("bearer", actor, "", client, is_by_header=True) if is_right else None
        id = self._sessions.read(request.cookies.get(cookie_name(request, access), ""), way)
        if id is not None:
            by_token = way == "token" and access.token is not None
            return ActorSession(id, actor, self._sessions.form_token(id), client, is_by_token=by_token)
        return None if access.token is not None and way == "token" else self.begin(request, actor)

    def _takes_link(self, request: Request, path: list[str] | None) -> bool:
        return self._access.takes_links and request.method == "GET" and path == [] and "token" in request.query_params

    def _enter_by_link(self, request: Request, token: str) -> Response:
        """Go to the first page: with a session, if the token of the address is right. The address is not kept."""
        if self._sessions.is_token(token):
            self.log_in(request)
        elif wait := self.note_wrong_token(request):
            return _plain(429, "too many wrong tokens", headers={"retry-after": str(ceil(wait))})
        first, headers = f"{request.scope.get('root_path', '')}/", {"referrer-policy": "no-referrer"}
        if is_linked(request.headers):
            # After a redirect a browser still sees the other site's request, and keeps the new cookie to itself.
            return Response(headers={**headers, "refresh": f"0; url={first}"})
        return RedirectResponse(first, 303, headers)

    def log_in(self, request: Request) -> None:
        """Begin a session for a client that has shown the token; it is logged."""
        session = self.begin(request)
        self._note("desk: %s logged in from %s", session.actor, session.client)

    def note_wrong_token(self, request: Request) -> float:
        """Count and log a wrong token; the seconds until the client should try again, mostly 0.

        The log has one a second at most: strangers can send as many as they like.
        """
        client = self.client_of(request)
        if not self._logged.take(""):
            _log.warning("desk: a wrong token from %s", client, extra={"client": client})
        return self._wrong.take(client)

    def _note(self, text: str, actor: str, client: str) -> None:
        _log.info(text, actor, client, extra={"actor": actor, "client": client})

    def _way(self, request: Request) -> Way:
        is_proxied = self._access.actor_header and client_address(request) in self._access.proxies
        return "proxy" if is_proxied else "token"

    def begin(self, request: Request, actor: str = "") -> ActorSession:
        """A new session, whose cookie the response carries."""
        way = self._way(request)
        cookie = self._sessions.new(way)
        id = str(self._sessions.read(cookie, way))
        request.scope["tasuki.cookie"] = cookie
        actor = actor or self._access.default_actor
        return ActorSession(id, actor, self._sessions.form_token(id), self.client_of(request), is_new=True)

    def end(self, request: Request, session: ActorSession) -> None:
        """The end of a session; the response takes its cookie away."""
        self._sessions.end(session.id)
        self._note("desk: %s logged out from %s", session.actor, session.client)
        request.scope["tasuki.cookie"] = ""

    def client_of(self, request: Request) -> str:
        """The address of the client, for rates and the log; behind a trusted proxy the one that it names."""
        address = client_address(request)
        if address in self._access.proxies:
            return client_behind(request.headers.getlist("x-forwarded-for"), address)
        return address

    def _complete(self, headers: MutableHeaders, request: Request, session: ActorSession | None) -> None:
        for name, value in (*HEADERS.items(), ("cache-control", "no-store")):
            headers.setdefault(name, value)
        if (cookie := request.scope.get("tasuki.cookie")) is not None:
            headers.append("set-cookie", self._cookie(request, cookie))

    def _cookie(self, request: Request, value: str) -> str:
        name, path = cookie_name(request, self._access), str(request.scope.get("root_path", "")) or "/"
        secure = "; Secure" if name.startswith("__Host-") else ""
        path = "/" if secure else path
        return f"{name}={value}; HttpOnly; SameSite=Strict; Path={path}; Max-Age={LIFE if value else 0}{secure}"


def _publishes(request: Request, path: list[str] | None) -> bool:
    """Whether a program publishes a message."""
    parts = path or []
    is_publish = len(parts) == 5 and [*parts[:3], parts[4]] == ["api", "v1", "queues", "publish"]
    return is_publish and request.method == "POST"


def client_address(request: Request) -> str:
    """The other end of the connection; a Unix socket has none."""
    return request.client.host if request.client else "local"


def cookie_name(request: Request, access: Access) -> str:
    """``__Host-tasuki`` where the browser speaks TLS, with us or with the trusted proxy; else ``tasuki``; and the port.

    A browser sends the cookies of a host to all its ports: two desks would end each other's sessions.
    """
    said = request.headers.getlist("x-forwarded-proto")[-1:] if client_address(request) in access.proxies else []
    is_safe = request.url.scheme == "https" or any(line.rpartition(",")[2].strip() == "https" for line in said)
    port = port_of(request.headers.get("host", ""))
    return ("__Host-tasuki" if is_safe else "tasuki") + (f"-{port}" if port else "")


def _plain(status: int, text: str, *, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, headers)


_MOST_CLIENTS = 1000


class Rate:
    """A bucket of ``burst`` tokens for each client, which gains ``rate`` a second; the longest unseen are forgotten."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one: 0, or, where there is none, the seconds until there is one."""
        left, now = self._left(client), self._clock.monotonic()
        is_taken = left >= 1
        self._buckets[client] = (left - is_taken, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_taken else (1 - left) / self._rate

    def _left(self, client: str) -> float:
        left, at = self._buckets.get(client, (float(self._burst), self._clock.monotonic()))
        return min(left + (self._clock.monotonic() - at) * self._rate, self._burst)
