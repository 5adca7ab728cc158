"""The desk as an ASGI application: which page answers which path, and what becomes of errors."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tasuki.app.app import reader_of
from tasuki.desk import probes
from tasuki.desk.api.serving import Api
from tasuki.desk.pages import acts, bulk, editing, letters, lists, login, queue
from tasuki.desk.pages.events import events
from tasuki.desk.pages.view import PageError, PageView
from tasuki.desk.probes import probes_of
from tasuki.desk.security.access import Access, names_of
from tasuki.desk.security.gate import Gate, is_api, segments_of
from tasuki.desk.site import AwayError, Site, problem_of
from tasuki.desk.tools import Tools
from tasuki.desk.turns import LoopTurns
from tasuki.desk.viewer import Watched
from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app.app import App

_log = logging.getLogger("tasuki.desk")
Page = Callable[[PageView], Awaitable[Response]]
ANY = "*"
"""One segment of a path, whatever it is."""
ROUTES: Sequence[tuple[str, tuple[str, ...], Page]] = (
    ("GET", (), lists.overview),
    ("GET", ("queues",), lists.queues),
    ("GET", ("queues", ANY), queue.queue),
    ("GET", ("queues", ANY, "history.csv"), queue.csv),
    ("GET", ("messages", ANY, ANY), queue.message),
    ("GET", ("dead",), letters.groups),
    ("GET", ("dead", ANY), letters.letters),
    ("GET", ("dead", ANY, "export"), letters.export),
    ("POST", ("dead", ANY, "export"), letters.export),
    ("GET", ("dead", ANY, "confirm"), bulk.confirm),
    ("POST", ("dead", ANY, "confirm"), bulk.confirm),
    ("POST", ("dead", ANY, "begin"), bulk.begin),
    ("POST", ("dead", ANY, "borrow"), bulk.borrow),
    ("GET", ("batches", ANY), bulk.batch),
    ("POST", ("batches", ANY), bulk.batch),
    ("GET", ("messages", ANY, ANY, "edit"), editing.edit),
    ("POST", ("messages", ANY, ANY, "edit"), editing.edit),
    ("GET", ("messages", ANY, ANY, "dry-run"), editing.dry_run),
    ("POST", ("messages", ANY, ANY, "dry-run"), editing.dry_run),
    ("GET", ("messages", ANY, ANY, "test"), editing.test),
    ("GET", ("messages", ANY, ANY, "json"), editing.as_json),
    ("GET", ("workers",), lists.workers),
    ("GET", ("workers", ANY), lists.worker),
    ("GET", ("topology",), lists.topology),
    ("GET", ("find",), lists.find),
    ("GET", ("schedules",), lists.schedules),
    ("GET", ("audit",), lists.audit),
    ("GET", ("confirm",), acts.confirm),
    ("POST", ("confirm",), acts.confirm),
    ("POST", ("acts", ANY), acts.act),
    ("GET", ("login",), login.login),
    ("POST", ("login",), login.login),
    ("POST", ("logout",), login.logout),
    ("GET", ("events",), events),
    ("GET", ("metrics",), probes.metrics),
)


_OF_THE_WORKER = (events, probes.metrics, login.login, login.logout)
"""Pages that read nothing through the site."""


class Desk:
    """An ASGI application; mount it, or serve it. Its pages read through ``site``, which must be open.

    ``watched``: what the probes and the metrics are about; by default the app that works here.
    """

    def __init__(self, site: Site, access: Access, watched: Watched | None = None) -> None:
        self.site = site
        clock = site.reader._runtime.clock
        self.tools = Tools(site, access, clock, watched)
        self._probes = probes_of(self.tools.watched)
        self._gate = Gate(self._answer, access, self.tools.sessions, clock, frozenset(self._probes))
        self.tools.gate = self._gate
        self._api = Api(self.tools)
        self._turns = LoopTurns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. There is nothing to start or stop: a ``lifespan`` is answered and ignored."""
        if scope["type"] == "lifespan":
            await _ignore_lifespan(receive, send)
        else:
            await self._gate(scope, receive, send)

    async def close(self) -> None:
        """End what it reads beside requests, and close its site."""
        await self.tools.end()
        await self.site.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = segments_of(scope)
        if path and len(path) == 1 and path[0] in self._probes:
            await self._probes[path[0]](Request(scope, receive))(scope, receive, send)
        else:
            await self._turns.run(self._show(path, scope, receive, send))

    async def _show(self, path: list[str] | None, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive), path)
        await response(scope, receive, send)

    async def _respond(self, request: Request, path: list[str] | None) -> Response:
        if is_api(request.scope):
            return await self._api.answer(request, path)
        if path is None:
            return PlainTextResponse("there is no such page\n", 404)
        if len(path) == 2 and path[0] == "static":
            return self._static(path[1])
        view = PageView(self.tools, request, path)
        found = [(method, page) for method, pattern, page in ROUTES if _fits(pattern, path)]
        method = "GET" if request.method == "HEAD" else request.method
        pages = [page for allowed, page in found if allowed == method]
        if found and not pages:
            return PlainTextResponse("this method is not allowed\n", 405, {"allow": ", ".join(m for m, _ in found)})
        if not pages:
            return view.page("error.html", status=404, text=view.say("error.not_found"))
        return await self._try(view, pages[0])

    async def _try(self, view: PageView, page: Page) -> Response:
        """The page, or one that shows the error; a mistake of ours shows an id, and its trace is in the log."""
        try:
            if page not in _OF_THE_WORKER:
                await self.site.follow()  # a right that a reload took away is gone for the next request
            return await page(view)
        except KeyError as error:
            if _is_ours(error, view.path):
                return view.page("error.html", status=404, text=view.say("error.not_found"))
            return self._failed(view)
        except PageError as error:
            return view.page("error.html", status=error.status, text=str(error))
        except AwayError as error:
            return view.page("error.html", status=503, text=str(error))
        except TasukiError as error:
            return view.page("error.html", status=503, text=problem_of(error))
        except Exception:
            return self._failed(view)

    def _failed(self, view: PageView) -> Response:
        id = secrets.token_hex(4)
        _log.exception("desk: page %s failed (%s)", "/".join(view.path)[:200], id)
        return view.page("error.html", status=500, text=view.say("error.failed", id=id))

    def _static(self, name: str) -> Response:
        file = self.tools.look.static.get(name)
        if file is None:
            return PlainTextResponse("there is no such file\n", 404)
        headers = {"cache-control": "public, max-age=31536000, immutable", "content-type": file.type}
        return Response(file.content, headers=headers)


