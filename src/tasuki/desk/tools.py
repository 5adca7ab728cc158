"""Tools: what all pages of one desk share."""

from __future__ import annotations

from collections import OrderedDict

from tasuki.clock import Clock
from tasuki.desk.presentation.look import the_look
from tasuki.desk.security.access import Access
from tasuki.desk.security.gate import Gate
from tasuki.desk.security.sessions import ActorSession, Sessions
from tasuki.desk.site import Site
from tasuki.desk.viewer import Means, Watched


class Said:
    """What an act has to say on the next page of its session; the oldest of too many is forgotten."""

    def __init__(self, most: int = 200) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._most = most

    def put(self, session: ActorSession, text: str) -> None:
        """Keep it for the next page."""
        self._texts[session.id] = text
        if len(self._texts) > self._most:
            self._texts.popitem(last=False)

    def pop(self, session: ActorSession | None) -> str:
        """Take it out; empty: there is nothing to say."""
        return "" if session is None else self._texts.pop(session.id, "")


class Tools(Means):
    """What pages need beyond the means; made once for a desk."""

    gate: Gate
    """Set by the desk, which it lets requests into."""

    def __init__(self, site: Site, access: Access, clock: Clock, watched: Watched | None) -> None:
        super().__init__(site, clock, watched)
        self.access, self.sessions = access, Sessions(access.token, clock)
        self.look, self.said = the_look(), Said()
        self.streams: dict[str, int] = {}
        """Client → event streams that it has open."""
