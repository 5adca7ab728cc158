"""View: one request, and what every page shows around its own content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from tasuki.app.state.auditing import RIGHT, targets_of
from tasuki.desk.acts.acts import ActResult, Order
from tasuki.desk.presentation import numbers
from tasuki.desk.presentation.look import packed, takes_gzip
from tasuki.desk.presentation.words import LANGUAGES, choose, tell, translated
from tasuki.desk.reading import bodies
from tasuki.desk.reading.snapshot import COLUMNS
from tasuki.desk.security.forms import MOST_BYTES, MOST_FIELDS, FormError, read_fields
from tasuki.desk.security.gate import SESSION
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import AwayError, problem_of
from tasuki.desk.tools import Tools
from tasuki.errors import PolicyDeniedError, TasukiError

if TYPE_CHECKING:
    from tasuki.desk.reading.snapshot import Snapshot
    from tasuki.state.pauses import Pause

_TIME = Markup('<time datetime="{}" title="{}">{}</time>')
_EMPTY = Markup("{}")
_ENGLISH = Markup('<span lang="en">{}</span>')
THEMES = ("auto", "light", "dark")
_YEAR = 365 * 86400
_AGAIN = 5
"""Seconds after which a browser loads a page again that could not be made."""
_OLD = 10.0
"""Seconds from which on a page says how old its numbers are."""
_PACKED_FROM = 1024
"""Bytes from which on a page is compressed."""


class PageError(Exception):
    """A request that is answered with the page of errors."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Tab(NamedTuple):
    """A page in the menu, and the key that opens it."""

    name: str
    key: str


TABS = (
    Tab("overview", "1"),
    Tab("queues", "2"),
    Tab("dead", "3"),
    Tab("workers", "4"),
    Tab("schedules", "5"),
    Tab("topology", "6"),
    Tab("find", "7"),
)


