"""A web server as a process, for the time of a block."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import TIMEOUT, environ, wait_until


@contextmanager
def serving(command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    """Start a server and wait until it listens; stop it in order, and fail if it does not."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ(), stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), "the server")
        assert process.poll() is None, (folder / "server.log").read_text()
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) in (0, -signal.SIGTERM), (folder / "server.log").read_text()
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
