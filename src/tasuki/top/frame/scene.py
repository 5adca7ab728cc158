"""The scene: all that is on the screen at one moment, and its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Line, Signs, Span, between, cut, fit_line, line_width, width_of, wrap
from tasuki.top.frame.columns import heading, layout, row_line
from tasuki.top.place import ViewPlace
from tasuki.top.views.view import Table, Text

TABS = ("Queues", "Dead", "Workers", "Schedules", "Batches")
"""The views that the keys 1 to 5 open."""


def head(project: str, drivers: str, status: Span, clock: str, width: int, signs: Signs) -> Line:
    """Whose queues these are, and whether the picture is fresh."""
    right: list[Span] = [status, ("  ", ""), (clock, "dim")]
    room = width - line_width(right) - width_of(f"tasuki  {project}  ") - 1
    left: list[Span] = [("tasuki", "accent"), ("  ", ""), (signs.text(project), "bold")]
    if room >= width_of(drivers) or room > 20:
        left += [("  ", ""), (cut(signs.text(drivers), room, keep="end", more=signs.more), "dim")]
    return between(left, right, width, signs.more)


def totals(snapshot: Snapshot | None, width: int, signs: Signs) -> Line:
    """The sums over all queues; those with the least room go first."""
    if snapshot is None:
        return fit_line([("reading the queues …" if not signs.is_ascii else "reading the queues ...", "dim")], width)
    sums = snapshot.totals
    more_of = "+" if snapshot.uncounted else ""  # in the queues that could not be read

    def number(value: int | None, more_of: str = more_of) -> str:
        return cells.count(value) + more_of if value is not None else signs.none

    def rate(value: float | None) -> str:
        return cells.rate(value) + ("+" if sums.rates_unknown and value is not None else "")

    pairs: list[tuple[str, str, str]] = [
        ("READY", number(sums.ready), ""),
        ("RUN", f"{sums.running}/{sums.places}" if snapshot.knows_counts and sums.running is not None else signs.none,
         "ok" if sums.running else ""),
        ("DELAY", number(sums.delayed, "+" if sums.delayed_unknown else more_of), ""),
        ("DEAD", number(sums.dead), "warn" if sums.dead else ""),
        *([("IN", rate(sums.in_rate), "")] if sums.in_rate is not None else []),
        ("OUT", rate(sums.out_rate), ""),
        ("FAIL", rate(sums.failed_rate), "bad" if sums.failed_rate else ""),
        ("WORKERS", cells.count(sums.workers), "warn" if sums.workers == 0 else ""),
    ]  # fmt: skip
    line: list[Span] = []
    for label, value, style in pairs:
        more: list[Span] = [
            ("  " if line else "", ""), (label, "dim"), (" ", ""), (signs.text(value), style or "bold")]  # fmt: skip
        if line_width([*line, *more]) > width:
            break
        line += more
    return fit_line(line, width, signs.more)


def tabs(current: int, right: Line, width: int, signs: Signs) -> Line:
    """The views, with the keys that open them; ``current``: the number of the one that is shown, from 0."""
    room = width - line_width(right) - 1
    for most in (9, 4, 0):
        line: list[Span] = []
        for at, name in enumerate(TABS):
            text = f"{at + 1} {name[:most]}".rstrip()
            line += [(" ", ""), (text, "tab" if at == current else "dim"), (" ", "")]
        if line_width(line) <= room:
            break
    return between(line, right, width, signs.more)


def crumbs(names: Sequence[str], right: Line, width: int, signs: Signs) -> Line:
    """The path to this place; of a long one the last name keeps the most room."""
    line: list[Span] = []
    room = width - line_width(right) - 2
    for at, name in enumerate(names):
        is_last = at == len(names) - 1
        line += [(f" {signs.into} ", "dim")] if at else []
        left = room - line_width(line) - (0 if is_last else 12 * (len(names) - 1 - at))
        text = cut(signs.text(name), max(left, 8), keep="end" if at else "start", more=signs.more)
        line.append((text, "bold" if is_last else "dim"))
    return between([(" ", ""), *line], right, width, signs.more)


def keys(pairs: Sequence[tuple[str, str]], width: int, signs: Signs) -> Line:
    """The keys of this place, as many as there is room for; the first ones are the most useful."""
    line: list[Span] = []
    for key, label in pairs:
        more: list[Span] = [("  " if line else " ", ""), (key, "bold"), (" ", ""), (label, "dim")]
        if line_width([*line, *more]) > width:
            break
        line += more
    return fit_line(line, width, signs.more)


_TOP = 3
"""Lines above the rows: head, totals, views."""

_MOST_FOOT = 4
_IN_HELP = (("Esc", "back"), ("j k", "scroll"), ("q", "quit"))


@dataclass(slots=True)
class Foot:
    """What the last lines say; ``kind`` is ``keys`` while nothing is asked or told."""

    kind: Literal["keys", "told", "failed", "asked", "typed"] = "keys"
    text: str = ""
    typed: str = ""
    """What has been typed after the text."""


@dataclass(slots=True)
class Scene:
    """Changed by keys and refreshes; drawn by ``lines``."""

    project: str
    drivers: str
    signs: Signs
    path: list[ViewPlace]
    snapshot: Snapshot | None = None
    status: Span = ("", "")
    clock: str = ""
    tab: int = 0
    problems: Sequence[str] = ()
    keys: Sequence[tuple[str, str]] = ()
    foot: Foot = field(default_factory=Foot)
    help: Sequence[Line] | None = None
    """The text of the help, while it is open."""
    help_top: int = 0

    @property
    def place(self) -> ViewPlace:
        """Where the reader is."""
        return self.path[-1]

    def rows_height(self, width: int, height: int) -> int:
        """Lines for rows, or for text."""
        above = _TOP + (1 if isinstance(self.place.content, Table) and self.help is None else 0)
        return max(height - above - len(self._foot(width)), 1)

    def lines(self, width: int, height: int) -> list[Line]:
        """The picture: ``height`` lines of ``width`` cells."""
        foot = self._foot(width)
        found: list[Line] = [
            head(self.project, self.drivers, self.status, self.clock, width, self.signs),
            totals(self.snapshot, width, self.signs),
            self._third(width),
        ]
        room = max(height - _TOP - len(foot), 0)
        body = self._help(width, room) if self.help is not None else self._body(width, room)
        blank: Line = [(" " * width, "")]
        body = [*body[:room], *[blank] * (room - len(body))]
        return [*found, *body, *foot][:height]

    def _third(self, width: int) -> Line:
        right = self._choices()
        if self.help is not None:
            return crumbs(["Keys", self.place.view.crumb], [], width, self.signs)
        if len(self.path) == 1:
            return tabs(self.tab, right, width, self.signs)
        return crumbs([place.view.crumb for place in self.path], right, width, self.signs)

    def _choices(self) -> Line:
        place = self.place
        parts: list[Span] = []
        selected = len(place.chosen | place.ranged)
        if selected:
            parts.append((f"{selected:,} selected", "accent"))
        if isinstance(place.content, Table | Text) and place.content.note:
            parts.append((self.signs.text(place.content.note), "dim"))
        if place.only_problems:
            parts.append(("! only", "warn"))
        if place.word:
            parts.append((f"/{self.signs.text(place.word)}", "accent"))
        line: list[Span] = []
        for part in parts:
            line += [("  ", "")] if line else []
            line.append(part)
        return [*line, (" ", "")] if line else []

    def _body(self, width: int, room: int) -> list[Line]:
        place = self.place
        if place.content is None:
            return [[("", "")], fit_line([("  reading ...", "dim")], width)]
        if isinstance(place.content, Text):
            return self._text(place.content, width, room)
        shown = layout(place.view.columns, width)
        found: list[Line] = [fit_line(heading(shown, place.sort, self.signs), width, self.signs.more)]
        rows = place.rows
        height = max(room - 1, 1)
        place.top = max(min(place.top, place.cursor, len(rows) - height), place.cursor - height + 1, 0)
        selected = place.chosen | place.ranged
        for at, row in enumerate(rows[place.top : place.top + height], place.top):
            mark = (self.signs.selected, "accent") if row.key in selected else place.view.mark(row, self.signs)
            cells = place.view.cells(row, self.signs)
            line = row_line(shown, mark, cells, self.signs, is_current=at == place.cursor)
            found.append(fit_line(line, width, self.signs.more))
        return found if rows else [*found, [("", "")], *self._empty(place.content.empty, width)]

    def _empty(self, texts: Sequence[str], width: int) -> list[Line]:
        place = self.place
        if place.word or place.only_problems:
            what = f"“{place.word}”" if place.word else "what needs attention"
            texts = (f"No row matches {what}. Esc shows all.",)
        lines = [line for text in texts for line in wrap([("  " + self.signs.text(text), "dim")], width, 2)]
        return [fit_line(line, width) for line in lines or []]

    def _text(self, text: Text, width: int, room: int) -> list[Line]:
        place, signs = self.place, self.signs
        lines: list[Line] = []
        starts: list[int] = []
        for line in text.lines:
            starts.append(len(lines))
            lines += wrap([(signs.text(part), style) for part, style in line], width - 2, _indent(line))
        if place.view.goes_to in text.anchors:
            place.top = max(starts[text.anchors[place.view.goes_to]], 0)
            place.view.goes_to = ""
        place.length = len(lines)
        place.top = max(min(place.top, len(lines) - room), 0)
        return [fit_line([(" ", ""), *line], width) for line in lines[place.top : place.top + room]]

    def _help(self, width: int, room: int) -> list[Line]:
        assert self.help is not None
        plain = [[(self.signs.text(text), style) for text, style in line] for line in self.help]
        lines = [part for line in plain for part in wrap(line, width - 2, 14 if len(line) > 1 else 0)]
        self.help_top = max(min(self.help_top, len(lines) - room), 0)
        return [fit_line([(" ", ""), *line], width) for line in lines[self.help_top : self.help_top + room]]

    def _foot(self, width: int) -> list[Line]:
        signs = self.signs
        found: list[Line] = []
        if self.problems:
            more = f"  (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            text = f"{signs.problem} {signs.text(self.problems[0])}{more}"
            found.append(fit_line([(text, "bad")], width, signs.more))
        foot = self.foot
        if self.help is not None:
            return [*found, keys(_IN_HELP, width, signs)]
        if foot.kind == "keys":
            return [*found, keys(self.keys, width, signs)]
        style = {"told": "ok", "failed": "bad", "asked": "ask", "typed": "ask"}[foot.kind]
        line: list[Span] = [(" " + signs.text(foot.text), style)]
        if foot.kind == "typed":
            line += [(signs.text(foot.typed), "bold"), (signs.caret, "accent")]
        wrapped = wrap(line, width, 1)
        return [*found, *(fit_line(each, width) for each in wrapped[-_MOST_FOOT:])]


def _indent(line: Line) -> int:
    """Where the following lines of a long one begin: below the value of a pair."""
    if len(line) == 2 and line[0][1] == "dim" and line[0][0].endswith(" "):
        return len(line[0][0])
    return 0
