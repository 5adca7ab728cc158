"""Record the store of an earlier version: run ``project.COMMANDS`` with its command line, and keep the store."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.old_stores.keeping import place_of
from tests.support.old_stores.project import COMMANDS, write


def main(driver: str, tasuki: str, name: str) -> None:
    """Write the file ``name`` in this folder."""
    with tempfile.TemporaryDirectory() as there, place_of(driver, Path(there)) as place:
        folder = write(Path(there))
        for command in COMMANDS:
            subprocess.run([*tasuki.split(), *command, *place.options], cwd=folder, check=True)
        text = place.keep()
    Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
