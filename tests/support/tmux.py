"""A terminal of a given size for one command: tmux, with its own server."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.brokers.broker import missing
from tests.support.process import wait_until

_numbers = itertools.count()


class Terminal:
    """A running command, its screen and its keyboard."""

    def __init__(self, server: str) -> None:
        self._server = server

    def tmux(self, *arguments: str) -> str:
        """What a command of tmux prints."""
        done = subprocess.run(
            ["tmux", "-L", self._server, *arguments], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout

    @property
    def screen(self) -> str:
        """All lines as they are seen now."""
        return self.tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self.tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a text."""
        self.tmux("send-keys", "-l", text)

    def wait_for(self, text: str, timeout: float = 40.0, *, beside: str = "") -> str:
        """The screen that has a text; ``beside``: another one in the same line."""

        def is_seen() -> bool:
            return any(text in line and beside in line for line in self.screen.splitlines())

        try:
            wait_until(is_seen, f"{text!r} on the screen", timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.screen}") from None
        return self.screen

    def resize(self, width: int, height: int) -> None:
        """Change its size; the command draws for it a moment later."""
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def is_restored(self) -> bool:
        """Whether the program has left the screen and the cursor as they were."""
        return self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]


@contextmanager
def terminal(command: Sequence[str], folder: Path, **variables: str) -> Iterator[Terminal]:
    """Run a command on 80 columns and 24 lines; after its end the screen says ``ended`` and its exit code.

    ``variables`` are added to the environment. Escape is a key by itself only if nothing follows it at once.
    """
    if shutil.which("tmux") is None:
        missing("tmux", "apt-get install tmux")
    server = f"tasuki-{os.getpid()}-{next(_numbers)}"
    environ = {"LC_ALL": "C.UTF-8", **os.environ, **variables}
    # Workers of pytest-xdist have the size of another terminal in their environment, and Textual believes it.
    for name in ("TMUX", "COLUMNS", "LINES"):
        environ.pop(name, None)
    line = f"{shlex.join(command)}; echo ended $?; stty -a | grep -q ' echo ' && echo keys are seen; exec cat"
    subprocess.run(
        ["tmux", "-L", server, "-f", os.devnull, "new-session", "-d", "-x", "80", "-y", "24", line],
        cwd=folder,
        env=environ,
        check=True,
        timeout=20,
    )
    found = Terminal(server)
    try:
        yield found
    finally:
        found.tmux("kill-server")
