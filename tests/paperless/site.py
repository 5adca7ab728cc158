"""One installation of paperless in its own folder, used through ``manage.py``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

TIMEOUT = 300
_FOLDERS = {"DATA_DIR": "data", "MEDIA_ROOT": "media", "CONSUMPTION_DIR": "consume", "SCRATCH_DIR": "scratch"}


class Site:
    """Its data lie in ``folder``; ``source`` is the application's folder ``src``, ``python`` has its packages."""

    def __init__(self, folder: Path, source: Path, python: Path) -> None:
        self.folder, self.source, self.python = folder, source, python
        self.consume = folder / "consume"
        for name in _FOLDERS.values():
            (folder / name).mkdir(parents=True)
        here = Path(__file__).parents[2]
        fonts = sorted(Path("/usr/share/fonts").rglob("*.ttf"))  # for thumbnails of text
        self.environ = {
            **os.environ,
            **{f"PAPERLESS_{name}": str(folder / path) for name, path in _FOLDERS.items()},
            "PAPERLESS_CACHE_BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "PAPERLESS_THUMBNAIL_FONT_NAME": str(fonts[0] if fonts else ""),
            "DJANGO_SETTINGS_MODULE": "tests.paperless.quiet",
            "PYTHONPATH": f"{source}:{here}",
        }

    def start(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        """Start ``manage.py`` in its own session; its output goes to a file of the folder."""
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                [self.python, "manage.py", *arguments],
                cwd=self.source,
                env=self.environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def manage(self, *arguments: str) -> str:
        """The output of ``manage.py``. Raises AssertionError: it failed."""
        done = subprocess.run(
            [self.python, "manage.py", *arguments],
            cwd=self.source,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, code: str) -> Any:
        """What code prints as JSON in the application's shell."""
        return json.loads(self.manage("shell", "--verbosity", "0", "--command", code).splitlines()[-1])


def kill(process: subprocess.Popen[bytes]) -> bool:
    """``kill -9`` a process with all that it has started; whether it was still there."""
    was_there = process.poll() is None
    if was_there:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return was_there