def _fits(pattern: tuple[str, ...], path: list[str]) -> bool:
    return len(pattern) == len(path) and all(part in (ANY, given) for part, given in zip(pattern, path, strict=True))


def _is_ours(error: KeyError, path: list[str]) -> bool:
    """Whether the key is a name from the path: there is no such queue."""
    return bool(error.args) and error.args[0] in path


async def _ignore_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message: dict[str, Any] = dict(await receive())
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def beside(app: App, access: Access, watched: Watched | None = None) -> Desk:
    """The desk of a worker, in another thread: it has connections of its own, and sees the worker's memory.

    ``watched``: what works, if that is not the app but processes beside this one.
    """
    version = None if watched is None else watched.version
    return Desk(Site(reader_of(app), app, opens=True, version=version), access, watched)


def alone(app: App, access: Access) -> Desk:
    """The desk of a whole installation, without a worker here."""
    return Desk(Site(reader_of(app), None, opens=True), access)


def mount(
    app: App,
    *,
    token: str | None,
    hosts: Iterable[str],
    actor: str,
    actor_header: str,
    proxies: Iterable[str],
    is_open: bool,
    publish_rate: float,
) -> Desk:
    """The desk in a web application that has the app open, see :meth:`tasuki.App.desk`: it sees what the app sees."""
    trusted = frozenset(proxies)
    access = Access(names_of(hosts), token, actor, actor_header, trusted, is_open=is_open, publish_rate=publish_rate)
    return Desk(Site(app, app, opens=False), access)
