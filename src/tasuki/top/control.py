"""Control: keys change the scene, and a task follows what the reader sees."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from tasuki.clock import Clock
from tasuki.desk.presentation.words import tell
from tasuki.desk.reading.attention import of_workers
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.desk.site import problem_of
from tasuki.desk.viewer import Viewer
from tasuki.errors import TasukiError
from tasuki.top.commands import Commands
from tasuki.top.editor import LetterEditor
from tasuki.top.frame.cells import Line, Span, age
from tasuki.top.frame.columns import shown_in
from tasuki.top.frame.scene import Foot, Scene
from tasuki.top.place import ViewPlace
from tasuki.top.prompt import Prompt
from tasuki.top.views.dead import BatchesView, DeadView
from tasuki.top.views.queues import QueuesView
from tasuki.top.views.schedules import SchedulesView
from tasuki.top.views.view import Content, Key, Table, Text, View
from tasuki.top.views.workers import WorkersView

ACTIONS: Mapping[str, str] = {
    **{str(number): f"tab {number}" for number in range(1, 6)},
    "tab": "next tab", "right_square_bracket": "next tab", "shift+tab": "last tab", "left_square_bracket": "last tab",
    "j": "down", "down": "down", "k": "up", "up": "up",
    "g": "first", "home": "first", "G": "end", "end": "end",
    "l": "page down", "right": "page down", "pagedown": "page down", "ctrl+f": "page down",
    "h": "page up", "left": "page up", "pageup": "page up", "ctrl+b": "page up",
    "enter": "enter", "escape": "back", "backspace": "back",
    "slash": "filter", "x": "choose", "space": "choose", "v": "range", "A": "choose all",
    "s": "sort", "S": "reverse", "f": "freeze", "y": "copy", "e": "explain", "u": "undo",
    "exclamation_mark": "problems", "question_mark": "help", "q": "quit", "ctrl+c": "quit", "ctrl+l": "redraw",
}  # fmt: skip
"""Key, as Textual calls it → what it does in every view. A key of a view goes before."""


HELP: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (
    ("Views", (
        ("1 … 5", "queues, dead letters, workers, schedules, batches"),
        ("Tab [ ]", "the next view, the one before"),
        ("Enter Esc", "open, and back"),
        ("f", "freeze: show this moment, and go on"),
        ("?  q", "this help; quit (Ctrl-C too)"),
    )),
    ("Rows", (
        ("j k ↓ ↑", "the next row, the one before"),
        ("h l ← →", "a page"),
        ("g G", "the first row, the last one"),
        ("/", "filter by a word; Esc takes it away"),
        ("!", "only what needs attention"),
        ("s S", "sort by the next column; turn the order round"),
        ("x Space", "select; v begins and ends a range, A selects all"),
        ("y", "copy the id"),
    )),
)  # fmt: skip

EVERYWHERE = "Keys that act take the selected rows, or the one under the cursor. Shift-letters destroy; they ask first."
"""What the help says below the keys."""


_SHOWN = {
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "slash": "/",
    "exclamation_mark": "!",
    "question_mark": "?",
}


def shown(key: str) -> str:
    """A key as people write it."""
    return _SHOWN.get(key, key)


def keys_of(place: ViewPlace, acts: Sequence[Key], is_deep: bool) -> list[tuple[str, str]]:
    """Key and label, the most useful first; ``acts``: those that are allowed on the row under the cursor."""
    view = place.view
    is_text = isinstance(place.content, Text)
    found = [("?", "help")]
    if _opens(place):
        found.append(("Enter", view.opens))
    if is_deep:
        found.append(("Esc", "back"))
    found += [(key.key, key.label) for key in acts]
    found += [(key, label) for key, label, _ in (*view.switches(), *view.asides())]
    if view.explain(place.current) is not None:
        found.append(("e", "explain"))
    found += [] if is_text else [("/", "filter"), ("s", "sort")]
    return [*found, ("q", "quit")]


def _opens(place: ViewPlace) -> bool:
    """Whether Enter opens anything of the row under the cursor."""
    return bool(place.view.opens) and place.current is not None and place.view.enter(place.current) is not None


def help_of(place: ViewPlace, acts: Sequence[Key]) -> list[Line]:
    """All keys of this place, its own first. Acts that are not allowed are left out."""
    view = place.view
    own = [(key.key, key.text) for key in acts]
    own += [(key, text) for key, _, text in (*view.switches(), *view.asides())]
    if _opens(place):
        own.append(("Enter", f"open: {view.opens}"))
    if view.explain(place.current) is not None:
        own.append(("e", "explain why the message does not run now"))
    sections = [(view.crumb, own), *HELP] if own else list(HELP)
    found: list[Line] = []
    for title, pairs in sections:
        found += [[], [(title, "accent")]]
        found += [[(f"  {key:<12}", "bold"), (text, "")] for key, text in pairs]
    return [*found[1:], [], [(EVERYWHERE, "dim")]]


_log = logging.getLogger("tasuki.top")


TABS: tuple[type[View], ...] = (QueuesView, DeadView, WorkersView, SchedulesView, BatchesView)

_ON_PLACE: dict[str, Callable[[ViewPlace], object]] = {
    "range": ViewPlace.begin_range,
    "choose all": ViewPlace.choose_all,
    "problems": ViewPlace.toggle_problems,
    "reverse": ViewPlace.reverse,
}

_SLOW = 1.5
"""Seconds without an answer after which the head says so."""

_OLD = 8.0
"""Seconds after which the head says how old the counts are."""

_TOLD = 8.0
"""Seconds for which the last line tells what an act did."""


class Terminal(Protocol):
    """What the control needs of the screen."""

    def draw(self) -> None:
        """Show the scene as it is now."""

    def copy(self, text: str) -> None:
        """Put a text on the clipboard."""

    def edit(self, text: str) -> str | None:
        """Let the user change a text in an editor; None: it was not saved. Raises TasukiError: there is no editor."""

    def leave(self) -> None:
        """End."""

    def redraw(self) -> None:
        """Show all lines, also those that did not change."""


class Control:
    """Belongs to the event loop of the terminal. ``height``: rows that a page has; ``width``: cells of a line."""

    def __init__(self, reading: Viewer, scene: Scene, clock: Clock, terminal: Terminal) -> None:
        self.reading, self.scene = reading, scene
        self._clock, self._terminal = clock, terminal
        self.height, self.width = 10, 80
        mending = LetterEditor(reading, self._say, self._open, terminal.edit, self.refresh)
        self.acting = Commands(reading, self._say, self._ask, self.refresh, mending)
        self._places = [ViewPlace(view()) for view in TABS]
        self._asking: Prompt | None = None
        self._task: asyncio.Task[None] | None = None
        self._poke = asyncio.Event()
        self._began: float | None = None
        """When the read under way began."""
        self._told_at = float("-inf")
        self._later: Foot | None = None
        """An outcome that came while a question is open: the question stays."""
        self._is_frozen = self._is_away = self._is_changed = False
        scene.path = [self._places[0]]
        self._actions: dict[str, Callable[[], object]] = {
            "quit": terminal.leave, "redraw": terminal.redraw, "help": self._help, "freeze": self._freeze,
            "filter": self._filter, "enter": self._enter, "back": self._back, "explain": self._explain,
            "copy": self._copy, "undo": self.acting.undo,
            "next tab": partial(self._turn_tab, 1), "last tab": partial(self._turn_tab, -1),
            "down": partial(self._move, 1), "up": partial(self._move, -1),
            "page down": partial(self._page, 1), "page up": partial(self._page, -1),
            "first": partial(self._move, -10**9), "end": partial(self._move, 10**9),
            "choose": self._choose, "sort": self._sort,
        }  # fmt: skip
        for number in range(len(TABS)):
            self._actions[f"tab {number + 1}"] = partial(self._tab, number)

    # Following.

    def start(self) -> None:
        """Begin to follow the view."""
        self._follow_anew()

    async def stop(self) -> None:
        """End all that is under way."""
        for task in (self._task, self.acting.task):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def refresh(self) -> None:
        """Read this place at once; after an act wait for its effect."""
        self._is_changed = True
        self._follow_anew()

    def _follow_anew(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            place = self.scene.place
            if not self._is_frozen or place.content is None or place.arrives or self._is_changed:
                await self._read(place)
                self.scene.clock = datetime.fromtimestamp(self._clock.time()).strftime("%H:%M:%S")
                self.scene.status = self._status()
                self.draw()
            self._poke.clear()
            try:
                async with asyncio.timeout(place.view.period):
                    await self._poke.wait()
            except TimeoutError:
                pass

    async def _read(self, place: ViewPlace) -> None:
        now, self._is_changed = self._is_changed, False
        self._began = self._clock.monotonic()
        try:
            snapshot, content = await self.reading.ask(partial(self._look, place.view, now=now))
        except (TasukiError, TimeoutError, OSError, RuntimeError) as error:
            self._is_away = True
            self.scene.problems = [line(problem_of(error))]
        except Exception as error:  # a mistake of ours must not end the screen, where other views still work
            self._is_away = True
            _log.exception("top: view %s failed", place.view.crumb)
            self.scene.problems = [line(f"{type(error).__name__}: {error}")]
        else:
            self._is_away = 0 < len(snapshot.queues) == snapshot.uncounted
            self.acting.snapshot = self.scene.snapshot = snapshot
            self.scene.problems = [line(tell("en", each.key, each.values)) for each in of_workers(snapshot)]
            place.show(content)
        finally:
            self._began = None

    async def _look(self, view: View, *, now: bool) -> tuple[Snapshot, Content]:
        snapshot = await self.reading.snapshot(now=now)
        return snapshot, await view.read(self.reading, snapshot)

    def tick(self) -> None:
        """Once a second: whether there is an answer, and the end of a message; draws only what has changed."""
        scene, status = self.scene, self._status()
        is_over = scene.foot.kind in ("told", "failed") and self._clock.monotonic() - self._told_at > _TOLD
        if is_over:
            scene.foot = Foot()
        if is_over or status != scene.status:
            scene.status = status
            self.draw()

    def _status(self) -> Span:
        dot, waits = self.scene.signs.dot, 0.0
        if self._began is not None:
            waits = self._clock.monotonic() - self._began
        if self._is_frozen:
            return "frozen", "warn"
        if waits > _SLOW:
            return f"no answer for {age(waits)}", "warn"
        if self._is_away:
            return f"{dot} away", "bad"
        if self.scene.snapshot is not None and (old := self._clock.monotonic() - self.scene.snapshot.taken) > _OLD:
            return f"{age(old)} old", "warn"
        return (f"{dot} live", "ok") if self.scene.snapshot is not None else ("", "")

    def draw(self) -> None:
        """Show the scene as it is now."""
        self.scene.keys = keys_of(self.scene.place, self.acting.allowed(self.scene.place), len(self.scene.path) > 1)
        self._terminal.draw()

    # Keys.

    def press(self, key: str, character: str | None) -> None:
        """Take a key, as Textual names it, and the character that it types."""
        scene = self.scene
        if self._asking is not None:
            asking = self._asking
            if asking.press(key, character) and self._asking is asking:
                self._asking = None
                self._say(self._later or Foot())
                self._later = None
            elif self._asking is asking:
                scene.foot = asking.foot
        elif scene.help is not None:
            self._press_in_help(key)
        else:
            if scene.foot.kind in ("told", "failed"):
                scene.foot = Foot()
            self._press(key, character)
        self.draw()

    def paste(self, text: str) -> None:
        """Take a text, where one can be typed."""
        if self._asking is not None:
            self._asking.paste(text)
            self.scene.foot = self._asking.foot
            self.draw()

    def _press(self, key: str, character: str | None) -> None:
        place = self.scene.place
        for each in place.view.keys:
            if each.key == character:
                self.acting.press(each, place)
                return
        if character and (said := place.view.press(character)) is not None:
            self._say(Foot("told", said))
            place.content = None
            self._follow_anew()
        elif character and (view := place.view.aside(character)) is not None:
            self._open(view)
        elif do := self._actions.get(ACTIONS.get(key, "")):
            do()
        elif do_there := _ON_PLACE.get(ACTIONS.get(key, "")):
            do_there(place)

    def _press_in_help(self, key: str) -> None:
        steps = {"down": 1, "up": -1, "page down": self.height, "page up": -self.height, "first": -999, "end": 999}
        action = ACTIONS.get(key, "")
        if action in steps:
            self.scene.help_top += steps[action]
        elif action in ("back", "help", "enter"):
            self.scene.help = None
        elif action == "quit":
            self._terminal.leave()

    def _say(self, foot: Foot) -> None:
        if self._asking is not None:
            self._later = foot
            return
        self.scene.foot, self._told_at = foot, self._clock.monotonic()
        self._terminal.draw()

    def _ask(self, asking: Prompt) -> None:
        self._asking, self.scene.foot = asking, asking.foot
        self._terminal.draw()

    def _help(self) -> None:
        self.scene.help, self.scene.help_top = help_of(self.scene.place, self.acting.allowed(self.scene.place)), 0

    def _freeze(self) -> None:
        self._is_frozen = not self._is_frozen
        self.scene.status = self._status()
        if not self._is_frozen:
            self._poke.set()

    def _filter(self) -> None:
        place = self.scene.place
        if isinstance(place.content, Table):
            self._ask(Prompt("/", lambda _: None, is_typed=True, typed=place.word, hear=place.filter,
                             leave=lambda: place.filter("")))  # fmt: skip

    def _sort(self) -> None:
        place = self.scene.place
        if columns := shown_in(place.view.columns, self.width):
            place.next_sort(columns)

    def _move(self, by: int) -> None:
        place = self.scene.place
        if not place.move(by, self.height) and abs(by) < 10**9:
            self._next_page(1 if by > 0 else -1)

    def _page(self, step: int) -> None:
        self._move(step * max(self.height - 1, 1))

    def _next_page(self, step: int) -> None:
        place = self.scene.place
        if isinstance(place.content, Table) and not place.arrives and place.view.turn(step):
            place.arrives = "first" if step > 0 else "last"
            self._follow_anew()

    def _choose(self) -> None:
        self.scene.place.choose()
        self.scene.place.move(1, self.height)

    # Ways.

    def _tab(self, number: int) -> None:
        self.scene.tab = number
        self.scene.path = [self._places[number]]
        self._follow_anew()

    def _turn_tab(self, step: int) -> None:
        self._tab((self.scene.tab + step) % len(self._places))

    def _open(self, view: View) -> None:
        self.scene.path.append(ViewPlace(view))
        self._follow_anew()

    def _enter(self) -> None:
        place = self.scene.place
        if place.current is not None and (view := place.view.enter(place.current)) is not None:
            self._open(view)

    def _explain(self) -> None:
        place = self.scene.place
        view = place.view.explain(place.current)
        if view is None:
            self._say(Foot("failed", "e explains a message: open a queue, and choose one."))
        elif view is place.view:
            place.view.goes_to = "why"
        else:
            self._open(view)

    def _back(self) -> None:
        if not self.scene.place.clear() and len(self.scene.path) > 1:
            self.scene.path.pop()
            self._follow_anew()

    def _copy(self) -> None:
        place = self.scene.place
        if text := place.view.copied(place.current):
            self._terminal.copy(text)
            self._say(Foot("told", f"Copied {line(text)}, if this terminal allows it."))
