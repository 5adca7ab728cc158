"""Tools: what all pages of one desk share."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tasuki.clock import Clock
from tasuki.desk.acts.acts import Acts
from tasuki.desk.dead.board import Board
from tasuki.desk.dead.library import Library
from tasuki.desk.looks.look import Look
from tasuki.desk.reading.causes import Asked
from tasuki.desk.reading.listed.finding import Finder
from tasuki.desk.reading.observed.held import HeldMessages
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.security.access import Access
from tasuki.desk.security.gate import Gate
from tasuki.desk.security.session import Session
from tasuki.desk.security.sessions import Sessions
from tasuki.desk.site import Site
from tasuki.desk.watched import Watched


class Said:
    """What an act has to say on the next page of its session; the oldest of too many is forgotten."""

    def __init__(self, most: int = 200) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._most = most

    def put(self, session: Session, text: str) -> None:
        """Keep it for the next page."""
        self._texts[session.id] = text
        if len(self._texts) > self._most:
            self._texts.popitem(last=False)

    def pop(self, session: Session | None) -> str:
        """Take it out; empty: there is nothing to say."""
        return "" if session is None else self._texts.pop(session.id, "")


@dataclass(slots=True)
class Tools:
    """Made once for a desk."""

    site: Site
    sampler: Sampler
    library: Library
    board: Board
    acts: Acts
    look: Look
    access: Access
    sessions: Sessions
    gate: Gate
    clock: Clock
    watched: Watched
    asked: Asked
    held: HeldMessages
    finder: Finder
    said: Said = field(default_factory=Said)
    streams: dict[str, int] = field(default_factory=dict)
    """Client → event streams that it has open."""
