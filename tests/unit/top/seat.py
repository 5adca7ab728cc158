"""A seat before ``tasuki top``: it presses keys, and reads the screen as soon as it shows what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual.pilot import Pilot

from tasuki.clock import Clock
from tasuki.desk.viewer import Viewer
from tasuki.top.frame.cells import Line
from tasuki.top.frame.scene import Scene
from tasuki.top.screen import Top


class WatchedTop(Top):
    """Tells when it has drawn, keeps what it was to copy, and edits with a function."""

    def __init__(self, reading: Viewer, scene: Scene, clock: Clock) -> None:
        self.drawn = asyncio.Event()
        self.copied = ""
        self.editor: Callable[[str], str | None] = str
        super().__init__(reading, scene, clock)

    def draw(self) -> None:
        super().draw()
        self.drawn.set()

    def copy(self, text: str) -> None:
        self.copied = text

    def edit(self, text: str) -> str | None:
        return self.editor(text)


class Seat:
    def __init__(self, top: WatchedTop, pilot: Pilot[None]) -> None:
        self.top, self.pilot = top, pilot

    async def settle(self) -> None:
        """Return when no read and no act is under way."""
        while self._is_busy():
            self.top.drawn.clear()
            await self.top.drawn.wait()

    def _is_busy(self) -> bool:
        control = self.top.control
        is_acting = control.acting.task is not None and not control.acting.task.done()
        is_reading = control._began is not None or control._is_changed
        return is_acting or is_reading or (self.top.scene.place.content is None and not control._is_away)

    async def press(self, *keys: str) -> str:
        """The screen after these keys."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()
        return self.text

    async def type(self, text: str) -> str:
        return await self.press(*[{" ": "space", ":": "colon", ".": "full_stop", "-": "minus"}.get(c, c) for c in text])

    async def refresh(self) -> str:
        """The screen after one more refresh."""
        self.top.control.refresh()
        await self.settle()
        return self.text

    @property
    def lines(self) -> list[str]:
        width, height = self.top.size
        return texts(self.top.scene.lines(width, height))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def foot(self) -> str:
        return self.lines[-1].strip()

    @property
    def names(self) -> list[str]:
        """The first words of the rows, without the sign before them."""
        return [row[2:].split()[0] for row in self.rows]

    @property
    def rows(self) -> list[str]:
        """The lines of rows."""
        end = -2 if self.top.scene.problems else -1  # the last line before the keys is a notice
        return [line for line in self.lines[4:end] if line.strip()]


def texts(lines: Sequence[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]
