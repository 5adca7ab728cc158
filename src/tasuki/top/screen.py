"""The screen: Textual draws the scene's lines, and passes keys on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import click
from rich.segment import Segment
from textual import events
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tasuki.clock import Clock
from tasuki.desk.viewer import Viewer
from tasuki.errors import TasukiError
from tasuki.top.control import Control
from tasuki.top.frame.cells import Line, style_of
from tasuki.top.frame.scene import Scene


class SceneWidget(Widget, can_focus=True):
    """All lines of the screen. Texts are drawn as they are: nothing in them is markup."""

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; background: ansi_default; }"

    def __init__(self, hear: Callable[[events.Key], None], paste: Callable[[str], None]) -> None:
        super().__init__()
        self._hear, self._paste = hear, paste
        self._lines: Sequence[Line] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Draw these lines; those that are as before are not sent to the terminal again."""
        before, self._lines = self._lines, lines
        width = self.size.width
        changed = [at for at, line in enumerate(lines) if at >= len(before) or before[at] != line]
        if changed:
            self.refresh(*(Region(0, at, width, 1) for at in changed))

    def render_line(self, y: int) -> Strip:
        """See Widget."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width)
        segments = [Segment(text, style_of(style)) for text, style in self._lines[y]]
        return Strip(segments).adjust_cell_length(self.size.width)

    def on_key(self, event: events.Key) -> None:
        """Take every key; Tab moves no focus here."""
        event.stop()
        event.prevent_default()
        self._hear(event)

    def on_paste(self, event: events.Paste) -> None:
        """Take a text that was pasted."""
        event.stop()
        self._paste(event.text)


class Top(App[None]):
    """Follows an installation until it is left."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: ansi_default; color: ansi_default; overflow: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "press('ctrl+c')", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(self, reading: Viewer, scene: Scene, clock: Clock) -> None:
        super().__init__(ansi_color=True)
        self.title = f"tasuki top: {scene.project}"
        self.scene = scene
        self.control = Control(reading, scene, clock, self)
        self._picture = SceneWidget(self._hear, self.control.paste)

    def compose(self) -> ComposeResult:
        """One widget."""
        yield self._picture

    def on_mount(self) -> None:
        """Begin."""
        self._picture.focus()
        self.control.start()
        self.set_interval(1.0, self.control.tick)

    async def on_unmount(self) -> None:
        """End the reads under way."""
        await self.control.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Draw for the new size."""
        self.control.draw()

    def _hear(self, event: events.Key) -> None:
        self.control.press(event.key, event.character)

    def action_press(self, key: str) -> None:
        """A key that Textual would take for itself."""
        self.control.press(key, None)

    # What the control needs.

    def draw(self) -> None:
        """See Terminal."""
        width, height = self.size
        if self.is_running and width and height:
            self.control.height, self.control.width = self.scene.rows_height(width, height), width
            self._picture.show(self.scene.lines(width, height))

    def copy(self, text: str) -> None:
        """See Terminal."""
        self.copy_to_clipboard(text)

    def edit(self, text: str) -> str | None:
        """See Terminal."""
        try:
            with self.suspend():
                return click.edit(text, extension=".tasuki", require_save=False)
        except (click.ClickException, SuspendNotSupported) as error:
            raise TasukiError(f"no editor could be opened: {error}; set EDITOR, or use tasuki edit") from error
        finally:
            self.redraw()

    def leave(self) -> None:
        """See Terminal."""
        self.exit()

    def redraw(self) -> None:
        """See Terminal."""
        self.refresh(repaint=True)
        self._picture.refresh()