class PageView:
    """Belongs to one request; ``path`` is its path, segment by segment."""

    def __init__(self, tools: Tools, request: Request, path: list[str]) -> None:
        self.tools, self.request, self.path = tools, request, path
        self.query: Mapping[str, str] = request.query_params
        self.root = str(request.scope.get("root_path", ""))
        cookies = request.cookies
        accepted = request.headers.get("accept-language", "")
        self.language = choose(self.query.get("lang", ""), cookies.get("tasuki_lang", ""), accepted)
        asked = self.query.get("theme", "")
        self.theme = asked if asked in THEMES else cookies.get("tasuki_theme", "auto")
        self.theme = self.theme if self.theme in THEMES else "auto"
        self.is_fragment = "x-fragment" in request.headers

    @property
    def session(self) -> ActorSession:
        """Who asks; only pages without a session (``login``, ``logout``) have none."""
        session: ActorSession = self.request.scope[SESSION]
        return session

    @property
    def is_in(self) -> bool:
        """Whether there is a session, so that pages other than the door open."""
        return self.request.scope.get(SESSION) is not None

    @property
    def can_end(self) -> bool:
        """Whether there is a session that its viewer can end."""
        session: ActorSession | None = self.request.scope.get(SESSION)
        return session is not None and session.is_by_token

    def number_of(self, name: str, most: int) -> int:
        """A whole number of the query, from 0 to ``most``; 0 for anything else."""
        text = self.query.get(name, "")
        return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    def say(self, key: str, **values: Any) -> str:
        """A text of the catalogue; see :func:`tasuki.desk.presentation.words.tell`."""
        return tell(self.language, key, values)

    def told(self, text: object) -> Markup:
        """What the core says, in the language of the page; marked as English where it is not known."""
        plain = bodies.line(text)
        if self.language == "en":
            return _EMPTY.format(plain)
        found = translated(self.language, plain)
        return _ENGLISH.format(plain) if found is None else _EMPTY.format(found)

    def title(self, column: str) -> str:
        """The title of a column of queues in the language of the page."""
        return next(str(getattr(each, self.language)) for each in COLUMNS if each.name == column)

    def duration(self, seconds: float | None) -> str:
        """A duration in the language of the page."""
        return numbers.duration(seconds, self.language)

    def url(self, *segments: str, **query: object) -> str:
        """The address of a page of the desk; each segment may hold anything."""
        path = "/".join(quote(segment, safe=":@") for segment in segments)
        pairs = {name: value for name, value in query.items() if value not in ("", None)}
        return f"{self.root}/{path}" + (f"?{urlencode(pairs)}" if pairs else "")

    def here(self, **changes: object) -> str:
        """The address of this page with other values in its query; an empty one is left out."""
        kept = {name: value for name, value in self.query.items() if name not in ("lang", "theme", *changes)}
        kept |= {name: str(value) for name, value in changes.items() if value != ""}
        path = "/".join(quote(segment, safe=":@") for segment in self.path)
        return f"{self.root}/{path}" + (f"?{urlencode(kept)}" if kept else "")

    @property
    def back(self) -> str:
        """This page for a form that comes back to it, without the place where the desk is mounted."""
        return self.here().removeprefix(self.root) or "/"

    def may(self, act: str, id: str) -> bool:
        """Whether the buttons of an act are shown."""
        return self.tools.acts.rights().may(self.session.actor, act, id)

    def require(self, act: str, id: str) -> None:
        """Return if the viewer may do this. Raises PageError."""
        if not self.may(act, id):
            raise PageError(403, self.say("queue.no_right", right=f"queue.admin.{act}"))

    async def fields(self, most: int = MOST_BYTES, count: int = MOST_FIELDS) -> list[tuple[str, str]]:
        """The fields of a form that was made here. Raises PageError."""
        try:
            fields = await read_fields(self.request, most, count)
        except FormError as error:
            raise PageError(error.status, str(error)) from None
        session = self.session
        token = dict(fields).get("token", "")
        is_ours = not session.is_new and self.tools.sessions.is_form_token(session.id, token)
        if not (session.is_by_header or is_ours):
            raise PageError(403, self.say("error.form"))
        return fields

    async def carry_out(self, order: Order, *, is_said: bool = True) -> ActResult:
        """Carry out an order; the next page says what happened, if it ``is_said``. Raises PageError, ValueError."""
        try:
            done = await self.tools.acts.carry_out(order, self.session)
        except PolicyDeniedError as error:
            raise PageError(403, problem_of(error)) from None
        except (TasukiError, LookupError) as error:
            raise PageError(503 if isinstance(error, AwayError) else 409, problem_of(error)) from None
        if is_said:
            self.tools.said.put(self.session, self.say(done.key, **done.values))
        return done

    @property
    def may_audit(self) -> bool:
        """Whether the page of the acts shows anything to who asks; False before there is a session."""
        site, session = self.tools.site, self.request.scope.get(SESSION)
        if session is None or site.reader._runtime.assembly is None:
            return False
        rights = self.tools.acts.rights()
        return rights.may_any(session.actor, RIGHT, targets_of(site.project))

    def when(self, at: float | None, now: float | None = None) -> Markup:
        """A time: a script shows it in the viewer's own zone; in UTC without one, with the time from now on hover."""
        if at is None or not numbers.iso(at):
            return _EMPTY.format(numbers.NONE)
        title = ""
        if now is not None:
            key = "time.ago" if at <= now else "time.ahead"
            title = self.say(key, age=self.duration(abs(now - at)))
        return _TIME.format(numbers.iso(at), title, numbers.clock(at))

    def _age_of(self, snapshot: Snapshot | None) -> float | None:
        """How old the numbers are, if that matters."""
        age = 0.0 if snapshot is None else self.tools.clock.monotonic() - snapshot.taken
        return age if age > _OLD else None

    def pause(self, pause: Pause, now: float) -> Markup:
        """Until when, by whom and why: the end in the viewer's own zone."""
        parts = [_EMPTY.format(self.say("pause.open"))]
        if pause.until is not None:
            before, _, after = self.say("pause.until", time="\0").partition("\0")
            parts = [_EMPTY.format(before), self.when(pause.until, now), _EMPTY.format(after)]
        if pause.actor:
            parts.append(_EMPTY.format(self.say("pause.by", actor=bodies.line(pause.actor, 120))))
        if pause.reason:
            reason = bodies.line(pause.reason)
            parts.append(_EMPTY.format(f": {translated(self.language, reason) or reason}"))
        return Markup("").join(parts)

    def page(self, template: str, *, status: int = 200, snapshot: Snapshot | None = None, **values: Any) -> Response:
        """The response: the whole page, or, for the script, only what changes."""
        text = self.tools.look.render(
            template,
            {
                "layout": "fragment.html" if self.is_fragment else "base.html",
                "view": self,
                "t": self.say,
                "told": self.told,
                "title": self.title,
                "url": self.url,
                "here": self.here,
                "duration": self.duration,
                "when": self.when,
                "may": self.may,
                "snapshot": snapshot,
                "totals": None if snapshot is None else snapshot.totals,
                "old": self._age_of(snapshot),
                "tabs": TABS,
                "languages": LANGUAGES,
                "themes": THEMES,
                "said": "" if self.is_fragment else self.tools.said.pop(self.request.scope.get(SESSION)),
                "css": self.url("static", self.tools.look.path_of("desk.css")),
                "icon": self.url("static", self.tools.look.path_of("desk.svg")),
                "js": self.url("static", self.tools.look.path_of("desk.js")),
                **values,
            },
        )
        return self._response(text, status)

    def _response(self, text: str, status: int) -> Response:
        headers = {"vary": "accept-encoding, accept-language, cookie, x-fragment"}
        if status == 503 and self.request.method == "GET":
            headers["refresh"] = str(_AGAIN)  # also without a script
        body = text.encode("utf-8", "replace")
        if len(body) >= _PACKED_FROM and takes_gzip(self.request.headers.get("accept-encoding", "")):
            body, headers["content-encoding"] = packed(text), "gzip"
        response = Response(body, status, headers, media_type="text/html")
        for name, asked, known in (("lang", self.language, LANGUAGES), ("theme", self.theme, THEMES)):
            if self.query.get(name) in known:
                response.set_cookie(
                    f"tasuki_{name}", asked, max_age=_YEAR, path=self.root or "/", samesite="strict", httponly=True
                )
        return response
