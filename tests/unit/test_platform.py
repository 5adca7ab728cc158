"""What systems other than Linux meet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SENTENCE = "Tasuki runs on Linux and macOS, not on Windows; there it runs in the Windows Subsystem for Linux (WSL)"


def on(platform: str, code: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as if it were on another system."""
    pose = f"sys.platform = {platform!r}; sys.argv = {list(words)}"
    program = f"import sys, sysconfig; sysconfig.get_config_vars(); {pose}\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize("word", ["tasuki", "tasuki.exe", "tasuki-script.py"])
def test_the_command_line_on_windows_is_one_sentence(tmp_path: Path, word: str) -> None:
    done = on("win32", "from tasuki.cli import main; main()", tmp_path, word, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{SENTENCE}\n")


def test_the_import_on_windows_says_why_it_fails(tmp_path: Path) -> None:
    done = on("win32", "import tasuki", tmp_path, "app.py")
    assert done.stderr.splitlines()[-1] == f"ImportError: {SENTENCE}"


MAC = """
import asyncio, os
for name in ("posix_fallocate", "posix_fadvise", "eventfd", "eventfd_read", "eventfd_write", "memfd_create",
             "sched_getaffinity", "sched_setaffinity", "splice", "pidfd_open", "pipe2", "copy_file_range"):
    if hasattr(os, name):
        delattr(os, name)

from tasuki import App

app = App()
done = asyncio.Event()

@app.queue("tasks").consumer
async def handle(body: int) -> None:
    done.set()

async def main():
    async with app.worker():
        await app.publish("tasks", 7)
        await done.wait()

asyncio.run(main())
print("handled", os.path.getsize(".tasuki/queue.db.ballast"))
"""


def test_the_default_driver_works_without_what_macos_lacks(tmp_path: Path) -> None:
    done = on("darwin", MAC, tmp_path, "app.py")
    assert (done.returncode, done.stdout) == (0, f"handled {2**20}\n"), done.stderr
